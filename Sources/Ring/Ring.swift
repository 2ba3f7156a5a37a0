import BatonSystem
import CLiburing
import Glibc

/// A controller's io_uring: storage operations and everything else that a sleeping controller must wake for.
///
/// Entries are prepared here and submitted together. Each carries a `RingToken`, which says whose it is.
public struct Ring: ~Copyable {
  @usableFromInline let ring: UnsafeMutablePointer<io_uring>
  /// Entries prepared and not yet given to the kernel.
  @inlinable @inline(__always)
  public var prepared: Int { Int(shim_ring_prepared(ring)) }
  /// The flags that the kernel granted, for the start-up message: `SUBMIT_ALL COOP_TASKRUN`.
  public let grantedFlags: String

  /// Entries of the submission queue. A batch larger than this is submitted in parts.
  static let entries: UInt32 = 1024
  /// Entries of the completion queue: storage operations and watched descriptors together must fit.
  static let completionEntries: UInt32 = 8192

  /// Sets a ring up with every flag that helps and that the kernel grants, dropping them one by one.
  ///
  /// No SINGLE_ISSUER: an embedder may make a controller on one thread and poll it from another.
  /// No DEFER_TASKRUN, no SQPOLL, no registered files: after a death each of them delays the moment when the kernel
  /// lets go of the last operation (56 to 76 ms instead of 13 to 16), and takeover waits for that.
  public init() throws(BatonError) {
    let wishes: [(flag: UInt32, name: String)] = [
      (shim_setup_submit_all(), "SUBMIT_ALL"), (shim_setup_coop_taskrun(), "COOP_TASKRUN"),
      (shim_setup_taskrun_flag(), "TASKRUN_FLAG"),
    ]
    let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
    for count in stride(from: wishes.count, through: 0, by: -1) {
      let granted = wishes.prefix(count)
      var parameters = baton_uring_params()
      parameters.flags = granted.reduce(shim_setup_cqsize() | shim_setup_clamp()) { $0 | $1.flag }
      parameters.cq_entries = Self.completionEntries
      let result = io_uring_queue_init_params(Self.entries, ring, &parameters)
      if result == 0 {
        self.ring = ring
        grantedFlags = granted.isEmpty ? "no flags" : granted.map(\.name).joined(separator: " ")
        return
      }
      // EINVAL: a flag that this kernel does not know. Anything else does not go away with fewer flags.
      if result != -EINVAL || count == 0 {
        ring.deallocate()
        throw Self.setUpError(-result)
      }
    }
    preconditionFailure("the last attempt either succeeds or throws")
  }

  deinit {
    // What waits in it holds on to its socket, and the kernel takes a ring down some time after it has been closed: a
    // listening socket would let clients come meanwhile, and an accept would take them, for nobody. Where the kernel
    // cannot do this (before 6.0) it is a matter of that time.
    _ = shim_ring_cancel_all(ring)
    io_uring_queue_exit(ring)
    ring.deallocate()
  }

  private static func setUpError(_ errno: CInt) -> BatonError {
    let fix =
      switch errno {
      case EPERM, EACCES:
        "io_uring is refused here: kernel.io_uring_disabled is set, or a seccomp profile forbids it "
          + "(Docker: --security-opt seccomp=unconfined)"
      case ENOSYS: "the kernel has no io_uring: Linux 5.19 or newer is needed"
      case ENOMEM: "locked memory is short: raise 'ulimit -l' to 8192 or more"
      default: "Linux 5.19 or newer is needed"
      }
    return BatonError(result: -Int(errno), "io_uring", doing: "setting up a ring", fix: fix)
  }

  /// Whether the submission queue has room for an entry.
  public var hasRoom: Bool { io_uring_sq_space_left(ring) > 0 }

  /// Prepares an entry: `body` fills a blank one in, but for its token. Submits when the queue is full.
  ///
  /// - Returns: false when the kernel takes nothing at present: completions must be taken first.
  @inlinable @inline(__always)
  public func prepare(
    _ owner: RingOwner, _ index: UInt32, _ body: (UnsafeMutablePointer<baton_uring_sqe>) -> Void
  ) -> Bool {
    var sqe = io_uring_get_sqe(ring)
    if sqe == nil {
      _ = submit()
      sqe = io_uring_get_sqe(ring)
    }
    guard let sqe else { return false }
    body(sqe)
    // Last: each of liburing's preparations clears it.
    shim_sqe_set_token(sqe, RingToken(owner, index).rawValue)
    return true
  }

  /// Gives what is prepared to the kernel. One system call, none when nothing is prepared.
  ///
  /// EAGAIN, EBUSY and EINTR leave entries prepared; the next turn of the loop, after taking completions, submits
  /// them (io_uring_enter(2)).
  @inlinable
  public func submit() -> CInt {
    if prepared == 0 { return 0 }
    return io_uring_submit(ring)
  }

  /// Whether there is a completion, or completions that wait for the kernel to be entered.
  @inlinable @inline(__always)
  public var hasCompletion: Bool { shim_ring_peek(ring) != nil || shim_ring_wants_entry(ring) != 0 }

  /// The oldest completion that has not been taken. Enters the kernel when it says that completions wait for that.
  @inlinable @inline(__always)
  public func next() -> RingEvent? {
    var cqe = shim_ring_peek(ring)
    if cqe == nil, shim_ring_wants_entry(ring) != 0 {
      _ = io_uring_get_events(ring)
      cqe = shim_ring_peek(ring)
    }
    guard let cqe else { return nil }
    let completion = RingEvent(
      token: RingToken(rawValue: io_uring_cqe_get_data64(cqe)), result: cqe.pointee.res,
      hasMore: shim_cqe_has_more(cqe) != 0)
    io_uring_cq_advance(ring, 1)
    return completion
  }

  /// Submits, and sleeps until there are so many completions or the time is over. One system call.
  public func wait(nanoseconds: Int64?, completions: UInt32 = 1) {
    assert(completions > 0 && completions <= Self.completionEntries, "so many completions never come")
    var cqe: UnsafeMutablePointer<baton_uring_cqe>?
    if let nanoseconds {
      assert(nanoseconds >= 0, "a wait is not over before it begins")
      var timeout = __kernel_timespec(tv_sec: nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000)
      // -ETIME and -EINTR are as good as a completion: the loop turns.
      _ = io_uring_submit_and_wait_timeout(ring, &cqe, completions, &timeout, nil)
    } else {
      _ = io_uring_submit_and_wait(ring, completions)
    }
  }
}
