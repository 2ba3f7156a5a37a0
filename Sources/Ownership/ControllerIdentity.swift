/// One of the two controllers. There are always two: that is what "redundant" means in this design.
@frozen
public enum ControllerIdentity: UInt8, Sendable, Equatable, CaseIterable, CustomStringConvertible {
  /// The one called `a`.
  case a = 0
  /// The one called `b`.
  case b = 1

  /// The other controller.
  @inlinable @inline(__always)
  public var peer: ControllerIdentity { self == .a ? .b : .a }

  /// From a command line's word.
  public init?(_ word: String) {
    switch word {
    case "a": self = .a
    case "b": self = .b
    default: return nil
    }
  }

  /// 0 for a, 1 for b.
  @inlinable @inline(__always)
  public var index: Int { Int(rawValue) }

  /// `a` or `b`.
  public var description: String { self == .a ? "a" : "b" }
}
