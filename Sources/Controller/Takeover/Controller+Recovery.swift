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
  /// How many requests a controller gives up at most. They keep their places in its journal, and those of two
  /// controllers can come together there. With more of them it would have no room for what other hosts submit.
  private static var orphansMax: Int { Storage.operationsMax / 4 }

  /// One turn of recovery: asks the kernel where that is due, executes again what may be, and ends what is over.
  mutating func recover() -> Int {
    let now = monotonicNanoseconds()
    let mayAsk = recovery.beginPass(at: now)
    var work = 0
    var hasAsked = false
    for request in recovery.requests where request.pointee.isStanding && !request.pointee.isReplaying {
      let function = request.pointee.function
      let state = functions.address(function.index)
      // One or two system calls per unit and pass; only a few units are waited for.
      if mayAsk, state.pointee.asksKernel(inPass: recovery.pass) {
        hasAsked = true
        if isDrained(function) {
          state.pointee.proveDrained()
          count(.drainProofs)
          reach(.drainProved, .drainProved, TraceDetail(function: function.index))
        }
      }
      // Before any new request: only a storage that takes nothing at all delays it.
      if state.pointee.isDrained, storage.freeSteps > 0 { work += executeAgain(request, at: now) }
    }
    if hasAsked { recovery.endPass(at: monotonicNanoseconds()) }
    return work
  }

  /// The drain proof, for everything that this controller's earlier lives and the peer's have given to the kernel.
  private mutating func isDrained(_ function: Function) -> Bool {
    guard let unit = function.unit, !interventions.makes(.noDrainProof), !interventions.ignoresFence else {
      return true
    }
    let seen = membership.current
    // A peer that is a member has a lock of its own, and nothing of its present life is under recovery.
    let ended = seen.incarnation(identity.peer) + (takeover.standsIn ? 1 : 0)
    return storage.isDrained(unit: unit, controllerIndex: identity.peer.index, before: ended)
      && storage.isDrained(unit: unit, controllerIndex: identity.index, before: incarnation)
  }

  private mutating func executeAgain(_ request: UnsafeMutablePointer<AcceptedRequest>, at now: UInt64) -> Int {
    let channel = request.pointee.origin
    let state = channels.address(channel)
    switch hosts[channel.place].phase {
    case .vacant:
      end(request)
      return 1
    case .expected:
      // Nobody waits for it any more, and nothing of it reaches the storage any more.
      if hasDiedWithPeer(place: channel.place) {
        end(request)
        return 1
      }
      // From when it went, if it was attached to this controller meanwhile: the drain proof may have taken longer.
      let awaySince = max(recovery.beganAt, hosts[channel.place].awaySince)
      if now > awaySince, now - awaySince > options.hostAbsenceNanoseconds,
        recovery.count - recovery.standingCount < Self.orphansMax
      {
        giveUp(request)
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
      if takeover.mayTakeOver {
        takeOver(function)
        _ = arbiter.request(shared)
      } else {
        requestOwnership(function, arbiter.look(shared))
      }
    }
    guard
      RequestRules.mayExecuteAgain(
        isOwner: arbiter.look(shared).isOwned(by: identity),
        isDrained: functions.address(function.index).pointee.isDrained)
    else { return 0 }
    reach(.replayBefore, .replayed, TraceDetail(request))
    count(.replayed)
    state.pointee.beginRequest()
    request.pointee.flags |= AcceptedRequest.Flag.replaying
    let index = requests.entries.index(of: request)
    if serve(request, index: index, term: arbiter.look(shared).term) {
      functions.address(function.index).pointee.begin()
    } else {
      end(request)
    }
    return 1
  }

  /// Whether a host lived in the process of the peer, whose life has ended: a front end. Unlike `tendExpected`, it does
  /// not wait until the process has been reaped.
  private func hasDiedWithPeer(place: HostPlace) -> Bool {
    guard takeover.standsIn, takeover.hasSeenProcessEnd else { return false }
    let host = region.journal(of: identity).host(place.number).pointee
    let record = region.controller(identity.peer)
    return host.pid == record.pid.loadRelaxed() && host.start_time == record.startTime.loadRelaxed()
      && host.pid != UInt64(getpid())
  }

  /// Whether the host still waits for this very request, in memory that has room for it.
  func isUnanswered(_ request: UnsafeMutablePointer<AcceptedRequest>) -> Bool {
    let state = channels.address(request.pointee.origin)
    guard request.pointee.line.number <= state.pointee.lineMask else { return false }
    if request.pointee.kind.usesBuffer {
      guard request.pointee.buffer <= state.pointee.arenaSize,
        request.pointee.length <= state.pointee.arenaSize &- request.pointee.buffer
      else { return false }
    }
    let flag = RequestFlag(rawValue: state.pointee.line(request.pointee.line).flag.loadAcquiring())
    return flag == .submitted(request.pointee.sequence)
  }

  /// A recovered request's operation has ended.
  mutating func finishRecovered(_ request: UnsafeMutablePointer<AcceptedRequest>, _ result: Int32) {
    let place = request.pointee.origin.place
    if request.pointee.isRepeating { return recovery.endRepeating(request) }
    complete(request, result, term: arbiter.look(region.ownership.word(request.pointee.function.index)).term)
    end(request)
    if channels[request.pointee.origin].phase == .closing { free(place: place) }
  }

  /// A recovered request is over.
  mutating func end(_ request: UnsafeMutablePointer<AcceptedRequest>) {
    leaveJournal(request)
    recovery.end(request)
  }

  /// Its host did not come back in time: others must not wait for it for ever. If the host comes after all, it is told
  /// that nobody knows whether the request was executed.
  private mutating func giveUp(_ request: UnsafeMutablePointer<AcceptedRequest>) {
    recovery.giveUp(request)
    functions.address(request.pointee.function.index).pointee.endRecovery()
    options.logger.warning("controller \(identity): a host did not come back for a request that is being recovered")
  }

  /// Removes the requests that are over, and forgets hosts that nothing of the rest names.
  mutating func removeDone() {
    if interventions.makes(.replayTwice) { repeatOnPurpose() }
    var done = recovery.removeDone()
    while let index = done.removeFirst(requests.entries) {
      let request = requests.entry(index)
      if request.pointee.flags & AcceptedRequest.Flag.orphaned == 0 {
        functions.address(request.pointee.function.index).pointee.endRecovery()
      }
      let place = request.pointee.origin.place
      requests.giveBack(index)
      forget(place)
    }
  }

  /// The planted defect: a write that was answered is executed once more. That alone is the mistake: the entry is kept
  /// until the storage has finished with it.
  private mutating func repeatOnPurpose() {
    for request in recovery.requests
    where request.pointee.isDone && request.pointee.isReplaying && !request.pointee.isRepeating
      && request.pointee.kind == .write && hasRoom(request.pointee.function)
    {
      let index = requests.entries.index(of: request)
      let address = channels[request.pointee.origin].arena + Int(request.pointee.buffer)
      let disposition = storage.start(
        .write, unit: Int(request.pointee.unit), offset: request.pointee.offset, length: request.pointee.length,
        address: address, isDurable: false, lane: request.pointee.origin.number,
        token: index.token, on: ring)
      guard case .started = disposition else { continue }
      request.pointee.flags |= AcceptedRequest.Flag.twice
      addWrite(request, index: index)
      functions.address(request.pointee.function.index).pointee.begin()
    }
  }
}
