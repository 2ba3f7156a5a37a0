import BatonSystem
import CBatonShims

/// A set of the control sockets that can be waited for (epoll(7)), and whether a sleep on it has been announced. Nobody
/// may ever ask for it.
struct SocketSet: ~Copyable {
  /// -1: nobody has asked for it.
  private var descriptor = OwnedDescriptor(-1)
  private var isSleepAnnounced = false

  /// Whether somebody has asked for it.
  var isMade: Bool { descriptor.number >= 0 }

  /// Its descriptor, which stays the same.
  var number: CInt { descriptor.number }

  /// Makes it.
  ///
  /// - Throws: `.exhausted` if the process has no descriptor left.
  mutating func make() throws(BatonError) {
    precondition(!isMade, "a host has one set of sockets")
    descriptor = OwnedDescriptor(
      try check(
        shim_poll_set(), "host", doing: "making a descriptor to wait on", fix: "raise the limit with 'ulimit -n'"))
  }

  /// A sleep on it has been announced.
  mutating func beginSleep() {
    precondition(isMade, "`descriptor` comes first")
    isSleepAnnounced = true
  }

  /// Whether a sleep had been announced; it is over.
  mutating func endSleep() -> Bool {
    defer { isSleepAnnounced = false }
    return isSleepAnnounced
  }
}
