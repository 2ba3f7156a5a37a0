// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation, AlwaysUseLowerCamelCase
// The functions are those of baton.h, which documents them.

import BatonChannel
import BatonHost
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import CBaton
import Glibc

extension baton_host_options: SizedOptions {
  static var defaults: Self {
    let standard = HostOptions()
    return baton_host_options(
      size: UInt32(MemoryLayout<Self>.size), wait: BATON_WAIT_ADAPTIVE.rawValue, spin_ns: standardSpinNanoseconds,
      lines: UInt32(standard.linesPerChannel), controller: UInt32(BATON_EITHER), arena_size: standard.arenaSize,
      patience_ns: standard.patienceNanoseconds, turn: nil, turn_context: nil)
  }

  func options() throws(BatonError) -> HostOptions {
    var options = HostOptions()
    options.waiting = try strategy(wait, spin: spin_ns)
    options.linesPerChannel = Int(lines)
    options.controller = controller == UInt32(BATON_EITHER) ? nil : try BatonC.controller(controller)
    options.arenaSize = arena_size
    options.patienceNanoseconds = patience_ns
    return options
  }
}

/// What a handle of a host leads to.
struct HostBox: ~Copyable {
  var host: Host
  /// Its own, so that another thread needs nothing of the host.
  let waker: HostWaker
  private let turn: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?
  private let turnContext: UnsafeMutableRawPointer?
  /// Whether `baton_host_fd` was called: a look that finds nothing announces a sleep.
  var hasDescriptor = false

  /// The longest wait without a look at the rest: what a host's own sleep is limited to.
  private static var waitNanosecondsMax: UInt64 { 100_000_000 }
  /// Turns of the controllers between two looks at the clock.
  private static var turnsPerClock: UInt32 { 64 }

  init(_ host: consuming Host, _ options: baton_host_options) {
    var host = host
    waker = host.waker()
    self.host = host
    turn = options.turn
    turnContext = options.turn_context
  }

  /// Whether the subsystem is gone; then the error is kept.
  private func isLost() -> Bool {
    guard let loss = host.subsystemLoss else { return false }
    _ = fail(BATON_ERROR_MISSING, ENODEV, loss.subject, loss.problem, loss.fix)
    return true
  }

  /// Waits until `isDone`. The thread turns the controllers meanwhile, or sleeps for at most `sleepNanoseconds` at a
  /// time.
  ///
  /// - Returns: 0, or -ENODEV, -ETIMEDOUT or -EINTR, the last two without an error that is kept.
  mutating func wait(until end: UInt64, _ isDone: (inout Host) -> Bool) -> CInt {
    var turns: UInt32 = 0
    while !isDone(&host) {
      if isLost() { return -ENODEV }
      if let turn {
        turn(turnContext)
        turns &+= 1
        if turns % Self.turnsPerClock != 0 { continue }
        host.maintain()
        if waker.takeCall() { return -EINTR }
        if monotonicNanoseconds() >= end { return -ETIMEDOUT }
      } else {
        let now = monotonicNanoseconds()
        if now >= end { return -ETIMEDOUT }
        if host.waitUntilCalled(nanoseconds: Int64(min(end &- now, Self.waitNanosecondsMax))) { return -EINTR }
      }
    }
    return 0
  }

  /// Waits for more answers.
  mutating func reap(
    _ completions: UnsafeMutablePointer<PackedCompletion>, after taken: UInt32, min: UInt32, max: UInt32,
    _ timeout: Int64
  ) -> CInt {
    var taken = taken
    let result = wait(until: deadline(timeout)) { host in
      taken &+= host.next(completions + Int(taken), max &- taken)
      return taken >= min || host.outstanding == 0
    }
    return taken == 0 && result == -ENODEV ? result : CInt(bitPattern: taken)
  }

  /// Looks for answers, for a caller that waits for the descriptor when there are none.
  mutating func reapBeforeSleep(_ completions: UnsafeMutablePointer<PackedCompletion>, max: UInt32) -> CInt {
    host.endSleep()
    while true {
      let taken = host.next(completions, max)
      if taken > 0 || max == 0 { return CInt(bitPattern: taken) }
      if isLost() { return -ENODEV }
      if host.announceSleep() { return 0 }
    }
  }
}

@inline(__always)
private func box(_ handle: OpaquePointer?) -> UnsafeMutablePointer<HostBox> {
  UnsafeMutablePointer(handle.unsafelyUnwrapped)
}

@c @implementation public func baton_host_options_init(
  _ options: UnsafeMutablePointer<baton_host_options>?, _ size: Int
) { baton_host_options.initialize(options, size) }

@c @implementation public func baton_host_open(
  _ place: UnsafeMutablePointer<OpaquePointer?>?, _ name: UnsafePointer<CChar>?,
  _ options: UnsafePointer<baton_host_options>?
) -> CInt {
  opened(place) { () throws(BatonError) in
    let options = try baton_host_options.given(options)
    return HostBox(try Host(of: try subsystem(name), options: try options.options()), options)
  }
}

@c @implementation public func baton_host_close(_ place: UnsafeMutablePointer<OpaquePointer?>?) {
  closed(place, HostBox.self)
}

@c @implementation public func baton_host_attached(_ handle: OpaquePointer?) -> UInt32 {
  let isOfA = box(handle).pointee.host.isAttached(to: .a)
  let isOfB = box(handle).pointee.host.isAttached(to: .b)
  return (isOfA ? UInt32(BATON_MASK_A) : 0) | (isOfB ? UInt32(BATON_MASK_B) : 0)
}

@c @implementation public func baton_host_attach(_ handle: OpaquePointer?, _ mask: UInt32, _ timeout: Int64) -> CInt {
  caught { () throws(BatonError) in
    _ = try controllers(mask)
    let end = deadline(timeout)
    while true {
      let result = box(handle).pointee.wait(until: Swift.min(end, monotonicNanoseconds() &+ 1_000_000)) { host in
        host.maintain()
        let isOfA = host.isAttached(to: .a)
        let isOfB = host.isAttached(to: .b)
        return (mask & 1 == 0 || isOfA) && (mask & 2 == 0 || isOfB)
      }
      if result == 0 || result == -ENODEV { return result }
      if monotonicNanoseconds() < end { continue }
      let refusal = box(handle).pointee.host.refusal
      return late(
        "host", "is not attached to all controllers of mask \(mask): \(refusal ?? "there was no answer in time")",
        refusal == nil ? "start the controllers, or turn them: options.turn" : "")
    }
  }
}

@c @implementation public func baton_host_arena(
  _ handle: OpaquePointer?, _ size: UnsafeMutablePointer<Int>?
) -> UnsafeMutableRawPointer? {
  let arena = box(handle).pointee.host.arena
  size?.pointee = arena.count
  return arena.baseAddress
}

private typealias Requests = UnsafePointer<baton_request>
private typealias Completions = UnsafeMutablePointer<baton_completion>

/// The same memory: the layouts are those of the header, which pins them.
@inline(__always)
private func packed(_ requests: Requests?) -> UnsafePointer<PackedRequest> {
  UnsafeRawPointer(requests.unsafelyUnwrapped).assumingMemoryBound(to: PackedRequest.self)
}

@inline(__always)
private func packed(_ completions: Completions?) -> UnsafeMutablePointer<PackedCompletion> {
  UnsafeMutableRawPointer(completions.unsafelyUnwrapped).assumingMemoryBound(to: PackedCompletion.self)
}

// One request and one answer, if nothing is out of the ordinary, need no call. Everything else is a function of its
// own, with C's calling convention, so that it is jumped to and these save no registers.

@c @implementation public func baton_host_submit(
  _ handle: OpaquePointer?, _ requests: UnsafePointer<baton_request>?, _ count: UInt32
) -> CInt {
  if count == 1 {
    switch box(handle).pointee.host.submitFast(packed(requests)) {
    case .done: return 1
    case .mustRing: return shim_host_ring(handle, requests)
    case .unusual: return shim_host_submit_alone(handle, requests)
    }
  }
  return shim_host_submit(handle, requests, count)
}

@c @inline(never)
func shim_host_submit_alone(_ handle: OpaquePointer?, _ request: UnsafePointer<baton_request>?) -> CInt {
  switch box(handle).pointee.host.submitAlone(packed(request)) {
  case .done: return 1
  case .mustRing: return shim_host_ring(handle, request)
  case .unusual: return shim_host_submit(handle, request, 1)
  }
}

@c @inline(never)
func shim_host_ring(_ handle: OpaquePointer?, _ request: UnsafePointer<baton_request>?) -> CInt {
  CInt(bitPattern: box(handle).pointee.host.ringForFast(packed(request)))
}

@c @inline(never)
func shim_host_submit(_ handle: OpaquePointer?, _ requests: UnsafePointer<baton_request>?, _ count: UInt32) -> CInt {
  let taken = box(handle).pointee.host.submit(packed(requests), count)
  if taken == 0, count > 0, !packed(requests).pointee.isSound { return refuse(requests.unsafelyUnwrapped) }
  return CInt(bitPattern: taken)
}

@inline(never)
private func refuse(_ request: UnsafePointer<baton_request>) -> CInt {
  let request = request.pointee
  return invalid(
    "request \(request.cookie)",
    "has operation \(request.operation), flags \(request.flags), controller \(request.controller) and "
      + "reserved fields \(request.reserved_0) and \(request.reserved_1)",
    "use enum baton_operation, BATON_REQUEST_..., BATON_A, BATON_B or BATON_EITHER, and 0 for what is reserved")
}

@c @implementation public func baton_host_reap(
  _ handle: OpaquePointer?, _ completions: UnsafeMutablePointer<baton_completion>?, _ min: UInt32, _ max: UInt32,
  _ timeout: Int64
) -> CInt {
  if max != 1 { return shim_host_reap(handle, completions, min, max, timeout) }
  if box(handle).pointee.host.nextFast(packed(completions)) { return 1 }
  return shim_host_reap_alone(handle, completions, min, timeout)
}

@c @inline(never)
func shim_host_reap_alone(
  _ handle: OpaquePointer?, _ completions: UnsafeMutablePointer<baton_completion>?, _ min: UInt32, _ timeout: Int64
) -> CInt {
  if box(handle).pointee.host.nextAlone(packed(completions)) { return 1 }
  return shim_host_reap(handle, completions, min, 1, timeout)
}

@c @inline(never)
func shim_host_reap(
  _ handle: OpaquePointer?, _ completions: UnsafeMutablePointer<baton_completion>?, _ min: UInt32, _ max: UInt32,
  _ timeout: Int64
) -> CInt {
  let box = box(handle)
  if box.pointee.hasDescriptor, min == 0 { return box.pointee.reapBeforeSleep(packed(completions), max: max) }
  let taken = box.pointee.host.next(packed(completions), max)
  if taken >= min, taken > 0 || !box.pointee.host.isGone { return CInt(bitPattern: taken) }
  return box.pointee.reap(packed(completions), after: taken, min: Swift.min(min, max), max: max, timeout)
}

@c @implementation public func baton_host_perform(
  _ handle: OpaquePointer?, _ request: UnsafePointer<baton_request>?,
  _ completion: UnsafeMutablePointer<baton_completion>?
) -> CInt {
  let box = box(handle)
  guard let request, let completion else { return invalid("baton_host_perform", "got NULL") }
  if box.pointee.host.outstanding > 0 {
    return fail(
      BATON_ERROR_BUSY, EBUSY, "host", "has \(box.pointee.host.outstanding) requests outstanding",
      "reap their answers first")
  }
  var submitted: CInt = 0
  // As long as a host waits for a controller by default, and as long as it takes for an answer.
  let end = deadline(Int64(clamping: box.pointee.host.patience))
  while submitted == 0 {
    submitted = baton_host_submit(handle, request, 1)
    if submitted < 0 { return submitted }
    if submitted > 0 { break }
    if monotonicNanoseconds() >= end {
      return fail(BATON_ERROR_MISSING, ENOENT, "controllers", "none takes a request", "start one, or turn it")
    }
    let result = box.pointee.wait(until: Swift.min(end, monotonicNanoseconds() &+ 1_000_000)) { host in
      host.maintain()
      let isOfA = host.isAttached(to: .a)
      return isOfA || host.isAttached(to: .b)
    }
    if result == -ENODEV { return result }
  }
  while true {
    let taken = baton_host_reap(handle, completion, 1, 1, -1)
    if taken != 0 { return Swift.min(taken, 0) }
  }
}

@c @implementation public func baton_host_outstanding(_ handle: OpaquePointer?) -> UInt32 {
  UInt32(box(handle).pointee.host.outstanding)
}

@c @implementation public func baton_host_room(_ handle: OpaquePointer?, _ which: UInt32) -> UInt32 {
  guard let identity = UInt8(exactly: which).flatMap({ ControllerIdentity(rawValue: $0) }) else { return 0 }
  return UInt32(box(handle).pointee.host.room(to: identity))
}

@c @implementation public func baton_host_wake(_ handle: OpaquePointer?) { box(handle).pointee.waker.wake() }

@c @implementation public func baton_host_fd(_ handle: OpaquePointer?) -> CInt {
  caught { () throws(BatonError) in
    let number = try box(handle).pointee.host.descriptor()
    box(handle).pointee.hasDescriptor = true
    return number
  }
}
