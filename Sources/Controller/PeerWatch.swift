import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc

/// What a controller knows of one life of its peer: whether it has ended, and whether it answers.
///
/// A controller signals a process through a pidfd only, because a number can come to name another process. It does so
/// only where the kernel says that the process listens on the peer's control socket. It compares what the region says
/// with that. The region alone is never enough: a process that can write there could have any process of this user
/// killed.
struct PeerWatch {
  /// The life that is watched; 0: none.
  var incarnation: UInt64 = 0
  /// The process of that life; -1: none, because it has ended, is this very process, or could not be opened.
  var descriptor: CInt = -1
  /// When the process is looked for again, while there is no descriptor; the largest number: not at all.
  var openDue: UInt64 = 0
  /// Says which watch an event of the ring belongs to.
  var token: UInt32 = 0
  /// Whether the ring waits for the mark on the life lock; the kernel may be unable to.
  var isLifeWatched = false
  /// The life has ended for certain.
  var hasEnded = false
  /// Its process has been killed by this controller.
  var isKilled = false
  /// The kernel refuses the kill, and the controller has logged that.
  var cannotBeKilled = false
  /// When the controller last checked for the end without a notification.
  var endLookedForAt: UInt64 = 0

  /// Whether it answers.
  var silence = Silence()
  /// When it was last asked to let this controller join.
  var askedAt: UInt64 = 0
  /// Stops watching.
  mutating func end() {
    if descriptor >= 0 { close(descriptor) }
    let token = self.token
    self = PeerWatch()
    self.token = token &+ 1
  }

  /// A pidfd of the process that listens at the other end of a connection to the peer's control socket; -1 where the
  /// kernel names none, or another one than the peer's record. Five system calls.
  ///
  /// The controller makes this connection when the watch begins. A stalled peer accepts it as well, from its backlog,
  /// and killing the peer later needs nothing from the peer.
  static func process(listeningAt connection: CInt, pid: UInt64, startTime: UInt64) -> CInt {
    var listener: pid_t = 0
    var user: uid_t = 0
    // Of the process that called listen(2), as it was then (unix(7)).
    guard shim_socket_peer(connection, &listener, &user) == 0, listener > 0, UInt64(listener) == pid,
      user == geteuid() || user == 0
    else { return -1 }
    var descriptor = shim_socket_peer_pidfd(connection)
    // Before Linux 6.5. The number may name another process by now; the check below finds that.
    if descriptor == -ENOPROTOOPT { descriptor = shim_pidfd_open(listener) }
    if descriptor < 0 { return -1 }
    // First the descriptor, then the check whose it is: from here on the number stays with the process.
    if ProcessIdentity.startTicks(of: "\(listener)") != startTime {
      close(descriptor)
      return -1
    }
    return descriptor
  }

  /// Whether the process behind the descriptor has ended: a pidfd can be read then (pidfd_open(2)).
  func looksEnded() -> Bool {
    if descriptor < 0 { return false }
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return Glibc.poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLIN) != 0
  }
}
