/// Whether a unit serves.
public enum UnitState: UInt64, Sendable, Equatable, CustomStringConvertible {
  /// Everything is served.
  case online = 0
  /// What would change the unit is refused.
  case readOnly = 1
  /// All I/O is refused.
  case offline = 2

  /// `online`, `read-only`, `offline`.
  public var description: String {
    switch self {
    case .online: "online"
    case .readOnly: "read-only"
    case .offline: "offline"
    }
  }

  /// From a command line's word.
  public init?(_ word: String) {
    switch word {
    case "online": self = .online
    case "read-only": self = .readOnly
    case "offline": self = .offline
    default: return nil
    }
  }
}
