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
  /// How often it asks the peer to let it join.
  private static var askAgainNanoseconds: UInt64 { 20_000_000 }
  /// How often the controller checks for the end of a life that nothing signals: a peer in this very process, or one
  /// without a pidfd.
  private static var endLookNanoseconds: UInt64 { 5_000_000 }
  /// The same while everything waits for the exit of a killed peer.
  private static var exitLookNanoseconds: UInt64 { 200_000 }
  /// How often the controller looks for the process of the watched life, where the kernel has not named it.
  private static var openAgainNanoseconds: UInt64 { 100_000_000 }
  /// Steps of the membership word in one look at the peer: a fence takes one, the peer may change the word meanwhile.
  private static var stepsMax: Int { 4 }

  private var peerRecord: ControllerRecord { region.controller(identity.peer) }

  // MARK: Joining

  @inline(never)
  mutating func pollUntilJoined() -> Bool {
    // The peer watches the beat of a controller that waits to join too, and of a member that waits for the peer's exit.
    record.beat.storeRelaxed(clock.begin())
    _ = takeCompletions()
    if stop == .stopped { return false }
    let now = readClock()
    if stop == .leaving {
      // It took no requests, so there is nothing to hand over. A member that waited for the peer's exit goes as one
      // whose life has ended: its journal may hold what an earlier life had in flight, for the next controller to
      // start.
      unlink(control.path)
      record.setPhase(.absent, incarnation: incarnation)
      stop = .stopped
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
      reach(.joinAfter)
      becomeMember(at: now)
      return true
    case .displace:
      options.logger.warning("controller \(identity): controller \(identity.peer) does not answer: displaces it")
      guard membership.step(from: seen, to: seen.displaced(by: identity, incarnation)) else { return true }
      return resume(at: now)
    case .resume:
      reach(.resumeBefore)
      guard membership.step(from: seen, to: seen.resumed(by: identity, incarnation)) else { return true }
      reach(.resumeAfter)
      return resume(at: now)
    case .wait:
      if now &- peer.askedAt >= Self.askAgainNanoseconds {
        peer.askedAt = now
        ringPeerAlways()
      }
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
    hasJoined = true
    takeover.beganAt = now
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

  /// Begins to watch a life of the peer, unless it is watched already.
  private mutating func watchPeer(_ life: UInt64, at now: UInt64) {
    if peer.incarnation != life {
      endPeerWatch()
      peer.incarnation = life
      peer.silence = Silence(beat: peerRecord.beat.loadRelaxed(), at: now)
    }
    if peer.descriptor < 0, !peer.hasEnded, now >= peer.openDue { openPeer(at: now) }
  }

  /// Finds the process of the watched life, see `PeerWatch.process`.
  ///
  /// Without a descriptor the seat shows the end, and this controller cannot kill the peer. The same holds where the
  /// process number means nothing here: the peer may live in another pid namespace.
  private mutating func openPeer(at now: UInt64) {
    peer.openDue = now &+ Self.openAgainNanoseconds
    // A later life has taken the seat, which the kernel releases only at the end of a life.
    if peerRecord.phase.incarnation != peer.incarnation {
      peer.hasEnded = true
      return
    }
    // Sync point "pid".
    let pid = peerRecord.pid.loadAcquiring()
    let startTime = peerRecord.startTime.loadRelaxed()
    // Never open a descriptor for this process itself: two controllers of one process are no threat to each other, and
    // are told apart by their seats.
    if pid == UInt64(getpid()) {
      peer.openDue = .max
      return
    }
    // A new connection: an existing one could lead to an earlier life.
    guard connectToPeer() else { return }
    let descriptor = PeerWatch.process(listeningAt: control.toPeer, pid: pid, startTime: startTime)
    if descriptor < 0 { return }
    // The descriptor is still this life's: the next life writes its phase before it listens.
    if peerRecord.phase.incarnation != peer.incarnation {
      close(descriptor)
      return
    }
    peer.descriptor = descriptor
    if ring.watch(descriptor, for: .peerProcess, index: peer.token) { submit() }
  }

  /// Waits for the mark on the life lock, which comes long before the pidfd becomes readable. The peer takes the lock
  /// some time after joining; an embedder never takes it.
  private mutating func watchPeersLife() {
    guard !peer.isLifeWatched, peer.descriptor >= 0, let expected = peerRecord.life.announceWaiter() else { return }
    let word = peerRecord.life.word
    if ring.watchFutex(word.address, while: expected, for: .peerLife, index: peer.token) {
      peer.isLifeWatched = true
      submit()
    }
  }

  /// Whether the thread that ran the watched life has died. A new life clears the mark before it publishes its
  /// incarnation.
  var isPeerMarkedDead: Bool {
    peerRecord.life.isMarkedDead && peerRecord.phase.incarnation == peer.incarnation
  }

  /// The peer is gone: stops watching it.
  mutating func endPeerWatch() {
    if peer.descriptor >= 0 { _ = ring.unwatch(.peerProcess, index: peer.token) }
    peer.end()
  }

  /// The ring reports an event of the peer's process: the controller checks for itself.
  mutating func peerEnded() {
    peer.endLookedForAt = 0
    if hasJoined { lookAtPeer(at: monotonicNanoseconds()) }
  }

  /// Whether the watched life has ended: its thread or its process is gone, its seat is free, a later life has the
  /// seat, or it has said that it touches nothing any more. Each of these comes after its last action.
  private mutating func hasPeerEnded(at now: UInt64) -> Bool {
    if peer.hasEnded { return true }
    watchPeersLife()
    let every = peer.isKilled ? Self.exitLookNanoseconds : Self.endLookNanoseconds
    if now &- peer.endLookedForAt < every { return false }
    peer.endLookedForAt = now
    peer.hasEnded =
      isPeerMarkedDead || peer.looksEnded() || region.isSeatFree(of: identity.peer)
      || peerRecord.phase.incarnation != peer.incarnation || peerRecord.phase.phase == .absent
    return peer.hasEnded
  }

  private var deadline: UInt64 { max(options.deadlineNanoseconds, ControllerOptions.deadlineNanosecondsMin) }

  /// Whether the peer is silent, see `Silence`. Rings it when half of the deadline is over.
  private mutating func isPeerSilent(at now: UInt64, nextLook: UInt64) -> Bool {
    switch peer.silence.look(
      beat: peerRecord.beat.loadRelaxed(), at: now, nextLook: nextLook, deadline: deadline)
    {
    case .patient: return false
    case .ring:
      ringPeerAlways()
      return false
    case .silent: return true
    }
  }

  /// How long this controller may sleep before it must check the peer.
  mutating func nanosecondsUntilPeerLook(at now: UInt64) -> Int64 {
    // The kernel does not signal that it has released its lock on a unit, or that a host has come back: the controller
    // polls.
    if takeover.standingCount > 0 { return Self.joinLookNanoseconds / 4 }
    if takeover.hasSteps { return 0 }
    // The pidfd signals the exit, and a joiner rings.
    if takeover.stage == .awaitsExit { return Int64(Self.endLookNanoseconds) }
    if takeover.stage != .none || peer.descriptor < 0 { return Int64(deadline / 4) }
    // Once it was rung, in short pieces: the controller must recognize a pause of the whole machine before that pause
    // counts.
    if peer.silence.hasRung { return Int64(deadline / 8) }
    let due = peer.silence.since &+ deadline / 2
    return due > now ? Int64(max(due &- now, UInt64(Self.joinLookNanoseconds))) : Self.joinLookNanoseconds
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
    var facts = PeerFacts(isGone: peerIsGone)
    switch seen.standing(identity.peer) {
    case .member:
      takeover.setStage(.none, record)
      takeover.keptAtBeat = nil
      watchPeer(seen.incarnation(identity.peer), at: now)
      let sleep = UInt64(max(nanosecondsUntilPeerLook(at: now), 0))
      facts.hasEnded = hasPeerEnded(at: now)
      if !facts.hasEnded { facts.isSilent = isPeerSilent(at: now, nextLook: sleep) }
    case .vacant:
      // This controller let go for a new life that was about to join and has not: that life is gone, or stands still.
      let isLate = now &- takeover.releasedAt > options.deadlineNanoseconds
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
      reach(.fenceAfter)
      count(.fences)
      takeover.wasSilent = facts.isSilent
      return true
    case .awaitExit: if seePeersExit(seen, at: now) { standIn(for: seen, at: now) }
    case .standIn:
      standIn(for: seen, at: now)
      releaseIfAsked(seen, at: now)
    case .release: releaseIfAsked(seen, at: now)
    case .keep:
      takeover.keptAtBeat = peerRecord.beat.loadRelaxed()
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
        takeover.setStage(.awaitsExit, record)
        killPeer()
        if !hasPeerEnded(at: now) { return false }
      } else if isPeerMarkedDead, peer.descriptor >= 0, !peer.looksEnded() {
        // Its thread is dead, and its process as a rule about to end. A process that lives on would keep its files, and
        // with them the locks of the drain proof, for ever.
        killPeer()
      }
    }
    reach(.exitSeen)
    return true
  }

  private mutating func killPeer() {
    if peer.isKilled { return }
    if peer.descriptor < 0 {
      // In this very process it is no threat, and its seat shows its end.
      if peer.openDue == .max || peer.cannotBeKilled { return }
      peer.cannotBeKilled = true
      options.logger.critical(
        """
        controller \(identity): cannot kill controller \(identity.peer): the kernel names no process that listens at \
        \(control.peerSocketPath) and is the one that the region names; waits until its seat is free
        """)
      return
    }
    reach(.killBefore)
    let result = shim_pidfd_send_signal(peer.descriptor, SIGKILL)
    reach(.killAfter)
    if result == 0 {
      peer.isKilled = true
      count(.kills)
    } else if result == -ESRCH {
      peer.endLookedForAt = 0
    } else if !peer.cannotBeKilled {
      peer.cannotBeKilled = true
      options.logger.critical(
        "controller \(identity): cannot kill controller \(identity.peer): \(String(cString: strerror(-result)))")
    }
  }

  /// Whether a new life of the other controller has its seat and waits to join.
  private mutating func isPeerStarting(after seen: MembershipWord) -> Bool {
    let phase = peerRecord.phase
    guard phase.phase == .starting, phase.incarnation > seen.incarnation(identity.peer) else { return false }
    if let beat = takeover.keptAtBeat, peerRecord.beat.loadRelaxed() == beat { return false }
    return region.isSeatTaken(of: identity.peer)
  }

  /// Lets a new life of the other controller join, as soon as nothing is left to do in its place.
  private mutating func releaseIfAsked(_ seen: MembershipWord, at now: UInt64) {
    guard isPeerStarting(after: seen) else {
      if takeover.isReleasing { stopReleasing() }
      return
    }
    if takeover.isUnderWay { return }
    if !takeover.isReleasing { beginReleasing() }
    guard isReleased else { return }
    handOrphansOver()
    reach(.releaseBefore)
    guard membership.step(from: seen, to: seen.released(by: identity)) else { return }
    // From here on it may join, and own what it asks for, and its channels are its own.
    peerIsGone = false
    endReleasing(at: now)
    takeover.setStage(.none, record)
    reach(.releaseAfter)
    options.logger.info("controller \(identity): controller \(identity.peer) may join")
    ringPeerAlways()
  }

  // MARK: Stopping

  /// The peer has fenced this controller: it stops, and touches nothing more.
  @inline(never)
  mutating func stopFenced() -> Bool {
    if stop != .stopped {
      isFenced = true
      stop = .stopped
      options.logger.critical("controller \(identity): fenced by controller \(identity.peer), stops")
    }
    return false
  }

  /// Leaves the membership. False when that is not possible at present.
  mutating func leave() -> Bool {
    let seen = membership.current
    guard isStillMember else { return stopFenced() }
    let isSettled = peerIsGone && !takeover.isUnderWay
    reach(.leaveBefore)
    guard membership.step(from: seen, to: seen.leaving(identity, isSettled: isSettled)) else { return false }
    reach(.leaveAfter)
    return true
  }
}
