/// Why a command that measures or checks ended, and the exit status that says so.
package struct Ending: Encodable, Equatable, Sendable {
  package enum Reason: String, Encodable {
    /// All was done, and right.
    case complete
    /// A signal asked it to end.
    case interrupted
    /// Data or answers were wrong.
    case violation
    /// Requests ended with errors.
    case errors
    /// A goal was missed, and that was to be a failure.
    case missed
    /// Nobody serves any more, or the subsystem is gone.
    case lost
    /// Something else was in the way.
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
