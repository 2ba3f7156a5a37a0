import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem

// Receiving a service request: the step that claim 1 begins with.
extension Controller {
  /// A service request has arrived: determines whether this controller owns its function, and serves it or asks the
  /// arbiter (claim 1, in its order).
  mutating func receive(_ copy: RequestCopy, channel: ChannelIndex, line: LineIndex, sequence: UInt64) {
    if let refusal = refusal(of: copy, arenaSize: channels[channel].arenaSize) {
      return answer(channel, line, sequence, refusal)
    }
    let isManagement = copy.operation >= Operation.identify.rawValue
    let function = isManagement ? Function.management : Function(unit: Int(copy.unit))
    if life.isStopping { return answer(channel, line, sequence, .leaving) }

    precondition(requests.free > 0, "more requests were accepted than there is room for")
    // A flush has no extent: its fields were not checked, and must not be used.
    requests.nameCandidate(channel: channel)
    let request = requests.fillCandidate(
      copy, line: line, sequence: sequence, hasExtent: copy.operation != Operation.flush.rawValue)
    let state = functions.address(function.index)
    let word = arbiter.look(region.ownership.word(function.index))
    if word.isOwned(by: identity), state.pointee.admits, hasRoom(function), !turn.isSpent {
      if state.pointee.hasWrites, overlapsWrite(request) { return hold(requests.take()) }
      count(.direct)
      let index = requests.entries.index(of: request)
      if serve(request, index: index, term: word.term) {
        _ = requests.take()
        state.pointee.begin()
      }
      return
    }
    let index = requests.take()
    enqueue(index, function)
    requestOwnership(function, word)
  }

  /// Checks whether a request can be served at all, by itself: nil if so. Requests from a channel and from a journal
  /// are checked alike.
  mutating func refusal(of copy: RequestCopy, arenaSize: UInt64) -> Status? {
    guard let operation = Operation(rawValue: copy.operation) else { return .invalidOperation }
    return operation.isManagement
      ? checkManagement(operation, copy, arenaSize: arenaSize) : check(operation, copy, arenaSize: arenaSize)
  }

  /// Checks whether a block request can be served at all, by itself: nil if so. Checks that depend on the unit's state
  /// come when it is served.
  private mutating func check(_ operation: Operation, _ copy: RequestCopy, arenaSize: UInt64) -> Status? {
    if copy.unit >= units.count { return .noSuchUnit }
    if operation == .flush { return nil }
    let unit = units.address(Int(copy.unit))
    if copy.length == 0 { return .zeroLength }
    if copy.length > (operation.usesBuffer ? Request.transferMax : Request.extentMax) { return .tooLong }
    let size = unit.pointee.size
    if copy.offset > size || copy.length > size &- copy.offset { return .outOfRange }
    if operation.usesBuffer {
      if copy.buffer > arenaSize || copy.length > arenaSize &- copy.buffer { return .badBuffer }
      return (copy.offset | copy.length | copy.buffer) & unit.pointee.blockMask == 0 ? nil : .misaligned
    }
    return (copy.offset | copy.length) & unit.pointee.blockMask == 0 ? nil : .misaligned
  }
}
