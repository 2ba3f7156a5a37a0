// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation, AlwaysUseLowerCamelCase
// The functions are those of baton.h, which documents them.

import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import CBaton
import Glibc

@inline(__always)
private func view(_ handle: OpaquePointer?) -> UnsafeMutablePointer<SubsystemView> {
  UnsafeMutablePointer(handle.unsafelyUnwrapped)
}

/// Whether the subsystem has that unit; else keeps the error.
private func check(_ handle: OpaquePointer?, _ unit: UInt32) -> CInt {
  if Int(unit) < view(handle).pointee.unitCount { return 0 }
  return fail(
    BATON_ERROR_MISSING, ENOENT, "unit \(unit)", "does not exist", "units are numbered from 0; see baton_view_units")
}

@c @implementation public func baton_view_open(
  _ place: UnsafeMutablePointer<OpaquePointer?>?, _ name: UnsafePointer<CChar>?
) -> CInt { opened(place) { () throws(BatonError) in try SubsystemView(of: try subsystem(name)) } }

@c @implementation public func baton_view_close(_ place: UnsafeMutablePointer<OpaquePointer?>?) {
  closed(place, SubsystemView.self)
}

@c @implementation public func baton_view_generation(_ handle: OpaquePointer?) -> UInt64 {
  view(handle).pointee.generation
}

@c @implementation public func baton_view_units(_ handle: OpaquePointer?) -> UInt32 {
  UInt32(view(handle).pointee.unitCount)
}

@c @implementation public func baton_view_ownership(
  _ handle: OpaquePointer?, _ unit: UInt32, _ ownership: UnsafeMutablePointer<baton_ownership>?
) -> CInt {
  guard let ownership else { return invalid("baton_view_ownership", "has no place for its answer: NULL was given") }
  let result = check(handle, unit)
  if result != 0 { return result }
  let found = view(handle).pointee.ownership(ofUnit: Int(unit))
  var answer = baton_ownership()
  answer.term = found.term
  answer.owner = found.owner.map { $0.rawValue } ?? UInt8(BATON_EITHER)
  answer.requested = found.isRequested ? 1 : 0
  ownership.pointee = answer
  return 0
}

@c @implementation public func baton_view_controller(
  _ handle: OpaquePointer?, _ which: UInt32, _ info: UnsafeMutablePointer<baton_controller_info>?
) -> CInt {
  caught { () throws(BatonError) in
    guard let info else { return invalid("baton_view_controller", "has no place for its answer: NULL was given") }
    let identity = try controller(which)
    let found = view(handle).pointee.controller(identity)
    var answer = baton_controller_info()
    answer.incarnation = found.incarnation
    answer.pid = found.pid
    answer.phase = UInt8(found.phase.rawValue)
    answer.standing = UInt8(found.standing.rawValue)
    answer.takeover = UInt8(found.takeover.rawValue)
    answer.parked = found.isParked ? 1 : 0
    answer.running = view(handle).pointee.isRunning(identity) ? 1 : 0
    info.pointee = answer
    return 0
  }
}

@c @implementation public func baton_view_unit(
  _ handle: OpaquePointer?, _ unit: UInt32, _ info: UnsafeMutablePointer<baton_unit_info>?
) -> CInt {
  guard let info else { return invalid("baton_view_unit", "has no place for its answer: NULL was given") }
  let result = check(handle, unit)
  if result != 0 { return result }
  let found = view(handle).pointee.unit(Int(unit))
  var answer = baton_unit_info()
  answer.bytes = found.size
  answer.block_size = found.blockSize
  answer.kind = found.kind.rawValue
  answer.state = UInt8(found.state.rawValue)
  answer.direct = found.isDirect ? 1 : 0
  info.pointee = answer
  return 0
}

@c @implementation public func baton_view_counters(
  _ handle: OpaquePointer?, _ which: UInt32, _ values: UnsafeMutablePointer<UInt64>?, _ count: UInt32
) -> CInt {
  caught { () throws(BatonError) in
    guard let values else { return invalid("baton_view_counters", "has no place for its answer: NULL was given") }
    let identity = try controller(which)
    let written = min(Int(count), Counter.allCases.count)
    for number in 0..<written {
      guard let counter = Counter(rawValue: number) else { continue }
      values[number] = view(handle).pointee.count(counter, of: identity)
    }
    return CInt(written)
  }
}
