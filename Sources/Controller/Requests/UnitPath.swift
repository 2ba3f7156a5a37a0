import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSubsystem

/// The words that a request for one unit needs, as plain addresses: computed once, not per request. One cache line.
struct UnitPath {
  /// The unit's size in bytes.
  let size: UInt64
  /// The bits of an offset, a length or a place in the arena that must be zero for a transfer to be served at once. For
  /// a unit whose operations do nothing and are over when they have begun (a null unit), these are the bits within a
  /// block, and those of 256 TiB and more: sums of the remaining bits cannot overflow. For every other unit they are
  /// all bits.
  fileprivate let immediateMask: UInt64
  /// The ownership word of its function.
  let ownership: SharedWord
  /// Its state, see `UnitStateWord`.
  let state: SharedWord
  /// What this controller knows of its function.
  let function: UnsafeMutablePointer<FunctionState>
  private let blockSize: UInt32
  // Pads the whole to a cache line, so that a table's entry is found by a shift.
  private let unused: UInt64 = 0
  private let unusedAsWell: UInt64 = 0

  init(
    _ unit: Int, of region: borrowing Region, _ geometry: UnitGeometry, isImmediate: Bool,
    _ functions: UnsafeMutablePointer<FunctionState>
  ) {
    let function = Function(unit: unit)
    size = geometry.size
    blockSize = geometry.blockSize
    immediateMask = isImmediate ? UInt64(geometry.blockSize) - 1 | ~0 << 48 : ~0
    ownership = region.ownership.word(function.index)
    state = region.unitStates.word(unit)
    self.function = functions + function.index
  }

  /// The bits of an offset, a length or a place in the arena that must be zero.
  var blockMask: UInt64 { UInt64(blockSize) - 1 }
}

/// Requests of one kind, one after the other, that are over as soon as they have begun: what they have in common, in
/// constants. `Controller.beginRun` makes one, and says what has been checked by then.
struct RunAtOnce {
  /// Everything that their heads have in common, see `RequestCopy.likeness`.
  let likeness: UInt64
  /// What the answers say of the service.
  let service: Service
  /// Where the bytes that they move are counted.
  let bytesMoved: SharedWord
  private let mask: UInt64
  private let size: UInt64
  private let state: SharedWord

  @inline(__always)
  init(
    like first: RequestCopy, _ unit: UnsafeMutablePointer<UnitPath>, service: Service, bytesMoved: SharedWord
  ) {
    likeness = first.likeness
    self.service = service
    self.bytesMoved = bytesMoved
    mask = unit.pointee.immediateMask
    size = unit.pointee.size
    state = unit.pointee.state
  }

  /// Whether the next request may be in the line of the last one.
  @inline(__always)
  var mayStay: Bool { RequestCopy.mayStay(likeness) }

  /// Whether a request like these can be served at once: the unit has its blocks, the arena has room for them, and the
  /// unit is online. Where it cannot, `Controller.receive` makes the checks one by one.
  @inline(__always)
  func admits(_ copy: RequestCopy, arenaSize: UInt64) -> Bool {
    copy.length &- 1 < Request.transferMax && (copy.offset | copy.length | copy.buffer) & mask == 0
      && copy.offset &+ copy.length <= size && copy.buffer &+ copy.length <= arenaSize
      // Relaxed, and looked at for each request: the same as in `serve`.
      && UnitStateWord(rawValue: state.loadRelaxed()).stateBits == UnitState.online.rawValue
  }
}
