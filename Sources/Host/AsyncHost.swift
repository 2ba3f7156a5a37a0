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
///
/// A task that is cancelled while it waits gets `CancellationError` at once. A request that is with a controller by
/// then is executed all the same; its buffer is leased to nobody else before it has been answered.
public final class AsyncHost: Sendable {
  private struct Call {
    let id: UInt64
    let request: Request
    let controller: ControllerIdentity?
  }

  /// A task that waits for an answer. The one that takes it out of the desk resumes it.
  private struct Pending {
    let request: Request
    let continuation: CheckedContinuation<Completion, any Error>
  }

  private struct BufferWaiter {
    let id: UInt64
    let continuation: CheckedContinuation<UInt64, any Error>
  }

  private struct Desk {
    /// Numbers the calls: the cookies of their requests.
    var lastID: UInt64 = 0
    /// Calls that the thread has not taken.
    var calls: [Call] = []
    var pending: [UInt64: Pending] = [:]
    var freeBuffers: [UInt64] = []
    /// Tasks that wait for a buffer, oldest first.
    var waiting: [BufferWaiter] = []
    /// Calls that were cancelled before they waited.
    var cancelledEarly: Set<UInt64> = []
    /// Cancelled calls that the thread has taken, by their buffer: no piece of the arena is leased again before their
    /// requests have been answered.
    var abandoned: [UInt64: UInt64] = [:]
    /// Buffers that were given back while such a request uses them.
    var heldBuffers: Set<UInt64> = []

    mutating func nextID() -> UInt64 {
      lastID += 1
      return lastID
    }

    /// A buffer is free, or goes to the task that has waited longest.
    mutating func free(_ offset: UInt64) -> CheckedContinuation<UInt64, any Error>? {
      if abandoned.values.contains(offset) {
        heldBuffers.insert(offset)
        return nil
      }
      if waiting.isEmpty {
        freeBuffers.append(offset)
        return nil
      }
      return waiting.removeFirst().continuation
    }
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
    var backlog: [Call] = []
    var aloneSince: UInt64 = 0
    while true {
      let delivered = start.delivered()
      var owner = delivered?.value
      if let owner {
        backlog += owner.takeCalls()
      } else if delivered != nil, host.outstanding == 0 || host.isSubsystemGone {
        return
      }
      while let call = backlog.first {
        // One that was cancelled meanwhile.
        guard let owner, owner.isAwaited(call.id) else {
          owner?.completed(call.id, nil)
          backlog.removeFirst()
          continue
        }
        if !host.submit(call.request, to: call.controller, cookie: call.id) {
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
          owner.completed(
            call.id, .failure(BatonError(.missing, "controllers", "none is left", fix: "start them again")))
        }
        backlog.removeFirst()
      }
      if let loss = host.subsystemLoss {
        owner?.fail(loss)
        backlog = []
      }
      var isIdle = true
      while let completion = host.next() {
        isIdle = false
        owner?.completed(completion.cookie, .success(completion))
      }
      if isIdle {
        // Nobody but its users keeps it alive.
        owner = nil
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

  /// Whether a task still waits for that call.
  private func isAwaited(_ id: UInt64) -> Bool { desk.withLock { $0.pending[id] != nil } }

  /// A call is over. With a result its task gets it, unless it was cancelled.
  private func completed(_ id: UInt64, _ result: Result<Completion, any Error>?) {
    let (pending, next, buffer) = desk.withLock { desk in
      let pending = desk.pending.removeValue(forKey: id)
      guard let buffer = desk.abandoned.removeValue(forKey: id), desk.heldBuffers.remove(buffer) != nil else {
        return (pending, CheckedContinuation<UInt64, any Error>?.none, UInt64(0))
      }
      return (pending, desk.free(buffer), buffer)
    }
    if let result { pending?.continuation.resume(with: result) }
    next?.resume(returning: buffer)
  }

  /// Nobody answers any more.
  private func fail(_ error: BatonError) {
    let pending = desk.withLock { desk in
      let pending = desk.pending
      desk.pending = [:]
      desk.calls = []
      return pending
    }
    for call in pending.values { call.continuation.resume(throwing: error) }
  }

  /// The task of that call was cancelled.
  private func cancel(_ id: UInt64) {
    let (pending, waiter) = desk.withLock { desk in
      if let index = desk.waiting.firstIndex(where: { $0.id == id }) {
        return (Pending?.none, BufferWaiter?.some(desk.waiting.remove(at: index)))
      }
      guard let pending = desk.pending.removeValue(forKey: id) else {
        desk.cancelledEarly.insert(id)
        return (nil, nil)
      }
      if let index = desk.calls.firstIndex(where: { $0.id == id }) {
        desk.calls.remove(at: index)
      } else if pending.request.operation.usesBuffer {
        let size = UInt64(Self.bufferSize)
        desk.abandoned[id] = pending.request.buffer / size * size
      }
      return (pending, nil)
    }
    pending?.continuation.resume(throwing: CancellationError())
    waiter?.continuation.resume(throwing: CancellationError())
  }

  /// Performs a request whose buffer, if it has one, the caller has leased (`withBuffer`).
  ///
  /// - Throws: if no controller is attached, if the subsystem is gone, or if the task is cancelled. An error of the
  ///   request itself is in the completion's status.
  public func perform(_ request: Request, on controller: ControllerIdentity? = nil) async throws -> Completion {
    let id = desk.withLock { $0.nextID() }
    defer { forgetEarly(id) }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let isCancelled = desk.withLock { desk in
          if desk.cancelledEarly.contains(id) { return true }
          desk.pending[id] = Pending(request: request, continuation: continuation)
          desk.calls.append(Call(id: id, request: request, controller: controller))
          return false
        }
        if isCancelled { return continuation.resume(throwing: CancellationError()) }
        // Sync point "sleep": the call is published before the look whether the thread sleeps.
        AsymmetricFence.light(supported: AsymmetricFence.isSupported)
        if !attached.parked.isAwake, attached.parked.takeSleep() != nil { _ = attached.parked.ring() }
      }
    } onCancel: {
      cancel(id)
    }
  }

  private func forgetEarly(_ id: UInt64) { desk.withLock { _ = $0.cancelledEarly.remove(id) } }

  /// Leases a piece of the arena, `bufferSize` bytes; waits while all are leased. The offset is what a request's
  /// `buffer` takes.
  ///
  /// - Throws: `CancellationError` if the task is cancelled while it waits, and what `body` throws.
  public func withBuffer<Result>(
    _ body: (_ offset: UInt64, _ bytes: UnsafeMutableRawBufferPointer) async throws -> Result
  ) async throws -> Result {
    let offset = try await lease()
    defer { giveBack(offset) }
    let bytes = UnsafeMutableRawBufferPointer(
      rebasing: attached.arena[Int(offset)..<Int(offset) + Self.bufferSize])
    return try await body(offset, bytes)
  }

  private func lease() async throws -> UInt64 {
    let id = desk.withLock { $0.nextID() }
    defer { forgetEarly(id) }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let result = desk.withLock { desk -> Result<UInt64, any Error>? in
          if desk.cancelledEarly.contains(id) { return .failure(CancellationError()) }
          if let offset = desk.freeBuffers.popLast() { return .success(offset) }
          desk.waiting.append(BufferWaiter(id: id, continuation: continuation))
          return nil
        }
        if let result { continuation.resume(with: result) }
      }
    } onCancel: {
      cancel(id)
    }
  }

  private func giveBack(_ offset: UInt64) {
    let next = desk.withLock { $0.free(offset) }
    next?.resume(returning: offset)
  }

  /// Reads `count` bytes of a unit, at most `bufferSize`.
  ///
  /// - Throws: `RequestFailure` with the status when the request failed, `CancellationError` when the task was
  ///   cancelled.
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
  /// - Throws: `RequestFailure` with the status when the request failed, `CancellationError` when the task was
  ///   cancelled.
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

  private static func check(_ completion: Completion, _ unit: UInt32) throws(RequestFailure) {
    if completion.status != .success { throw RequestFailure(unit: unit, status: completion.status) }
  }
}
