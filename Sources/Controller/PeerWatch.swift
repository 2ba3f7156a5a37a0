import BatonSharedMemory
import CBatonShims
import Glibc

/// What a controller knows of one life of the other one: whether it has ended, and whether it answers.
///
/// A process is known by pid, start time and incarnation, and signalled through a pidfd only: a number can come to
/// name somebody else.
struct PeerWatch {
  /// The life that is watched; 0: none.
  var incarnation: UInt64 = 0
  /// The process of that life; -1: none, because it has ended, is this very process, or could not be opened.
  var descriptor: CInt = -1
  /// Says which watch an event of the ring belongs to.
  var token: UInt32 = 0
  /// Whether the ring waits for the mark on the life lock; the kernel may be unable to.
  var isLifeWatched = false
  /// The life has ended for certain.
  var hasEnded = false
  /// Its process has been killed by this controller.
  var isKilled = false
  /// The kernel refuses, and that has been said.
  var cannotBeKilled = false
  /// When the end was last looked for without having been told of it.
  var endLookedForAt: UInt64 = 0

  /// The last beat that was seen, and since when it is the last.
  var beat: UInt64 = 0
  var silentSince: UInt64 = 0
  /// Whether the doorbell was rung in this silence.
  var hasRung = false
  var rungAt: UInt64 = 0
  /// When it was last asked to let this controller join.
  var askedAt: UInt64 = 0
  /// When this controller's own loop will have looked again, if it does not stand still.
  var nextLookDue: UInt64 = 0

  /// Stops watching.
  mutating func end() {
    if descriptor >= 0 { close(descriptor) }
    let token = self.token
    self = PeerWatch()
    self.token = token &+ 1
  }

  /// Whether the process behind the descriptor has ended: a pidfd can be read then (pidfd_open(2)).
  func looksEnded() -> Bool {
    if descriptor < 0 { return false }
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return Glibc.poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLIN) != 0
  }
}
