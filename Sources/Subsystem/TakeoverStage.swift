/// A controller's progress in standing in for its peer. It lies in the controller's record, for `status`.
public enum TakeoverStage: UInt64, Sendable, CustomStringConvertible {
  /// The peer is a member, or may become one.
  case none = 0
  /// It holds the fence and has killed its peer; nothing that depends on the exit is served until that is seen.
  case awaitsExit = 1
  /// It serves in its peer's place; some requests of the peer's journal wait for the kernel to release the unit.
  case recovers = 2
  /// It serves in its peer's place, and none of the peer's requests waits.
  case standsIn = 3

  /// For people.
  public var description: String {
    switch self {
    case .none: "none"
    case .awaitsExit: "waits for the peer's exit"
    case .recovers: "recovers what the peer had in flight"
    case .standsIn: "stands in for the peer"
    }
  }
}
