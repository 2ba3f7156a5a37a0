import BatonOwnership

/// What a controller knows of a function beside the ownership word: private, never shared.
struct FunctionState {
  /// The pending queue: requests that wait for ownership or for their turn, in arrival order; -1: none.
  var pendingHead: Int32 = -1
  var pendingTail: Int32 = -1
  /// How many of them were pending when the term began: so many are served before the function is relinquished.
  var owed: Int32 = 0
  /// Requests on the storage now.
  var inFlight: Int32 = 0
  /// Of those, the ones that change the unit, a list through `later`; -1: none.
  var writesHead: Int32 = -1
  /// Where the function stands in the attention list, or -1.
  var attention: Int32 = -1
  /// An ownership request of this controller stands: the grant will be noticed by attending.
  var isRequesting = false
  /// The obstacles to serving a request at once, in one word, so that `admits` is one comparison: the number of pending
  /// requests in the lowest `countBits`, of recovered ones in those above, then one bit while the function is being
  /// relinquished.
  private var obstacles: UInt64 = 0
  /// Whether the kernel has let go of everything that the dead had given to it for this function's unit.
  var isDrained = false
  /// The look at which the kernel was asked for it last.
  var drainLook: UInt32 = 0
  var residency = Residency()

  private static var countBits: UInt64 { 24 }
  private static var countMask: UInt64 { 1 << countBits - 1 }
  private static var relinquishing: UInt64 { 1 << (2 * countBits) }

  /// How many requests are pending.
  var pendingCount: Int32 {
    @inline(__always) get { Int32(truncatingIfNeeded: obstacles & Self.countMask) }
    set { setCount(newValue, shift: 0) }
  }

  /// Requests that a dead controller had in flight for this function and that are not answered yet: what collides with
  /// them is held.
  var recovering: Int32 {
    @inline(__always) get { Int32(truncatingIfNeeded: obstacles >> Self.countBits & Self.countMask) }
    set { setCount(newValue, shift: Self.countBits) }
  }

  private mutating func setCount(_ count: Int32, shift: UInt64) {
    precondition(count >= 0 && count <= Self.countMask, "a count of requests has left its range")
    obstacles = obstacles & ~(Self.countMask << shift) | UInt64(truncatingIfNeeded: count) << shift
  }

  /// Preparing to relinquish: nothing is admitted until the grant.
  var isRelinquishing: Bool {
    @inline(__always) get { obstacles & Self.relinquishing != 0 }
    set { obstacles = newValue ? obstacles | Self.relinquishing : obstacles & ~Self.relinquishing }
  }

  @inline(__always)
  var hasPending: Bool { pendingHead >= 0 }

  /// Whether a request may go to storage at once, given that this controller is the owner: nobody is before it, and
  /// the function is not being given away, and nothing of a dead controller may collide.
  @inline(__always)
  var admits: Bool { obstacles == 0 }
}
