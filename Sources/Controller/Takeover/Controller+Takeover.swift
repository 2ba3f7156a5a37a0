import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSubsystem

// Takeover: serving in place of the peer, once it is gone for certain: its functions and its channels.
// Controller+Recovery recovers what it had in flight.
extension Controller {
  /// Hosts whose channel is searched in one turn, at most: the first hosts must not wait for all of them.
  private static var positionsMax: Int { 2 }
  /// Words checked in one turn, at most.
  private static var sweepMax: Int { 256 }

  /// Whether anything of the peer's is still to be done.
  ///
  /// Held requests do not count: they may wait for a write of this very controller, and the requests that were taken in
  /// the peer's place are counted by its channels.
  var isTakingOver: Bool {
    @inline(__always) get { takeover.isSearching || recovery.hasWork || recovery.standingCount > 0 }
  }

  /// Whether the next turn has anything to do for it, whatever ends meanwhile.
  var hasTakeoverSteps: Bool {
    takeover.canSearch || recovery.mustCheckHeld || takeover.journal.isAtEnd && recovery.hasWork
  }

  /// The peer is gone for certain: it has left, or this controller holds the fence and has seen its exit.
  mutating func standIn(for seen: MembershipWord, at now: UInt64) {
    let standing = seen.standing(identity.peer)
    recovery.begin(at: now)
    takeover.begin(
      functions: region.functionCount, peer: standing, hasLived: seen.incarnation(identity.peer) > 0,
      hasSeenProcessEnd: peer.looksEnded || peer.isMarkedDead, mayBeMoved: !recovery.isEmpty)
    if standing == .fenced { count(.takeovers) }
    if interventions.makes(.noJournal) { takeover.journal.discard() }
    // Whatever its standing: a life that was let in and ended before it joined had received orphans, and left no other
    // trace than its journal.
    _ = readJournal()
    takeover.setStage(.recovers)
  }

  /// One turn of it.
  @inline(never)
  mutating func continueTakeover() -> Int {
    var work = 0
    if takeover.standsIn, !takeover.journal.isAtEnd { work += readJournal() }
    // Only then: a request in the journal must not be taken for a new one.
    if takeover.journal.isAtEnd {
      work += positionChannels()
      if recovery.standingCount > 0 { work += recover() }
      if recovery.mustAnswerOrphans { bindAttached() }
      if recovery.hasDone { removeDone() }
      // Until the journal has been read to its end, the controller serves nothing of the peer's: what is still unread
      // may collide.
      work += sweepForTakeover()
    }
    if takeover.standsIn, takeover.stage == .recovers, !isTakingOver { settle() }
    return work
  }

  /// Nothing of the peer's waits any more.
  private mutating func settle() {
    takeover.setStage(.standsIn)
    // Work that is not urgent comes now. Nobody needs to know any more whether the peer answers, and a terminal that
    // does not take a line would have held up the takeover.
    peer.end(on: ring)
    clearPeersHosts()
    let reason: String
    switch takeover.absence {
    // Nothing has failed where the peer was never started, or left in good order.
    case .neverStarted:
      return options.logger.notice("controller \(identity): ready; controller \(identity.peer) is not running yet")
    case .left: return options.logger.notice("controller \(identity): ready; controller \(identity.peer) has left")
    case .silent: reason = "which did not answer"
    case .died: reason = "which is gone"
    }
    options.logger.notice(
      """
      controller \(identity): serves in place of controller \(identity.peer), \(reason): \
      functions taken over: \(word(.functionsTakenOver)), \
      requests found in flight: \(word(.recovered)), of them executed again: \(word(.replayed)), \
      requests taken from its channels so far: \(word(.adopted))
      """)
  }

  func word(_ counter: Counter) -> UInt64 { counters[counter].loadRelaxed() }

  // MARK: Functions

  /// Takes one function over, if the peer owned it.
  mutating func takeOver(_ function: Function) {
    let word = region.ownership.word(function.index)
    reach(.takeOverBefore)
    if arbiter.takeOver(word) {
      reach(.takeOverAfter, .takenOver, TraceDetail(function: function.index))
      count(.functionsTakenOver)
      functions.address(function.index).pointee.endRelinquishing()
    }
  }

  /// Every function, in time: when the peer comes back, no word may name its former life as an owner or a requester.
  private mutating func sweepForTakeover() -> Int {
    let part = takeover.takeFunctions(most: Self.sweepMax)
    for index in part.reversed() {
      let word = region.ownership.word(index)
      let value = arbiter.look(word)
      if value.isOwned(by: identity.peer) {
        takeOver(Function(index: index))
        // Requests here may wait for it.
        if functions.address(index).pointee.hasPending { wantAttention(Function(index: index)) }
      } else if value.isRequested {
        _ = arbiter.dismiss(word)
      }
    }
    return part.count
  }

  // MARK: Channels

  /// Searches the channels of some hosts: their positions are not known yet, or they are the peer's.
  mutating func positionChannels() -> Int {
    var looked = 0
    while looked < Self.positionsMax, let place = takeover.takePlace() {
      if hosts[place].phase == .attached, position(place) { looked += 1 }
    }
    takeover.endSearch()
    return looked
  }

  /// A host has attached: finds the positions of its channels.
  mutating func takePositions(_ place: HostPlace) {
    bindRecovered(place)
    _ = position(place)
    takeover.endSearch()
  }

  /// Takes requests from a host's own channel from now on, and from its channel to the peer when this controller stands
  /// in for the peer. A leaving controller accepts no more work for its peer; the peer's next life does.
  ///
  /// - Returns: whether any channel was searched.
  mutating func position(_ place: HostPlace) -> Bool {
    // The unread part of the peer's journal may name a line. The takeover checks every place after that.
    if takeover.standsIn, !takeover.mayTakeOver { return false }
    var looked = false
    let standsIn = takeover.standsIn && !takeover.isReleasing && !life.isStopping
    for side in ControllerIdentity.allCases where side == identity || standsIn {
      let channel = place.channel(to: side)
      if channels[channel].isPolled || channels[channel].phase != .attached { continue }
      if channels[channel].isPositioned {
        addToOrder(channel)
      } else if takePosition(channel) {
        looked = true
      } else {
        takeover.skip()
      }
    }
    return looked
  }

  /// Finds a channel's position by searching its lines. Receives what was submitted and is neither answered nor under
  /// recovery, in the order of its submission, and takes requests from the channel from now on.
  ///
  /// - Returns: false when there is no room for all of them at present: nothing has been taken.
  private mutating func takePosition(_ channel: ChannelIndex) -> Bool {
    let state = channels.address(channel)
    let outcome = recovery.withMarks(of: channel) { channels.findPosition(of: channel, isRecovering: $0) }
    guard case .settled(let position, let found) = outcome else {
      expel(place: channel.place, for: .wrongLines)
      return true
    }
    // The places that are reserved for a dead controller's journal stay free. While that journal cannot be read,
    // nothing of it is served, and requests that wait for it would fill the table for ever.
    if found > max(requests.free - Self.requestsReserved, 0) { return false }
    state.pointee.setPosition(position)
    let isAdopted = channel.controller != identity
    addToOrder(channel)
    for entry in 0..<found {
      let (line, sequence) = channels.request(found: entry, at: position)
      count(.requests)
      if isAdopted { count(.adopted) }
      state.pointee.beginRequest()
      receive(state.pointee.line(line).copy(), channel: channel, line: line, sequence: sequence)
    }
    return true
  }

  // MARK: Letting go

  /// A new life of the peer waits to join: this controller takes nothing more in its place.
  mutating func beginReleasing() {
    takeover.beginReleasing()
    for place in HostPlace.all { removeFromOrder(place.channel(to: identity.peer)) }
  }

  /// Whether everything that was taken in the peer's place has been answered, and each of the two will have room for
  /// what the other has in its journal.
  var isReleased: Bool {
    let orphans = recovery.orphanCount
    let handedOver = recovery.requests.count { isOrphan($0, of: identity.peer) }
    let hasPeersRequests = HostPlace.all.contains { channels[$0.channel(to: identity.peer)].outstanding > 0 }
    return RequestRules.mayRelease(isTakingOver: isTakingOver, hasPeersRequests: hasPeersRequests)
      && handedOver <= Storage.operationsMax
      && storage.inFlight + orphans - handedOver <= Storage.operationsMax
      && requests.free + handedOver >= Self.requestsReserved
  }

  /// The new life may join: from now on these channels are its own.
  mutating func endReleasing(at now: UInt64) {
    takeover.endReleasing(at: now)
    for place in HostPlace.all { channels.address(place.channel(to: identity.peer)).pointee.forgetPosition() }
  }
}
