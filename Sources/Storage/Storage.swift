import BatonRing
import BatonSystem
import CBatonShims
import CLiburing
import Glibc

/// One controller's access to the units: starts operations, retries what the kernel asks to retry, completes short
/// transfers, and reports how each ended.
///
/// Does not know which controller may do what; the caller has decided. Fixed tables, no allocation after `init`. What
/// depends on the kind of a unit stands in the kind's own file, see `BackendKind`; what the ring does is in
/// `Storage+Ring.swift`, what this thread does in pieces in `Storage+Pieces.swift`.
public struct Storage: ~Copyable {
  /// The operations on a unit.
  @frozen
  public enum Operation: UInt8 {
    case read, write, flush, discard, writeZeroes, fillZeroes, readInPlace

    /// Whether its extent may be large, with no data behind it.
    var isLengthy: Bool { self == .discard || makesZeroes }

    var makesZeroes: Bool { self == .writeZeroes || self == .fillZeroes }
  }

  /// The result of `start`.
  @frozen
  public enum Disposition {
    /// Complete: bytes transferred, or -errno.
    case completed(Int32)
    /// In flight: a completion with the caller's token follows.
    case started
  }

  /// What came of a completion, or of a piece.
  @frozen
  public enum Event {
    /// An operation ended: the caller's token, and 0 or -errno.
    case completed(token: UInt64, result: Int32)
    /// A step of an operation ended and another began. Nothing for the caller.
    case progressed
  }

  @usableFromInline let backends: Table<Backend>
  @usableFromInline var steps = Steps(count: Storage.operationsMax)
  /// Operations of memory units that this thread does in pieces, see `nextPiece`.
  var lanes = Lanes(capacity: Storage.lanesMax)
  /// The life whose work it is.
  private let life: StorageLife

  /// The number of operations that can be in flight at once.
  public static let operationsMax = 4095
  /// Hundredths of a second for which `drain` waits for operations in flight.
  private static let drainWaitsMax = 3000
  /// Milliseconds that the I/O of another subsystem's dead controller may take to end.
  public static let lockMillisecondsMax = 10_000
  /// Lanes that operations can be started in.
  public static let lanesMax = 512
  /// Descriptors that are left for everything else.
  private static let descriptorsSpare: UInt64 = 512

  /// Opens every unit for this life of a controller, and holds each of them to the end of it (`UnitLock`).
  public init(
    units: [(geometry: UnitGeometry, path: String, faults: FaultPlan)], life: StorageLife,
    lockMillisecondsMax: Int = Storage.lockMillisecondsMax
  ) throws(BatonError) {
    let limit = shim_raise_open_file_limit()
    let needed = units.reduce(0) { $0 + UInt64($1.geometry.kind.type.descriptorsNeeded) }
    let useful = units.reduce(0) { $0 + UInt64($1.geometry.kind.type.descriptorsUseful) }
    if limit < needed + Self.descriptorsSpare {
      throw BatonError(
        .exhausted, "open files",
        "the limit is \(limit) and \(needed) units need \(needed + Self.descriptorsSpare)",
        fix: "raise it with 'ulimit -Hn'")
    }
    var opened: [Backend] = []
    do throws(BatonError) {
      for unit in units {
        let backend = try unit.geometry.kind.type.open(
          UnitToOpen(
            geometry: unit.geometry, path: unit.path, faults: unit.faults, life: life,
            lockMillisecondsMax: lockMillisecondsMax,
            keepsUsefulDescriptors: limit >= useful + Self.descriptorsSpare))
        opened.append(backend)
      }
    } catch {
      for backend in opened { backend.close() }
      throw error
    }
    self.life = life
    backends = Table(count: opened.count) { opened[$0] }
  }

  deinit {
    for unit in backends.indices { backends[unit].close() }
  }

  /// Operations that can be started before one must complete.
  @inlinable @inline(__always)
  public var freeSteps: Int { steps.freeCount }

  /// Operations in flight.
  public var inFlight: Int { Self.operationsMax - freeSteps }
}

// The units.
extension Storage {
  /// Whether an operation on this unit may take one of the steps, or is always over when `start` returns.
  @inlinable @inline(__always)
  public func needsStep(unit: Int) -> Bool { !backends.address(unit).pointee.doesNothing }

  /// Whether operations on this unit are I/O, or are made to look like it.
  @inlinable @inline(__always)
  public func isStorage(unit: Int) -> Bool { backends.address(unit).pointee.isStorage }

  /// Whether an operation on this unit does nothing, and is over when `start` returns.
  public func doesNothing(unit: Int) -> Bool { backends[unit].doesNothing }

  /// The cost of an operation on this unit for the thread that begins it, as bytes that it moves. Work for the kernel
  /// counts as an eighth. Work in pieces is counted when it is done.
  public func bytesMoved(_ operation: Operation, unit: Int, length: UInt64, isStarted: Bool) -> Int {
    backends.address(unit).pointee.bytesMoved(operation, Int(truncatingIfNeeded: length), isStarted: isStarted)
  }

  /// The drain proof: whether nothing that lives of a controller before `incarnation` have given to the kernel will
  /// land on the unit or in a buffer any more. The caller has seen the exit of the last of these lives. Cost: one
  /// system call for a file, none for others: what moves without the kernel ends with the process.
  public func isDrained(unit: Int, controllerIndex: Int, before incarnation: UInt64) -> Bool {
    let descriptor = backends[unit].descriptor
    if descriptor < 0 { return true }
    var before = life
    before.controllerIndex = controllerIndex
    before.incarnation = incarnation
    return UnitLock.isDrained(descriptor, before)
  }
}

// The life of an operation.
extension Storage {
  /// Begins an operation on a unit. The caller has checked extent and buffer, and that `freeSteps` is not 0 where
  /// the unit `needsStep`.
  ///
  /// `isDurable` is FUA: the answer waits until the data is on stable storage. Zeroes that `mustBeFast` end with
  /// -EOPNOTSUPP, and nothing is changed, where there is no way to make them that is quicker than to write them.
  ///
  /// `lane` names the client it is for, below `lanesMax`: work in pieces is done lane by lane in turn.
  ///
  /// Null units are done when this returns, and short operations on memory units and on files on tmpfs. Longer ones on
  /// memory units are done by `nextPiece`. Others are prepared in the ring: nothing is given to the kernel before that
  /// is submitted.
  @inlinable @inline(__always)
  public mutating func start(
    _ operation: Operation, unit: Int, offset: UInt64, length: UInt64, address: UnsafeMutableRawPointer?,
    isDurable: Bool, mustBeFast: Bool = false, lane: Int = 0, token: UInt64, on ring: borrowing Ring
  ) -> Disposition {
    if backends.address(unit).pointee.doesNothing { return .completed(0) }
    return startSlowly(
      operation, unit: unit, offset: offset, length: length, address: address, isDurable: isDurable,
      mustBeFast: mustBeFast, lane: lane, token: token, on: ring)
  }

  @usableFromInline
  mutating func startSlowly(
    _ operation: Operation, unit: Int, offset: UInt64, length: UInt64, address: UnsafeMutableRawPointer?,
    isDurable: Bool, mustBeFast: Bool, lane: Int, token: UInt64, on ring: borrowing Ring
  ) -> Disposition {
    let backend = backends.address(unit)
    assert(backend.pointee.contains(offset, length), "an operation outside of its unit")
    assert(lane >= 0 && lane < Self.lanesMax, "no such lane")
    if backend.pointee.hasFaults {
      backend.pointee.operations += 1
      if backend.pointee.faults.fails(backend.pointee.operations) { return .completed(-EIO) }
    }
    // The caller reads: there is nothing to do for it here, or it is impossible.
    if operation == .readInPlace { return .completed(backend.pointee.pages >= 0 ? 0 : -EOPNOTSUPP) }
    let delayNanoseconds = backend.pointee.faults.delayNanoseconds
    let transfer = Transfer(
      operation: operation, offset: offset, length: length, address: address, isDurable: isDurable)
    if delayNanoseconds == 0, backend.pointee.doAtOnce(transfer, mustEnd: steps.freeCount == 0) {
      return .completed(0)
    }
    let zeroing = backend.pointee.zeroing(operation, mustBeFast: mustBeFast)
    if mustBeFast, operation.makesZeroes, zeroing == .writeZeroes { return .completed(-EOPNOTSUPP) }
    let index = steps.take()
    let step = steps.address(index)
    step.pointee.lane = Int32(truncatingIfNeeded: lane)
    step.pointee.unit = Int32(unit)
    step.pointee.operation = operation
    step.pointee.isDurable = isDurable
    step.pointee.mustBeFast = mustBeFast
    step.pointee.retries = 0
    step.pointee.token = token
    step.pointee.offset = offset
    step.pointee.remaining = length
    step.pointee.address = address
    step.pointee.phase = delayNanoseconds > 0 ? .delay : .transfer
    step.pointee.zeroing = zeroing
    if operation.isLengthy { backend.pointee.lengthy += 1 }
    if delayNanoseconds > 0 {
      step.pointee.delay = __kernel_timespec(
        tv_sec: Int64(delayNanoseconds / 1_000_000_000), tv_nsec: Int64(delayNanoseconds % 1_000_000_000))
    }
    _ = again(index, ring)
    return .started
  }

  /// The step's next phase: the kernel's, or this thread's.
  mutating func again(_ index: Int32, _ ring: borrowing Ring) -> Event {
    let step = steps.address(index)
    assert(step.pointee.phase != .free && step.pointee.next == -1, "a step that goes on stands in no list")
    if step.pointee.phase == .transfer, backends.address(Int(step.pointee.unit)).pointee.work == .thread {
      lanes.append(index, steps.all)
    } else if !issue(index, ring) {
      steps.stall(index)
    }
    return .progressed
  }

  /// The operation has ended.
  mutating func end(_ index: Int32, _ result: Int32) -> Event {
    let step = steps.address(index)
    if step.pointee.operation.isLengthy {
      let backend = backends.address(Int(step.pointee.unit))
      backend.pointee.lengthy -= 1
      assert(backend.pointee.lengthy >= 0, "an operation ends once")
    }
    steps.giveBack(index)
    return .completed(token: step.pointee.token, result: result)
  }

  /// Waits until the kernel works on nothing any more, and starts nothing that is left: the storage is unusable
  /// after this. Needed before a host's arena is unmapped: the kernel writes into it until the last operation ends.
  ///
  /// - Returns: false when something is still under way after `drainWaitsMax`.
  public func drain(_ ring: borrowing Ring) -> Bool {
    // What this thread does itself is not the kernel's. Steps that found no room in the ring are not yet, and never
    // will be.
    var underWay = inFlight - lanes.steps - steps.stalledCount
    assert(underWay >= 0, "no step is in two lists")
    var waits = 0
    while underWay > 0, waits < Self.drainWaitsMax {
      ring.wait(nanoseconds: 10_000_000)
      while let completion = ring.next() {
        if completion.token.owner == .storage { underWay -= 1 }
      }
      waits += 1
    }
    return underWay == 0
  }
}
