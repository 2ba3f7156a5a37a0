import Baton
import BatonSystem
import Glibc

/// Looks for something that comes within microseconds or within milliseconds, on a machine with few cores: others run
/// between two looks.
struct Lookout {
  private let what: String
  private let start = monotonicNanoseconds()

  /// How long it looks without sleeping: a death without work is over by then, and a sleep would be most of it.
  private static let wakefulNanoseconds: UInt64 = 3_000_000
  /// Microseconds of a sleep: little compared with the milliseconds that it has looked by then.
  private static let sleepMicroseconds: useconds_t = 20
  /// What has not come by then does not come.
  private static let patienceNanoseconds: UInt64 = 20_000_000_000

  /// The time runs from here.
  init(_ what: String) { self.what = what }

  /// Since the beginning.
  var microseconds: Double { Double(monotonicNanoseconds() - start) / 1e3 }

  /// Fails when it should have come.
  func check() throws(BatonError) {
    let waited = monotonicNanoseconds() - start
    if waited > Self.patienceNanoseconds { throw BatonError(.system, what, "was not seen in time") }
  }

  /// Between two looks that found nothing.
  func pause() throws(BatonError) {
    try check()
    let waited = monotonicNanoseconds() - start
    if waited < Self.wakefulNanoseconds { sched_yield() } else { usleep(Self.sleepMicroseconds) }
  }

  /// Whether the process behind a pidfd is gone. One system call.
  static func hasEnded(_ handle: borrowing OwnedDescriptor) -> Bool { hasEnded(handle.number) }

  /// The same for a caller that has only its number.
  static func hasEnded(_ handle: CInt) -> Bool {
    var looked = pollfd(fd: handle, events: Int16(POLLIN), revents: 0)
    return poll(&looked, 1, 0) == 1
  }
}
