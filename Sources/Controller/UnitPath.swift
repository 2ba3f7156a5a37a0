import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSubsystem

/// Where a request for one unit looks, as plain addresses: worked out once, so that no request works them out again.
struct UnitPath {
  /// How the unit was found to be.
  let geometry: UnitGeometry
  /// The bits of an offset, a length or a place in the arena that are zero in a transfer that is served at once. Where
  /// an operation is over when it has begun, and has done nothing (a null unit), they are those within a block, and
  /// those of 256 TiB and more: sums of what is left cannot overflow. Everywhere else they are all.
  private let immediateMask: UInt64
  /// The ownership word of its function.
  let ownership: SharedWord
  /// Its state, see `UnitStateWord`.
  let state: SharedWord
  /// What this controller knows of its function.
  let function: UnsafeMutablePointer<FunctionState>
  /// Makes the whole a line, so that a table's entry is found by a shift.
  private let unused: UInt8 = 0

  init(
    _ unit: Int, of region: borrowing Region, _ geometry: UnitGeometry, isImmediate: Bool,
    _ functions: UnsafeMutablePointer<FunctionState>
  ) {
    let function = Function(unit: unit)
    self.geometry = geometry
    immediateMask = isImmediate ? UInt64(geometry.blockSize) - 1 | ~0 << 48 : ~0
    ownership = region.ownership.word(function.index)
    state = region.unitStates.word(unit)
    self.function = functions + function.index
  }

  /// The bits of an offset, a length or a place in the arena that must be zero.
  var blockMask: UInt64 { UInt64(geometry.blockSize) - 1 }

  /// Whether blocks from `offset` on can be moved to or from that stretch of an arena, and that is over at once. Where
  /// they cannot, or it is not, `Controller.check` asks one thing after the other.
  @inline(__always)
  func admitsAtOnce(offset: UInt64, length: UInt64, buffer: UInt64, arenaSize: UInt64) -> Bool {
    length &- 1 < Request.transferMax && (offset | length | buffer) & immediateMask == 0
      && offset &+ length <= geometry.size && buffer &+ length <= arenaSize
  }
}
