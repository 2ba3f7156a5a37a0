import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import Glibc

// Leaving: everything that was taken is answered or handed back, every function handed over, and the seat vacated.
extension Controller {
  /// Answers everything in a function's pending queue with the same refusal.
  mutating func refusePending(_ function: Function, _ status: Status) {
    let state = functions.address(function.index)
    while state.pointee.hasPending {
      let index = state.pointee.pendingHead
      state.pointee.pendingHead = requests.entry(index).pointee.next
      requests.entry(index).pointee.next = -1
      if channels[Int(requests.entry(index).pointee.channel)].phase == .closing {
        drop(index)
      } else {
        answer(requests.entry(index), status, term: 0)
        requests.giveBack(index)
      }
    }
    state.pointee.pendingTail = -1
    state.pointee.pendingCount = 0
    state.pointee.owed = 0
  }

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
