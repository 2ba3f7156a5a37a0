/// The thing that is owned: there is one function for each unit, and the management function. A function is a number
/// in the region's row of ownership words.
@frozen
public struct Function: Equatable, Hashable, CustomStringConvertible {
  /// Its place in the row.
  public let index: Int

  /// The function at that place of the row.
  @inlinable @inline(__always)
  public init(index: Int) { self.index = index }

  /// The function that a unit's requests go to.
  @inlinable @inline(__always)
  public init(unit: Int) { index = unit &+ 1 }

  /// The function that management requests go to.
  public static var management: Function {
    @inlinable @inline(__always) get { Function(index: 0) }
  }

  /// The function that a request goes to, by what it says.
  package init(unit: UInt32, isManagement: Bool) {
    self = isManagement ? .management : Function(unit: Int(unit))
  }

  /// The unit, or nil for management.
  @inlinable @inline(__always)
  public var unit: Int? { index == 0 ? nil : index &- 1 }

  /// `management` or `unit 3`.
  public var description: String { unit.map { "unit \($0)" } ?? "management" }
}
