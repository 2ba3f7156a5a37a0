import BatonRing
import CBatonShims
import CLiburing
import Glibc

// What the kernel does, through the ring: for every kind whose `Backend.work` is the ring's, and the delays of all.
extension Storage {
  /// EAGAIN and EINTR are retried so many times in a row before they count as failures.
  private static let retriesMax: UInt16 = 1000
  private static let zeroesCount = 262_144
  /// The source of write-zeroes if the file system has no better way. One for the process, never written and never
  /// given back: the kernel may read it for longer than a storage lives.
  nonisolated(unsafe) private static let zeroes = {
    let zeroes = UnsafeMutableRawPointer.allocate(byteCount: zeroesCount, alignment: 65536)
    memset(zeroes, 0, zeroesCount)
    return zeroes
  }()
  /// Bytes that the kernel takes in one piece.
  private static var transferMax: UInt64 { 1 << 30 }

  /// Prepared entries that should be given to the kernel in one call, and no more.
  ///
  /// Two: of more than two (`IO_PLUG_THRESHOLD` in io_uring/io_uring.c) the kernel keeps all back until the last one is
  /// prepared (`blk_start_plug`), and gives them to the device together. A disk then does nothing while a batch is
  /// being made, and works on a whole batch while nobody makes one: at depth 32 that costs more than system calls do.
  public static let batch = 2

  /// Whether something found no room in the ring, and waits for `resume`.
  @inlinable @inline(__always)
  public var hasStalled: Bool { steps.firstStalled >= 0 }

  /// The ring has been submitted: prepares what found no room in it before.
  public mutating func resume(on ring: borrowing Ring) {
    while hasStalled, ring.hasRoom {
      let index = steps.takeStalled()
      if !issue(index, ring) { steps.stall(index) }
    }
  }

  /// Prepares the entry for a step's present phase. False when the ring takes nothing.
  func issue(_ index: Int32, _ ring: borrowing Ring) -> Bool {
    ring.prepare(.storage, UInt32(bitPattern: index)) { fill($0, for: index) }
  }

  private func fill(_ sqe: UnsafeMutablePointer<baton_uring_sqe>, for index: Int32) {
    let step = steps.address(index)
    let backend = backends.address(Int(step.pointee.unit))
    switch step.pointee.phase {
    case .free: preconditionFailure("a free step has nothing to do")
    case .delay:
      // Not `&step.pointee.delay`: the kernel reads it after this call, and such a pointer is good for the call only.
      let delay = UnsafeMutableRawPointer(step) + MemoryLayout<Step>.offset(of: \.delay)!
      shim_prep_timeout(sqe, delay.assumingMemoryBound(to: __kernel_timespec.self))
    case .sync: shim_prep_data_sync(sqe, backend.pointee.descriptor)
    case .transfer:
      assert(backend.pointee.work == .ring, "what the ring transfers has a descriptor")
      fillTransfer(sqe, step, backend)
    }
  }

  private func fillTransfer(
    _ sqe: UnsafeMutablePointer<baton_uring_sqe>, _ step: UnsafeMutablePointer<Step>,
    _ backend: UnsafeMutablePointer<Backend>
  ) {
    let descriptor = backend.pointee.descriptor
    let (offset, remaining) = (step.pointee.offset, step.pointee.remaining)
    switch step.pointee.operation {
    case .read:
      let count = backend.pointee.faults.shortened(UInt32(min(remaining, Self.transferMax)), backend.pointee.geometry)
      io_uring_prep_read(sqe, descriptor, step.pointee.address, count, offset)
    case .write:
      let count = backend.pointee.faults.shortened(UInt32(min(remaining, Self.transferMax)), backend.pointee.geometry)
      io_uring_prep_write(sqe, descriptor, step.pointee.address, count, offset)
      if step.pointee.isDurable { shim_sqe_set_rw_flags(sqe, shim_rwf_dsync()) }
    case .flush: shim_prep_data_sync(sqe, descriptor)
    case .readInPlace: preconditionFailure("a read in place is over when it begins")
    case .discard:
      io_uring_prep_fallocate(sqe, descriptor, shim_fallocate_punch_hole(), off_t(offset), off_t(remaining))
    case .writeZeroes, .fillZeroes:
      // Others may have found out meanwhile. What must be fast finds out for itself: it ends with its refusal.
      if !step.pointee.mustBeFast {
        step.pointee.zeroing = backend.pointee.zeroing(step.pointee.operation, mustBeFast: false)
      }
      switch step.pointee.zeroing {
      case .zeroRange:
        io_uring_prep_fallocate(sqe, descriptor, shim_fallocate_zero_range(), off_t(offset), off_t(remaining))
      case .punchHole:
        io_uring_prep_fallocate(sqe, descriptor, shim_fallocate_punch_hole(), off_t(offset), off_t(remaining))
      case .writeZeroes:
        io_uring_prep_write(sqe, descriptor, Self.zeroes, UInt32(min(remaining, UInt64(Self.zeroesCount))), offset)
      }
    }
  }

  /// One of its entries has ended (`RingOwner.storage`): goes on to the operation's next step, or ends it.
  public mutating func advance(_ index: UInt32, result: Int32, on ring: borrowing Ring) -> Event {
    let index = Int32(bitPattern: index)
    let step = steps.address(index)
    assert(step.pointee.phase != .free && step.pointee.next == -1, "what is in the ring stands in no list")
    let backend = backends.address(Int(step.pointee.unit))
    if step.pointee.phase == .delay {
      // A timeout that ran its time completes with -ETIME (io_uring_prep_timeout(3)).
      if result != -ETIME && result != 0 { return end(index, result) }
      if backend.pointee.work == .nothing { return end(index, 0) }
      step.pointee.phase = .transfer
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
      step.pointee.zeroing = backend.pointee.zeroing(step.pointee.operation, mustBeFast: step.pointee.mustBeFast)
      if step.pointee.mustBeFast, step.pointee.zeroing == .writeZeroes { return end(index, -EOPNOTSUPP) }
      return again(index, ring)
    }
  }

  private mutating func transferred(_ index: Int32, _ result: Int32, _ ring: borrowing Ring) -> Event {
    let step = steps.address(index)
    if result < 0 { return end(index, result) }
    let count = UInt64(result)
    // Nothing transferred and no error is the end of the file: it was truncated underneath.
    if count == 0 && step.pointee.remaining > 0 || count > step.pointee.remaining { return end(index, -EIO) }
    step.pointee.move(by: count)
    if step.pointee.remaining > 0 { return again(index, ring) }
    let isWholeWrite = step.pointee.operation == .write
    // RWF_DSYNC made each piece of a durable write durable; zeroes written otherwise are synced in the end.
    return isWholeWrite || step.pointee.operation == .read ? end(index, 0) : finish(index, 0, ring)
  }

  /// The transfer is over: a durable one that is not durable yet is synced.
  private mutating func finish(_ index: Int32, _ result: Int32, _ ring: borrowing Ring) -> Event {
    let step = steps.address(index)
    if result < 0 || !step.pointee.isDurable { return end(index, result) }
    step.pointee.phase = .sync
    return again(index, ring)
  }
}
