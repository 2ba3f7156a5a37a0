import BatonOwnership
import BatonSubsystem

/// What a controller knows of a function in addition to the ownership word: private, never shared.
///
/// Invariants: `pendingCount` is the length of the pending queue, and `owed` is at most as large; a function that is
/// being relinquished admits nothing; the writes are a list through `earlierWrite` and `laterWrite`.
struct FunctionState {
  // What `admits` looks at comes first: these lie in one cache line, wherever the entry begins.

  /// The number of pending requests.
  private var pendingCount: Int32 = 0
  private var relinquishing: Int32 = 0
  /// The number of recovered requests of this function that are not answered yet: what collides with them is held.
  private var recovering: Int32 = 0

  /// The pending queue: requests that wait for ownership or for their turn, in arrival order.
  private var pending = RequestChain()
  /// How many of them were pending when the term began: the controller serves that many before it relinquishes the
  /// function.
  private var owed: Int32 = 0
  /// Requests on the storage now.
  private(set) var inFlight: Int32 = 0
  /// The first of those requests that change the unit.
  private var firstWrite = RequestLink.none
  /// An ownership request of this controller stands: the grant will be noticed by attending.
  private(set) var isRequesting = false
  /// Whether the kernel has let go of everything that dead controllers had given to it for this function's unit.
  private(set) var isDrained = false
  /// The pass over the recovered requests in which the controller last asked the kernel for that.
  private var askedInPass: UInt32 = 0
  private var residency = Residency()

  /// Whether a request may go to storage at once, given that this controller is the owner: no request is before it, the
  /// function is not being relinquished, and nothing of a dead controller may collide.
  @inline(__always)
  var admits: Bool { pendingCount | recovering | relinquishing == 0 }

  // MARK: The pending queue

  @inline(__always)
  var hasPending: Bool { !pending.isEmpty }

  /// Appends a request to the pending queue.
  @inline(__always)
  mutating func append(_ index: RequestIndex, _ entries: JournalEntries) {
    pendingCount += 1
    pending.append(index, entries)
    if isRequesting { entries[index].pointee.flags |= AcceptedRequest.Flag.transferred }
  }

  /// Removes the first pending request; nil: there is none.
  mutating func removeFirstPending(_ entries: JournalEntries) -> RequestIndex? {
    guard let index = pending.removeFirst(entries) else { return nil }
    pendingCount -= 1
    if owed > 0 { owed -= 1 }
    assert(pendingCount >= 0 && owed <= pendingCount, "the pending queue and its length differ")
    return index
  }

  // MARK: Ownership

  /// The controller asks for the function, and everything that is pending waits for a change of owner.
  mutating func beginAsking(_ entries: JournalEntries) {
    isRequesting = true
    for request in entries.list(from: pending.first) { request.pointee.flags |= AcceptedRequest.Flag.transferred }
  }

  /// The controller's request does not stand any more.
  mutating func endAsking() { isRequesting = false }

  /// A term begins here: what is pending now comes before the peer's next turn. `grantedAt` is as in `Residency`.
  mutating func beginTerm(isContended: Bool, grantedAt: UInt64) {
    isRequesting = false
    owed = pendingCount
    residency.began(contended: isContended, grantedAt: grantedAt)
  }

  /// How far the function is from being granted to a peer that asks for it.
  enum Readiness {
    /// Requests that were pending when the term began come first, or something is on the storage or under recovery.
    case busy
    /// Nothing but the residency keeps it here.
    case resident
    /// It can be granted.
    case ready
  }

  /// Preparing to relinquish: nothing is admitted until the grant.
  var isRelinquishing: Bool {
    @inline(__always) get { relinquishing != 0 }
  }

  /// The peer asks for the function: admits nothing more, once everything that was pending at the grant is served and
  /// the residency is over. A leaving controller has no residency: `policy` is nil.
  mutating func prepareToRelinquish(policy: ResidencyPolicy?) -> Readiness {
    if !isRelinquishing {
      // No thrashing.
      if owed > 0 { return .busy }
      if let policy, !residency.isOver(policy: policy) { return .resident }
      relinquishing = 1
      residency.draining(inFlight > 0)
    }
    // A request under recovery may be about to change data that the peer would serve.
    return inFlight > 0 || recovering > 0 ? .busy : .ready
  }

  /// The function stays here, or begins a term of another controller: admission is as usual.
  @inline(__always)
  mutating func endRelinquishing() { relinquishing = 0 }

  /// Whether this controller will want the function back: a grant's time is of interest.
  var isWantedBack: Bool { hasPending || residency.isContended }

  /// The term is over.
  mutating func endTerm() { residency.ended() }

  // MARK: Operations on the storage

  /// An operation of this function has been given to the storage.
  @inline(__always)
  mutating func begin() { inFlight += 1 }

  /// An operation of this function has ended.
  @inline(__always)
  mutating func end() {
    inFlight -= 1
    assert(inFlight >= 0, "more operations have ended than begun")
  }

  /// A request that changes the unit is on the storage from now on.
  mutating func addWrite(_ index: RequestIndex, _ entries: JournalEntries) {
    let request = entries[index]
    let link = RequestLink(index)
    request.pointee.earlierWrite = .none
    request.pointee.laterWrite = firstWrite
    if let first = firstWrite.index { entries[first].pointee.earlierWrite = link }
    firstWrite = link
  }

  /// That request has ended.
  mutating func removeWrite(_ index: RequestIndex, _ entries: JournalEntries) {
    let (earlier, later) = (entries[index].pointee.earlierWrite, entries[index].pointee.laterWrite)
    if let earlier = earlier.index {
      entries[earlier].pointee.laterWrite = later
    } else {
      assert(firstWrite == RequestLink(index), "a write that is not in its function's list")
      firstWrite = later
    }
    if let later = later.index { entries[later].pointee.earlierWrite = earlier }
  }

  /// Whether anything on the storage changes the unit.
  var hasWrites: Bool {
    @inline(__always) get { firstWrite != .none }
  }

  /// Whether a request changes what a write on the storage changes too.
  func hasWrite(overlapping request: AcceptedRequest, _ entries: JournalEntries) -> Bool {
    var current = firstWrite
    while let index = current.index {
      let other = entries[index]
      if request.overlaps(other.pointee) { return true }
      current = other.pointee.laterWrite
    }
    return false
  }

  // MARK: Recovery

  /// Whether requests of this function are under recovery.
  var isRecovering: Bool { recovering > 0 }

  /// A request of a dead controller has been found.
  mutating func beginRecovery() {
    recovering += 1
    // Any earlier proof was about other requests.
    isDrained = false
  }

  /// A request under recovery is over, or was given up.
  mutating func endRecovery() {
    recovering -= 1
    assert(recovering >= 0, "more requests have been recovered than found")
  }

  /// Whether the kernel is to be asked in this pass: once in a pass, until it has let go.
  mutating func asksKernel(inPass pass: UInt32) -> Bool {
    if isDrained || askedInPass == pass { return false }
    askedInPass = pass
    return true
  }

  /// The kernel has let go of everything that dead controllers had given to it.
  mutating func proveDrained() { isDrained = true }
}
