import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem

// Ownership: asking for functions, noticing grants, relinquishing.
extension Controller {
  /// Appends a request to its function's pending queue.
  @inline(__always)
  mutating func enqueue(_ index: RequestIndex, _ function: Function) {
    functions.address(function.index).pointee.append(index, requests.entries)
  }

  /// Requests a function that has pending requests, unless that is done, and puts it on the attention list.
  @inline(__always)
  mutating func requestOwnership(_ function: Function, _ word: OwnershipWord) {
    let state = functions.address(function.index)
    wantAttention(function)
    if word.isOwned(by: identity) || state.pointee.isRequesting { return }
    askArbiter(function)
  }

  private mutating func askArbiter(_ function: Function) {
    interventions.isWatched
      ? askArbiter(function, SomebodyWatches.self) : askArbiter(function, NobodyWatches.self)
  }

  private mutating func askArbiter<Observer: Watching>(_ function: Function, _: Observer.Type) {
    let isWatched = Observer.isWatching
    functions.address(function.index).pointee.beginAsking(requests.entries)
    if takeover.mayTakeOver { takeOver(function) }
    if isWatched { reach(.requestBefore) }
    let time = isWatched ? monotonicNanoseconds() : 0
    defer { if isWatched { reach(.requestAfter) } }
    switch arbiter.request(region.ownership.word(function.index)) {
    case .owned: break  // claimed: attending to the function notices it like a grant
    case .waiting(let asked):
      if asked {
        count(.ownershipRequests)
        if isWatched {
          note(.requested, function, at: time)
          note(.hinted, function)
        }
        sendHint(function)
      }
    }
  }

  /// Hints to the peer which word to check. A hint that does not fit is lost: the peer finds the word by sweeping.
  mutating func sendHint(_ function: Function) {
    if link.hint(function) { count(.hintsSent) } else { count(.hintsLost) }
    turn.due.insert(.peer)
  }

  /// Puts a function on the attention list, once.
  @inline(__always)
  mutating func wantAttention(_ function: Function) { functions.attention.add(function.index) }

  /// Reads hints from the peer. A hint only names the word to check; the word decides.
  @inline(__always)
  mutating func readLink() -> Int {
    interventions.isWatched ? readLinkWatched() : readLink(NobodyWatches.self)
  }

  @inline(never)
  private mutating func readLinkWatched() -> Int { readLink(SomebodyWatches.self) }

  @inline(__always)
  private mutating func readLink<Observer: Watching>(_: Observer.Type) -> Int {
    var count = 0
    while count < Self.hintBatchMax, let function = link.next() {
      count += 1
      // The other controller wrote what is in the ring: the same check on this side of the boundary.
      if function.index >= 0, function.index < region.functionCount {
        // What the peer has asked for is about to be granted.
        region.ownership.word(function.index).prefetchForWriting()
        if Observer.isWatching { note(.seen, function) }
        wantAttention(function)
      }
    }
    return count
  }

  /// Attends to the listed functions: a bounded number per turn, in rotation.
  @inline(__always)
  mutating func attend() -> Int { attendToList(most: Self.attentionBatchMax) }

  /// The same without the bound on a turn: before it sleeps the controller must have attended to every function.
  mutating func attendToAll() -> Int { attendToList(most: functions.attention.count) }

  mutating func attendToList(most: Int) -> Int {
    functions.beginAttending()
    var work = 0
    var looks = min(functions.attention.count, most)
    while looks > 0, let function = functions.attention.current() {
      // The next turn goes on from here.
      if work > 0, turn.isSpent { break }
      looks -= 1
      let (worked, stays) = attend(to: Function(index: function))
      work += worked
      functions.attention.advance(keeping: stays)
    }
    return work
  }

  /// Takes one function as far as possible at present.
  ///
  /// - Returns: how much was done, and whether the controller must attend to the function again.
  mutating func attend(to function: Function) -> (worked: Int, stays: Bool) {
    let state = functions.address(function.index)
    let shared = region.ownership.word(function.index)
    var word = arbiter.look(shared)
    var worked = 0

    if !word.isOwned(by: identity) {
      if !state.pointee.hasPending && !state.pointee.isRequesting { return (0, false) }
      if word.owner == nil || !word.isRequested {
        // Without an owner, or the request no longer stands: ask (again).
        state.pointee.endAsking()
        if !state.pointee.hasPending { return (0, false) }
        askArbiter(function)
        word = arbiter.look(shared)
      }
      if takeover.mayTakeOver, !word.isOwned(by: identity) {
        takeOver(function)
        word = arbiter.look(shared)
      }
      if !word.isOwned(by: identity) { return (worked, true) }
    } else if word.isRequested, takeover.standsIn || takeover.stage == .awaitsExit {
      // Nobody waits for what a fenced controller requested.
      _ = arbiter.dismiss(shared)
      word = arbiter.look(shared)
    }

    if state.pointee.isRequesting {
      // Granted, or claimed: a term begins here.
      count(.terms)
      if interventions.isWatched { note(.begun, function, value: word.term) }
      worked += 1
      let isContended = word.isRequested
      state.pointee.beginTerm(isContended: isContended, grantedAt: isContended ? takeGrantTime(function) : 0)
    }
    // The peer has withdrawn its request meanwhile: there is nothing to relinquish, and admission continues.
    if !word.isRequested { state.pointee.endRelinquishing() }
    while state.pointee.hasPending, !state.pointee.isRelinquishing, hasRoom(function) {
      servePending(function, term: word.term)
      worked += 1
      if turn.isSpent { break }
    }
    if word.isRequested {
      let hasGranted =
        interventions.isWatched ? relinquish(function, SomebodyWatches.self) : relinquish(function, NobodyWatches.self)
      if hasGranted { return (worked + 1, state.pointee.isRequesting || state.pointee.hasPending) }
      return (worked, true)
    }
    return (worked, state.pointee.hasPending)
  }

  /// Serves the first request of a function's pending queue, or drops it when its host is gone.
  private mutating func servePending(_ function: Function, term: UInt64) {
    let state = functions.address(function.index)
    guard let index = state.pointee.removeFirstPending(requests.entries) else { return }
    let request = requests.entry(index)
    if channels[request.pointee.origin].phase == .closing { return drop(index) }
    if mustWait(request) { return hold(index) }
    count(request.pointee.isTransferred ? .transferred : .direct)
    if serve(request, index: index, term: term) { state.pointee.begin() } else { requests.giveBack(index) }
  }

  /// The peer asks for a function that this controller owns: prepares to relinquish it, and acknowledges once
  /// nothing is in flight.
  ///
  /// - Returns: whether it has been granted.
  private mutating func relinquish<Observer: Watching>(_ function: Function, _: Observer.Type) -> Bool {
    let isWatched = Observer.isWatching
    let state = functions.address(function.index)
    let hasBegun = isWatched && state.pointee.isRelinquishing
    let readiness = state.pointee.prepareToRelinquish(policy: life.isStopping ? nil : options.residency)
    if isWatched, !hasBegun, state.pointee.isRelinquishing { note(.relinquishing, function) }
    switch readiness {
    case .busy: return false
    case .resident:
      functions.noteResidency()
      return false
    case .ready: if isWatched { note(.drained, function) }
    }
    // Requests that came meanwhile wait: the grant asks for the function back in the same step. A leaving controller
    // asks for nothing: the requests go back to their hosts, which resubmit them to the peer.
    if life.isStopping { refusePending(function, .leaving) }
    let asking = state.pointee.hasPending
    // Before the grant, after which the line is the peer's: the CAS releases it.
    region.grantTimes.word(function.index).storeRelaxed(state.pointee.isWantedBack ? monotonicNanoseconds() : 0)
    if isWatched { reach(.grantBefore) }
    let time = isWatched ? monotonicNanoseconds() : 0
    let granted = arbiter.grant(region.ownership.word(function.index), asking: asking)
    if isWatched { reach(.grantAfter) }
    state.pointee.endRelinquishing()
    if !granted { return false }
    if isWatched { note(.granted, function, at: time, value: asking ? 1 : 0) }
    count(.grants)
    state.pointee.endTerm()
    turn.due.insert(.peer)
    if asking {
      count(.ownershipRequests)
      state.pointee.beginAsking(requests.entries)
      // No hint: the peer attends to what it asked for, and sees the request in the word with the grant.
    } else {
      sendHint(function)
    }
    return true
  }

  /// When the function was granted to this controller, if both wanted it then. Reading clears the time, so that a term
  /// that begins without a grant does not use an earlier one.
  private func takeGrantTime(_ function: Function) -> UInt64 {
    let word = region.grantTimes.word(function.index)
    let time = word.loadRelaxed()
    if time != 0 { word.storeRelaxed(0) }
    return time
  }

  /// Looks for requests of the peer whose hint was lost: in a part of the words, or in all.
  mutating func sweep(all: Bool = false) {
    let part = all ? region.functionCount : min(region.functionCount, 64)
    for _ in 0..<part {
      let index = functions.nextToSweep()
      let word = arbiter.look(region.ownership.word(index))
      if word.isOwned(by: identity), word.isRequested, !functions.attention.contains(index) {
        count(.requestsSwept)
        if interventions.isWatched { note(.seen, Function(index: index)) }
        wantAttention(Function(index: index))
      }
    }
  }
}
