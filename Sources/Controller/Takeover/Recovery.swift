import BatonChannel
import BatonOwnership
import BatonSubsystem
import BatonSystem

/// The requests that dead controllers had in flight, and the requests that must wait for them.
///
/// A request is **standing** from when it is found in a journal until it is over or given up: what collides with it is
/// held. It is **over** when it has been answered, or need not be. A request that was **given up** is an orphan until
/// its host comes back, or is gone for good; nothing waits for it.
///
/// Invariants: `standingCount` counts those of the list that are neither over nor given up; a request that is over
/// stays in the list until `removeDone`, so that an iteration is not disturbed; marks are set only during `withMarks`.
struct Recovery: ~Copyable {
  private let entries: JournalEntries
  /// The list of requests, through `following`: its first one.
  private var first = RequestLink.none
  /// How many the list has.
  private(set) var count = 0
  /// How many of the list are neither over nor given up.
  private(set) var standingCount = 0
  /// Whether some of the list are over and wait for their removal.
  private(set) var hasDone = false
  /// Whether orphans have been found whose hosts are attached: they must be answered.
  private(set) var mustAnswerOrphans = false

  /// Requests that wait because they collide with one under recovery, or with a write on the storage.
  private var held = RequestChain()
  /// Whether something has ended since the last check of the held requests.
  private var hasFreed = false

  /// When the recovery began, in monotonic nanoseconds: for hosts that do not come back.
  private(set) var beganAt: UInt64 = 0
  /// When the controller last asked the kernel whether it has let go.
  private var askedAt: UInt64 = 0
  /// The passes over the list in which it did.
  private(set) var pass: UInt32 = 0

  /// For each line of one channel the newest request in it that is being recovered, or `noMark`.
  private let marks: Table<UInt64>

  /// How often the controller asks the kernel whether it has let go of a unit.
  private static var askNanoseconds: UInt64 { 50_000 }
  /// A value that no request has as its number.
  private static var noMark: UInt64 { UInt64.max }

  init(_ entries: JournalEntries, lines: Int) {
    self.entries = entries
    marks = Table(repeating: Self.noMark, count: lines)
  }

  // MARK: What there is

  /// The requests of the list. One may end or be given up during an iteration, but none leaves the list before
  /// `removeDone`.
  var requests: RequestList { entries.list(from: first) }

  var isEmpty: Bool { first == .none }

  /// Whether the list has anything to do but to wait: something is over, or hosts wait for the answers to orphans.
  var hasWork: Bool {
    @inline(__always) get { hasDone || mustAnswerOrphans }
  }

  /// Whether a line's request is under recovery.
  func contains(_ channel: ChannelIndex, _ line: LineIndex, _ sequence: UInt64) -> Bool {
    requests.contains {
      $0.pointee.sequence == sequence && $0.pointee.line == line && $0.pointee.origin == channel
        && !$0.pointee.isDone
    }
  }

  /// Whether any request of the list came from the host in that place.
  func names(_ place: HostPlace) -> Bool { requests.contains { $0.pointee.origin.place == place } }

  /// Orphans whose hosts have not come back.
  var orphanCount: Int { requests.count { $0.pointee.isOrphan } }

  /// Whether a request must wait for one of these, which changes data that it would see, or would undo its effect.
  /// Management waits for any change of a unit's state.
  func collides(_ request: AcceptedRequest) -> Bool {
    requests.contains {
      guard $0.pointee.isStanding else { return false }
      if request.isManagement { return $0.pointee.kind == .setUnitState }
      return RequestRules.waits(forRecovered: $0.pointee.changesUnit) && $0.pointee.unit == request.unit
        && request.overlaps($0.pointee)
    }
  }

  /// Calls `body` with a rule that says whether a request in a line of that channel is under recovery. Of several
  /// requests the newest counts: a controller that died between an answer and the clearing of its entry has left an
  /// older one of the same line.
  func withMarks<Result>(
    of channel: ChannelIndex, _ body: (_ isRecovering: (_ line: LineIndex, _ sequence: UInt64) -> Bool) -> Result
  ) -> Result {
    setMarks(of: channel) { sequence, marked in
      marked == Self.noMark || RequestFlag.isNewer(sequence, than: marked) ? sequence : marked
    }
    // A local copy: the closure must not take all of `self` along.
    let marks = self.marks.address(0)
    let result = body { line, sequence in marks[line.number] == sequence }
    setMarks(of: channel) { _, _ in Self.noMark }
    return result
  }

  private func setMarks(of channel: ChannelIndex, _ mark: (_ sequence: UInt64, _ marked: UInt64) -> UInt64) {
    for request in requests where request.pointee.origin == channel && !request.pointee.isDone {
      let line = request.pointee.line.number
      marks[line] = mark(request.pointee.sequence, marks[line])
    }
  }

  // MARK: Its course

  /// A recovery begins: hosts have from now on to come back.
  mutating func begin(at now: UInt64) { beganAt = now }

  /// A request has been found in a journal, and stands in this controller's own. One that was given up stays so,
  /// whichever controller recovers it: others have been served meanwhile.
  ///
  /// - Returns: whether it is standing.
  mutating func add(_ index: RequestIndex, hostIsAttached: Bool) -> Bool {
    let request = entries[index]
    request.pointee.flags &= AcceptedRequest.Flag.lasting
    request.pointee.flags |= AcceptedRequest.Flag.recovered
    request.pointee.following = first
    first = RequestLink(index)
    count += 1
    if request.pointee.isStanding {
      standingCount += 1
      return true
    }
    if hostIsAttached { mustAnswerOrphans = true }
    return false
  }

  /// The hosts that are attached get the answers to their orphans now.
  mutating func beginAnsweringOrphans() { mustAnswerOrphans = false }

  /// A pass over the list begins.
  ///
  /// - Returns: whether the kernel may be asked in it.
  mutating func beginPass(at now: UInt64) -> Bool {
    if now &- askedAt < Self.askNanoseconds { return false }
    pass &+= 1
    return true
  }

  /// The pass is over, and the kernel was asked. The time until it may be asked again counts from now on: otherwise the
  /// loop could spend all its time on asking.
  mutating func endPass(at now: UInt64) { askedAt = now }

  /// A request is over, and has left the journal.
  mutating func end(_ request: UnsafeMutablePointer<AcceptedRequest>) {
    if request.pointee.isStanding { standingCount -= 1 }
    assert(standingCount >= 0, "more requests are over than were found")
    request.pointee.flags |= AcceptedRequest.Flag.done
    hasDone = true
    hasFreed = true
  }

  /// The host of a standing request did not come back in time: others must not wait for it for ever.
  mutating func giveUp(_ request: UnsafeMutablePointer<AcceptedRequest>) {
    assert(request.pointee.isStanding, "gives up a request that is over, or was given up")
    standingCount -= 1
    hasFreed = true
    request.pointee.flags |= AcceptedRequest.Flag.orphaned
  }

  /// A request that the planted defect has executed a second time is over for good: it must not be chosen again.
  mutating func endRepeating(_ request: UnsafeMutablePointer<AcceptedRequest>) {
    request.pointee.flags &= ~(AcceptedRequest.Flag.twice | AcceptedRequest.Flag.replaying)
    hasDone = true
  }

  /// Takes the requests that are over out of the list.
  ///
  /// - Returns: those requests.
  mutating func removeDone() -> RequestChain {
    hasDone = false
    hasFreed = true
    var removed = RequestChain()
    var before: RequestIndex?
    var current = first
    while let index = current.index {
      let request = entries[index]
      let following = request.pointee.following
      if request.pointee.isDone, !request.pointee.isRepeating {
        if let before { entries[before].pointee.following = following } else { first = following }
        count -= 1
        request.pointee.following = .none
        removed.append(index, entries)
      } else {
        before = index
      }
      current = following
    }
    return removed
  }

  // MARK: Requests that wait

  /// A request waits until nothing collides with it any more.
  mutating func hold(_ index: RequestIndex) { held.append(index, entries) }

  /// Something has ended that held requests may wait for.
  @inline(__always)
  mutating func somethingEnded() { hasFreed = true }

  /// Whether held requests must be checked.
  var mustCheckHeld: Bool {
    @inline(__always) get { hasFreed && !held.isEmpty }
  }

  /// Takes all held requests, to be checked one by one in their order (`RequestChain.removeFirst`): those that still
  /// collide are held again.
  mutating func takeHeld() -> RequestChain {
    hasFreed = false
    defer { held = RequestChain() }
    return held
  }
}
