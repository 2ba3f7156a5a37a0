import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import Glibc
import Synchronization

/// A host for code that uses `await`: any number of tasks perform requests, one thread of the host's own carries them.
///
/// A convenience on top of `Host`, at the cost of a lock and two changes of thread per request; fast code polls a
/// `Host` of its own.
public final class AsyncHost: Sendable {
  private struct Call {
    let request: Request
    let controller: ControllerIdentity?
    let continuation: CheckedContinuation<Completion, any Error>
  }

  private struct Desk {
    /// Calls that the thread has not taken.
    var calls: [Call] = []
    var freeBuffers: [UInt64] = []
    /// Tasks that wait for a buffer, oldest first.
    var waiting: [CheckedContinuation<UInt64, Never>] = []
  }

  /// The parts that the thread hands out when it is attached. Both stay valid until it has ended.
  private struct Attached: @unchecked Sendable {
    // Unchecked: an address and a stretch of shared memory. The word is atomic, and a piece of the arena belongs to
    // the task that has leased it.
    let parked: SharedSleepWord
    let arena: UnsafeMutableRawBufferPointer
  }

  private let desk: Mutex<Desk>
  private let attached: Attached

  /// Bytes that one `read` or `write` moves, at most.
  public static let bufferSize = 65_536

  /// Attaches a host, and starts its thread.
  ///
  /// - Throws: as `Host.init` and `Host.waitUntilAttached`.
  public init(of subsystem: Subsystem, options: HostOptions = HostOptions()) async throws {
    guard options.arenaSize >= UInt64(Self.bufferSize) else {
      throw BatonError(
        .invalid, "async host", "was to have an arena of \(options.arenaSize) bytes, which is not one buffer",
        fix: "ask for \(Self.bufferSize) or more")
    }
    let start = Start(subsystem, options)
    attached = try await withCheckedThrowingContinuation { continuation in
      start.attached = continuation
      var thread = pthread_t()
      let box = Unmanaged.passRetained(start)
      let failure = pthread_create(&thread, nil, Self.threadMain, box.toOpaque())
      if failure != 0 {
        box.release()
        continuation.resume(throwing: BatonError(result: -Int(failure), "async host", doing: "starting its thread"))
      } else {
        pthread_detach(thread)
      }
    }
    desk = Mutex(
      Desk(
        freeBuffers: stride(from: 0, through: attached.arena.count - Self.bufferSize, by: Self.bufferSize).map {
          UInt64($0)
        }))
    start.deliver(self)
  }

  /// The state that the thread starts with.
  private final class Start: @unchecked Sendable {
    // Unchecked: written before the thread starts, and by the thread alone afterwards; the host is handed over under
    // the lock.
    let subsystem: Subsystem
    let options: HostOptions
    var attached: CheckedContinuation<Attached, any Error>?
    private let host = Mutex<Weak?>(nil)

    struct Weak: Sendable { weak let value: AsyncHost? }

    init(_ subsystem: Subsystem, _ options: HostOptions) {
      self.subsystem = subsystem
      self.options = options
    }

    func deliver(_ host: AsyncHost) { self.host.withLock { $0 = Weak(value: host) } }

    /// The host; nil before it has been delivered, a gone one after it has ended.
    func delivered() -> Weak? { host.withLock { $0 } }
  }

  private static let threadMain: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
    let start = Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
    do {
      var host = try Host(of: start.subsystem, options: start.options)
      try host.waitUntilAttached()
      start.attached?.resume(returning: Attached(parked: host.memory.hostParked, arena: host.arena))
      start.attached = nil
      carry(&host, start)
    } catch {
      start.attached?.resume(throwing: error)
    }
    return nil
  }

  /// The thread's loop: takes calls, submits them, hands completions back; ends when the `AsyncHost` is gone and
  /// nothing is outstanding.
  private static func carry(_ host: inout Host, _ start: Start) {
    var continuations: [UInt64: CheckedContinuation<Completion, any Error>] = [:]
    var backlog: [Call] = []
    var cookie: UInt64 = 0
    var aloneSince: UInt64 = 0
    while true {
      let delivered = start.delivered()
      if let owner = delivered?.value {
        backlog += owner.takeCalls()
      } else if delivered != nil, host.outstanding == 0 || host.isSubsystemGone, backlog.isEmpty {
        return
      }
      while let call = backlog.first {
        if !host.submit(call.request, to: call.controller, cookie: cookie) {
          if host.isAttached(to: .a) || host.isAttached(to: .b) {
            aloneSince = 0
            break
          }
          // A controller that died comes back, or its peer takes over: that is a pause and not an error.
          let now = monotonicNanoseconds()
          if aloneSince == 0 { aloneSince = now }
          if now &- aloneSince < host.options.patienceNanoseconds {
            host.maintain()
            break
          }
          call.continuation.resume(
            throwing: BatonError(.missing, "controllers", "none is left", fix: "start them again"))
          backlog.removeFirst()
          continue
        }
        continuations[cookie] = call.continuation
        cookie &+= 1
        backlog.removeFirst()
      }
      if let loss = host.subsystemLoss {
        for call in backlog { call.continuation.resume(throwing: loss) }
        for continuation in continuations.values { continuation.resume(throwing: loss) }
        backlog = []
        continuations = [:]
      }
      var isIdle = true
      while let completion = host.next() {
        isIdle = false
        continuations.removeValue(forKey: completion.cookie)?.resume(returning: completion)
      }
      if isIdle {
        host.wait(nanoseconds: 50_000_000) {
          guard let delivered = start.delivered() else { return false }
          return delivered.value?.hasCalls ?? true
        }
      }
    }
  }

  private func takeCalls() -> [Call] {
    desk.withLock { desk in
      let calls = desk.calls
      desk.calls = []
      return calls
    }
  }

  private var hasCalls: Bool { desk.withLock { !$0.calls.isEmpty } }

  /// Performs a request whose buffer, if it has one, the caller has leased (`withBuffer`).
  ///
  /// - Throws: if no controller is attached, or if the subsystem is gone. An error of the request itself is in the
  ///   completion's status.
  public func perform(_ request: Request, on controller: ControllerIdentity? = nil) async throws -> Completion {
    try await withCheckedThrowingContinuation { continuation in
      desk.withLock { $0.calls.append(Call(request: request, controller: controller, continuation: continuation)) }
      // Sync point "sleep": the call is published before the look whether the thread sleeps.
      AsymmetricFence.light(supported: AsymmetricFence.isSupported)
      if !attached.parked.isAwake, attached.parked.takeSleep() != nil { _ = attached.parked.ring() }
    }
  }

  /// Leases a piece of the arena, `bufferSize` bytes; waits while all are leased. The offset is what a request's
  /// `buffer` takes.
  public func withBuffer<Result>(
    _ body: (_ offset: UInt64, _ bytes: UnsafeMutableRawBufferPointer) async throws -> Result
  ) async throws -> Result {
    let offset = await withCheckedContinuation { continuation in
      let free = desk.withLock { desk -> UInt64? in
        if let offset = desk.freeBuffers.popLast() { return offset }
        desk.waiting.append(continuation)
        return nil
      }
      if let free { continuation.resume(returning: free) }
    }
    defer { giveBack(offset) }
    let bytes = UnsafeMutableRawBufferPointer(
      rebasing: attached.arena[Int(offset)..<Int(offset) + Self.bufferSize])
    return try await body(offset, bytes)
  }

  private func giveBack(_ offset: UInt64) {
    let next = desk.withLock { desk -> CheckedContinuation<UInt64, Never>? in
      if desk.waiting.isEmpty {
        desk.freeBuffers.append(offset)
        return nil
      }
      return desk.waiting.removeFirst()
    }
    next?.resume(returning: offset)
  }

  /// Reads `count` bytes of a unit, at most `bufferSize`.
  ///
  /// - Throws: `BatonError` with the status when the request failed.
  public func read(
    unit: UInt32, offset: UInt64, count: Int, on controller: ControllerIdentity? = nil
  ) async throws -> [UInt8] {
    try Self.checkCount(count)
    return try await withBuffer { buffer, bytes in
      let completion = try await perform(
        Request(.read, unit: unit, offset: offset, length: UInt64(count), buffer: buffer), on: controller)
      try Self.check(completion, unit)
      return Array(bytes[..<count])
    }
  }

  /// Writes bytes to a unit, at most `bufferSize`. `isDurable` waits for stable storage.
  ///
  /// - Throws: `BatonError` with the status when the request failed.
  public func write(
    _ data: [UInt8], unit: UInt32, offset: UInt64, isDurable: Bool = false, on controller: ControllerIdentity? = nil
  ) async throws {
    try Self.checkCount(data.count)
    try await withBuffer { buffer, bytes in
      bytes.copyBytes(from: data)
      let completion = try await perform(
        Request(.write, unit: unit, offset: offset, length: UInt64(data.count), buffer: buffer, isDurable: isDurable),
        on: controller)
      try Self.check(completion, unit)
    }
  }

  private static func checkCount(_ count: Int) throws(BatonError) {
    guard (0...bufferSize).contains(count) else {
      throw BatonError(
        .invalid, "\(count) bytes", "are less than none, or more than one buffer holds", fix: "ask for \(bufferSize)")
    }
  }

  private static func check(_ completion: Completion, _ unit: UInt32) throws(BatonError) {
    if completion.status != .success { throw BatonError(.system, "unit \(unit)", "\(completion.status)") }
  }
}
