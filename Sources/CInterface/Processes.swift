// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation, AlwaysUseLowerCamelCase
// The functions are those of baton.h, which documents them.

import BatonSubsystem
import BatonSystem
import CBaton
import Glibc

extension baton_process_options: SizedOptions {
  static var defaults: Self {
    baton_process_options(
      size: UInt32(MemoryLayout<Self>.size), flags: 0, program: nil, log: nil, arguments: nil)
  }

  func options() throws(BatonError) -> SpawnedController.Options {
    guard flags & ~UInt32(BATON_PROCESS_SUPERVISED | BATON_PROCESS_DETACHED) == 0 else {
      throw BatonError(.invalid, "baton_process_start", "has unknown flags: \(flags)")
    }
    var options = SpawnedController.Options()
    options.isSupervised = flags & UInt32(BATON_PROCESS_SUPERVISED) != 0
    options.endsWithThread = flags & UInt32(BATON_PROCESS_DETACHED) == 0
    if let program { options.program = String(cString: program) }
    if let log { options.logPath = String(cString: log) }
    if var word = arguments {
      while let text = word.pointee {
        options.arguments.append(String(cString: text))
        word += 1
      }
    }
    return options
  }
}

@inline(__always)
private func process(_ handle: OpaquePointer?) -> UnsafeMutablePointer<SpawnedController> {
  UnsafeMutablePointer(handle.unsafelyUnwrapped)
}

private func nanoseconds(_ timeout: Int64) -> UInt64 { timeout < 0 ? UInt64.max : UInt64(timeout) }

@c @implementation public func baton_process_options_init(
  _ options: UnsafeMutablePointer<baton_process_options>?, _ size: Int
) { baton_process_options.initialize(options, size) }

@c @implementation public func baton_process_start(
  _ place: UnsafeMutablePointer<OpaquePointer?>?, _ name: UnsafePointer<CChar>?, _ which: UInt32,
  _ options: UnsafePointer<baton_process_options>?
) -> CInt {
  opened(place) { () throws(BatonError) in
    try SpawnedController(
      try controller(which), of: try subsystem(name), options: try baton_process_options.given(options).options())
  }
}

@c @implementation public func baton_process_pid(_ handle: OpaquePointer?) -> CInt { process(handle).pointee.pid }

@c @implementation public func baton_process_wait_serving(_ handle: OpaquePointer?, _ timeout: Int64) -> CInt {
  caught { () throws(BatonError) in
    try process(handle).pointee.waitUntilServing(nanoseconds: nanoseconds(timeout))
    return 0
  }
}

@c @implementation public func baton_process_ended(
  _ handle: OpaquePointer?, _ status: UnsafeMutablePointer<CInt>?
) -> CInt {
  guard let ending = process(handle).pointee.poll() else { return 0 }
  switch ending {
  case .exited(let code): status?.pointee = code
  case .signalled(let signal): status?.pointee = 128 + signal
  }
  return 1
}

@c @implementation public func baton_process_stop(_ handle: OpaquePointer?, _ timeout: Int64) -> CInt {
  caught { () throws(BatonError) in
    try process(handle).pointee.stop(nanoseconds: nanoseconds(timeout))
    return 0
  }
}

@c @implementation public func baton_process_kill(_ handle: OpaquePointer?) { process(handle).pointee.kill() }

@c @implementation public func baton_process_close(_ place: UnsafeMutablePointer<OpaquePointer?>?) {
  closed(place, SpawnedController.self)
}
