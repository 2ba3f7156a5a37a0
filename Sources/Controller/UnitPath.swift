import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSubsystem

/// Where a request for one unit looks, as plain addresses: worked out once, so that no request works them out again.
struct UnitPath {
  /// How the unit was found to be.
  let geometry: UnitGeometry
  /// The bits of an offset, a length or a place in the arena that must be zero.
  let blockMask: UInt64
  /// The ownership word of its function.
  let ownership: SharedWord
  /// Its state, see `UnitStateWord`.
  let state: SharedWord
  /// What this controller knows of its function.
  let function: UnsafeMutablePointer<FunctionState>
  /// Whether an operation is over when it has begun, and has done nothing: a null unit. Makes the whole a line, so that
  /// a table's entry is found by a shift.
  let isImmediate: Bool

  init(
    _ unit: Int, of region: borrowing Region, _ geometry: UnitGeometry, isImmediate: Bool,
    _ functions: UnsafeMutablePointer<FunctionState>
  ) {
    self.isImmediate = isImmediate
    let function = Function(unit: unit)
    self.geometry = geometry
    blockMask = UInt64(geometry.blockSize) - 1
    ownership = region.ownership.word(function.index)
    state = region.unitStates.word(unit)
    self.function = functions + function.index
  }

  /// Whether blocks from `offset` on can be moved to or from that stretch of an arena. What the answer is where they
  /// cannot, `Controller.check` says.
  @inline(__always)
  func admitsTransfer(offset: UInt64, length: UInt64, buffer: UInt64, arenaSize: UInt64) -> Bool {
    length &- 1 < Request.transferMax && offset <= geometry.size && length <= geometry.size &- offset
      && buffer <= arenaSize && length <= arenaSize &- buffer && (offset | length | buffer) & blockMask == 0
  }
}
