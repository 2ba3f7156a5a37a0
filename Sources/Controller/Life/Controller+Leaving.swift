import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import Glibc

// Leaving: the controller answers or returns every request that it took, hands over every function, and vacates its
// seat.
extension Controller {
  /// Answers everything in a function's pending queue with the same refusal.
  mutating func refusePending(_ function: Function, _ status: Status) {
    let state = functions.address(function.index)
    while let index = state.pointee.removeFirstPending(requests.entries) {
      let request = requests.entry(index)
      if channels[request.pointee.origin].phase == .closing {
        drop(index)
      } else {
        answer(request, status, term: 0)
        requests.giveBack(index)
      }
    }
  }

  /// Begins to leave the subsystem. The controller serves or returns what it took, then hands over every function.
  /// `poll()` does the work; `isStopped` says when it is done.
  public mutating func beginStop() {
    if life.isStopping { return }
    life.beginLeaving(at: monotonicNanoseconds())
    turn.due.insert(.look)
    record.setPhase(.leaving, incarnation: incarnation)
  }

  /// Whether a stop that was begun is complete: nothing is owned, taken or open any more.
  public var isStopped: Bool { life.isOver }

  /// One turn of leaving.
  mutating func continueStop() {
    guard life.isEnding else { return }
    // No disk, host or damaged region may keep the controller here for ever.
    if life.hasLeftFor(options.farewellNanoseconds, at: monotonicNanoseconds()) {
      options.logger.warning(
        """
        controller \(identity): leaves as if it had died, unfinished requests: \(requests.count); the peer, or the \
        next controller to start, recovers them
        """)
      life.giveUp()
      return goAway()
    }
    // A request that waits for ownership goes back to its host, which resubmits it to the peer. Where the ownership
    // request cannot be withdrawn, the function has just been granted: attending to it serves what waits.
    for function in functions.requested where arbiter.withdraw(region.ownership.word(function.index)) {
      functions.address(function.index).pointee.endAsking()
      refusePending(function, .leaving)
    }
    // Its clients get their answers before their connections end.
    if frontEnd.connections > 0 { return }
    let orphans = recovery.orphanCount
    if requests.count > orphans || !functions.requested.isEmpty { return }
    for index in 0..<region.functionCount {
      let word = region.ownership.word(index)
      // Grants the function to the peer if it asks, and vacates it if not; what the peer does between the two loads
      // decides which.
      while arbiter.look(word).isOwned(by: identity) {
        if takeover.standsIn { _ = arbiter.dismiss(word) }
        if arbiter.look(word).isRequested {
          reach(.grantBefore, .granted, TraceDetail(function: index))
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
    // The controller answers requests that come until this poll. A later request stays in its line for the peer, or for
    // the next controller to start: from the next step on this controller takes and executes nothing.
    _ = pollAllChannels()
    wakeHosts()
    // With orphans in its journal it goes as one whose life has ended, so that the next controller to start reads that
    // journal.
    if orphans == 0 {
      guard leave() else { return }
    }
    goAway()
  }

  /// The end of this life: it touches nothing any more. A life that is still a member goes like one that has died.
  private mutating func goAway() {
    for connection in control.connections.indices where control.connections[connection].descriptor >= 0 {
      disconnect(connection, nil)
    }
    unlink(control.path)
    record.parked.say(.awake)
    record.takeover.storeRelaxed(TakeoverStage.none.rawValue)
    record.setPhase(.absent, incarnation: incarnation)
    ringPeerAlways()
    // Any further `poll` does nothing.
    life.end()
    options.logger.info("controller \(identity) has left '\(region.location.name)'")
  }
}
