import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc

// Recovery: what a dead controller had in flight, by its journal. Such a request may have been executed or not, and
// the kernel may still be about to execute it. So what collides with it is held; when the kernel has let go of its
// unit (the drain proof), it is executed again unless it has been answered, once, and answered.
extension Controller {
  /// How often the kernel is asked whether it has let go of a unit.
  private static var drainLookNanoseconds: UInt64 { 50_000 }

  /// Entries moved from a dead controller's journal in one turn: the beat goes on between turns.
  private static var movedMax: Int { 1024 }

  // MARK: Reading the journal

  /// What an earlier life of this very controller had in flight: its entries stay where they are.
  mutating func recoverEarlierLife() {
    let journal = region.journal(of: identity)
    var found: [Int32] = []
    requests.adopt { found.append($0) }
    var isNeeded = [Bool](repeating: false, count: Journal.hostPlaces)
    for index in found {
      let request = requests.base + Int(index)
      guard isSound(request.pointee), journal.host(Int(request.pointee.channel) >> 1).pointee.identity != 0 else {
        reportDamage(request.pointee, in: identity)
        leaveJournal(request)
        requests.giveBack(index)
        continue
      }
      isNeeded[Int(request.pointee.channel) >> 1] = true
      enlist(index)
    }
    takeover.hasEarlierLifes = !found.isEmpty
    for place in 0..<Journal.hostPlaces {
      if isNeeded[place] {
        hosts[place].phase = .expected
        hosts[place].identity = journal.host(place).pointee.identity
      } else {
        journal.host(place).pointee.identity = 0
      }
    }
  }

  /// Begins to read the other one's journal.
  mutating func beginJournal() {
    let journal = region.journal(of: identity.peer)
    takeover.journalCursor = 0
    takeover.journalTop = Int(min(journal.top.loadAcquiring(), UInt64(Journal.capacity)))
    takeover.places = [Int16](repeating: -1, count: Journal.hostPlaces)
    if options.defect == .noJournal {
      for index in 0..<takeover.journalTop { (journal.entries + index).inFlight.storeReleasing(0) }
      takeover.journalTop = 0
    }
    _ = readJournal()
  }

  /// Moves entries of the other one's journal to this one's: first they stand in both, then here alone, so that
  /// whoever recovers from the death of this controller finds each in one at least. What it finds in both is one
  /// request, and its line tells when it has been answered.
  mutating func readJournal() -> Int {
    let journal = region.journal(of: identity.peer)
    var moved = 0
    takeover.isJournalBlocked = false
    while takeover.journalCursor < takeover.journalTop, moved < Self.movedMax {
      let theirs = journal.entries + takeover.journalCursor
      if theirs.inFlight.loadAcquiring() != 0 {
        // There is room when requests of this controller's own have ended.
        guard requests.free > 0 else {
          takeover.isJournalBlocked = true
          return moved
        }
        let copy = theirs.pointee
        if isSound(copy), let place = localPlace(Int(copy.channel) >> 1, journal) {
          let channel = place << 1 | Int(copy.channel & 1)
          // The earlier life of this controller died between copying and clearing it.
          if takeover.hasEarlierLifes, isRecovering(channel, Int(copy.slot), copy.sequence) {
            theirs.inFlight.storeReleasing(0)
            takeover.journalCursor += 1
            continue
          }
          moved += 1
          let index = requests.take()
          (requests.base + Int(index)).enter(copy, channel: UInt32(truncatingIfNeeded: channel))
          enlist(index)
        } else {
          reportDamage(copy, in: identity.peer)
        }
        reach(.journalCopied)
        theirs.inFlight.storeReleasing(0)
        reach(.journalMoved)
      }
      takeover.journalCursor += 1
    }
    return moved
  }

  /// The peer's journal has been read to its end, and nothing in it names a host any more. A record that stayed would
  /// count among the hosts of both controllers (`admitsAnother`).
  mutating func clearPeersHosts() {
    let journal = region.journal(of: identity.peer)
    for place in 0..<Journal.hostPlaces where journal.host(place).pointee.identity != 0 {
      journal.host(place).pointee.identity = 0
    }
  }

  /// Whether an entry can have been written by a controller: it stands there as a request that passed every check. The
  /// journal is the controllers' own memory; but nothing that comes out of shared memory is used before it has been
  /// looked at. Where its host's arena ends is looked at when the host is there (`isUnanswered`).
  private mutating func isSound(_ entry: AcceptedRequest) -> Bool {
    guard entry.state == 1, Int(entry.channel) < 2 * Journal.hostPlaces,
      entry.sequence <= RequestFlag.sequenceMask, Int(entry.slot) < Int(BATON_LINES_MAX)
    else { return false }
    let copy = RequestCopy(
      operation: entry.operation, unit: entry.unit, offset: entry.offset, length: entry.length, buffer: entry.buffer)
    return refusal(of: copy, arenaSize: UInt64.max) == nil
  }

  /// An entry that no controller can have written is left out, and that is said: once a life, however many there are.
  private mutating func reportDamage(_ entry: AcceptedRequest, in owner: ControllerIdentity) {
    count(.journalDamage)
    if counters[.journalDamage].loadRelaxed() > 1 { return }
    options.logger.error(
      """
      controller \(identity): the journal of controller \(owner) is damaged: an entry names operation \
      \(entry.operation), unit \(entry.unit), offset \(entry.offset), length \(entry.length), host place \
      \(entry.channel >> 1), which no request can have; it is ignored
      """)
  }

  /// The place here of a host that stands in a place of the peer's journal; a place is made for one that is not
  /// attached.
  ///
  /// Nil where the journal is damaged: a record without a host, or more hosts than both controllers together admit
  /// (`admitsAnother`).
  private mutating func localPlace(_ place: Int, _ journal: Journal) -> Int? {
    if takeover.places[place] >= 0 { return Int(takeover.places[place]) }
    let theirs = journal.host(place).pointee
    if theirs.identity == 0 { return nil }
    var found = (0..<Journal.hostPlaces).first {
      hosts[$0].phase != .vacant && hosts[$0].identity == theirs.identity
    }
    if found == nil, let free = (0..<Journal.hostPlaces).first(where: { hosts[$0].phase == .vacant }) {
      hosts[free] = HostState(phase: .expected, identity: theirs.identity)
      region.journal(of: identity).host(free).pointee = theirs
      found = free
    }
    if let found { takeover.places[place] = Int16(found) }
    return found
  }

  private mutating func enlist(_ index: Int32) {
    let request = requests.base + Int(index)
    request.pointee.flags &= AcceptedRequest.Flag.lasting
    request.pointee.flags |= AcceptedRequest.Flag.recovered
    request.pointee.next = takeover.recoveringHead
    takeover.recoveringHead = index
    // One that was given up stays so, whoever recovers it: others have been served meanwhile. Its host may be attached.
    if !request.pointee.isStanding {
      if hosts[Int(request.pointee.channel) >> 1].phase == .attached { takeover.mustBind = true }
      return
    }
    takeover.standingCount += 1
    let state = functions + request.pointee.function.index
    // Whatever was proved before was proved of other requests.
    state.pointee.isDrained = false
    state.pointee.recovering += 1
    count(.recovered)
  }

  // MARK: What collides

  /// The requests that are being recovered. One may end or be given up while they are gone through, but none leaves
  /// the list before `removeDone`.
  private var recovering: RequestList { RequestList(requests.base, from: takeover.recoveringHead) }

  /// Notes for each line of a channel which request in it is being recovered, or undoes that. Of several the newest: a
  /// controller that died between an answer and the clearing of its entry has left an older one of the same line.
  func setMarks(_ channel: Int, mark: Bool) {
    for request in recovering where Int(request.pointee.channel) == channel && !request.pointee.isDone {
      let slot = Int(request.pointee.slot)
      if !mark {
        marks[slot] = Self.noMark
      } else if marks[slot] == Self.noMark || RequestFlag.isNewer(request.pointee.sequence, than: marks[slot]) {
        marks[slot] = request.pointee.sequence
      }
    }
  }

  /// No number of a request.
  static var noMark: UInt64 { UInt64.max }

  /// Whether something that is being recovered came from that host.
  func isNamedByRecovery(_ place: Int) -> Bool {
    recovering.contains { Int($0.pointee.channel) >> 1 == place }
  }

  /// Whether a line's request is one that is being recovered.
  func isRecovering(_ channel: Int, _ slot: Int, _ sequence: UInt64) -> Bool {
    recovering.contains {
      $0.pointee.sequence == sequence && Int($0.pointee.slot) == slot && Int($0.pointee.channel) == channel
        && !$0.pointee.isDone
    }
  }

  /// Whether a request must wait for one that is being recovered: one that changes what it would see, or would undo
  /// what it does. Management waits for any change of a unit's state.
  mutating func collides(_ request: UnsafeMutablePointer<AcceptedRequest>) -> Bool {
    recovering.contains {
      guard $0.pointee.isStanding else { return false }
      if request.pointee.isManagement { return $0.pointee.kind == .setUnitState }
      return $0.pointee.changesUnit && $0.pointee.unit == request.pointee.unit
        && request.pointee.overlaps($0.pointee)
    }
  }

  mutating func hold(_ index: Int32) {
    appendHeld(index)
    count(.held)
  }

  private mutating func appendHeld(_ index: Int32) {
    requests.base[Int(index)].next = -1
    if takeover.heldTail >= 0 {
      requests.base[Int(takeover.heldTail)].next = index
    } else {
      takeover.heldHead = index
    }
    takeover.heldTail = index
  }

  /// Puts those of the held requests that collide with nothing any more at the end of their pending queues.
  mutating func releaseHeld() -> Int {
    var index = takeover.heldHead
    takeover.mayRelease = false
    takeover.heldHead = -1
    takeover.heldTail = -1
    var released = 0
    while index >= 0 {
      let request = requests.base + Int(index)
      let following = request.pointee.next
      request.pointee.next = -1
      if channels[Int(request.pointee.channel)].phase != .closing, collides(request) || overlapsWrite(request) {
        appendHeld(index)
      } else {
        released += 1
        let function = request.pointee.function
        enqueue(index, function)
        requestOwnership(function, arbiter.look(region.ownership.word(function.index)))
      }
      index = following
    }
    return released
  }

  // MARK: Executing again

  /// One turn of recovery: asks the kernel where it is time, executes again what may be, and takes out what is over.
  mutating func recover() -> Int {
    let now = monotonicNanoseconds()
    let mayLook = now &- takeover.drainLookedAt >= Self.drainLookNanoseconds
    if mayLook { takeover.drainLooks &+= 1 }
    var work = 0
    var looked = false
    for request in recovering where request.pointee.isStanding && !request.pointee.isReplaying {
      let function = request.pointee.function
      let state = functions + function.index
      if !state.pointee.isDrained, mayLook, state.pointee.drainLook != takeover.drainLooks {
        // One or two system calls a unit and look; the units that are waited for are few.
        state.pointee.drainLook = takeover.drainLooks
        state.pointee.isDrained = isDrained(function)
        looked = true
        if state.pointee.isDrained {
          count(.drainProofs)
          reach(.drainProved)
        }
      }
      // Before anything new: only a storage that takes nothing at all keeps it waiting.
      if state.pointee.isDrained, storage.freeSteps > 0 { work += executeAgain(request, at: now) }
    }
    // From the end of the look on: what waits is not to be asked about and nothing else.
    if looked { takeover.drainLookedAt = monotonicNanoseconds() }
    return work
  }

  /// The drain proof, for everything that this controller's earlier lives and the other one's have given to the kernel.
  private mutating func isDrained(_ function: Function) -> Bool {
    guard let unit = function.unit, options.defect != .noDrainProof, options.defect != .noFence else { return true }
    let seen = membership.current
    // A peer that takes part has a lock of its own, and nothing of its present life is being recovered.
    let ended = seen.incarnation(identity.peer) + (peerIsGone ? 1 : 0)
    return storage.isDrained(unit: unit, controllerIndex: identity.peer.index, before: ended)
      && storage.isDrained(unit: unit, controllerIndex: identity.index, before: incarnation)
  }

  private mutating func executeAgain(_ request: UnsafeMutablePointer<AcceptedRequest>, at now: UInt64) -> Int {
    let channel = Int(request.pointee.channel)
    let state = channels + channel
    switch hosts[channel >> 1].phase {
    case .vacant:
      end(request)
      return 1
    case .expected:
      // Nobody waits for it any more, and nothing of it lands any more.
      if hasDiedWithPeer(place: channel >> 1) {
        end(request)
        return 1
      }
      if now &- takeover.beganAt > options.hostAbsenceNanoseconds { orphan(request) }
      return 0
    // It may come back, and until it has been looked after what it waits for stays.
    case .expelled, .closing: return 0
    case .attached: break
    }
    // Two that overlap go one after the other, like any two writes.
    if overlapsWrite(request) { return 0 }
    // The host's memory may be other than the one that the dead controller had, if the host is hostile.
    guard isUnanswered(request) else {
      end(request)
      return 1
    }
    let function = request.pointee.function
    let shared = region.ownership.word(function.index)
    if !arbiter.look(shared).isOwned(by: identity) {
      if mayTakeOver {
        takeOver(function)
        guard case .owned = arbiter.request(shared) else { return 0 }
      } else {
        requestOwnership(function, arbiter.look(shared))
        guard arbiter.look(shared).isOwned(by: identity) else { return 0 }
      }
    }
    reach(.replayBefore)
    count(.replayed)
    state.pointee.outstanding += 1
    request.pointee.flags |= AcceptedRequest.Flag.replaying
    let index = Int32(truncatingIfNeeded: request - requests.base)
    if serve(request, index: index, term: arbiter.look(shared).term) {
      functions[function.index].inFlight += 1
    } else {
      end(request)
    }
    return 1
  }

  /// Whether a host lived in the process of the other controller, whose life has ended: a front end. Without waiting
  /// for the process to be cleared away, as `tendExpected` does.
  private func hasDiedWithPeer(place: Int) -> Bool {
    guard peerIsGone, takeover.hasSeenProcessEnd else { return false }
    let host = region.journal(of: identity).host(place).pointee
    let record = region.controller(identity.peer)
    return host.pid == record.pid.loadRelaxed() && host.start_time == record.startTime.loadRelaxed()
      && host.pid != UInt64(getpid())
  }

  /// Whether the host still waits for this very request, in memory that has room for it.
  private func isUnanswered(_ request: UnsafeMutablePointer<AcceptedRequest>) -> Bool {
    let state = channels + Int(request.pointee.channel)
    guard Int(request.pointee.slot) <= state.pointee.lineMask else { return false }
    if request.pointee.kind.usesBuffer {
      guard request.pointee.buffer <= state.pointee.arenaSize,
        request.pointee.length <= state.pointee.arenaSize &- request.pointee.buffer
      else { return false }
    }
    let flag = RequestFlag(rawValue: state.pointee.line(Int(request.pointee.slot)).flag.loadAcquiring())
    return flag == .submitted(request.pointee.sequence)
  }

  /// A recovered request's operation has ended.
  mutating func finishRecovered(_ request: UnsafeMutablePointer<AcceptedRequest>, _ result: Int32) {
    let place = Int(request.pointee.channel) >> 1
    if request.pointee.isRepeating {
      // Over for good: it is not to be chosen again.
      request.pointee.flags &= ~(AcceptedRequest.Flag.twice | AcceptedRequest.Flag.replaying)
      takeover.hasDone = true
      return
    }
    complete(request, result, term: arbiter.look(region.ownership.word(request.pointee.function.index)).term)
    end(request)
    if channels[Int(request.pointee.channel)].phase == .closing { free(place: place) }
  }

  /// A recovered request is over.
  private mutating func end(_ request: UnsafeMutablePointer<AcceptedRequest>) {
    leaveJournal(request)
    if request.pointee.isStanding { takeover.standingCount -= 1 }
    request.pointee.flags |= AcceptedRequest.Flag.done
    takeover.hasDone = true
    takeover.mayRelease = true
  }

  /// Its host did not come back in time: others must not wait for it for ever. Should it come after all, it is told
  /// that nobody knows whether the request was executed.
  private mutating func orphan(_ request: UnsafeMutablePointer<AcceptedRequest>) {
    takeover.standingCount -= 1
    takeover.mayRelease = true
    request.pointee.flags |= AcceptedRequest.Flag.orphaned
    functions[request.pointee.function.index].recovering -= 1
    options.logger.warning("controller \(identity): a host did not come back for a request that is being recovered")
  }

  /// Takes those that are over out of the list.
  mutating func removeDone() {
    takeover.hasDone = false
    takeover.mayRelease = true
    var index = takeover.recoveringHead
    var before: Int32 = -1
    while index >= 0 {
      let request = requests.base + Int(index)
      let following = request.pointee.next
      if request.pointee.isDone, !request.pointee.isRepeating, !repeatsOnPurpose(index) {
        if before >= 0 { requests.base[Int(before)].next = following } else { takeover.recoveringHead = following }
        let wasOrphaned = request.pointee.flags & AcceptedRequest.Flag.orphaned != 0
        if !wasOrphaned { functions[request.pointee.function.index].recovering -= 1 }
        let place = Int(request.pointee.channel) >> 1
        requests.giveBack(index)
        forget(place)
      } else {
        before = index
      }
      index = following
    }
  }

  /// The planted defect: a write that was answered is executed once more. That alone is the mistake: the place is kept
  /// until the storage has done with it.
  private mutating func repeatsOnPurpose(_ index: Int32) -> Bool {
    let request = requests.base + Int(index)
    guard options.defect == .replayTwice, request.pointee.kind == .write, request.pointee.isReplaying,
      hasRoom(request.pointee.function)
    else { return false }
    let address = channels[Int(request.pointee.channel)].arena + Int(request.pointee.buffer)
    let disposition = storage.start(
      .write, unit: Int(request.pointee.unit), offset: request.pointee.offset, length: request.pointee.length,
      address: address, isDurable: false, lane: Int(request.pointee.channel), token: UInt64(truncatingIfNeeded: index),
      on: ring)
    guard case .started = disposition else { return false }
    request.pointee.flags |= AcceptedRequest.Flag.twice
    enlistWrite(request, index: index)
    functions[request.pointee.function.index].inFlight += 1
    return true
  }

  // MARK: Hosts that are waited for

  /// A host has come back: what nobody knows of is answered so.
  mutating func bindRecovered(_ place: Int) {
    for request in recovering where Int(request.pointee.channel) >> 1 == place && request.pointee.isOrphan {
      if isUnanswered(request) {
        channels[Int(request.pointee.channel)].outstanding += 1
        answer(request, .controllerLost, term: 0)
      }
      end(request)
    }
  }

  /// Orphans were found in the peer's journal whose hosts are attached here already.
  mutating func bindAttached() {
    takeover.mustBind = false
    for place in 0..<Journal.hostPlaces where hosts[place].phase == .attached { bindRecovered(place) }
  }

  /// Now and then: gives up what hosts had asked for whose process is gone.
  mutating func tendExpected() {
    if takeover.recoveringHead < 0 { return }
    var isAlive = [Bool?](repeating: nil, count: Journal.hostPlaces)
    for request in recovering {
      let place = Int(request.pointee.channel) >> 1
      guard hosts[place].phase == .expected, !request.pointee.isDone else { continue }
      if isAlive[place] == nil {
        let host = region.journal(of: identity).host(place).pointee
        isAlive[place] = host.start_time != 0 && ProcessIdentity.startTicks(of: "\(host.pid)") == host.start_time
      }
      // Nobody waits for it; and after the drain proof nothing of it lands any more.
      guard isAlive[place] == false else { continue }
      if request.pointee.isOrphan || functions[request.pointee.function.index].isDrained { end(request) }
    }
  }

  /// The place of a host that is not attached is free when nothing of it is recovered any more.
  private mutating func forget(_ place: Int) {
    guard hosts[place].phase == .expected, !isNamedByRecovery(place) else { return }
    hosts[place] = HostState()
    region.journal(of: identity).host(place).pointee.identity = 0
    // Its number may mean another host in the next journal that is read.
    for index in 0..<Journal.hostPlaces where takeover.places[index] == Int16(place) { takeover.places[index] = -1 }
  }

  /// Requests that were given up, and whose hosts have not come.
  var orphanCount: Int { recovering.count { $0.pointee.isOrphan } }

  /// A new life of the other one is let in: the orphans of its channels become its own, because it is the one whom
  /// their hosts will ask, and it must not take them for something new. Its journal, which has been read to its end, is
  /// written here for the last time.
  mutating func handOrphansOver() {
    if takeover.recoveringHead < 0 { return }
    let journal = region.journal(of: identity.peer)
    // Every entry below the top has left the journal, and what stands above it was never used.
    var entry = 0
    for request in recovering
    where request.pointee.isOrphan && Int(request.pointee.channel & 1) == identity.peer.index {
      let place = Int(request.pointee.channel) >> 1
      precondition(entry < Journal.capacity, "orphans stand in this controller's own journal, which is as large")
      journal.host(place).pointee = region.journal(of: identity).host(place).pointee
      if journal.top.loadRelaxed() <= UInt64(entry) { journal.top.storeReleasing(UInt64(entry) + 1) }
      (journal.entries + entry).enter(request.pointee, channel: request.pointee.channel)
      entry += 1
      end(request)
    }
    removeDone()
  }
}
