import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSubsystem

/// The words that a request for one unit needs, as plain addresses: computed once, not per request.
struct UnitPath {
  /// The unit's geometry as it was found.
  let geometry: UnitGeometry
  /// The bits of an offset, a length or a place in the arena that must be zero for a transfer to be served at once. For
  /// a unit whose operations do nothing and are over when they have begun (a null unit), these are the bits within a
  /// block, and those of 256 TiB and more: sums of the remaining bits cannot overflow. For every other unit they are
  /// all bits.
  private let immediateMask: UInt64
  /// The ownership word of its function.
  let ownership: SharedWord
  /// Its state, see `UnitStateWord`.
  let state: SharedWord
  /// What this controller knows of its function.
  let function: UnsafeMutablePointer<FunctionState>
  /// Pads the whole to a cache line, so that a table's entry is found by a shift.
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

  /// Whether blocks from `offset` on can be moved to or from that part of an arena, and the transfer is over at once.
  /// Where it cannot or is not, `Controller.check` makes the checks one by one.
  @inline(__always)
  func admitsAtOnce(offset: UInt64, length: UInt64, buffer: UInt64, arenaSize: UInt64) -> Bool {
    length &- 1 < Request.transferMax && (offset | length | buffer) & immediateMask == 0
      && offset &+ length <= geometry.size && buffer &+ length <= arenaSize
  }
}
