import Baton
import BatonCommandKit
import BatonSystem
import CBatonShims
import CLiburing
import Glibc

/// A bare io_uring: the floor of everything that goes through one.
struct BareUring: ~Copyable {
  private let ring: UnsafeMutablePointer<io_uring>

  /// Entries of a ring: more than any measurement has outstanding.
  private static let entries: UInt32 = 128
  /// Transfers between two looks at the clock.
  private static let transfersPerLook: UInt64 = 64

  init() throws(BatonError) {
    ring = .allocate(capacity: 1)
    ring.initialize(to: io_uring())
    let result = io_uring_queue_init(Self.entries, ring, shim_setup_coop_taskrun())
    if result < 0 {
      ring.deallocate()
      throw BatonError(result: Int(result), "io_uring", doing: "setting up a ring")
    }
  }

  deinit {
    io_uring_queue_exit(ring)
    ring.deallocate()
  }

  private func entry() throws(BatonError) -> UnsafeMutablePointer<baton_uring_sqe> {
    guard let sqe = io_uring_get_sqe(ring) else { throw BatonError(.exhausted, "io_uring", "has no entry left") }
    return sqe
  }

  /// Nanoseconds of an operation that does nothing, submitted `batch` at a time, over so many.
  mutating func nanosecondsPerNothing(_ operations: UInt64, batch: Int) throws(BatonError) -> Double {
    let start = monotonicNanoseconds()
    var ended: UInt64 = 0
    while ended < operations {
      for _ in 0..<batch { io_uring_prep_nop(try entry()) }
      try check(io_uring_submit_and_wait(ring, UInt32(batch)), "io_uring", doing: "submitting")
      while let cqe = shim_ring_peek(ring) {
        try check(cqe.pointee.res, "io_uring", doing: "a no-op")
        io_uring_cq_advance(ring, 1)
        ended += 1
      }
    }
    return Double(monotonicNanoseconds() - start) / Double(ended)
  }

  /// 4 KiB transfers per second at random places of a file, `depth` of them outstanding, each begun when one has ended.
  mutating func rate(
    _ file: borrowing OwnedDescriptor, path: String, size: UInt64, reading: Bool, depth: Int, seconds: Double,
    seed: UInt64
  ) throws(BatonError) -> Double {
    let count = 4096
    let buffers = UnsafeMutableRawPointer.allocate(byteCount: depth * count, alignment: count)
    memset(buffers, 0, depth * count)
    var random = SplitMix64(seed: seed)
    let blocks = size / UInt64(count)
    func begin(_ place: Int) throws(BatonError) {
      let sqe = try entry()
      let offset = random.below(blocks) * UInt64(count)
      if reading {
        io_uring_prep_read(sqe, file.number, buffers + place * count, UInt32(count), offset)
      } else {
        io_uring_prep_write(sqe, file.number, buffers + place * count, UInt32(count), offset)
      }
      shim_sqe_set_token(sqe, UInt64(place))
      // As Baton does it, see `Storage.hasBatch`: more at a time is slower. What this refuses stays prepared.
      if io_uring_sq_ready(ring) >= 2 { _ = io_uring_submit(ring) }
    }
    let start = monotonicNanoseconds()
    let end = start + UInt64(seconds * 1e9)
    for place in 0..<depth { try begin(place) }
    var outstanding = depth
    var ended: UInt64 = 0
    var lookAt = Self.transfersPerLook
    var isStopping = false
    var failure: BatonError?
    while outstanding > 0 {
      let result = io_uring_submit_and_wait(ring, 1)
      if result < 0, result != -EINTR, result != -EAGAIN, result != -EBUSY {
        // The kernel may still work on what went before: the buffers stay.
        throw BatonError(result: Int(result), path, doing: "submitting")
      }
      while let cqe = shim_ring_peek(ring) {
        let (place, result) = (Int(io_uring_cqe_get_data64(cqe)), cqe.pointee.res)
        io_uring_cq_advance(ring, 1)
        outstanding -= 1
        ended += 1
        if result != count {
          failure = failure ?? BatonError(result: result < 0 ? Int(result) : -Int(EIO), path, doing: "a transfer")
        }
        if isStopping || failure != nil { continue }
        try begin(place)
        outstanding += 1
      }
      if ended >= lookAt {
        lookAt = ended + Self.transfersPerLook
        isStopping = monotonicNanoseconds() >= end
      }
    }
    buffers.deallocate()
    if let failure { throw failure }
    return Double(ended) / (Double(monotonicNanoseconds() - start) / 1e9)
  }
}
