import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSubsystem

/// How a host broke the protocol of its channel.
enum Offence: CustomStringConvertible {
  /// A submission that does not carry the channel's next number.
  case wrongSequence(found: UInt64, due: UInt64)
  /// A request that names a line as the next which is none, is its own, or belongs to one that is outstanding.
  case wrongNext(Int, outstanding: Int)
  /// Lines that contradict each other, found when the host attached or the controller took over its channel.
  case wrongLines

  var description: String {
    switch self {
    case .wrongSequence(let found, let due): "a request with number \(found) where \(due) was due"
    case .wrongNext(let line, let outstanding):
      "a request that names line \(line) as the next, with \(outstanding) outstanding"
    case .wrongLines: "lines that contradict each other"
    }
  }
}

// Requests in: what hosts submit, taken from their channels in arrival order.
extension Controller {
  /// Turns without a request after which a channel is looked at in rotation only.
  private static var turnsUntilCold: UInt32 { 2048 }
  /// Channels looked at in every turn whatever they do: looking at a few costs nothing.
  private static var hotMin: Int { 2 }

  /// Takes a channel into the order of those that requests are taken from: hot until it has shown itself idle.
  mutating func addToOrder(_ channel: Int) {
    if channels[channel].isPolled { return }
    channels[channel].isPolled = true
    channels[channel].idleTurns = 0
    channelOrder[channelCount] = channelOrder[hotCount]
    channelOrder[hotCount] = Int32(channel)
    channelCount += 1
    hotCount += 1
  }

  /// The reverse: nothing is taken from it any more. Not while the order is walked.
  mutating func removeFromOrder(_ channel: Int) {
    if !channels[channel].isPolled { return }
    channels[channel].isPolled = false
    for position in 0..<channelCount where channelOrder[position] == Int32(channel) {
      if position < hotCount {
        hotCount -= 1
        channelOrder[position] = channelOrder[hotCount]
        channelOrder[hotCount] = channelOrder[channelCount - 1]
      } else {
        channelOrder[position] = channelOrder[channelCount - 1]
      }
      channelCount -= 1
      break
    }
  }

  /// Looks at every hot channel and one cold one. With 64 hosts attached and one active, a turn looks at two lines.
  @inline(__always)
  mutating func pollChannels() -> Int {
    var work = 0
    var position = 0
    while position < hotCount {
      let index = channelOrder[position]
      let taken = pollChannel(Int(index))
      work += taken
      if taken == 0 {
        let channel = channels + Int(index)
        channel.pointee.idleTurns &+= 1
        if channel.pointee.idleTurns > Self.turnsUntilCold, hotCount > Self.hotMin {
          hotCount -= 1
          channelOrder[position] = channelOrder[hotCount]
          channelOrder[hotCount] = index
          continue
        }
      }
      position += 1
    }
    if channelCount > hotCount { work += pollColdChannel() }
    return work
  }

  private mutating func pollColdChannel() -> Int {
    coldCursor = coldCursor + 1 < channelCount ? max(coldCursor + 1, hotCount) : hotCount
    let index = channelOrder[coldCursor]
    let taken = pollChannel(Int(index))
    if taken > 0 { makeHot(position: coldCursor) }
    return taken
  }

  private mutating func makeHot(position: Int) {
    let index = channelOrder[position]
    channelOrder[position] = channelOrder[hotCount]
    channelOrder[hotCount] = index
    hotCount += 1
    channels[Int(index)].idleTurns = 0
  }

  /// Looks at every channel, hot or not: before sleeping, and when leaving.
  mutating func pollAllChannels() -> Int {
    var work = 0
    var position = 0
    while position < channelCount {
      let taken = pollChannel(Int(channelOrder[position]))
      work += taken
      if taken > 0, position >= hotCount { makeHot(position: position) }
      position += 1
    }
    return work
  }

  /// Takes what a host has submitted since the last look, a batch at the most.
  @inline(__always)
  private mutating func pollChannel(_ index: Int) -> Int {
    let channel = channels + index
    var taken = 0
    while taken < Self.channelBatchMax, mayTake(channel) {
      let slot = channel.pointee.next
      let line = channel.pointee.line(slot)
      // Acquire: sync point "submit", the host's release of the flag.
      let flag = RequestFlag(rawValue: line.flag.loadAcquiring())
      let sequence = channel.pointee.sequence
      guard flag == .submitted(sequence) else {
        if flag.isSubmitted { expel(place: index >> 1, for: .wrongSequence(found: flag.sequence, due: sequence)) }
        break
      }
      let copy = line.copy()
      guard Int(copy.next) <= channel.pointee.lineMask, Int(copy.next) != slot,
        channel.pointee.outstanding < channel.pointee.lineMask
      else {
        expel(place: index >> 1, for: .wrongNext(Int(copy.next), outstanding: channel.pointee.outstanding))
        break
      }
      channel.pointee.next = Int(copy.next)
      channel.pointee.sequence = sequence &+ 1
      channel.pointee.outstanding += 1
      taken += 1
      receive(copy, channel: index, slot: slot, sequence: sequence)
    }
    if taken > 0 { channel.pointee.idleTurns = 0 }
    return taken
  }

  /// Whether another request of this host can be taken. When half of the table is full, a host that has its share
  /// waits: nobody's requests, however slow, keep the others out.
  @inline(__always)
  private func mayTake(_ channel: UnsafeMutablePointer<ChannelState>) -> Bool {
    channel.pointee.phase == .attached
      && (requests.free > Self.requestsMax / 2
        || requests.free > Self.requestsReserved
          && channel.pointee.outstanding < Self.requestsMax / 2 / options.hostsMax)
  }

  /// A service request has arrived: determines whether this controller owns its function, and serves it or asks the
  /// arbiter (claim 1, in its order).
  @inline(__always)
  mutating func receive(_ copy: RequestCopy, channel: Int, slot: Int, sequence: UInt64) {
    count(.requests)
    reach(.requestTaken)
    guard let operation = Operation(rawValue: copy.operation) else {
      return refuse(channel, slot, sequence, .invalidOperation)
    }
    let function = operation.isManagement ? Function.management : Function(unit: Int(copy.unit))
    let refusal =
      operation.isManagement
      ? checkManagement(operation, copy, arenaSize: channels[channel].arenaSize)
      : Self.check(
        operation, copy, geometries, unitCount: region.unitCount, arenaSize: channels[channel].arenaSize)
    if let refusal { return refuse(channel, slot, sequence, refusal) }
    if stop != .running { return refuse(channel, slot, sequence, .leaving) }

    let request = requests.base + Int(requests.candidate)
    request.pointee.channel = UInt32(truncatingIfNeeded: channel)
    request.pointee.slot = UInt16(truncatingIfNeeded: slot)
    request.pointee.operation = copy.operation
    request.pointee.flags = copy.isDurable ? AcceptedRequest.Flag.durable : 0
    request.pointee.unit = copy.unit
    request.pointee.sequence = sequence
    // A flush has no extent: what stands there was not checked, and must not be used.
    let hasExtent = operation != .flush
    request.pointee.offset = hasExtent ? copy.offset : 0
    request.pointee.length = hasExtent ? copy.length : 0
    request.pointee.buffer = hasExtent ? copy.buffer : 0

    let state = functions + function.index
    let word = arbiter.look(region.ownership.word(function.index))
    if word.isOwned(by: identity), state.pointee.admits, hasRoom(function) {
      if state.pointee.writesHead >= 0, overlapsWrite(request) { return hold(requests.take()) }
      count(.direct)
      let index = requests.candidate
      if serve(request, index: index, term: word.term) {
        _ = requests.take()
        state.pointee.inFlight += 1
      }
      return
    }
    let index = requests.take()
    enqueue(index, function)
    requestOwnership(function, word)
  }

  /// Answers a request that is not served. Out of line: it is seldom, and the loop should stay small.
  @inline(never)
  private mutating func refuse(_ channel: Int, _ slot: Int, _ sequence: UInt64, _ status: Status) {
    answer(channel, slot, sequence, status)
  }

  /// Whether a block request can be served at all, by itself: nil if so. What depends on the unit's state comes when
  /// it is served.
  @inline(__always)
  private static func check(
    _ operation: Operation, _ copy: RequestCopy, _ geometries: UnsafeMutablePointer<UnitGeometry>, unitCount: Int,
    arenaSize: UInt64
  ) -> Status? {
    if Int(copy.unit) >= unitCount { return .noSuchUnit }
    if operation == .flush { return nil }
    let geometry = geometries + Int(copy.unit)
    if copy.length == 0 { return .zeroLength }
    if copy.length > (operation.usesBuffer ? Request.transferMax : Request.extentMax) { return .tooLong }
    let size = geometry.pointee.size
    if copy.offset > size || copy.length > size &- copy.offset { return .outOfRange }
    let blockMask = UInt64(geometry.pointee.blockSize) &- 1
    if operation.usesBuffer {
      if copy.buffer > arenaSize || copy.length > arenaSize &- copy.buffer { return .badBuffer }
      if (copy.offset | copy.length | copy.buffer) & blockMask != 0 { return .misaligned }
    } else if (copy.offset | copy.length) & blockMask != 0 {
      return .misaligned
    }
    return nil
  }
}
