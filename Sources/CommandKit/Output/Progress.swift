import BatonSystem
import Glibc

/// Progress on standard error: one line that changes on a terminal, elsewhere a line per step and one now and then.
package struct Progress {
  private let isTerminal = isatty(STDERR_FILENO) != 0
  private let isQuiet: Bool
  private var step = ""
  private var shownAt: UInt64 = 0
  private var isShown = false

  package init(isQuiet: Bool = false) { self.isQuiet = isQuiet }

  /// A new step begins.
  package mutating func begin(_ step: String) {
    end()
    self.step = step
    shownAt = 0
    if isQuiet { return }
    if isTerminal { show("") } else { Console.error("· \(step)") }
  }

  /// Nanoseconds between two updates: on a terminal as often as people can see, elsewhere as seldom as a log can bear.
  private var period: UInt64 { isTerminal ? 125_000_000 : 10_000_000_000 }

  /// The progress of the step. Cheap: shown at most once in a period.
  package mutating func update(_ detail: @autoclosure () -> String) {
    if isQuiet { return }
    let now = monotonicNanoseconds()
    // Elsewhere the step's own line has just been written.
    if !isTerminal, shownAt == 0 { shownAt = now }
    if now &- shownAt < period { return }
    shownAt = now
    if isTerminal { show(detail()) } else { Console.error("· \(step): \(detail())") }
  }

  /// The step is over; its line goes.
  package mutating func end() {
    if isShown { Console.write("\r\u{1b}[K", to: STDERR_FILENO) }
    isShown = false
  }

  /// Cut to the terminal's width: what is longer would go on in a second line, which stays when this one goes.
  private mutating func show(_ detail: String) {
    let text = "· \(step)\(detail.isEmpty ? "" : ": \(detail)")"
    let room = max((Console.columns(of: .error) ?? 80) - 1, 1)
    Console.write("\r\u{1b}[K" + (text.count > room ? text.prefix(room - 1) + "…" : text[...]), to: STDERR_FILENO)
    isShown = true
  }
}
