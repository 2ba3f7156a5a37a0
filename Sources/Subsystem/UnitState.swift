/// The state of a unit: whether it serves.
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

/// The state of a unit as it lies in the region: the state, and how often it was set.
///
/// The lowest bit of the count names the pair of words that says which request set it (`UnitStateSetter`). The setter
/// writes the other pair and then the word, so the effect and the identity of the request that had it change in one
/// store, and a survivor knows whether a request that it finds unanswered has taken effect.
@frozen
public struct UnitStateWord: Equatable {
  /// The word as it lies in the region.
  public let rawValue: UInt64

  /// A word as it was found.
  @inlinable @inline(__always)
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// The state, in bits that `UnitState` has as raw values.
  @inlinable @inline(__always)
  public var stateBits: UInt64 { rawValue & 0xff }

  /// The state.
  public var state: UnitState { UnitState(rawValue: stateBits) ?? .offline }

  /// How many times it was set.
  public var count: UInt64 { rawValue >> 8 }

  /// The pair of words that names the request which set it.
  public var pair: Int { Int(truncatingIfNeeded: count & 1) }

  /// Set once more.
  public func set(to state: UnitState) -> UnitStateWord {
    UnitStateWord(rawValue: (count &+ 1) << 8 | state.rawValue)
  }

  /// Whether the state is one that there is.
  public var isValid: Bool { UnitState(rawValue: stateBits) != nil }
}
