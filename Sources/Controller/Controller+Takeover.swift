import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem

// Takeover: serving in the other one's place, once it is gone for certain: its functions and its channels. What it had
// in flight is recovered, see Controller+Recovery.
extension Controller {
  /// Hosts whose channel is looked through in one turn at the most: the first ones are not to wait for all.
  private static var positionsMax: Int { 2 }
  /// Words looked at in one turn at the most.
  private static var sweepMax: Int { 256 }

  /// The other one is gone for certain: it has left, or this controller holds the fence and has seen its exit.
  mutating func standIn(for seen: MembershipWord, at now: UInt64) {
    peerIsGone = true
    takeover.beganAt = now
    takeover.sweepLeft = region.functionCount
    takeover.placeCursor = 0
    takeover.isReleasing = false
    takeover.peerHasLived = seen.incarnation(identity.peer) > 0
    takeover.peerHasLeft = seen.standing(identity.peer) != .fenced
    takeover.hasSeenProcessEnd = peer.looksEnded() || isPeerMarkedDead
    if seen.standing(identity.peer) == .fenced { count(.takeovers) }
    // Whatever its standing says: a life that was let in and ended before it joined had been handed orphans, and left
    // no other trace than its journal.
    beginJournal()
    takeover.setStage(.recovers, record)
  }

  /// One turn of it.
  @inline(never)
  mutating func continueTakeover() -> Int {
    var work = 0
    if peerIsGone, !takeover.hasReadJournal { work += readJournal() }
    // Only then: what stands in the journal must not be taken for something new.
    if takeover.hasReadJournal {
      if takeover.placeCursor < Journal.hostPlaces { work += positionChannels() }
      if takeover.standingCount > 0 { work += recover() }
      if takeover.mustBind { bindAttached() }
      if takeover.hasDone { removeDone() }
      // Before the journal is known to its end, nothing of the peer's is served: what is still to be read may collide.
      if takeover.sweepLeft > 0 { work += sweepForTakeover() }
    }
    if peerIsGone, takeover.stage == .recovers, !takeover.isUnderWay { settle() }
    return work
  }

  /// Nothing of the other one's waits any more.
  private mutating func settle() {
    takeover.setStage(.standsIn, record)
    // What is not urgent comes now: nobody wants to know any more whether the other one answers, and a terminal that
    // does not take a line would have held up the takeover.
    endPeerWatch()
    clearPeersHosts()
    // Nothing has failed where the peer was not there in the first place, or left in good order.
    if takeover.peerHasLeft {
      let state = takeover.peerHasLived ? "has left" : "is not running yet"
      options.logger.notice("controller \(identity): ready; controller \(identity.peer) \(state)")
      return
    }
    let reason = takeover.wasSilent ? "which did not answer" : "which is gone"
    takeover.wasSilent = false
    options.logger.notice(
      """
      controller \(identity): serves in place of controller \(identity.peer), \(reason): \
      \(word(.functionsTakenOver)) functions taken over, \
      \(word(.recovered)) requests found in flight, \(word(.replayed)) of them executed again, \
      \(word(.adopted)) more taken from its channels so far
      """)
  }

  func word(_ counter: Counter) -> UInt64 { counters[counter].loadRelaxed() }

  // MARK: Functions

  /// Takes one function over, if the other one owned it.
  mutating func takeOver(_ function: Function) {
    let word = region.ownership.word(function.index)
    reach(.takeOverBefore)
    if arbiter.takeOver(word) {
      reach(.takeOverAfter)
      count(.functionsTakenOver)
      functions[function.index].isRelinquishing = false
    }
  }

  /// Every function, in time: when the other one comes back, nothing may stand as owned or requested by its former
  /// life.
  private mutating func sweepForTakeover() -> Int {
    let part = min(takeover.sweepLeft, Self.sweepMax)
    for _ in 0..<part {
      takeover.sweepLeft -= 1
      let index = takeover.sweepLeft
      let word = region.ownership.word(index)
      let value = arbiter.look(word)
      if value.isOwned(by: identity.peer) {
        takeOver(Function(index: index))
        // Somebody here may wait for it.
        if functions[index].hasPending { wantAttention(Function(index: index)) }
      } else if value.isRequested {
        _ = arbiter.dismiss(word)
      }
    }
    return part
  }

  // MARK: Channels

  /// Looks through the channels of some hosts: where they stand is not known yet, or they are the other one's.
  mutating func positionChannels() -> Int {
    var looked = 0
    while takeover.placeCursor < Journal.hostPlaces, looked < Self.positionsMax {
      let place = takeover.placeCursor
      takeover.placeCursor += 1
      if hosts[place].phase == .attached, position(place) { looked += 1 }
    }
    if takeover.placeCursor == Journal.hostPlaces, takeover.hasSkipped {
      takeover.hasSkipped = false
      takeover.placeCursor = 0
    }
    return looked
  }

  /// A host has attached: finds where its channels stand.
  mutating func takePositions(_ place: Int) {
    bindRecovered(place)
    _ = position(place)
  }

  /// Takes from a host's own channel from now on, and from its channel to the other one when this controller stands in
  /// for that. One that leaves takes nothing more in the other's place: whoever comes next does.
  ///
  /// - Returns: whether anything was looked through.
  mutating func position(_ place: Int) -> Bool {
    // A line may stand in the part of the peer's journal that is still to be read. Every place is looked at after that.
    if peerIsGone, !takeover.hasReadJournal { return false }
    var looked = false
    let standsIn = peerIsGone && !takeover.isReleasing && stop == .running
    for side in ControllerIdentity.allCases where side == identity || standsIn {
      let channel = place << 1 | side.index
      if channels[channel].isPolled || channels[channel].phase != .attached { continue }
      if channels[channel].isPositioned {
        addToOrder(channel)
      } else if takePosition(channel) {
        looked = true
      } else {
        takeover.hasSkipped = true
        if takeover.placeCursor == Journal.hostPlaces { takeover.placeCursor = place }
      }
    }
    return looked
  }

  /// Finds where a channel stands by looking through its lines, receives what was submitted and is neither answered nor
  /// being recovered, in the order of its submission, and takes requests from the channel from now on.
  ///
  /// - Returns: false when there is no room for all of them at present: nothing has been taken.
  private mutating func takePosition(_ channel: Int) -> Bool {
    let state = channels.address(channel)
    setMarks(channel, mark: true)
    let marks = self.marks.address(0)
    let outcome = ChannelPosition.find(
      in: SharedLines(base: state.pointee.lines), count: state.pointee.lineMask + 1, table: unanswered.address(0)
    ) { slot, sequence in marks[slot] == sequence }
    setMarks(channel, mark: false)
    guard case .settled(let position, let found) = outcome else {
      expel(place: channel >> 1, for: .wrongLines)
      return true
    }
    // The places that are reserved for a dead controller's journal stay free: while that cannot be read, nothing of it
    // is served, and what waits for that would fill the table for ever.
    if found > max(requests.free - Self.requestsReserved, 0) { return false }
    state.pointee.next = position.next
    state.pointee.staying = position.staying
    state.pointee.due = .submitted(position.newest &+ 1)
    state.pointee.isPositioned = true
    let isAdopted = channel & 1 != identity.index
    addToOrder(channel)
    for entry in 0..<found {
      let (slot, sequence) = position.request(ofEntry: unanswered[entry])
      count(.requests)
      if isAdopted { count(.adopted) }
      state.pointee.outstanding += 1
      receive(state.pointee.line(slot).copy(), channel: channel, slot: slot, sequence: sequence)
    }
    return true
  }

  // MARK: Letting go

  /// A new life of the other one waits to join: takes nothing more in its place.
  mutating func beginReleasing() {
    takeover.isReleasing = true
    for place in 0..<Journal.hostPlaces { removeFromOrder(place << 1 | identity.peer.index) }
  }

  /// Whether everything that was taken in the other one's place has been answered.
  var isReleased: Bool {
    (0..<Journal.hostPlaces).allSatisfy { channels[$0 << 1 | identity.peer.index].outstanding == 0 }
  }

  /// The new life may join: from now on these channels are its own.
  mutating func endReleasing(at now: UInt64) {
    takeover.isReleasing = false
    takeover.releasedAt = now
    for place in 0..<Journal.hostPlaces { channels[place << 1 | identity.peer.index].isPositioned = false }
  }

  /// The new life is gone again: takes in its place as before. The channels stand where they stood.
  mutating func stopReleasing() {
    takeover.isReleasing = false
    takeover.placeCursor = 0
  }
}
