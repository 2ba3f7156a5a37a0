import BatonChannel
import BatonController
import BatonHost
import BatonNBD
import BatonRing
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc

// Clients: turns what they send into requests, and answers into replies.
extension NBDServer {
  /// A read of at least so many bytes from a unit in memory is sent from where it lies. The calls for each such reply,
  /// and the pieces in which the client receives it, cost as much as copying so much. For a request that is alone the
  /// limit is lower, because no other reply could go with it.
  private static var inPlaceMin: UInt64 { 32_768 }
  private static var inPlaceMinAlone: UInt64 { 4096 }

  /// Takes what the controller has answered.
  mutating func takeAnswers() -> Bool {
    if host.pointee.outstanding == 0 {
      // It tends its connection when it is polled.
      if !host.pointee.isAttached(to: identity) { _ = host.pointee.next() }
      return false
    }
    var hasWorked = false
    while true {
      if let completion = host.pointee.next() {
        hasWorked = true
        let place = Int(truncatingIfNeeded: completion.cookie >> 16)
        clients[place].pointee.finish(Int(completion.cookie & 0xffff), Self.outcome(completion.status))
        clients.markDirty(place)
      } else if !host.pointee.hasAnswer {
        return hasWorked
      }
    }
  }

  private static func outcome(_ status: Status) -> NBDOutcome {
    switch status {
    case .success: .done
    case .readOnly: .failed(.notPermitted)
    case .inputOutputError, .offline, .inUse: .failed(.inputOutput)
    case .noSpace: .failed(.noSpace)
    case .unsupported: .failed(.notSupported)
    case .leaving, .controllerLost: .withdrawn
    case .invalidOperation, .noSuchUnit, .outOfRange, .misaligned, .zeroLength, .tooLong, .badBuffer, .invalidValue:
      .failed(.invalid)
    }
  }

  /// Tends every place that has an event.
  mutating func serveDirty(_ controller: inout Controller) -> Bool {
    var hasWorked = false
    for position in 0..<clients.beginTending() {
      let place = clients.tended(at: position)
      if clients.isOccupied(place), serve(place, &controller) { hasWorked = true }
    }
    if requestsCounted > 0 {
      controller.countFrontEnd(.nbdRequests, requestsCounted)
      requestsCounted = 0
    }
    return hasWorked
  }

  /// Takes one client as far as it goes at present.
  private mutating func serve(_ place: Int, _ controller: inout Controller) -> Bool {
    let connection = clients[place]
    var hasWorked = false
    if connection.pointee.isNegotiating {
      for unit in 0..<exports.count {
        exports.setReadOnly(controller.isReadOnly(unit: unit), unit: unit)
      }
      connection.pointee.negotiate(exports)
    }
    while true {
      // An operation without room waits where it is; it is tried again in the next turn.
      guard host.pointee.room(to: identity) > 0 || !connection.pointee.takesMore else {
        clients.markDirty(place)
        break
      }
      guard let operation = connection.pointee.next() else { break }
      hasWorked = true
      start(operation, place, &controller)
    }
    if move(place, &controller) { hasWorked = true }
    if connection.pointee.isFinished {
      hasWorked = true
      vacate(place, &controller)
    }
    return hasWorked
  }

  /// Hands an operation to the controller, or ends it at once if there is nothing to do.
  private mutating func start(_ operation: NBDOperation, _ place: Int, _ controller: inout Controller) {
    requestsCounted += 1
    let unit = UInt32(truncatingIfNeeded: operation.unit)
    var request: Request
    switch operation.kind {
    case .read where isSentInPlace(operation, place, controller):
      request = Request(.readInPlace, unit: unit, offset: operation.offset, length: operation.length)
      clients[place].pointee.readsInPlace(operation.slot)
    case .read:
      request = Request(.read, unit: unit, offset: operation.offset, length: operation.length)
      // The buffer's old content may be another client's.
      if controller.readsNothing(unit: operation.unit) {
        memset(clients.memory(of: place) + operation.buffer, 0, Int(operation.length))
      }
    case .write: request = Request(.write, unit: unit, offset: operation.offset, length: operation.length)
    case .flush: request = Request(.flush, unit: unit)
    case .trim: request = Request(.discard, unit: unit, offset: operation.offset, length: operation.length)
    case .writeZeroes:
      request = Request(
        operation.keepsAllocation ? .fillZeroes : .writeZeroes, unit: unit, offset: operation.offset,
        length: operation.length, mustBeFast: operation.mustBeFast)
    // Advice, and there is nothing to do: the data is where it is fastest.
    case .cache: return clients[place].pointee.finish(operation.slot, .done)
    case .blockStatus: return askForExtents(operation, place, &controller)
    }
    request.buffer = UInt64(place * options.limits.memorySize + operation.buffer)
    request.isDurable = operation.isDurable
    let cookie = UInt64(place) << 16 | UInt64(operation.slot)
    // There was room, so the controller takes nothing any more.
    if !host.pointee.submit(request, to: identity, cookie: cookie) {
      clients[place].pointee.finish(operation.slot, .withdrawn)
    }
  }

  /// Whether a read is sent from where it lies in the unit.
  private func isSentInPlace(_ operation: NBDOperation, _ place: Int, _ controller: borrowing Controller) -> Bool {
    let least = clients[place].pointee.awaitsReply ? Self.inPlaceMinAlone : Self.inPlaceMin
    return sendsPages && operation.length >= least && controller.fileInMemory(unit: operation.unit) >= 0
  }
}
