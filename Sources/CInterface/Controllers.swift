// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation, AlwaysUseLowerCamelCase
// The functions are those of baton.h, which documents them.

import BatonController
import BatonOwnership
import BatonSubsystem
import BatonSystem
import CBaton
import Glibc
import Logging

extension baton_controller_options: SizedOptions {
  static var defaults: Self {
    let standard = ControllerOptions()
    return baton_controller_options(
      size: UInt32(MemoryLayout<Self>.size), wait: BATON_WAIT_ADAPTIVE.rawValue, spin_ns: standardSpinNanoseconds,
      deadline_ns: standard.deadlineNanoseconds, host_absence_ns: standard.hostAbsenceNanoseconds, residency_ns: -1,
      hosts_max: UInt32(standard.hostsMax), log_level: BATON_LOG_NONE.rawValue, log: nil, log_context: nil)
  }

  func options() throws(BatonError) -> ControllerOptions {
    var options = ControllerOptions()
    options.waiting = try strategy(wait, spin: spin_ns)
    options.deadlineNanoseconds = max(deadline_ns, ControllerOptions.deadlineNanosecondsMin)
    options.hostAbsenceNanoseconds = host_absence_ns
    options.hostsMax = Int(hosts_max)
    options.residency =
      switch residency_ns {
      case ..<0: .standard
      case 0: .pendingOnly
      default: .fixed(nanoseconds: UInt64(residency_ns))
      }
    let levels: [Logger.Level?] = [nil, .error, .warning, .info]
    guard Int(log_level) < levels.count else {
      throw BatonError(.invalid, "log level \(log_level)", "does not exist", fix: "use one of enum baton_log_level")
    }
    if let log, let level = levels[Int(log_level)] {
      let handler = CallbackLog(log, log_context, level)
      options.logger = Logger(label: "baton", factory: { _ in handler })
    } else {
      options.logger = Logger(label: "baton", factory: { _ in SwiftLogNoOpLogHandler() })
    }
    return options
  }
}

/// Hands each line to a function of the caller's.
// Unchecked: the caller's function is called in the thread that turns the controller, and the context is its own.
private struct CallbackLog: LogHandler, @unchecked Sendable {
  typealias Function = @convention(c) (UnsafeMutableRawPointer?, UInt32, UnsafePointer<CChar>?) -> Void

  private let function: Function
  private let context: UnsafeMutableRawPointer?
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level

  init(_ function: @escaping Function, _ context: UnsafeMutableRawPointer?, _ level: Logger.Level) {
    self.function = function
    self.context = context
    logLevel = level
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let level = event.level >= .error ? BATON_LOG_ERROR : event.level == .warning ? BATON_LOG_WARNING : BATON_LOG_INFO
    "\(event.message)".withCString { function(context, level.rawValue, $0) }
  }
}

/// What a handle of a controller leads to.
struct ControllerBox: ~Copyable {
  var controller: Controller
  /// Its own, so that another thread needs nothing of the controller.
  let stopper: ControllerStopper

  init(_ controller: consuming Controller) throws(BatonError) {
    var controller = controller
    stopper = try controller.stopper()
    self.controller = controller
  }
}

@inline(__always)
private func box(_ handle: OpaquePointer?) -> UnsafeMutablePointer<ControllerBox> {
  UnsafeMutablePointer(handle.unsafelyUnwrapped)
}

@c @implementation public func baton_controller_options_init(
  _ options: UnsafeMutablePointer<baton_controller_options>?, _ size: Int
) { baton_controller_options.initialize(options, size) }

@c @implementation public func baton_controller_open(
  _ place: UnsafeMutablePointer<OpaquePointer?>?, _ name: UnsafePointer<CChar>?, _ which: UInt32,
  _ options: UnsafePointer<baton_controller_options>?
) -> CInt {
  opened(place) { () throws(BatonError) in
    try ControllerBox(
      Controller(
        try controller(which), of: try subsystem(name),
        options: try baton_controller_options.given(options).options()))
  }
}

@c @implementation public func baton_controller_turn(_ handle: OpaquePointer?) -> CInt {
  let box = box(handle)
  if box.pointee.controller.poll() { return 1 }
  return box.pointee.controller.isFenced || box.pointee.controller.isStopped ? -ESTALE : 0
}

@c @implementation public func baton_controller_park(_ handle: OpaquePointer?) {
  box(handle).pointee.controller.park()
}

@c @implementation public func baton_controller_run(_ handle: OpaquePointer?, _ flags: UInt32) -> CInt {
  caught { () throws(BatonError) in
    guard flags & ~UInt32(BATON_RUN_SIGNALS) == 0 else {
      return invalid("baton_controller_run", "has unknown flags: \(flags)")
    }
    try box(handle).pointee.controller.run(handlingSignals: flags & UInt32(BATON_RUN_SIGNALS) != 0)
    return 0
  }
}

@c @implementation public func baton_controller_stop(_ handle: OpaquePointer?) { box(handle).pointee.stopper.stop() }

@c @implementation public func baton_controller_serving(_ handle: OpaquePointer?) -> CInt {
  box(handle).pointee.controller.isServing ? 1 : 0
}

@c @implementation public func baton_controller_stopped(_ handle: OpaquePointer?) -> CInt {
  box(handle).pointee.controller.isStopped ? 1 : 0
}

@c @implementation public func baton_controller_close(_ place: UnsafeMutablePointer<OpaquePointer?>?) {
  closed(place, ControllerBox.self)
}
