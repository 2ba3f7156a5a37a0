import BatonChannel

/// A request that a controller has answered with an error: what `AsyncHost.read` and `write` throw.
public struct RequestFailure: Error, Sendable, Equatable, CustomStringConvertible {
  /// The unit's number.
  public let unit: UInt32
  /// What the controller answered.
  public let status: Status

  init(unit: UInt32, status: Status) {
    self.unit = unit
    self.status = status
  }

  /// `unit 3: past the end of the unit`.
  public var description: String { "unit \(unit): \(status)" }
}
