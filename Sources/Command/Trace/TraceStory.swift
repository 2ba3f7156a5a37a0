import Baton
import BatonSubsystem

/// What a recorded trace says: the courses of requests, of changes of owner and of takeovers, each put together from
/// the steps of several writers.
struct TraceStory {
  /// The steps of all writers, in the order of their times.
  let events: [TraceRecorder.Event]
  let writers: [TraceRecorder.Writer?]

  /// One course: which steps were taken, when, and by which writer. Each kind of step once, the first one that fits.
  struct Course {
    private(set) var steps: [(step: TraceStep, event: Int, time: UInt64)] = []

    func time(of step: TraceStep) -> UInt64? { steps.first { $0.step == step }?.time }

    /// - Returns: whether it is the first one of its kind.
    @discardableResult
    fileprivate mutating func add(_ step: TraceStep, _ event: Int, _ time: UInt64) -> Bool {
      if steps.contains(where: { $0.step == step }) { return false }
      steps.append((step, event, time))
      return true
    }
  }

  /// A change of owner that one controller asked its peer for.
  struct Change {
    let function: UInt32
    let to: ControllerIdentity
    fileprivate(set) var course = Course()
    /// The term that begins with it.
    fileprivate(set) var term: UInt64 = 0
    /// The first request that the new owner has answered.
    fileprivate(set) var firstAnswer: UInt64?

    /// Whether all of it was recorded, and the peer granted it: a function can be taken over meanwhile.
    var isComplete: Bool {
      course.time(of: .requested) != nil && course.time(of: .granted) != nil && course.time(of: .begun) != nil
    }
  }

  /// One controller serves in place of a life of its peer that has ended.
  struct Takeover {
    let by: ControllerIdentity
    /// The last step of the life that ended, if it wrote any.
    let lastStep: UInt64?
    fileprivate(set) var course = Course()
    /// How many requests were executed again.
    fileprivate(set) var replayed = 0
    /// The first request that it has answered in its peer's place.
    fileprivate(set) var firstAnswer: UInt64?
  }

  /// Which request: a host, the channel to one of the controllers, and the number there.
  struct RequestKey: Hashable {
    let host: UInt64
    let channel: UInt16
    let sequence: UInt64
  }

  private(set) var requests: [RequestKey: Course] = [:]
  /// Those that are over, in the order of their ends; one key can come again in another trace of the same host only.
  private(set) var changes: [Change] = []
  private(set) var takeovers: [Takeover] = []
  /// For each event the course of a request, or of a change of owner, that it belongs to; 0: of none.
  private(set) var flows: [UInt64]

  /// The host behind each place of each controller's ring.
  private var places: [[UInt16: UInt64]]
  /// Changes that are under way, by function and by the controller that asked.
  private var underWay: [UInt32: [ControllerIdentity: (change: Change, flow: UInt64)]] = [:]
  /// Changes whose first answer is still to come.
  private var awaited: [UInt32: (change: Int, by: ControllerIdentity)] = [:]
  /// For each ring the requests that are served and for which nothing has been given to the kernel yet.
  private var served: [[RequestKey]]
  private var lastStep: [UInt64?]
  private var flowCount: UInt64 = 0
  private var requestFlows: [RequestKey: UInt64] = [:]

  init(_ recorded: [TraceRecorder.Event], _ writers: [TraceRecorder.Writer?]) {
    // A step that publishes something is timed before, and written after, so the order of a ring is not that of times.
    // Sorting is stable.
    events = recorded.sorted { $0.time < $1.time }
    self.writers = writers
    flows = [UInt64](repeating: 0, count: events.count)
    places = Array(repeating: [:], count: writers.count)
    served = Array(repeating: [], count: writers.count)
    lastStep = Array(repeating: nil, count: writers.count)
    // A place is the same host's as long as it is attached. What a ring says at its beginning also holds for steps that
    // were timed a moment before.
    for event in events where event.step == .host {
      if places[event.ring][event.detail.channel >> 1] == nil {
        places[event.ring][event.detail.channel >> 1] = event.detail.value
      }
    }
    for (number, event) in events.enumerated() { take(event, number) }
    changes += underWay.values.flatMap { $0.values.map(\.change) }
  }

  private func controller(_ ring: Int) -> ControllerIdentity? {
    if case .controller(let identity, _)? = writers[ring]?.kind { identity } else { nil }
  }

  private mutating func newFlow() -> UInt64 {
    flowCount += 1
    return flowCount
  }

  private mutating func take(_ event: TraceRecorder.Event, _ number: Int) {
    defer { lastStep[event.ring] = event.time }
    switch event.step {
    case .host: places[event.ring][event.detail.channel >> 1] = event.detail.value
    case .submitted, .taken, .served, .completed, .answered, .reaped, .replayed: takeRequest(event, number)
    case .given: takeSubmission(event, number)
    case .requested, .hinted, .seen, .relinquishing, .drained, .granted, .begun: takeOwnership(event, number)
    case .fenced, .killed, .exitSeen, .journalRead, .drainProved, .takenOver: takeTakeover(event, number)
    case .joined, .released, .left: break
    }
  }

  // MARK: Requests

  private func key(_ event: TraceRecorder.Event) -> RequestKey? {
    switch writers[event.ring]?.kind {
    case .host(let identity)?:
      return RequestKey(host: identity, channel: event.detail.channel & 1, sequence: event.detail.sequence)
    case .controller?:
      guard let host = places[event.ring][event.detail.channel >> 1] else { return nil }
      return RequestKey(host: host, channel: event.detail.channel & 1, sequence: event.detail.sequence)
    case nil: return nil
    }
  }

  private mutating func takeRequest(_ event: TraceRecorder.Event, _ number: Int) {
    guard let key = key(event) else { return }
    if requestFlows[key] == nil { requestFlows[key] = newFlow() }
    if requests[key, default: Course()].add(event.step, number, event.time) { flows[number] = requestFlows[key] ?? 0 }
    if event.step == .served { served[event.ring].append(key) }
    guard let controller = controller(event.ring) else { return }
    if event.step == .answered {
      if let (change, by) = awaited[event.detail.function], by == controller {
        changes[change].firstAnswer = event.time
        awaited[event.detail.function] = nil
      }
      // On a channel to the peer, which it serves in that one's place.
      if let last = takeovers.indices.last, takeovers[last].by == controller, takeovers[last].firstAnswer == nil,
        Int(event.detail.channel & 1) == controller.peer.index
      {
        takeovers[last].firstAnswer = event.time
      }
    }
    if event.step == .replayed, let last = takeovers.indices.last, takeovers[last].by == controller {
      takeovers[last].replayed += 1
    }
  }

  /// Everything that is served and not answered is given with this submission, or was with an earlier one.
  private mutating func takeSubmission(_ event: TraceRecorder.Event, _ number: Int) {
    for key in served[event.ring] where requests[key]?.time(of: .answered) == nil {
      requests[key]?.add(.given, number, event.time)
    }
    served[event.ring].removeAll(keepingCapacity: true)
  }

  // MARK: Changes of owner

  private mutating func takeOwnership(_ event: TraceRecorder.Event, _ number: Int) {
    guard let controller = controller(event.ring) else { return }
    let function = event.detail.function
    switch event.step {
    case .requested: begin(function, to: controller, event.step, number, event.time)
    case .hinted: add(event.step, number, event.time, function, to: controller)
    case .seen, .relinquishing, .drained: add(event.step, number, event.time, function, to: controller.peer)
    case .granted:
      add(event.step, number, event.time, function, to: controller.peer)
      // The grant asks for the function back in the same step.
      if event.detail.value == 1 { begin(function, to: controller, .requested, number, event.time, isFlowSet: true) }
    case .begun:
      add(event.step, number, event.time, function, to: controller)
      guard var change = underWay[function]?.removeValue(forKey: controller)?.change else { return }
      change.term = event.detail.value
      changes.append(change)
      awaited[function] = (changes.count - 1, controller)
    default: break
    }
  }

  private mutating func begin(
    _ function: UInt32, to controller: ControllerIdentity, _ step: TraceStep, _ number: Int, _ time: UInt64,
    isFlowSet: Bool = false
  ) {
    var change = Change(function: function, to: controller)
    change.course.add(step, number, time)
    let flow = newFlow()
    underWay[function, default: [:]][controller] = (change, flow)
    if !isFlowSet { flows[number] = flow }
  }

  private mutating func add(
    _ step: TraceStep, _ number: Int, _ time: UInt64, _ function: UInt32, to controller: ControllerIdentity
  ) {
    guard let (change, flow) = underWay[function]?[controller] else { return }
    // The owner found the request while it attended to the function for another reason, and reads the hint after that.
    if step == .seen, change.course.time(of: .relinquishing) != nil { return }
    // Granted twice: the term in between has been lost, and this change with it.
    if step == .granted, change.course.time(of: .granted) != nil {
      underWay[function]?[controller] = nil
      return
    }
    // A request that was hinted may be found by a sweep, too.
    if underWay[function]?[controller]?.change.course.add(step, number, time) == true { flows[number] = flow }
  }

  // MARK: Takeovers

  private mutating func takeTakeover(_ event: TraceRecorder.Event, _ number: Int) {
    guard let controller = controller(event.ring) else { return }
    if event.step == .fenced {
      let dead = writers.indices.last {
        writers[$0]?.kind == .controller(controller.peer, incarnation: event.detail.value)
      }
      takeovers.append(Takeover(by: controller, lastStep: dead.flatMap { lastStep[$0] }))
    }
    guard let last = takeovers.indices.last, takeovers[last].by == controller else { return }
    takeovers[last].course.add(event.step, number, event.time)
  }
}
