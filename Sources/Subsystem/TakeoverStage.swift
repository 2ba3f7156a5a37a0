/// A controller's progress in standing in for its peer. It lies in the controller's record, for `status`.
public enum TakeoverStage: UInt64, Sendable, CustomStringConvertible {
  /// The peer is a member, or may become one.
  case none = 0
  /// It holds the fence and has killed the other; nothing that rests on the exit is served until that is seen.
  case awaitsExit = 1
  /// It serves in the other's place; some requests of the other's journal wait for the kernel to let go of the unit.
  case recovers = 2
  /// It serves in the other's place, and nothing of the other's waits.
  case standsIn = 3

  /// For people.
  public var description: String {
    switch self {
    case .none: "none"
    case .awaitsExit: "waits for the other's exit"
    case .recovers: "recovers what the other had in flight"
    case .standsIn: "stands in for the other"
    }
  }
}
