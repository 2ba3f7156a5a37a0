import BatonChannel
import BatonOwnership
import BatonSubsystem
import BatonSystem
import CBatonShims

/// The trace that a host writes while somebody records one: when it submits a request, and when it takes the answer.
@usableFromInline
struct HostTrace: ~Copyable {
  private var writer: TraceWriter?
  /// The number of the trace that the controllers ask for, whether or not it could be opened; 0: none.
  private(set) var number: UInt64 = 0
  /// Whether a tracer has asked for a probe.
  private var isProbed = false
  /// Whether what the host does is of interest: a trace is written, or a probe asked for.
  @usableFromInline private(set) var isOn = false

  init() {}

  /// Writes the trace with that number from now on, or none.
  fileprivate mutating func change(to number: UInt64, at location: SubsystemLocation, identity: UInt64) {
    self.number = number
    // A trace that is over, or has no ring left, is not asked for again.
    writer = number == 0 ? nil : try? TraceWriter(of: number, at: location, as: .host(identity: identity))
    isOn = writer != nil || isProbed
  }

  /// - Returns: whether a tracer has asked for a probe, or has gone, since the last look.
  fileprivate mutating func lookAtProbes() -> Bool {
    if shim_is_probed() == isProbed { return false }
    isProbed.toggle()
    isOn = writer != nil || isProbed
    return true
  }

  private mutating func add(_ step: TraceStep, at time: UInt64, _ detail: TraceDetail) {
    writer?.add(step, at: time, detail)
    detail.passProbe(of: step)
  }

  /// A request is about to be submitted, or was at that time.
  fileprivate mutating func noteSubmitted(
    _ request: RequestCopy, _ sequence: UInt64, _ controller: ControllerIdentity, at time: UInt64
  ) {
    let function = Function(unit: request.unit, isManagement: request.operation >= Operation.identify.rawValue)
    add(
      .submitted, at: time,
      TraceDetail(
        function: function.index,
        channel: controller.index, code: request.operation, sequence: sequence, value: request.length))
  }

  /// The answer has been taken.
  mutating func noteReaped(
    _ status: Status, _ sequence: UInt64, _ service: Service, _ controller: ControllerIdentity
  ) {
    add(
      .reaped, at: monotonicNanoseconds(),
      TraceDetail(channel: controller.index, code: status.rawValue, sequence: sequence, value: service.term))
  }
}

// How a host comes to write a trace. `submit` and `next` as they are compiled into callers know nothing of it: a queue
// that is traced takes no request there, and gives no answer.
extension Host {
  /// Begins to write a trace, or ends it, as the controllers ask.
  mutating func lookAtTrace() {
    // Sync point "trace": the file is whole before a controller passes its number on.
    let asked = memory.trace.loadAcquiring()
    let hasChanged = trace.lookAtProbes()
    if asked == trace.number, !hasChanged { return }
    if asked != trace.number { trace.change(to: asked, at: location, identity: memory.header.identity) }
    queueA.pointee.setTraced(trace.isOn)
    queueB.pointee.setTraced(trace.isOn)
  }

  /// Submits a request to that controller, and notes it.
  ///
  /// - Returns: false if there is no room, or that controller is not attached.
  mutating func submitTraced(_ request: RequestCopy, to controller: ControllerIdentity, _ cookie: UInt64) -> Bool {
    let queue = controller == .a ? queueA : queueB
    let (sequence, time) = (queue.pointee.sequence, monotonicNanoseconds())
    guard queue.pointee.submitTraced(request, cookie: cookie) else { return false }
    trace.noteSubmitted(request, sequence, controller, at: time)
    submittedSeveral(to: controller)
    return true
  }

  /// The same for several, as `submit(_:to:_:)`.
  @usableFromInline @inline(never)
  mutating func submitTraced(
    _ count: Int, to controller: ControllerIdentity, _ request: (Int) -> (request: Request, cookie: UInt64)
  ) -> Int {
    var index = 0
    while index < count, room(to: controller) > 0 {
      let (request, cookie) = request(index)
      guard submitTraced(RequestCopy(request), to: controller, cookie) else { break }
      index += 1
    }
    return index
  }
}
