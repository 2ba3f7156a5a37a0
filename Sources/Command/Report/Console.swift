import Baton
import BatonSharedMemory
import Glibc
import Synchronization

/// What people see. Results go to standard output, everything else to standard error.
enum Console {
  /// A line of a result. What cannot be written `checkOutput` tells of.
  static func print(_ line: String = "") {
    let failure = write(line + "\n", to: STDOUT_FILENO)
    if failure != 0, failure != EPIPE { outputFailure.store(failure, ordering: .relaxed) }
  }

  static func error(_ line: String) { write(line + "\n", to: STDERR_FILENO) }

  private static let outputFailure = Atomic<CInt>(0)

  /// Fails when something of the results could not be written. A reader who has enough and goes is no failure.
  static func checkOutput() throws(BatonError) {
    let failure = outputFailure.load(ordering: .relaxed)
    if failure != 0 { throw BatonError(result: -Int(failure), "standard output", doing: "writing the result") }
  }

  /// Writes all of it, or as much as the other end takes.
  ///
  /// - Returns: 0, or the errno of what was in the way.
  @discardableResult
  static func write(_ text: String, to descriptor: CInt) -> CInt {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress!, $0.count) }
      if count < 0, errno == EINTR { continue }
      if count <= 0 { return count < 0 ? errno : EIO }
      bytes = bytes.dropFirst(count)
    }
    return 0
  }
}

/// Progress on standard error: one line that changes on a terminal, elsewhere a line per step and one now and then.
struct Progress {
  private let isTerminal = isatty(STDERR_FILENO) != 0
  private let isQuiet: Bool
  private var step = ""
  private var shownAt: UInt64 = 0
  private var isShown = false

  init(isQuiet: Bool = false) { self.isQuiet = isQuiet }

  /// A new step begins.
  mutating func begin(_ step: String) {
    end()
    self.step = step
    shownAt = 0
    if isQuiet { return }
    if isTerminal { show("") } else { Console.error("· \(step)") }
  }

  /// Nanoseconds between two updates: on a terminal as often as people can see, elsewhere as seldom as a log can bear.
  private var period: UInt64 { isTerminal ? 125_000_000 : 10_000_000_000 }

  /// How far the step is. Cheap: shown at most once in a period.
  mutating func update(_ detail: @autoclosure () -> String) {
    if isQuiet { return }
    let now = monotonicNanoseconds()
    // Elsewhere the step's own line has just been written.
    if !isTerminal, shownAt == 0 { shownAt = now }
    if now &- shownAt < period { return }
    shownAt = now
    if isTerminal { show(detail()) } else { Console.error("· \(step): \(detail())") }
  }

  /// The step is over; its line goes.
  mutating func end() {
    if isShown { Console.write("\r\u{1b}[K", to: STDERR_FILENO) }
    isShown = false
  }

  private mutating func show(_ detail: String) {
    Console.write("\r\u{1b}[K· \(step)\(detail.isEmpty ? "" : ": \(detail)")", to: STDERR_FILENO)
    isShown = true
  }
}
