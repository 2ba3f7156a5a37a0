import BatonRing
import BatonSystem
import CBatonShims
import CLiburing
import Glibc

/// One controller's access to the units: starts operations, retries what the kernel asks to retry, completes short
/// transfers, and reports how each ended.
///
/// Does not know which controller may do what; the caller has decided. Fixed tables, no allocation after `init`.
public struct Storage: ~Copyable {
  /// The operations on a unit.
  @frozen
  public enum Operation: UInt8 {
    case read, write, flush, discard, writeZeroes, fillZeroes, readInPlace

    /// Whether its extent may be large, with no data behind it.
    fileprivate var isLengthy: Bool { self == .discard || makesZeroes }

    fileprivate var makesZeroes: Bool { self == .writeZeroes || self == .fillZeroes }
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

  /// One operation in flight.
  @usableFromInline
  struct Step {
    @usableFromInline var next: Int32 = -1
    @usableFromInline var lane: Int32 = 0
    @usableFromInline var unit: Int32 = 0
    @usableFromInline var operation: Operation = .read
    @usableFromInline var isDurable = false
    @usableFromInline var mustBeFast = false
    @usableFromInline var phase: Phase = .transfer
    /// How this one writes zeroes: the backend's best way when it was issued, which another may have moved since.
    @usableFromInline var zeroing = Backend.ZeroingMethod.punchHole
    @usableFromInline var retries: UInt16 = 0
    @usableFromInline var token: UInt64 = 0
    @usableFromInline var offset: UInt64 = 0
    @usableFromInline var remaining: UInt64 = 0
    @usableFromInline var address: UnsafeMutableRawPointer?
    // io_uring reads a timeout's duration at submission, which may come after this call has returned.
    @usableFromInline var delay = __kernel_timespec()

    @usableFromInline init() {}
  }

  /// The progress of an operation.
  @usableFromInline
  enum Phase: UInt8 { case delay, transfer, sync }

  @usableFromInline let backends: UnsafeMutableBufferPointer<Backend>
  @usableFromInline let steps: UnsafeMutableBufferPointer<Step>
  @usableFromInline var firstFree: Int32
  /// The list of steps for which the ring had no room.
  @usableFromInline var firstStalled: Int32 = -1
  /// Operations of memory units that this thread does in pieces, see `nextPiece`.
  private var lanes: Lanes
  /// Operations that can be started before one must complete.
  public private(set) var freeSteps: Int
  /// The source of write-zeroes if the file system has no better way. One for the process, never written and never
  /// given back: the kernel may read it for longer than a storage lives.
  nonisolated(unsafe) private static let zeroes = {
    let zeroes = UnsafeMutableRawPointer.allocate(byteCount: zeroesCount, alignment: 65536)
    memset(zeroes, 0, zeroesCount)
    return zeroes
  }()

  /// The number of operations that can be in flight at once.
  public static let operationsMax = 4096
  /// EAGAIN and EINTR are retried so many times in a row before they count as failures.
  private static let retriesMax: UInt16 = 1000
  private static let zeroesCount = 262_144
  /// Hundredths of a second for which `drain` waits for operations in flight.
  private static let drainWaitsMax = 3000

  /// The life whose work it is.
  private let life: StorageLife

  /// Milliseconds that the I/O of another subsystem's dead controller may take to end.
  public static let lockMillisecondsMax = 10_000

  /// Lanes that operations can be started in.
  public static let lanesMax = 512

  /// Opens every unit for this life of a controller, and holds each of them to the end of it (`UnitLock`).
  public init(
    units: [(geometry: UnitGeometry, path: String, faults: FaultPlan)], life: StorageLife,
    lockMillisecondsMax: Int = Storage.lockMillisecondsMax
  ) throws(BatonError) {
    let limit = baton_raise_open_file_limit()
    // A block device takes a second one, see `BlockDevice`.
    let files = units.count { $0.geometry.kind.isFile } + units.count { $0.geometry.kind == .blockDevice }
    // One for each memory unit, where there may be so many: without it what is read of it is copied once more.
    let keepsMemory = limit >= UInt64(units.count { $0.geometry.kind != .null }) + 512
    if limit < UInt64(files) + 512 {
      throw BatonError(
        .exhausted, "open files", "the limit is \(limit) and \(files) units need \(files + 512)",
        fix: "raise it with 'ulimit -Hn'")
    }
    var opened: [Backend] = []
    do throws(BatonError) {
      for unit in units {
        opened.append(
          try Backend.open(
            unit.geometry, path: unit.path, faults: unit.faults, life: life,
            lockMillisecondsMax: lockMillisecondsMax, keepsMemory: keepsMemory))
      }
    } catch {
      for backend in opened { backend.close() }
      throw error
    }
    self.life = life
    backends = .allocate(capacity: opened.count)
    _ = backends.initialize(from: opened)
    steps = .allocate(capacity: Self.operationsMax)
    steps.initialize(repeating: Step())
    for index in 0..<Self.operationsMax - 1 { steps[index].next = Int32(index + 1) }
    firstFree = 0
    lanes = Lanes(capacity: Self.lanesMax)
    freeSteps = Self.operationsMax
  }

  deinit {
    for backend in backends { backend.close() }
    backends.deallocate()
    steps.deallocate()
  }

  /// Waits until the kernel works on nothing any more, and starts nothing that is left: the storage is unusable
  /// after this. Needed before a host's arena is unmapped: the kernel writes into it until the last operation ends.
  ///
  /// - Returns: false when something is still under way after `drainWaitsMax`.
  public func drain(_ ring: borrowing Ring) -> Bool {
    var underWay = inFlight
    // What this thread does itself is not the kernel's. Steps that found no room in the ring are not yet, and never
    // will be.
    underWay -= lanes.steps
    var stalled = firstStalled
    while stalled >= 0 {
      underWay -= 1
      stalled = steps[Int(stalled)].next
    }
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

  /// The drain proof: whether nothing that lives of a controller before `incarnation` have given to the kernel will
  /// land on the unit or in a buffer any more. The caller has seen the exit of the last of these lives. Cost: one
  /// system call for a file, none for others: what moves without the kernel ends with the process.
  public func isDrained(unit: Int, controllerIndex: Int, before incarnation: UInt64) -> Bool {
    let backend = backends[unit]
    if backend.descriptor < 0 { return true }
    var before = life
    before.controllerIndex = controllerIndex
    before.incarnation = incarnation
    return UnitLock.isDrained(backend.descriptor, before)
  }

  /// Operations in flight.
  public var inFlight: Int { Self.operationsMax - freeSteps }

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
    let backend = backends.baseAddress! + unit
    if backend.pointee.geometry.kind == .null, !backend.pointee.hasFaults { return .completed(0) }
    return startSlowly(
      operation, unit: unit, offset: offset, length: length, address: address, isDurable: isDurable,
      mustBeFast: mustBeFast, lane: lane, token: token, on: ring)
  }

  @usableFromInline
  mutating func startSlowly(
    _ operation: Operation, unit: Int, offset: UInt64, length: UInt64, address: UnsafeMutableRawPointer?,
    isDurable: Bool, mustBeFast: Bool, lane: Int, token: UInt64, on ring: borrowing Ring
  ) -> Disposition {
    let backend = backends.baseAddress! + unit
    let faults = backend.pointee.faults
    if backend.pointee.hasFaults {
      backend.pointee.operations += 1
      let number = backend.pointee.operations
      if faults.errorAfter > 0 && number > faults.errorAfter
        || faults.errorEvery > 0 && number % faults.errorEvery == 0
      {
        return .completed(-EIO)
      }
    }
    // The caller reads: there is nothing to do for it here, or it is impossible.
    if operation == .readInPlace { return .completed(backend.pointee.pages >= 0 ? 0 : -EOPNOTSUPP) }
    let isDelayed = faults.delayNanoseconds > 0
    if !isDelayed {
      switch backend.pointee.geometry.kind {
      case .null: return .completed(0)
      case .memory:
        if length <= Self.pieceSize || freeSteps == 0 {
          transferInMemory(operation, backend.pointee, offset, length, address)
          return .completed(0)
        }
      case .file, .blockDevice:
        if backend.pointee.copiesAtOnce, !isDurable, length <= Self.copyAtOnceMax,
          Self.copy(operation, backend.pointee, offset, length, address)
        {
          return .completed(0)
        }
      }
    }
    let zeroing = zeroing(operation, backend.pointee, mustBeFast: mustBeFast)
    if mustBeFast, operation.makesZeroes, zeroing == .writeZeroes { return .completed(-EOPNOTSUPP) }
    let index = firstFree
    precondition(index >= 0, "a storage operation was started though none was free")
    let step = steps.baseAddress! + Int(index)
    firstFree = step.pointee.next
    freeSteps -= 1
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
    step.pointee.phase = isDelayed ? .delay : .transfer
    step.pointee.zeroing = zeroing
    if operation.isLengthy { backend.pointee.lengthy += 1 }
    if isDelayed {
      step.pointee.delay = __kernel_timespec(
        tv_sec: Int64(faults.delayNanoseconds / 1_000_000_000),
        tv_nsec: Int64(faults.delayNanoseconds % 1_000_000_000))
    }
    _ = again(index, ring)
    return .started
  }

  /// The ring has no room at present: the step waits for the next submission.
  private mutating func stall(_ index: Int32) {
    steps[Int(index)].next = firstStalled
    firstStalled = index
  }

  /// Prepared entries that should be given to the kernel in one call, and no more.
  ///
  /// Two: of more than two (`IO_PLUG_THRESHOLD` in io_uring/io_uring.c) the kernel keeps all back until the last one is
  /// prepared (`blk_start_plug`), and gives them to the device together. A disk then does nothing while a batch is
  /// being made, and works on a whole batch while nobody makes one: at depth 32 that costs more than system calls do.
  public static let batch = 2

  /// Whether something found no room in the ring, and waits for `resume`.
  @inlinable @inline(__always)
  public var hasStalled: Bool { firstStalled >= 0 }

  /// The ring has been submitted: prepares what found no room in it before.
  public mutating func resume(on ring: borrowing Ring) {
    while firstStalled >= 0, ring.hasRoom {
      let index = firstStalled
      firstStalled = steps[Int(index)].next
      if !issue(index, ring) { stall(index) }
    }
  }

  /// Whether an operation on this unit may take one of the places, or is always over when `start` returns.
  @inlinable @inline(__always)
  public func needsStep(unit: Int) -> Bool {
    let backend = backends.baseAddress! + unit
    return backend.pointee.geometry.kind != .null || backend.pointee.hasFaults
  }

  /// Whether operations on this unit are I/O, or are made to look like it.
  @inlinable @inline(__always)
  public func isStorage(unit: Int) -> Bool {
    let backend = backends.baseAddress! + unit
    return backend.pointee.geometry.kind.isFile || backend.pointee.hasFaults
  }

  /// The cost of an operation on this unit for the thread that begins it, as bytes that it moves. Work for the kernel
  /// counts as an eighth: the kernel copies elsewhere, but finds and pins the pages in the call that submits. Work in
  /// pieces is counted when it is done.
  public func bytesMoved(_ operation: Operation, unit: Int, length: UInt64, isStarted: Bool) -> Int {
    let backend = backends.baseAddress! + unit
    let bytes = Int(truncatingIfNeeded: length)
    switch operation {
    case .flush, .readInPlace: return 0
    case .discard, .writeZeroes, .fillZeroes: return backend.pointee.geometry.kind == .memory && !isStarted ? bytes : 0
    case .read, .write:
      switch backend.pointee.geometry.kind {
      case .null: return 0
      case .memory: return isStarted ? 0 : bytes
      case .file, .blockDevice: return isStarted ? bytes / 8 : bytes
      }
    }
  }

  /// Whether an operation on this unit does nothing, and is over when `start` returns.
  public func doesNothing(unit: Int) -> Bool {
    let backend = backends[unit]
    return backend.geometry.kind == .null && !backend.hasFaults
  }

  /// Prepares the entry for a step's present phase. False when the ring takes nothing.
  private func issue(_ index: Int32, _ ring: borrowing Ring) -> Bool {
    ring.prepare(.storage, UInt32(bitPattern: index)) { fill($0, for: index) }
  }

  private func fill(_ sqe: UnsafeMutablePointer<baton_uring_sqe>, for index: Int32) {
    let step = steps.baseAddress! + Int(index)
    let backend = backends.baseAddress! + Int(step.pointee.unit)
    let descriptor = backend.pointee.descriptor
    switch step.pointee.phase {
    case .delay:
      // Not `&step.pointee.delay`: the kernel reads it after this call, and such a pointer is good for the call only.
      let delay = UnsafeMutableRawPointer(step) + MemoryLayout<Step>.offset(of: \.delay)!
      baton_prep_timeout(sqe, delay.assumingMemoryBound(to: __kernel_timespec.self))
    case .sync: baton_prep_data_sync(sqe, descriptor)
    case .transfer:
      switch step.pointee.operation {
      case .read, .write:
        // One call's worth: what is left, no more than the kernel takes in one piece, or less on purpose.
        var count = UInt32(min(step.pointee.remaining, 1 << 30))
        let short = backend.pointee.faults.shortTransferBytes
        if short > 0 {
          let blockSize = backend.pointee.geometry.blockSize
          count = min(count, backend.pointee.geometry.isDirect ? max(short / blockSize, 1) * blockSize : short)
        }
        if step.pointee.operation == .read {
          io_uring_prep_read(sqe, descriptor, step.pointee.address, count, step.pointee.offset)
        } else {
          io_uring_prep_write(sqe, descriptor, step.pointee.address, count, step.pointee.offset)
          if step.pointee.isDurable { baton_sqe_set_rw_flags(sqe, baton_rwf_dsync()) }
        }
      case .flush: baton_prep_data_sync(sqe, descriptor)
      case .readInPlace: preconditionFailure("a read in place is over when it begins")
      case .discard:
        io_uring_prep_fallocate(
          sqe, descriptor, baton_fallocate_punch_hole(), off_t(step.pointee.offset), off_t(step.pointee.remaining))
      case .writeZeroes, .fillZeroes:
        // Others may have found out meanwhile. What must be fast finds out for itself: it ends with its refusal.
        if !step.pointee.mustBeFast {
          step.pointee.zeroing = zeroing(step.pointee.operation, backend.pointee, mustBeFast: false)
        }
        switch step.pointee.zeroing {
        case .zeroRange:
          io_uring_prep_fallocate(
            sqe, descriptor, baton_fallocate_zero_range(), off_t(step.pointee.offset), off_t(step.pointee.remaining))
        case .punchHole:
          io_uring_prep_fallocate(
            sqe, descriptor, baton_fallocate_punch_hole(), off_t(step.pointee.offset), off_t(step.pointee.remaining))
        case .writeZeroes:
          io_uring_prep_write(
            sqe, descriptor, Self.zeroes, UInt32(min(step.pointee.remaining, UInt64(Self.zeroesCount))),
            step.pointee.offset)
        }
      }
    }
  }

  /// One of its entries has ended (`RingOwner.storage`): goes on to the operation's next step, or ends it.
  public mutating func advance(_ index: UInt32, result: Int32, on ring: borrowing Ring) -> Event {
    let index = Int32(bitPattern: index)
    let step = steps.baseAddress! + Int(index)
    let backend = backends.baseAddress! + Int(step.pointee.unit)
    if step.pointee.phase == .delay {
      // A timeout that ran its time completes with -ETIME (io_uring_prep_timeout(3)).
      if result != -ETIME && result != 0 { return end(index, result) }
      switch backend.pointee.geometry.kind {
      case .null: return end(index, 0)
      case .memory, .file, .blockDevice: step.pointee.phase = .transfer
      }
      return again(index, ring)
    }
    if result == -EAGAIN || result == -EINTR {
      step.pointee.retries += 1
      return step.pointee.retries > Self.retriesMax ? end(index, result) : again(index, ring)
    }
    step.pointee.retries = 0
    if step.pointee.phase == .sync { return end(index, min(result, 0)) }
    switch step.pointee.operation {
    case .flush, .readInPlace: return end(index, min(result, 0))
    case .discard:
      // A discard is advice. A file system that has no holes may ignore it.
      return result == -EOPNOTSUPP ? end(index, 0) : finish(index, min(result, 0), ring)
    case .read, .write: return transferred(index, result, ring)
    case .writeZeroes, .fillZeroes:
      let method = step.pointee.zeroing
      if method == .writeZeroes { return transferred(index, result, ring) }
      guard result == -EOPNOTSUPP || result == -EINVAL || result == -ENOSYS else {
        return finish(index, min(result, 0), ring)
      }
      backend.pointee.refuses(method)
      step.pointee.zeroing = zeroing(step.pointee.operation, backend.pointee, mustBeFast: step.pointee.mustBeFast)
      if step.pointee.mustBeFast, step.pointee.zeroing == .writeZeroes { return end(index, -EOPNOTSUPP) }
      return again(index, ring)
    }
  }

  private mutating func transferred(_ index: Int32, _ result: Int32, _ ring: borrowing Ring) -> Event {
    let step = steps.baseAddress! + Int(index)
    if result < 0 { return end(index, result) }
    let count = UInt64(result)
    // Nothing transferred and no error is the end of the file: it was truncated underneath.
    if count == 0 && step.pointee.remaining > 0 || count > step.pointee.remaining { return end(index, -EIO) }
    step.pointee.remaining -= count
    step.pointee.offset += count
    step.pointee.address = step.pointee.address.map { $0 + Int(count) }
    if step.pointee.remaining > 0 { return again(index, ring) }
    let isWholeWrite = step.pointee.operation == .write
    // RWF_DSYNC made each piece of a durable write durable; zeroes written otherwise are synced in the end.
    return isWholeWrite || step.pointee.operation == .read ? end(index, 0) : finish(index, 0, ring)
  }

  /// The transfer is over: a durable one that is not durable yet is synced.
  private mutating func finish(_ index: Int32, _ result: Int32, _ ring: borrowing Ring) -> Event {
    if result < 0 || !steps[Int(index)].isDurable { return end(index, result) }
    steps[Int(index)].phase = .sync
    return again(index, ring)
  }

  /// The step's next phase: the kernel's, or this thread's.
  private mutating func again(_ index: Int32, _ ring: borrowing Ring) -> Event {
    let step = steps.baseAddress! + Int(index)
    if step.pointee.phase == .transfer, backends[Int(step.pointee.unit)].geometry.kind == .memory {
      lanes.append(index, steps)
    } else if !issue(index, ring) {
      stall(index)
    }
    return .progressed
  }

  private mutating func end(_ index: Int32, _ result: Int32) -> Event {
    if steps[Int(index)].operation.isLengthy { backends[Int(steps[Int(index)].unit)].lengthy -= 1 }
    steps[Int(index)].next = firstFree
    firstFree = index
    freeSteps += 1
    return .completed(token: steps[Int(index)].token, result: result)
  }

  /// The best way to make zeroes, as far as it is known. What a backend has refused it never offers again, so an
  /// operation that is under way and asks again only moves on.
  private func zeroing(_ operation: Operation, _ backend: Backend, mustBeFast: Bool) -> Backend.ZeroingMethod {
    // A device that cannot zero a range has the kernel write zeroes instead; and one that cannot make a hole has lost
    // what the page cache held of it, and was not written yet, when it says so (blkdev_fallocate, block/fops.c). Where
    // nothing need be fast that costs nothing: the stretch is zeroed another way.
    if mustBeFast, backend.geometry.kind == .blockDevice { return .writeZeroes }
    return backend.zeroing(staysAllocated: operation == .fillZeroes)
  }

  /// Bytes that are copied where a transfer is started. Twice what clients copy disks in: a thread of the ring, which
  /// copies longer ones outside the loop, takes about as long to be woken as copying so much takes.
  private static var copyAtOnceMax: UInt64 { 262_144 }

  /// Reads or writes a file that lies in memory, in this thread.
  ///
  /// Not a write while the ring discards or zeroes. tmpfs takes the file's lock for each change (inode_lock in
  /// shmem_file_write_iter and shmem_fallocate, mm/shmem.c), and holds it for as long as the change takes: milliseconds
  /// at most for a transfer, some 60 ms for a discarded gigabyte. The whole loop would wait for it, and the peer would
  /// take this controller for dead. A read takes no such lock (shmem_file_read_iter).
  ///
  /// Why nothing of it lands late, whichever process is killed or frozen in the middle of it: docs/takeover.md, "I/O in
  /// the controller's own thread".
  ///
  /// - Returns: false if it is something else, or not all of it was done: the ring then does all of it, and finds out
  ///   why.
  private static func copy(
    _ operation: Operation, _ backend: Backend, _ offset: UInt64, _ length: UInt64, _ address: UnsafeMutableRawPointer?
  ) -> Bool {
    switch operation {
    case .read: pread(backend.descriptor, address, Int(length), off_t(offset)) == Int(length)
    case .write:
      backend.lengthy == 0 && pwrite(backend.descriptor, address, Int(length), off_t(offset)) == Int(length)
    case .discard, .writeZeroes, .fillZeroes, .flush, .readInPlace: false
    }
  }

  // MARK: Pieces

  /// Bytes of a memory unit that are moved or made zero in one go. A controller's loop does nothing else meanwhile:
  /// some 10 microseconds, and ten times as long where the memory has never been touched.
  public static let pieceSize: UInt64 = 65_536

  /// Whether `nextPiece` has something to do.
  public var hasPieces: Bool {
    @inline(__always) get { !lanes.isEmpty }
  }

  /// Does one piece of the lane whose turn it is, which then goes behind all others. The operations of one lane are
  /// done one after the other. So every lane moves as many bytes as any other, however many operations it has and
  /// however long they are.
  ///
  /// - Returns: its result, and how many bytes were moved; nil if there is nothing to do.
  public mutating func nextPiece() -> (event: Event, bytes: Int)? {
    guard let index = lanes.front(steps) else { return nil }
    let step = steps.baseAddress! + Int(index)
    let count = min(step.pointee.remaining, Self.pieceSize)
    transferInMemory(
      step.pointee.operation, backends[Int(step.pointee.unit)], step.pointee.offset, count, step.pointee.address)
    step.pointee.offset += count
    step.pointee.address = step.pointee.address.map { $0 + Int(count) }
    step.pointee.remaining -= count
    let isOver = step.pointee.remaining == 0
    lanes.advance(steps, removing: isOver)
    return (isOver ? end(index, 0) : .progressed, Int(count))
  }

  private func transferInMemory(
    _ operation: Operation, _ backend: Backend, _ offset: UInt64, _ length: UInt64,
    _ address: UnsafeMutableRawPointer?
  ) {
    let base = backend.base!
    switch operation {
    case .read: memcpy(address!, base + Int(offset), Int(length))
    case .write: memcpy(base + Int(offset), address!, Int(length))
    case .discard, .writeZeroes, .fillZeroes: memset(base + Int(offset), 0, Int(length))
    case .flush, .readInPlace: break
    }
  }
}
