import BatonOwnership

// What can happen next, in the words of the code: which controller may take which step from which state.
extension TakeoverExplorer {
  func steps(of state: TakeoverState) -> [TakeoverStep] {
    var steps: [TakeoverStep] = []
    for me in ControllerIdentity.allCases {
      let life = state.lives[me]
      func add(_ name: TakeoverStep.Name, _ index: Int = 0, isFault: Bool = false) {
        steps.append(TakeoverStep(name: name, controller: me, index: index, isFault: isFault))
      }
      each(state.late[me]) {
        add(.landLate, $0)
        add(.loseLate, $0)
      }
      if life.stage == .none {
        if !(isAlone && me == .b), life.incarnation < Self.incarnationMax { add(.start) }
        continue
      }
      if state.deaths > 0 { add(.die, isFault: true) }
      controllerSteps(state, me, life, add)
    }
    return steps
  }

  func each(_ set: UInt8, _ body: (Int) -> Void) {
    if set == 0 { return }
    for index in 0..<8 where set & 1 << index != 0 { body(index) }
  }

  private func controllerSteps(
    _ state: TakeoverState, _ me: ControllerIdentity, _ life: Life, _ add: (TakeoverStep.Name, Int, Bool) -> Void
  ) {
    let peer = me.peer
    let word = state.word
    let peerStanding = word.standing(peer)
    let peerIsDead = !state.isAlive(peer, word.incarnation(peer))
    // What is submitted is done, answered and cleared whatever becomes of the membership meanwhile.
    each(life.checked) { add(.submit, $0, false) }
    each(life.inFlight) { add(.land, $0, false) }
    each(life.completed) { add(clears(state, life, $0, me) ? .clearJournal : .answer, $0, false) }
    each(life.answered) { add(.clearJournal, $0, false) }
    if life.isMember, !word.isMember(me, UInt64(life.incarnation)) { add(.stop, 0, false) }

    switch life.stage {
    case .none: return
    case .starting:
      for (facts, isFault) in knowledge(state, peerIsDead) {
        lifeStep(word.nextStep(ofStarting: me, facts), isFault, add)
      }
      return
    case .paired:
      for (facts, isFault) in knowledge(state, peerIsDead) {
        lifeStep(word.nextStep(ofMember: me, facts), isFault, add)
      }
    case .fencing, .resuming:
      let isAlive = state.isAlive(peer, UInt64(life.target))
      if isAlive || defect == .killsByName && state.lives[peer].stage != .none { add(.kill, 0, false) }
      if !isAlive || defect == .noFence { add(.seeExit, 0, false) }
      if life.stage == .resuming, defect != .servesBeforeExit { return }
    case .standingIn:
      standInSteps(state, me, life, add)
    case .released:
      if peerStanding == .member {
        add(.welcome, 0, false)
      } else {
        // It may have joined and left again before this controller looked.
        let facts = PeerFacts(isStarting: state.lives[peer].stage != .none)
        lifeStep(word.nextStep(ofMember: me, facts), false, add)
      }
    }

    if life.isLeaving {
      leavingSteps(state, me, life, add)
    } else {
      if state.leavings > 0, life.stage != .fencing, life.held == 0 { add(.drainToLeave, 0, true) }
      for (index, request) in requests.enumerated() {
        let bit: UInt8 = 1 << index
        let polls = request.channel == me || life.stage == .standingIn && !life.hasStopped
        if polls, (state.answered | life.taken | life.underWay | life.held) & bit == 0 { add(.take, index, false) }
      }
    }
    each(life.taken) { if mayEnterJournal($0, state, me, life) { add(.enterJournal, $0, false) } }
    for function in functions { ownershipSteps(function, state, me, life, add) }
  }

  /// What a controller can know of its peer's life: an end that has come, noticed or not yet, or a silence, which uses
  /// up a suspicion.
  private func knowledge(_ state: TakeoverState, _ peerIsDead: Bool) -> [(facts: PeerFacts, isFault: Bool)] {
    var known = [(PeerFacts(), false)]
    if peerIsDead {
      known.append((PeerFacts(hasEnded: true), false))
    } else if state.silences > 0 {
      known.append((PeerFacts(isSilent: true), true))
    }
    return known
  }

  /// The step of the model for the step that the shipped decision takes (`MembershipWord.nextStep`).
  private func lifeStep(_ step: LifeStep, _ isFault: Bool, _ add: (TakeoverStep.Name, Int, Bool) -> Void) {
    let name: TakeoverStep.Name
    switch step {
    // The stages of fencing and of standing in have steps of their own.
    case .wait, .awaitExit, .release: return
    case .displace: return add(.displace, 0, isFault)
    case .fence: return add(.fence, 0, isFault)
    case .join: name = .join
    case .resume: name = .resume
    case .standIn: name = .standIn
    case .keep: name = .keep
    }
    // These use up no suspicion, so that one known fact is enough.
    if !isFault { add(name, 0, false) }
  }

  /// Recovery of what the dead left, and letting go of the peer's channels when a new life of it has started.
  private func standInSteps(
    _ state: TakeoverState, _ me: ControllerIdentity, _ life: Life, _ add: (TakeoverStep.Name, Int, Bool) -> Void
  ) {
    let peer = me.peer
    each(life.held & ~life.underWay) { index in
      let bit: UInt8 = 1 << index
      let isMine = state.journals[me] & bit != 0
      let isTheirs = state.journals[peer] & bit != 0
      if isTheirs {
        add(isMine || defect == .clearsBeforeCopy ? .moveEntry : .copyEntry, index, false)
      } else if !isMine {
        add(.copyEntry, index, false)
      } else if state.answered & bit != 0 {
        add(.clearJournal, index, false)
      } else {
        let function = requests[index].function
        let needsPeer = !(defect == .drainsFinderOnly && life.inherited & bit != 0)
        let isDrained = isDrained(me, for: me, state) && (!needsPeer || isDrained(peer, for: me, state))
        if RequestRules.mayExecuteAgain(isOwner: life.owns & 1 << function != 0, isDrained: isDrained),
          state.word.isMember(me, UInt64(life.incarnation))
        {
          add(.replay, index, false)
        }
      }
    }
    if life.held != 0 || life.isLeaving { return }
    if !life.hasStopped {
      if state.lives[peer].stage == .starting { add(.stopPolling, 0, false) }
      return
    }
    var theirs: UInt8 = 0
    for (index, request) in requests.enumerated() where request.channel == peer { theirs |= 1 << index }
    let hasPeersRequests = (life.taken | life.underWay) & theirs != 0 && defect != .releasesEarly
    let isClean = functions.allSatisfy { function in
      let word = OwnershipWord(rawValue: state.ownership[function])
      return !word.isOwned(by: peer) && !(word.isOwned(by: me) && (word.isRequested || life.owns & 1 << function == 0))
    }
    let isTakingOver = !isClean && defect != .releasesOwned || state.journals[peer] != 0
    if RequestRules.mayRelease(isTakingOver: isTakingOver, hasPeersRequests: hasPeersRequests) {
      add(.release, 0, false)
    }
  }

  private func leavingSteps(
    _ state: TakeoverState, _ me: ControllerIdentity, _ life: Life, _ add: (TakeoverStep.Name, Int, Bool) -> Void
  ) {
    each(life.asks) { add(.withdraw, $0, false) }
    if life.underWay | life.held | life.owns | life.asks != 0 || life.stage == .fencing { return }
    let isClean = functions.allSatisfy { !OwnershipWord(rawValue: state.ownership[$0]).isOwned(by: me) }
    if isClean { add(.leave, 0, false) }
  }

  private func ownershipSteps(
    _ function: Int, _ state: TakeoverState, _ me: ControllerIdentity, _ life: Life,
    _ add: (TakeoverStep.Name, Int, Bool) -> Void
  ) {
    let word = OwnershipWord(rawValue: state.ownership[function])
    let bit: UInt8 = 1 << function
    let isAlone = life.stage == .standingIn
    let waiting = of(function, life.taken | life.held & ~life.underWay)
    if word.isOwned(by: me) {
      if life.asks & bit != 0 {
        add(.attend, function, false)
      } else if word.isRequested, isAlone {
        add(.dismiss, function, false)
      } else if life.owns & bit == 0 || life.isLeaving && of(function, life.underWay | life.held) == 0 {
        // Of an earlier life, or no longer wanted: given up, so that its next owner begins a term.
        if !word.isRequested { add(.vacate, function, false) }
      }
      let isIdle = of(function, life.underWay | life.held) == 0
      let mayEnd = life.hasServed & bit != 0 || of(function, life.taken) == 0
      if word.isRequested, !isAlone, life.owns & bit != 0, isIdle, mayEnd { add(.grant, function, false) }
      // The model reads a journal in one step, before it stands in.
    } else if word.isOwned(by: me.peer), RequestRules.mayTakeOver(standsIn: isAlone, hasReadJournal: true) {
      add(.takeOver, function, false)
    } else if waiting != 0, life.asks & bit == 0 || word.owner == nil {
      add(.request, function, false)
    }
  }

  func of(_ function: Int, _ set: UInt8) -> UInt8 {
    if set == 0 { return 0 }
    var result: UInt8 = 0
    for (index, request) in requests.enumerated() where request.function == function { result |= 1 << index }
    return result & set
  }

  /// Whether nothing of dead lives of that controller can land any more: the lock of its unit can be had.
  private func isDrained(
    _ controller: ControllerIdentity, for me: ControllerIdentity, _ state: TakeoverState
  ) -> Bool {
    if defect == .noDrainProof { return true }
    if controller == me { return state.late[me] == 0 || defect == .replayTwice }
    let life = state.lives[controller]
    return state.late[controller] == 0 && !life.isMember && !(defect == .opensEarly && life.stage == .starting)
  }

  private func mayEnterJournal(
    _ index: Int, _ state: TakeoverState, _ me: ControllerIdentity, _ life: Life
  ) -> Bool {
    let request = requests[index]
    if life.owns & 1 << request.function == 0 { return false }
    if !state.word.isMember(me, UInt64(life.incarnation)) || !isDrained(me, for: me, state) { return false }
    for (other, found) in requests.enumerated() where other != index && found.block == request.block {
      let bit: UInt8 = 1 << other
      if life.held & bit != 0, RequestRules.waits(forRecovered: found.isWrite), defect != .servesOverlapping {
        return false
      }
      if (life.underWay & ~life.answered) & bit != 0, RequestRules.waits(request.isWrite, forWrite: found.isWrite),
        defect != .overlapsOwnWrites
      {
        return false
      }
    }
    return true
  }

  private func clears(_ state: TakeoverState, _ life: Life, _ index: Int, _ me: ControllerIdentity) -> Bool {
    defect == .clearsBeforeAnswer && state.journals[me] & 1 << index != 0
  }
}
