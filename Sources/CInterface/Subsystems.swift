// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation, AlwaysUseLowerCamelCase
// The functions are those of baton.h, which documents them.

import BatonStorage
import BatonSubsystem
import BatonSystem
import CBaton
import Glibc

@c @implementation public func baton_create(
  _ name: UnsafePointer<CChar>?, _ units: UnsafePointer<UnsafePointer<CChar>?>?, _ count: UInt32, _ flags: UInt32
) -> CInt {
  caught { () throws(BatonError) in
    guard flags & ~UInt32(BATON_CREATE_REPLACE | BATON_CREATE_BUFFERED) == 0 else {
      return invalid("baton_create", "has unknown flags: \(flags)")
    }
    guard let units else { return invalid("baton_create", "names no units: NULL was given") }
    var specifications: [UnitSpecification] = []
    for unit in 0..<Int(count) {
      guard let word = units[unit] else { return invalid("unit \(unit)", "is NULL") }
      var specification = try UnitSpecification(parsing: String(cString: word))
      specification.isBuffered = flags & UInt32(BATON_CREATE_BUFFERED) != 0
      specifications.append(specification)
    }
    let isReplacing = flags & UInt32(BATON_CREATE_REPLACE) != 0
    _ = try Subsystem.create(
      try subsystem(name).location.name, units: specifications, replacing: isReplacing)
    return 0
  }
}

@c @implementation public func baton_destroy(_ name: UnsafePointer<CChar>?) -> CInt {
  caught { () throws(BatonError) in
    try subsystem(name).destroy()
    return 0
  }
}

@c @implementation public func baton_wait_serving(
  _ name: UnsafePointer<CChar>?, _ mask: UInt32, _ timeout: Int64
) -> CInt {
  caught { () throws(BatonError) in
    let (subsystem, wanted) = (try subsystem(name), try controllers(mask))
    let view = try SubsystemView(of: subsystem)
    let end = deadline(timeout)
    while true {
      let missing = wanted.filter { !view.isServing($0) || !view.isRunning($0) }
      if missing.isEmpty { return 0 }
      if monotonicNanoseconds() >= end {
        return late(
          "subsystem '\(subsystem.location.name)'", "controller \(missing[0]) does not serve",
          "start it with 'baton controller \(subsystem.location.name) \(missing[0])', or turn it")
      }
      usleep(200)
    }
  }
}
