import BatonOwnership
import BatonRing
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc

// Membership: joining, noticing that the peer is gone, fencing it, letting it join again, leaving.
// The steps are those of `MembershipWord`.
extension Controller {
  /// How often a controller that waits to join checks the membership word.
  private static var joinLookNanoseconds: Int64 { 500_000 }
  /// Steps of the membership word in one look at the peer: a fence takes one, the peer may change the word meanwhile.
  private static var stepsMax: Int { 4 }

  // MARK: Joining

  @inline(never)
  mutating func pollUntilJoined() -> Bool {
    // The peer watches the beat of a controller that waits to join too, and of a member that waits for the peer's exit.
    record.beat.storeRelaxed(turn.clock.begin())
    _ = takeCompletions()
    if life.isOver { return false }
    let now = readClock()
    lookAtTrace(at: now)
    if life.isEnding {
      // It took no requests, so there is nothing to hand over. A member that waited for the peer's exit goes as one
      // whose life has ended: its journal may hold what an earlier life had in flight, for the next controller to
      // start.
      unlink(control.path)
      record.setPhase(.absent, incarnation: incarnation)
      life.end()
      return true
    }
    // The membership word names this life as soon as it has resumed or displaced the peer.
    let hasEntered = membership.current.incarnation(identity) == incarnation
    let hasWorked = hasEntered ? resume(at: now) : join(at: now)
    if mustSubmit { submit() }
    return hasWorked
  }

  mutating func waitToJoin() {
    ring.wait(nanoseconds: Self.joinLookNanoseconds)
  }

  /// Tries to become a member. True when something has changed.
  mutating func join(at now: UInt64) -> Bool {
    let seen = membership.current
    var facts = PeerFacts()
    if seen.standing(identity.peer) == .member {
      watchPeer(seen.incarnation(identity.peer), at: now)
      facts.hasEnded = hasPeerEnded(at: now)
      // Where it may join it accuses nobody.
      if !facts.hasEnded, seen.standing(identity) != .vacant {
        facts.isSilent = isPeerSilent(at: now, nextLook: UInt64(Self.joinLookNanoseconds))
      }
    }
    switch seen.nextStep(ofStarting: identity, facts) {
    case .join:
      reach(.joinBefore)
      guard membership.step(from: seen, to: seen.joined(by: identity, incarnation)) else { return true }
      reach(.joinAfter, .joined, TraceDetail(value: incarnation))
      becomeMember(at: now)
      return true
    case .displace:
      options.logger.warning("controller \(identity): controller \(identity.peer) does not answer: displaces it")
      guard membership.step(from: seen, to: seen.displaced(by: identity, incarnation)) else { return true }
      interventions.note(.joined, TraceDetail(value: incarnation))
      return resume(at: now)
    case .resume:
      reach(.resumeBefore)
      guard membership.step(from: seen, to: seen.resumed(by: identity, incarnation)) else { return true }
      reach(.resumeAfter, .joined, TraceDetail(value: incarnation))
      return resume(at: now)
    case .wait:
      if peer.mustAsk(at: now) { ringPeerAlways() }
      return false
    case .fence, .awaitExit, .standIn, .release, .keep:
      preconditionFailure("a step of a member for a life that is none")
    }
  }

  /// Completes the joining of a life that is a member since it resumed or displaced the peer. Before the peer's last
  /// life has ended, this life serves nothing, not even what the words say it owns, and touches no journal. True when
  /// something has changed.
  private mutating func resume(at now: UInt64) -> Bool {
    let seen = membership.current
    guard isStillMember else {
      _ = stopFenced()
      return false
    }
    if seen.standing(identity.peer) == .fenced, !seePeersExit(seen, at: now) { return false }
    becomeMember(at: now)
    return true
  }

  private mutating func becomeMember(at now: UInt64) {
    life.join()
    recovery.begin(at: now)
    recoverEarlierLife()
    record.setPhase(.serving, incarnation: incarnation)
    // Nobody waits any more for what an earlier life requested; what the peer requested from it is still waited for.
    for index in 0..<region.functionCount { _ = arbiter.withdraw(region.ownership.word(index)) }
    sweep(all: true)
    options.logger.info("controller \(identity) serves, incarnation \(incarnation): \(membership.current)")
    lookAtPeer(at: now)
    // The peer has to watch this life from now on.
    ringPeerAlways()
    acceptConnections()
  }

  // MARK: The peer's life

  /// Watches a life of the peer.
  private mutating func watchPeer(_ life: UInt64, at now: UInt64) {
    peer.begin(life, at: now, on: ring)
    // A new connection: an existing one could lead to an earlier life.
    if peer.mustConnect(at: now), connectToPeer(), peer.open(over: control.toPeer, on: ring) { submit() }
  }

  /// The ring reports an event of the peer's process: the controller checks for itself.
  mutating func peerEnded(endsWait: Bool) {
    peer.noteEvent(endsWait: endsWait)
    if life.hasJoined { lookAtPeer(at: monotonicNanoseconds()) }
  }

  /// Whether the watched life has ended.
  private mutating func hasPeerEnded(at now: UInt64) -> Bool {
    let (hasEnded, mustSubmit) = peer.hasEnded(at: now, in: region, on: ring)
    if mustSubmit { submit() }
    return hasEnded
  }

  private var deadline: UInt64 { max(options.deadlineNanoseconds, ControllerOptions.deadlineNanosecondsMin) }

  /// Whether the peer is silent, see `Silence`. Rings it when half of the deadline is over.
  private mutating func isPeerSilent(at now: UInt64, nextLook: UInt64) -> Bool {
    switch peer.listen(at: now, nextLook: nextLook, deadline: deadline) {
    case .patient: return false
    case .ring:
      ringPeerAlways()
      return false
    case .silent: return true
    }
  }

  /// How long this controller may sleep before it must check the peer.
  func nanosecondsUntilPeerLook(at now: UInt64) -> Int64 {
    // The kernel does not signal that it has released its lock on a unit, or that a host has come back: the controller
    // polls.
    if recovery.standingCount > 0 { return Self.joinLookNanoseconds / 4 }
    if hasTakeoverSteps { return 0 }
    // The pidfd signals the exit, and a joiner rings.
    if takeover.stage == .awaitsExit { return Int64(PeerWatch.endLookNanoseconds) }
    if takeover.stage != .none { return Int64(deadline / 4) }
    return Int64(peer.nanosecondsUntilLook(at: now, deadline: deadline, least: UInt64(Self.joinLookNanoseconds)))
  }

  // MARK: Watching the peer

  /// Does what the membership word and the peer's life require: every few turns, after every sleep, and at once when
  /// the peer's process has ended.
  @inline(never)
  mutating func lookAtPeer(at now: UInt64, stepsLeft: Int = stepsMax) {
    if !isStillMember {
      _ = stopFenced()
      return
    }
    let seen = membership.current
    var facts = PeerFacts(isGone: takeover.standsIn)
    switch seen.standing(identity.peer) {
    case .member:
      takeover.end()
      watchPeer(seen.incarnation(identity.peer), at: now)
      let sleep = UInt64(max(nanosecondsUntilPeerLook(at: now), 0))
      facts.hasEnded = hasPeerEnded(at: now)
      if !facts.hasEnded { facts.isSilent = isPeerSilent(at: now, nextLook: sleep) }
    case .vacant:
      // This controller let go for a new life that was about to join and has not: that life is gone, or stands still.
      let isLate = takeover.isLate(at: now, deadline: options.deadlineNanoseconds)
      facts.isStarting = !isLate && isPeerStarting(after: seen)
    case .fenced, .left: break
    }
    let hasStepped = take(seen.nextStep(ofMember: identity, facts), from: seen, facts, at: now)
    // The word has changed: what it asks for now is seen to at once. Where it goes on changing, by the next look.
    if hasStepped, stepsLeft > 1 { lookAtPeer(at: now, stepsLeft: stepsLeft - 1) }
  }

  /// - Returns: whether the word has changed, so that another step is due.
  private mutating func take(
    _ step: LifeStep, from seen: MembershipWord, _ facts: PeerFacts, at now: UInt64
  ) -> Bool {
    switch step {
    case .wait: break
    case .fence:
      reach(.fenceBefore)
      guard membership.step(from: seen, to: seen.fenced(by: identity)) else { return true }
      reach(.fenceAfter, .fenced, TraceDetail(value: seen.incarnation(identity.peer)))
      count(.fences)
      takeover.noteFence(isSilent: facts.isSilent)
      return true
    case .awaitExit: if seePeersExit(seen, at: now) { standIn(for: seen, at: now) }
    case .standIn:
      standIn(for: seen, at: now)
      releaseIfAsked(seen, at: now)
    case .release: releaseIfAsked(seen, at: now)
    case .keep:
      takeover.keep(atBeat: peer.beat)
      return membership.step(from: seen, to: seen.kept(by: identity))
    case .join, .resume, .displace: preconditionFailure("a step of a life that is no member for a member")
    }
    return false
  }

  /// Whether the fenced life of the peer has ended. This controller kills it if it has not. It never serves on the kill
  /// alone, nor on time, but waits for the exit.
  private mutating func seePeersExit(_ seen: MembershipWord, at now: UInt64) -> Bool {
    watchPeer(seen.incarnation(identity.peer), at: now)
    if !interventions.ignoresFence {
      if !hasPeerEnded(at: now) {
        takeover.setStage(.awaitsExit)
        killPeer()
        if !hasPeerEnded(at: now) { return false }
      } else if peer.outlivesItsThread {
        // Its thread is dead, and its process as a rule about to end. A process that lives on would keep its files, and
        // with them the locks of the drain proof, for ever.
        killPeer()
      }
    }
    reach(.exitSeen, .exitSeen, TraceDetail(value: seen.incarnation(identity.peer)))
    return true
  }

  private mutating func killPeer() {
    switch peer.kill(passing: interventions) {
    case .nothing: break
    case .sent:
      count(.kills)
      interventions.note(.killed, TraceDetail(value: membership.current.incarnation(identity.peer)))
    case .unknown:
      options.logger.critical(
        """
        controller \(identity): cannot kill controller \(identity.peer): the kernel names no process that listens at \
        \(control.peerSocketPath) and is the one that the region names; waits until its seat is free
        """)
    case .refused(let error):
      options.logger.critical(
        "controller \(identity): cannot kill controller \(identity.peer): \(String(cString: strerror(error)))")
    }
  }

  /// Whether a new life of the peer has its seat and waits to join. One that was let go, and did not join, must have
  /// moved since.
  private func isPeerStarting(after seen: MembershipWord) -> Bool {
    !takeover.standsStill(atBeat: peer.beat) && peer.isStarting(after: seen.incarnation(identity.peer), in: region)
  }

  /// Lets a new life of the peer join, as soon as nothing is left to do in its place.
  private mutating func releaseIfAsked(_ seen: MembershipWord, at now: UInt64) {
    guard isPeerStarting(after: seen) else {
      if takeover.isReleasing { takeover.stopReleasing() }
      return
    }
    if isTakingOver { return }
    if !takeover.isReleasing { beginReleasing() }
    guard isReleased else { return }
    handOrphansOver()
    reach(.releaseBefore, .released, TraceDetail(value: seen.incarnation(identity.peer)))
    guard membership.step(from: seen, to: seen.released(by: identity)) else { return }
    // From here on it may join, and own what it asks for, and its channels are its own.
    endReleasing(at: now)
    reach(.releaseAfter)
    options.logger.info("controller \(identity): controller \(identity.peer) may join")
    ringPeerAlways()
  }

  // MARK: Stopping

  /// The peer has fenced this controller: it stops, and touches nothing more.
  @inline(never)
  mutating func stopFenced() -> Bool {
    if !life.isOver {
      life.fence()
      options.logger.critical("controller \(identity): fenced by controller \(identity.peer), stops")
    }
    return false
  }

  /// Leaves the membership. False when that is not possible at present.
  mutating func leave() -> Bool {
    let seen = membership.current
    guard isStillMember else { return stopFenced() }
    let isSettled = takeover.standsIn && !isTakingOver
    reach(.leaveBefore, .left, TraceDetail(value: incarnation))
    guard membership.step(from: seen, to: seen.leaving(identity, isSettled: isSettled)) else { return false }
    reach(.leaveAfter)
    return true
  }
}
