import BatonOwnership

/// What a controller knows of a function in addition to the ownership word: private, never shared.
struct FunctionState {
  // What `admits` looks at comes first: these lie in one cache line, wherever the entry begins.

  /// The number of pending requests.
  var pendingCount: Int32 = 0
  private var relinquishing: Int32 = 0
  /// The number of recovered requests of this function that are not answered yet: what collides with them is held.
  var recovering: Int32 = 0

  /// The pending queue: requests that wait for ownership or for their turn, in arrival order; -1: none.
  var pendingHead: Int32 = -1
  var pendingTail: Int32 = -1
  /// How many of them were pending when the term began: the controller serves that many before it relinquishes the
  /// function.
  var owed: Int32 = 0
  /// Requests on the storage now.
  var inFlight: Int32 = 0
  /// The requests among those that change the unit, a list through `later`; -1: none.
  var writesHead: Int32 = -1
  /// An ownership request of this controller stands: the grant will be noticed by attending.
  var isRequesting = false
  /// Whether the kernel has let go of everything that dead controllers had given to it for this function's unit.
  var isDrained = false
  /// The check at which the controller last asked the kernel for it.
  var drainLook: UInt32 = 0
  var residency = Residency()

  /// Preparing to relinquish: nothing is admitted until the grant.
  var isRelinquishing: Bool {
    @inline(__always) get { relinquishing != 0 }
    set { relinquishing = newValue ? 1 : 0 }
  }

  @inline(__always)
  var hasPending: Bool { pendingHead >= 0 }

  /// Whether a request may go to storage at once, given that this controller is the owner: no request is before it, the
  /// function is not being relinquished, and nothing of a dead controller may collide.
  @inline(__always)
  var admits: Bool { pendingCount | recovering | relinquishing == 0 }
}
