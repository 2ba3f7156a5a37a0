import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc

// Waiting: what the loop does when there is nothing to do, and what it looks after now and then.
extension Controller {
  /// How often a controller that waits for a grant hints again.
  private static var hintAgainNanoseconds: UInt64 { 50_000_000 }
  /// How often the control sockets are looked after without having been heard of.
  private static var tendNanoseconds: UInt64 { 250_000_000 }

  /// Turns the loop until the controller has stopped, waiting as its strategy says.
  ///
  /// With `handlingSignals`, SIGTERM and SIGINT stop it gracefully; they are blocked in this thread meanwhile.
  ///
  /// - Throws: `.busy` when the other controller has fenced this one: it serves in its place.
  public mutating func run(handlingSignals: Bool = true) throws(BatonError) {
    try run(handlingSignals: handlingSignals) { _ in false }
  }

  /// The same with a front end in the loop: `turn` is called after each turn of the controller, and says whether it did
  /// anything. Before the controller sleeps both have found nothing to do.
  public mutating func run(
    handlingSignals: Bool = true, turning turn: (inout Controller) -> Bool
  ) throws(BatonError) {
    if handlingSignals {
      watchSignals(try check(baton_termination_signals(), "controller \(identity)", doing: "signalfd"))
    }
    defer { if handlingSignals { baton_termination_signals_restore() } }
    try record.life.begin()
    defer { record.life.end() }
    var waiter = Waiter(options.waiting)
    while stop != .stopped {
      if restsBetweenTurns {
        if !runRest(turn) { park() }
        continue
      }
      let hasWorked = poll()
      if turn(&self) || hasWorked {
        waiter.worked()
      } else if waiter.idle(expecting: storage.inFlight > 0) == .park {
        park()
      }
    }
    if isFenced {
      throw BatonError(
        .busy, "controller \(identity)", "was fenced by controller \(identity.peer), which serves in its place",
        fix: "start it again: it joins with a new incarnation")
    }
  }

  /// Whether clients at sockets are all that there is to serve. They are far away beside a host in shared memory: a
  /// wake-up is little beside the way to them and back, and whether spinning pays is another question (`SpinTrial`).
  private var restsBetweenTurns: Bool {
    frontEnd.connections > 0 && hostCount <= 1 && options.waiting != .spin && isServing
  }

  /// Turns the loop, and the front end's, until neither can go on without the kernel, then submits all of it and sleeps
  /// for a moment, in one system call.
  ///
  /// - Returns: false when nothing happened meanwhile.
  private mutating func runRest(_ turn: (inout Controller) -> Bool) -> Bool {
    defersSubmission = true
    var turns = 0
    var hasWorked = true
    while hasWorked, turns < Self.restTurnsMax, stop == .running {
      hasWorked = poll()
      if turn(&self) { hasWorked = true }
      turns += 1
    }
    defer { defersSubmission = false }
    if !hasWorked, !storage.hasStalled { return rest() }
    // More to do than is good for those who wait for the kernel.
    defersSubmission = false
    if mustSubmit, stop == .running { submit() }
    return true
  }

  /// Turns without a submission at the most.
  private static var restTurnsMax: Int { 8 }

  /// Looks after what no hint tells of: words whose hint was lost, a ring that lost its footing, connections, hosts
  /// that are expected back.
  mutating func keepHouse() {
    sweep()
    var found: [Function] = []
    link.resynchronize { found.append($0) }
    for function in found where function.index >= 0 && function.index < region.functionCount {
      wantAttention(function)
    }
    let now = monotonicNanoseconds()
    if attention.count > 0 { hintAgain(at: now) } else { waitingForPeerSince = 0 }
    if now &- tendedAt > Self.tendNanoseconds {
      tendedAt = now
      tendConnections(at: now)
      tendExpected()
    }
  }

  /// Who waits long for a grant hints again, because the first hint may have been lost.
  private mutating func hintAgain(at now: UInt64) {
    if waitingForPeerSince == 0 { waitingForPeerSince = now }
    if now - waitingForPeerSince < Self.hintAgainNanoseconds { return }
    waitingForPeerSince = now
    for function in functionsRequested() { sendHint(function) }
  }

  private mutating func functionsRequested() -> [Function] {
    (0..<attention.count).map { Function(index: attention.function(at: $0)) }.filter { functions[$0.index].isRequesting }
  }

  /// Answers everything in a function's pending queue with the same refusal.
  mutating func refusePending(_ function: Function, _ status: Status) {
    let state = functions + function.index
    while state.pointee.hasPending {
      let index = state.pointee.pendingHead
      state.pointee.pendingHead = requests.base[Int(index)].next
      requests.base[Int(index)].next = -1
      if channels[Int(requests.base[Int(index)].channel)].phase == .closing {
        drop(index)
      } else {
        answer(requests.base + Int(index), status, term: 0)
        requests.giveBack(index)
      }
    }
    state.pointee.pendingTail = -1
    state.pointee.pendingCount = 0
    state.pointee.owed = 0
  }

  // MARK: Leaving

  /// Begins to leave the subsystem: what was taken is served or handed back, then every function is handed over.
  /// `poll()` carries it on; `isStopped` tells when it is done.
  public mutating func beginStop() {
    if stop != .running { return }
    stop = .leaving
    leavingSince = monotonicNanoseconds()
    due.insert(.look)
    record.setPhase(.leaving, incarnation: incarnation)
  }

  /// Whether a stop that was begun is complete: nothing is owned, taken or open any more.
  public var isStopped: Bool { stop == .stopped }

  /// One turn of leaving.
  mutating func continueStop() {
    guard stop == .leaving else { return }
    // Nothing that a disk, a host or a damaged region does may keep it here for ever.
    if monotonicNanoseconds() &- leavingSince > options.farewellNanoseconds {
      options.logger.warning(
        """
        controller \(identity): leaves with \(requests.count) requests unfinished, as if it had died: the peer, or \
        the next controller to start, recovers them
        """)
      hasGivenUp = true
      return goAway()
    }
    // What waits for ownership goes back to its host, which asks the other controller. Where the request cannot be
    // withdrawn, the function has just been granted: attending to it serves what waits.
    for function in functionsRequested() where arbiter.withdraw(region.ownership.word(function.index)) {
      functions[function.index].isRequesting = false
      refusePending(function, .leaving)
    }
    // Its clients hear of what was done before their connections end.
    if frontEnd.connections > 0 { return }
    let orphans = takeover.recoveringHead < 0 ? 0 : orphanCount
    if requests.count > orphans || !functionsRequested().isEmpty { return }
    for index in 0..<region.functionCount {
      let word = region.ownership.word(index)
      // To the peer if it asks, to nobody if not; what it does between the two looks decides which.
      while arbiter.look(word).isOwned(by: identity) {
        if peerIsGone { _ = arbiter.dismiss(word) }
        if arbiter.look(word).isRequested {
          reach(.grantBefore)
          if arbiter.grant(word, asking: false) {
            count(.grants)
            sendHint(Function(index: index))
          }
          reach(.grantAfter)
        } else {
          reach(.vacateBefore)
          _ = arbiter.vacate(word)
          reach(.vacateAfter)
        }
      }
    }
    // Requests that come until this look are answered. What comes later stays in its line, for the other controller to
    // find, or for whoever comes next: from the next step on nothing is taken and nothing executed here.
    _ = pollAllChannels()
    wakeHosts()
    // With orphans in its journal it goes as one whose life has ended, so that whoever comes next reads that.
    if orphans == 0 {
      guard leave() else { return }
    }
    goAway()
  }

  /// The end of this life: nothing is touched any more. A life that is still a member goes like one that has died.
  private mutating func goAway() {
    for connection in control.connections.indices where control.connections[connection].descriptor >= 0 {
      disconnect(connection, nil)
    }
    unlink(control.path)
    record.parked.say(.awake)
    record.takeover.storeRelaxed(TakeoverStage.none.rawValue)
    record.setPhase(.absent, incarnation: incarnation)
    ringPeerAlways()
    stop = .stopped
    // Whatever the membership word says of it, this life is no member any more: whoever polls it does nothing.
    memberHalfDue = UInt32.max
    options.logger.info("controller \(identity) has left '\(region.location.name)'")
  }
}
