import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import CBatonShims
import Glibc

// The management function: requests on the subsystem itself. Its owner serves it, like any function.
extension Controller {
  /// Bytes of an answer to `statistics`: both controllers' counters.
  private static var statisticsCount: UInt64 { UInt64(2 * Counters.capacity * 8) }

  /// Whether a management request can be served at all: nil if so.
  mutating func checkManagement(_ operation: Operation, _ copy: RequestCopy, arenaSize: UInt64) -> Status? {
    if operation.usesBuffer {
      if copy.length == 0 { return .zeroLength }
      if copy.length > Request.transferMax { return .tooLong }
      if copy.buffer > arenaSize || copy.length > arenaSize &- copy.buffer { return .badBuffer }
      if copy.buffer & 7 != 0 { return .misaligned }
    }
    switch operation {
    case .identify:
      return copy.length < UInt64(MemoryLayout<baton_identity>.size) ? .badBuffer : nil
    case .listUnits:
      if copy.length < UInt64(MemoryLayout<baton_unit_description>.size) { return .badBuffer }
      return Int(copy.unit) < region.unitCount ? nil : .noSuchUnit
    case .statistics:
      return copy.length < Self.statisticsCount ? .badBuffer : nil
    case .setUnitState:
      if UnitState(rawValue: copy.offset) == nil { return .invalidValue }
      return Int(copy.unit) < region.unitCount ? nil : .noSuchUnit
    default:
      return Int(copy.unit) < region.unitCount ? nil : .noSuchUnit
    }
  }

  mutating func serveManagement(_ request: UnsafeMutablePointer<AcceptedRequest>, term: UInt64) {
    let buffer = channels[request.pointee.origin].arena + Int(truncatingIfNeeded: request.pointee.buffer)
    let unit = Int(request.pointee.unit)
    var value: UInt64 = 0
    switch request.pointee.kind {
    case .identify:
      var identity = baton_identity()
      identity.generation = region.header.generation
      identity.controller = UInt64(self.identity.rawValue)
      identity.incarnation = incarnation
      identity.pid = UInt64(getpid())
      identity.unit_count = UInt64(region.unitCount)
      identity.layout_version = UInt64(BATON_LAYOUT_VERSION)
      buffer.storeBytes(of: identity, as: baton_identity.self)
      value = UInt64(MemoryLayout<baton_identity>.size)
    case .listUnits:
      let each = MemoryLayout<baton_unit_description>.stride
      let count = min(region.unitCount - unit, Int(request.pointee.length) / each)
      for index in 0..<count {
        let geometry = units.geometry(unit + index)
        var description = baton_unit_description()
        description.unit = UInt64(unit + index)
        description.size = geometry.size
        description.block_size = UInt64(geometry.blockSize)
        description.state = UnitStateWord(rawValue: region.unitStates.word(unit + index).loadRelaxed()).stateBits
        description.kind = UInt64(geometry.kind.rawValue)
        description.is_direct = geometry.isDirect ? 1 : 0
        (buffer + index * each).storeBytes(of: description, as: baton_unit_description.self)
      }
      value = UInt64(count)
    case .unitState:
      value = UnitStateWord(rawValue: region.unitStates.word(unit).loadRelaxed()).stateBits
    case .setUnitState:
      setUnitState(request)
      value = request.pointee.offset
    case .statistics:
      for controller in ControllerIdentity.allCases {
        let values = region.controller(controller).counters.values
        for index in values.indices {
          (buffer + (controller.index * values.count + index) * 8).storeBytes(of: values[index], as: UInt64.self)
        }
      }
      value = Self.statisticsCount
    default: preconditionFailure("not a management operation")
    }
    answer(request, .success, value: value, term: term)
  }

  /// One store changes both the effect and the identity of the request that has it. So the controller answers a
  /// recovered request that has already taken effect from the record: its effect must not come a second time, after
  /// another request's.
  private mutating func setUnitState(_ request: UnsafeMutablePointer<AcceptedRequest>) {
    let unit = Int(request.pointee.unit)
    let channel = request.pointee.origin
    let host = hosts[channel.place].identity
    let side = channel.controller
    let sequence = request.pointee.sequence
    let shared = region.unitStates.word(unit)
    let word = UnitStateWord(rawValue: shared.loadRelaxed())
    if region.unitStateSetter(unit, pair: word.pair).isSet(by: host, channel: side, sequence: sequence) { return }
    let next = word.set(to: UnitState(rawValue: request.pointee.offset) ?? .offline)
    region.unitStateSetter(unit, pair: next.pair).set(host: host, channel: side, sequence: sequence)
    reach(.effectBefore)
    // Release: the identity of the setter is in the record before the word says which pair is valid. The matching
    // acquire is that of "death", or "grant" for a later owner.
    shared.storeReleasing(next.rawValue)
    reach(.effectAfter)
    note(.unitState, .info, "unit \(unit) is \(next.state) now")
  }
}
