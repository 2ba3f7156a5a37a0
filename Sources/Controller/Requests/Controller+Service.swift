import BatonChannel
import BatonOwnership
import BatonRing
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import CBatonShims
import Glibc

// Service: requests to storage and management, answers to hosts.
extension Controller {
  /// Serves a request whose function this controller owns. The request is in the journal before anything is done, and
  /// until it has been answered.
  ///
  /// - Returns: true when it is in flight on the storage: a completion follows. False when it has been answered.
  @inline(__always)
  mutating func serve(_ request: UnsafeMutablePointer<AcceptedRequest>, index: RequestIndex, term: UInt64) -> Bool {
    // A fenced controller touches nothing any more: the controller that holds the fence finds the request.
    if !isStillMember { return true }
    let unit = Int(request.pointee.unit)
    if !request.pointee.isManagement {
      // Relaxed: the owner of management sets the state before it answers. A request that was submitted after that
      // answer was seen is ordered behind it by the two channels.
      let state = UnitStateWord(rawValue: region.unitStates.word(unit).loadRelaxed()).stateBits
      // A recovered request was admitted: it may have been executed in part, and is not checked again.
      if state != UnitState.online.rawValue, !request.pointee.isRecovered,
        let refusal = refusal(request.pointee.kind, state)
      {
        answer(request, refusal, term: term)
        return false
      }
    }
    reach(.journalBefore)
    if interventions.keepsJournal { request.inFlight.storeReleasing(1) }
    reach(.journalAfter, .served, TraceDetail(request))
    if request.pointee.isManagement {
      serveManagement(request, term: term)
      return false
    }
    // The operations on blocks have the same order in both modules; the number was checked.
    let operation = Storage.Operation(rawValue: request.pointee.operation &- Operation.read.rawValue)
    precondition(operation != nil, "management has been served above")
    let address = channels[request.pointee.origin].arena + Int(truncatingIfNeeded: request.pointee.buffer)
    // Before it begins: a controller that is stopped in the middle of one has counted it.
    if storage.isStorage(unit: unit) { count(.storageOperations) }
    let disposition = storage.start(
      operation.unsafelyUnwrapped, unit: unit, offset: request.pointee.offset, length: request.pointee.length,
      address: address, isDurable: request.pointee.isDurable, mustBeFast: request.pointee.mustBeFast,
      lane: request.pointee.origin.number, token: index.token, on: ring)
    switch disposition {
    case .started:
      if storage.needsStep(unit: unit) { charge(request, operation.unsafelyUnwrapped, isStarted: true) }
      if storage.hasPieces { turn.due.insert(.look) }
      if request.pointee.changesUnit { addWrite(request, index: index) }
      if ring.prepared >= Storage.batch { submit() }
      return true
    case .completed(let result):
      if storage.needsStep(unit: unit) { charge(request, operation.unsafelyUnwrapped, isStarted: false) }
      complete(request, result, term: term)
      beatWithinTurn()
      return false
    }
  }

  /// Whether the storage can begin another operation of this function. When half of the places are taken, a unit that
  /// has its share waits: a hanging disk does not keep other units from being served.
  ///
  /// A request that is under recovery or was given up takes the place of an operation. So the journal never has more in
  /// flight than the peer keeps room for (`requestsReserved`).
  @inline(__always)
  func hasRoom(_ function: Function) -> Bool {
    guard let unit = function.unit, storage.needsStep(unit: unit) else { return true }
    let free = storage.freeSteps - recovery.count
    return free > Storage.operationsMax / 2
      || free > 0 && functions.address(function.index).pointee.inFlight < Self.unitShare
  }

  /// Operations in flight that one unit may have when places are short.
  private static var unitShare: Int32 { 32 }

  mutating func refusal(_ operation: Operation, _ state: UInt64) -> Status? {
    switch UnitState(rawValue: state) {
    case .online: nil
    case .readOnly: operation.changesUnit ? .readOnly : nil
    case .offline, nil: .offline
    }
  }

  /// Takes completions from the ring: storage operations that ended, and descriptors that are ready.
  @inline(__always)
  mutating func takeCompletions() -> Int {
    var taken = 0
    while taken < Self.completionBatchMax, frontEnd.hasRoom, let completion = ring.next() {
      taken += 1
      let owner = completion.token.owner
      if owner == .storage {
        switch storage.advance(completion.token.index, result: completion.result, on: ring) {
        case .completed(let token, let result): finish(RequestIndex(token: token), result)
        case .progressed: beatWithinTurn()
        }
      } else if owner.isOfFrontEnd {
        frontEnd.append(completion)
      } else if owner != .nobody {
        turn.due.insert(.look)
        controlReady(completion)
      }
    }
    // Requests that were held for a write that has ended, and recovered requests.
    if recovery.mustCheckHeld || isTakingOver || storage.hasPieces { turn.due.insert(.look) }
    return taken
  }

  private mutating func finish(_ index: RequestIndex, _ result: Int32) {
    let request = requests.entry(index)
    let function = request.pointee.function
    functions.address(function.index).pointee.end()
    if request.pointee.changesUnit { removeWrite(request, index: index) }
    reach(.completionTaken, .completed, TraceDetail(request))
    // A draining function may be granted now, and one with pending requests may have room again.
    if request.pointee.isRecovered { return finishRecovered(request, result) }
    // A host that left is answered too, in memory that is kept just for that: if it comes back, it must not find its
    // request still submitted, and have it executed twice.
    let place = request.pointee.origin.place
    complete(request, result, term: arbiter.look(region.ownership.word(function.index)).term)
    requests.giveBack(index)
    if hosts[place].phase == .closing { free(place: place) }
  }

  // MARK: Shares of a turn

  // The rule is `TurnBudget`'s. Long transfers of memory units are moved piece by piece.

  /// Bytes moved in pieces in a turn.
  private static var piecesBytesMax: Int { 262_144 }

  /// A request has begun or is over: its channel and the turn are charged for the bytes that the loop has moved.
  @inline(never)
  private mutating func charge(
    _ request: UnsafeMutablePointer<AcceptedRequest>, _ operation: Storage.Operation, isStarted: Bool
  ) {
    let bytes = storage.bytesMoved(
      operation, unit: Int(request.pointee.unit), length: request.pointee.length, isStarted: isStarted)
    turn.charge(request.pointee.origin, bytes: bytes)
  }

  /// Moves the next pieces, as many as a turn may.
  @inline(never)
  mutating func movePieces() -> Int {
    var bytes = 0
    var work = 0
    // A fenced controller touches nothing any more.
    while bytes < Self.piecesBytesMax, isStillMember, let piece = storage.nextPiece() {
      bytes += piece.bytes
      work += 1
      if case .completed(let token, let result) = piece.event { finish(RequestIndex(token: token), result) }
      beatWithinTurn()
    }
    return work
  }

  // MARK: Writes on the storage

  /// A request that changes the unit is on the storage: what overlaps it waits (`mustWait`).
  mutating func addWrite(_ request: UnsafeMutablePointer<AcceptedRequest>, index: RequestIndex) {
    functions.address(request.pointee.function.index).pointee.addWrite(index, requests.entries)
  }

  private mutating func removeWrite(_ request: UnsafeMutablePointer<AcceptedRequest>, index: RequestIndex) {
    functions.address(request.pointee.function.index).pointee.removeWrite(index, requests.entries)
    recovery.somethingEnded()
  }

  // MARK: Answers

  /// Answers a block request with the storage's result.
  @inline(__always)
  mutating func complete(_ request: UnsafeMutablePointer<AcceptedRequest>, _ result: Int32, term: UInt64) {
    if result >= 0 {
      let operation = request.pointee.operation
      if operation == Operation.read.rawValue || operation == Operation.readInPlace.rawValue {
        count(.bytesRead, request.pointee.length)
      } else if operation == Operation.write.rawValue {
        count(.bytesWritten, request.pointee.length)
      }
      answer(request, .success, value: request.pointee.length, term: term)
    } else {
      answer(request, status(of: result), term: term)
    }
  }

  func status(of result: Int32) -> Status {
    switch -result {
    case ENOSPC, EDQUOT, EFBIG: .noSpace
    case EOPNOTSUPP, ENOSYS: .unsupported
    case EROFS, EPERM: .readOnly
    case EBUSY: .inUse
    default: .inputOutputError
    }
  }

  /// Answers a request of the journal, which it then leaves.
  @inline(__always)
  mutating func answer(
    _ request: UnsafeMutablePointer<AcceptedRequest>, _ status: Status, value: UInt64 = 0, term: UInt64
  ) {
    reach(.responseBefore, .answered, TraceDetail(request, status: status, term: term))
    respond(
      request.pointee.origin, request.pointee.line, request.pointee.sequence, status, value: value,
      service: Service(controller: identity, isTransferred: request.pointee.isTransferred, term: term))
    reach(.responseAfter)
    leaveJournal(request)
    reach(.journalCleared)
  }

  /// The request is answered or given up. Call this before anything of the entry changes: later changes stay behind the
  /// store to the state in program order, see `Journal`.
  @inline(__always)
  func leaveJournal(_ request: UnsafeMutablePointer<AcceptedRequest>) {
    request.inFlight.storeReleasing(0)
    shim_compiler_fence()
  }

  /// Answers a request that never got a place in the journal.
  @inline(__always)
  mutating func answer(_ channel: ChannelIndex, _ line: LineIndex, _ sequence: UInt64, _ status: Status) {
    respond(
      channel, line, sequence, status, value: 0,
      service: Service(controller: identity, isTransferred: false, term: 0))
  }

  @inline(__always)
  private mutating func respond(
    _ channel: ChannelIndex, _ line: LineIndex, _ sequence: UInt64, _ status: Status, value: UInt64, service: Service
  ) {
    let state = channels.address(channel)
    state.pointee.line(line).answer(.answered(sequence, status), value: value, service: service)
    state.pointee.endRequest()
    count(.answered)
    if status != .success { count(.errors) }
    channels.noteAnswer(channel, state)
  }

  /// The controller has answered requests of this channel: it may have to wake the host at the end of the turn. A host
  /// that is awake is not noted: it looks again before it sleeps.
  @inline(__always)
  mutating func noteAnswers(_ channel: ChannelIndex, _ state: UnsafeMutablePointer<ChannelState>) {
    // Sync point "sleep": the answers are published before the check whether the host sleeps.
    AsymmetricFence.light(supported: sleep.usesMembarrier)
    if !state.pointee.hostParked.isAwake { channels.noteAnswer(channel, state) }
  }

  /// Forgets a request whose host is gone, and that was not executed: if the host comes back, the controller takes it
  /// again.
  mutating func drop(_ index: RequestIndex) {
    let channel = requests.entry(index).pointee.origin
    leaveJournal(requests.entry(index))
    requests.giveBack(index)
    channels.address(channel).pointee.endRequest()
    free(place: channel.place)
  }

  /// Wakes hosts that sleep and have been answered in this turn.
  @inline(__always)
  mutating func wakeHosts() {
    // Sync point "sleep": the answers are published before the check whether the host sleeps.
    AsymmetricFence.light(supported: sleep.usesMembarrier)
    for position in 0..<channels.answered.count {
      let channel = channels.address(channels.answered[position])
      channel.pointee.setTouched(false)
      if channel.pointee.phase == .attached, !channel.pointee.hostParked.isAwake {
        wake(channels.answered[position])
      }
    }
    channels.clearAnswered()
  }

  @inline(never)
  private func wake(_ channel: ChannelIndex) {
    let word = channels[channel].hostParked
    guard let bell = word.takeSleep() else { return }
    count(.hostWakes)
    if bell == .word {
      _ = word.ring()
      return
    }
    // The host waits for its control sockets (`Host.descriptor`). One that is full can be read, and so has woken it.
    let connection = hosts[channel.place].connection
    ControlMessage.send(byte: CInt(BATON_MESSAGE_DOORBELL), over: control.connections[connection].descriptor)
  }
}
