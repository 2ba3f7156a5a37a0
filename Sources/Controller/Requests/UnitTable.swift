import BatonOwnership
import BatonStorage
import BatonSubsystem
import BatonSystem

/// The units of a controller: what a request for each needs, and the geometries as they were found.
struct UnitTable: ~Copyable {
  private let paths: Table<UnitPath>
  private let geometries: Table<UnitGeometry>
  /// Units. As wide as a request's field, which it is compared with.
  let count: UInt32

  init(
    _ found: [UnitGeometry], in region: borrowing Region, isImmediate: (Int) -> Bool,
    _ functions: UnsafeMutablePointer<FunctionState>
  ) {
    paths = Table(count: found.count) { unit in
      UnitPath(unit, of: region, found[unit], isImmediate: isImmediate(unit), functions)
    }
    geometries = Table(count: found.count) { found[$0] }
    count = UInt32(found.count)
  }

  /// The words that a request for that unit needs.
  @inline(__always)
  func address(_ unit: Int) -> UnsafeMutablePointer<UnitPath> { paths.address(unit) }

  /// The geometry of a unit, as it was found when the controller started.
  func geometry(_ unit: Int) -> UnitGeometry { geometries[unit] }
}
