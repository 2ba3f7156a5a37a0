import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import BatonSystem
import Glibc

// Recovery: the requests that a dead controller had in flight, by its journal. Such a request may have been executed or
// not, and the kernel may still be about to execute it. So the controller holds every request that collides with it.
// When the kernel has let go of its unit (the drain proof), the controller executes it again, once, unless it has been
// answered, and answers it.
extension Controller {
  /// How often the controller asks the kernel whether it has let go of a unit.
  private static var drainLookNanoseconds: UInt64 { 50_000 }

  /// How many requests a controller gives up at most. They keep their places in its journal, and those of two
  /// controllers can come together there. With more of them it would have no room for what other hosts submit.
  private static var orphansMax: Int { Storage.operationsMax / 4 }

  /// One turn of recovery: asks the kernel where that is due, executes again what may be, and ends what is over.
  mutating func recover() -> Int {
    let now = monotonicNanoseconds()
    let mayLook = now &- takeover.drainLookedAt >= Self.drainLookNanoseconds
    if mayLook { takeover.drainLooks &+= 1 }
    var work = 0
    var looked = false
    for request in recovering where request.pointee.isStanding && !request.pointee.isReplaying {
      let function = request.pointee.function
      let state = functions.address(function.index)
      if !state.pointee.isDrained, mayLook, state.pointee.drainLook != takeover.drainLooks {
        // One or two system calls per unit and check; only a few units are waited for.
        state.pointee.drainLook = takeover.drainLooks
        state.pointee.isDrained = isDrained(function)
        looked = true
        if state.pointee.isDrained {
          count(.drainProofs)
          reach(.drainProved)
        }
      }
      // Before any new request: only a storage that takes nothing at all delays it.
      if state.pointee.isDrained, storage.freeSteps > 0 { work += executeAgain(request, at: now) }
    }
    // Counted from the end of the check: otherwise the loop could spend all its time on asking.
    if looked { takeover.drainLookedAt = monotonicNanoseconds() }
    return work
  }

  /// The drain proof, for everything that this controller's earlier lives and the peer's have given to the kernel.
  private mutating func isDrained(_ function: Function) -> Bool {
    guard let unit = function.unit, !interventions.makes(.noDrainProof), !interventions.ignoresFence else {
      return true
    }
    let seen = membership.current
    // A peer that is a member has a lock of its own, and nothing of its present life is under recovery.
    let ended = seen.incarnation(identity.peer) + (peerIsGone ? 1 : 0)
    return storage.isDrained(unit: unit, controllerIndex: identity.peer.index, before: ended)
      && storage.isDrained(unit: unit, controllerIndex: identity.index, before: incarnation)
  }

  private mutating func executeAgain(_ request: UnsafeMutablePointer<AcceptedRequest>, at now: UInt64) -> Int {
    let channel = Int(request.pointee.channel)
    let state = channels.address(channel)
    switch hosts[channel >> 1].phase {
    case .vacant:
      end(request)
      return 1
    case .expected:
      // Nobody waits for it any more, and nothing of it reaches the storage any more.
      if hasDiedWithPeer(place: channel >> 1) {
        end(request)
        return 1
      }
      // From when it went, if it was attached to this controller meanwhile: the drain proof may have taken longer.
      let awaySince = max(takeover.beganAt, hosts[channel >> 1].awaySince)
      if now > awaySince, now - awaySince > options.hostAbsenceNanoseconds,
        takeover.recoveringCount - takeover.standingCount < Self.orphansMax
      {
        orphan(request)
      }
      return 0
    // The host may come back. Until this controller has handled its leaving, what it waits for stays.
    case .expelled, .closing: return 0
    case .attached: break
    }
    // Two requests that overlap go one after the other, like any two writes.
    if overlapsWrite(request) { return 0 }
    // A hostile host may have attached memory other than that which the dead controller had.
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
    let index = requests.index(of: request)
    if serve(request, index: index, term: arbiter.look(shared).term) {
      functions[function.index].inFlight += 1
    } else {
      end(request)
    }
    return 1
  }

  /// Whether a host lived in the process of the peer, whose life has ended: a front end. Unlike `tendExpected`, it does
  /// not wait until the process has been reaped.
  private func hasDiedWithPeer(place: Int) -> Bool {
    guard peerIsGone, takeover.hasSeenProcessEnd else { return false }
    let host = region.journal(of: identity).host(place).pointee
    let record = region.controller(identity.peer)
    return host.pid == record.pid.loadRelaxed() && host.start_time == record.startTime.loadRelaxed()
      && host.pid != UInt64(getpid())
  }

  /// Whether the host still waits for this very request, in memory that has room for it.
  func isUnanswered(_ request: UnsafeMutablePointer<AcceptedRequest>) -> Bool {
    let state = channels.address(Int(request.pointee.channel))
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
      // Over for good: it must not be chosen again.
      request.pointee.flags &= ~(AcceptedRequest.Flag.twice | AcceptedRequest.Flag.replaying)
      takeover.hasDone = true
      return
    }
    complete(request, result, term: arbiter.look(region.ownership.word(request.pointee.function.index)).term)
    end(request)
    if channels[Int(request.pointee.channel)].phase == .closing { free(place: place) }
  }

  /// A recovered request is over.
  mutating func end(_ request: UnsafeMutablePointer<AcceptedRequest>) {
    leaveJournal(request)
    if request.pointee.isStanding { takeover.standingCount -= 1 }
    request.pointee.flags |= AcceptedRequest.Flag.done
    takeover.hasDone = true
    takeover.mayRelease = true
  }

  /// Its host did not come back in time: others must not wait for it for ever. If the host comes after all, it is told
  /// that nobody knows whether the request was executed.
  private mutating func orphan(_ request: UnsafeMutablePointer<AcceptedRequest>) {
    takeover.standingCount -= 1
    takeover.mayRelease = true
    request.pointee.flags |= AcceptedRequest.Flag.orphaned
    functions[request.pointee.function.index].recovering -= 1
    options.logger.warning("controller \(identity): a host did not come back for a request that is being recovered")
  }

  /// Removes the requests that are over from the list.
  mutating func removeDone() {
    takeover.hasDone = false
    takeover.mayRelease = true
    var index = takeover.recoveringHead
    var before: Int32 = -1
    while index >= 0 {
      let request = requests.entry(index)
      let following = request.pointee.next
      if request.pointee.isDone, !request.pointee.isRepeating, !repeatsOnPurpose(index) {
        if before >= 0 { requests.entry(before).pointee.next = following } else { takeover.recoveringHead = following }
        let wasOrphaned = request.pointee.flags & AcceptedRequest.Flag.orphaned != 0
        if !wasOrphaned { functions[request.pointee.function.index].recovering -= 1 }
        takeover.recoveringCount -= 1
        let place = Int(request.pointee.channel) >> 1
        requests.giveBack(index)
        forget(place)
      } else {
        before = index
      }
      index = following
    }
  }

  /// The planted defect: a write that was answered is executed once more. That alone is the mistake: the entry is kept
  /// until the storage has finished with it.
  private mutating func repeatsOnPurpose(_ index: Int32) -> Bool {
    let request = requests.entry(index)
    guard interventions.makes(.replayTwice), request.pointee.kind == .write, request.pointee.isReplaying,
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
}
