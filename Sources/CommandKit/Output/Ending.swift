/// The reason why a command that measures or checks ended, and its exit status.
package struct Ending: Encodable, Equatable, Sendable {
  package enum Reason: String, Encodable {
    /// Everything was done, and correct.
    case complete
    /// A signal asked it to end.
    case interrupted
    /// Data or answers were wrong.
    case violation
    /// Requests ended with errors.
    case errors
    /// A goal was missed, with `--fail-on-miss`.
    case missed
    /// No controller serves any more, or the subsystem is gone.
    case lost
    /// Another error.
    case failed
  }

  package let reason: Reason
  /// The exit status.
  package let status: Int32
  /// A message for people.
  @OrNull package var message: String?

  package static let complete = Ending(reason: .complete, status: 0)

  package init(reason: Reason, status: Int32, message: String? = nil) {
    self.reason = reason
    self.status = status
    self.message = message
  }

  /// From a signal.
  package init(signal: CInt) { self.init(reason: .interrupted, status: 128 + signal) }
}
