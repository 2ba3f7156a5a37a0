import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc

/// Whether protocol points and steps of the trace are of interest, as a type: so that one source becomes two functions,
/// and the one that nobody watches has nothing of it.
protocol Watching { static var isWatching: Bool { get } }

enum NobodyWatches: Watching { static var isWatching: Bool { @inline(__always) get { false } } }

enum SomebodyWatches: Watching { static var isWatching: Bool { @inline(__always) get { true } } }

/// Interventions of tests and measurements in a controller: a point where it stops itself, a mistake made on purpose, a
/// journal left out, a trace of what it does. As a rule there is none, and `isPlain` says so with one load.
struct Interventions: ~Copyable {
  /// Whether no protocol point is armed, no defect planted, the journal kept, and no trace recorded.
  private(set) var isPlain: Bool
  /// Whether a protocol point is armed, a trace recorded or a probe asked for: what happens on the way is of interest.
  private(set) var isWatched: Bool
  /// Whether requests are entered in the in-flight journal.
  let keepsJournal: Bool
  /// The planted defect `noFence`, which is checked often.
  let ignoresFence: Bool
  private let defect: PlantedDefect?
  /// In memory of its own: passing a point changes it, and changes nothing of the controller.
  private let watch: UnsafeMutablePointer<Watch>

  /// What happens at a point.
  private struct Watch: ~Copyable {
    /// The point where the controller stops itself; 0: none.
    let armed: UInt8
    /// Passes of that point until it does; 0: it has.
    var countdown: UInt32
    var trace: TraceWriter?
    /// Whether a tracer has asked for a probe.
    var isProbed = false
    /// When the controller last asked whether somebody records it, in monotonic nanoseconds.
    var askedAt: UInt64 = 0
    /// When it last said which hosts there are.
    var notedAt: UInt64 = 0
  }

  /// How often it asks, and says so.
  private static var askNanoseconds: UInt64 { 250_000_000 }

  init(_ options: ControllerOptions) {
    keepsJournal = options.keepsJournal
    defect = options.defect
    ignoresFence = options.defect == .noFence
    watch = .allocate(capacity: 1)
    watch.initialize(
      to: Watch(
        armed: options.stopOrder?.point.rawValue ?? 0, countdown: options.stopOrder?.occurrence ?? 0, trace: nil))
    isWatched = options.stopOrder != nil
    isPlain = options.stopOrder == nil && options.defect == nil && options.keepsJournal
  }

  deinit {
    watch.deinitialize(count: 1)
    watch.deallocate()
  }

  /// Whether the controller makes that mistake.
  func makes(_ mistake: PlantedDefect) -> Bool { defect == mistake }

  // MARK: Points

  /// Passes a protocol point, where the controller may have been ordered to stop itself.
  @inline(__always)
  func reach(_ point: ProtocolPoint) { if isWatched { Self.pass(watch, point) } }

  /// The same where a step of the trace is taken.
  @inline(__always)
  func reach(_ point: ProtocolPoint, _ step: TraceStep, _ detail: @autoclosure () -> TraceDetail) {
    if isWatched { Self.pass(watch, point, step, detail()) }
  }

  /// Takes a step of the trace.
  @inline(__always)
  func note(_ step: TraceStep, _ detail: @autoclosure () -> TraceDetail) {
    if isWatched { Self.add(watch, step, at: monotonicNanoseconds(), detail()) }
  }

  /// The same for a caller that knows that somebody watches, and when it was.
  func note(_ step: TraceStep, at time: UInt64, _ detail: TraceDetail) { Self.add(watch, step, at: time, detail) }

  // Static: a method would take all of `self` apart at each place that passes a point.
  @inline(never)
  private static func pass(_ watch: UnsafeMutablePointer<Watch>, _ point: ProtocolPoint) {
    if watch.pointee.armed != point.rawValue || watch.pointee.countdown == 0 { return }
    watch.pointee.countdown -= 1
    // SIGSTOP, sent to oneself, takes effect before kill returns (kill(2)).
    if watch.pointee.countdown == 0 { kill(getpid(), SIGSTOP) }
  }

  @inline(never)
  private static func pass(
    _ watch: UnsafeMutablePointer<Watch>, _ point: ProtocolPoint, _ step: TraceStep, _ detail: TraceDetail
  ) {
    add(watch, step, at: monotonicNanoseconds(), detail)
    pass(watch, point)
  }

  @inline(never)
  private static func add(
    _ watch: UnsafeMutablePointer<Watch>, _ step: TraceStep, at time: UInt64, _ detail: TraceDetail
  ) {
    watch.pointee.trace?.add(step, at: time, detail)
    detail.passProbe(of: step)
  }

  // MARK: The trace

  /// The number of the trace that the controller writes; 0: none.
  var tracing: UInt64 { watch.pointee.trace?.number ?? 0 }

  /// Whether the one that records it is gone, as far as is known: the kernel is asked a few times a second.
  func hasLostRecorder(at now: UInt64) -> Bool {
    if tracing == 0 || now &- watch.pointee.askedAt < Self.askNanoseconds { return false }
    watch.pointee.askedAt = now
    return !(watch.pointee.trace?.isRecorded ?? true)
  }

  /// Writes a trace from now on, or none.
  ///
  /// - Returns: the one before.
  mutating func setTrace(_ trace: consuming TraceWriter?) -> TraceWriter? {
    let before = watch.pointee.trace.take()
    watch.pointee.trace = trace
    setWatched()
    return before
  }

  /// Whether it is time to say once more which hosts there are.
  func mustNoteHosts(at now: UInt64) -> Bool {
    if now &- watch.pointee.notedAt < Self.askNanoseconds { return false }
    watch.pointee.notedAt = now
    return true
  }

  /// Checks whether a tracer has asked for a probe.
  mutating func lookAtProbes() {
    let isProbed = shim_is_probed()
    if isProbed == watch.pointee.isProbed { return }
    watch.pointee.isProbed = isProbed
    setWatched()
  }

  private mutating func setWatched() {
    isWatched = tracing != 0 || watch.pointee.isProbed || watch.pointee.armed != 0
    isPlain = !isWatched && defect == nil && keepsJournal
  }
}
