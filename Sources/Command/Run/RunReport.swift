import Baton
import BatonCommandKit

/// The report of `run`, for people and programs.
struct RunReport: Encodable {
  let subsystem: String
  let seconds: Double
  let requests: UInt64
  let reads: UInt64
  let writes: UInt64
  let bytes: UInt64
  let requestsPerSecond: Double
  let servedBy: ServedBy
  let transferred: UInt64
  @OrNull var changesOfOwner: UInt64?
  let rerouted: UInt64
  let unanswered: Int
  let errors: [String: UInt64]
  let readsVerified: UInt64
  @OrNull var blocksVerified: UInt64?
  @OrNull var violation: String?
  let latencyNanoseconds: LatencyDetail
  let read: Side
  let write: Side
  /// Null for a closed loop.
  @OrNull var latenessNanoseconds: LatencySummary?
  /// Null where no depth was searched.
  @OrNull var latencyTarget: LatencyTargetResult?
  let jobs: [Job]

  /// What was replayed.
  struct Replay: Encodable {
    let format: String
    /// From the log's start to its last request, at the chosen time scale.
    let logSeconds: Double
    let requests: Int
    /// Requests of other kinds, which were not made.
    let leftOut: Int
    /// Whether the log's devices were larger than the units.
    let scaled: Bool

    init?(_ plan: ReplayPlan?) {
      guard let plan else { return nil }
      format = plan.format.rawValue
      logSeconds = Double(plan.nanoseconds) / 1e9
      requests = plan.count
      leftOut = plan.leftOut
      scaled = plan.isScaled
    }

    func text(seconds: Double) -> String {
      "\(Figure.count(UInt64(requests))) requests of \(format), \(Figure.fixed(logSeconds, 2)) s long, "
        + "in \(Figure.fixed(seconds, 2)) s"
        + (leftOut > 0 ? "; \(Figure.count(UInt64(leftOut))) of other kinds left out" : "")
        + (scaled ? "; offsets scaled into the units" : "")
    }
  }

  /// The requests of one direction.
  struct Side: Encodable {
    let requests: UInt64
    let bytes: UInt64
    let requestsPerSecond: Double
    let latencyNanoseconds: LatencyDetail

    init(_ side: WorkloadSide, seconds: Double, percentiles: [Double]) {
      requests = side.requests
      bytes = side.bytes
      requestsPerSecond = Double(side.requests) / seconds
      latencyNanoseconds = side.latencies.detail(percentiles: percentiles)
    }

    func text(seconds: Double) -> String {
      "\(Figure.count(requests)): \(Figure.count(UInt64(requestsPerSecond))) per second, "
        + "\(Figure.throughput(bytes, seconds: seconds)); \(latencyNanoseconds.text)"
    }
  }

  /// One host.
  struct Job: Encodable {
    let name: String
    let seconds: Double
    let read: Side
    let write: Side
    @OrNull var latenessNanoseconds: LatencySummary?
    @OrNull var latencyTarget: LatencyTargetResult?
    /// Null where nothing was.
    @OrNull var replay: Replay?

    init(_ job: HostJob, _ result: WorkloadResult, percentiles: [Double]) {
      let seconds = Double(max(result.nanoseconds, 1)) / 1e9
      name = job.name
      self.seconds = seconds
      read = Side(result.reads, seconds: seconds, percentiles: percentiles)
      write = Side(result.writes, seconds: seconds, percentiles: percentiles)
      latenessNanoseconds = job.plan.isOpenLoop ? result.lateness.summary : nil
      latencyTarget = result.latencyTarget
      replay = Replay(job.plan.replay)
    }
  }

  private let showsPercentiles: Bool

  private enum CodingKeys: String, CodingKey {
    case subsystem, seconds, requests, reads, writes, bytes, requestsPerSecond, servedBy, transferred, changesOfOwner
    case rerouted, unanswered, errors, readsVerified, blocksVerified, violation, latencyNanoseconds, read, write
    case latenessNanoseconds, latencyTarget, jobs
  }

  /// Of hosts that ran at the same time.
  init(
    subsystem: String, _ jobs: [HostJob], _ outcomes: [HostOutcome], terms: UInt64?, percentiles: PercentileList?
  ) {
    var result = WorkloadResult()
    for outcome in outcomes { result.add(outcome.result) }
    let percents = (percentiles ?? .standard).percents
    showsPercentiles = percentiles != nil
    self.subsystem = subsystem
    let seconds = Double(max(result.nanoseconds, 1)) / 1e9
    self.seconds = seconds
    requests = result.requests
    reads = result.reads.requests
    writes = result.writes.requests
    bytes = result.bytes
    requestsPerSecond = Double(result.requests) / seconds
    servedBy = ServedBy(a: result.servedByA, b: result.servedByB)
    transferred = result.transferred
    changesOfOwner = terms
    rerouted = result.rerouted
    unanswered = result.unanswered
    errors = Dictionary(uniqueKeysWithValues: result.errors.map { ("\($0.key)", $0.value) })
    readsVerified = result.verifiedReads
    blocksVerified = jobs.contains { $0.plan.verifies } ? outcomes.reduce(0) { $0 + $1.blocksVerified } : nil
    violation = result.mismatch
    latencyNanoseconds = result.latencies.detail(percentiles: percents)
    read = Side(result.reads, seconds: seconds, percentiles: percents)
    write = Side(result.writes, seconds: seconds, percentiles: percents)
    latenessNanoseconds = jobs.contains { $0.plan.isOpenLoop } ? result.lateness.summary : nil
    latencyTarget = outcomes.count == 1 ? outcomes[0].result.latencyTarget : nil
    self.jobs = zip(jobs, outcomes).map { Job($0, $1.result, percentiles: percents) }
  }

  var text: String {
    var lines = [
      "requests           \(Figure.count(requests)) in \(Figure.fixed(seconds, 2)) s: "
        + "\(Figure.count(UInt64(requestsPerSecond))) per second, \(Figure.throughput(bytes, seconds: seconds))"
    ]
    if reads > 0 { lines.append("reads              \(read.text(seconds: seconds))") }
    if writes > 0 { lines.append("writes             \(write.text(seconds: seconds))") }
    lines.append("latency            \(latencyNanoseconds.summary.text)")
    if showsPercentiles {
      if reads > 0 { lines.append("read percentiles   \(read.latencyNanoseconds.percentileText)") }
      if writes > 0 { lines.append("write percentiles  \(write.latencyNanoseconds.percentileText)") }
    }
    for job in jobs {
      if let replay = job.replay { lines.append("replayed           \(replay.text(seconds: job.seconds))") }
    }
    if let lateness = latenessNanoseconds { lines.append("submitted late by  \(lateness.text)") }
    if let target = latencyTarget {
      lines.append(
        target.depth == 0
          ? "latency target     missed at depth 1"
          : "latency target     met up to depth \(target.depth)\(target.isComplete ? "" : " so far"): "
            + "\(Figure.count(UInt64(target.requestsPerSecond))) per second, "
            + "\(Figure.fixed(target.percentWithin, 2)) % within it")
    }
    if jobs.count > 1 { lines += jobs.map(line) }
    lines += [
      "served by          \(servedBy.text)",
      "changes of owner   "
        + (changesOfOwner.map { "\(Figure.count($0)); " } ?? "unknown, the subsystem is gone or replaced; ")
        + "\(Figure.percent(transferred, of: requests)) of the requests waited for one",
    ]
    if rerouted > 0 { lines.append("asked again        \(Figure.count(rerouted)), because a controller left") }
    if unanswered > 0 { lines.append("unanswered         \(Figure.count(UInt64(unanswered)))") }
    for (status, count) in errors.sorted(by: { $0.key < $1.key }) {
      lines.append("ended with error   \(Figure.count(count)): \(status)")
    }
    if let blocksVerified {
      lines.append(
        "verified           \(Figure.count(readsVerified)) reads on the way, \(Figure.count(blocksVerified)) blocks "
          + "at the end: \(violation == nil ? "no mismatch" : "A MISMATCH")"
      )
    }
    return lines.joined(separator: "\n")
  }

  private func line(_ job: Job) -> String {
    let name = job.name + String(repeating: " ", count: max(19 - job.name.count, 1))
    let sides = [("reads", job.read), ("writes", job.write)].filter { $0.1.requests > 0 }
    return name + sides.map { "\($0.0) \($0.1.text(seconds: job.seconds))" }.joined(separator: "; ")
  }
}

/// Requests by the controller that served them.
struct ServedBy: Encodable {
  let a: UInt64
  let b: UInt64

  var text: String { "a \(Figure.percent(a, of: a + b)), b \(Figure.percent(b, of: a + b))" }
}
