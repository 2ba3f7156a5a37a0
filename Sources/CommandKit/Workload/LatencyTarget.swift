/// The search for the greatest depth whose latencies stay within a bound, as fio's latency_target.
package struct LatencyTarget: Sendable, Equatable {
  package var nanoseconds: UInt64
  /// So many percent of the requests must stay within it.
  package var percentile = 100.0
  package var windowNanoseconds: UInt64 = 1_000_000_000
  /// Whether the run goes on at the depth that was found.
  package var goesOn = false

  package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }
}

/// The result of the search.
package struct LatencyTargetResult: Encodable, Sendable {
  /// The greatest depth that met the target; 0: not even one request at a time does.
  package let depth: Int
  /// Whether the search came to its end.
  package let isComplete: Bool
  /// At that depth, in its last window.
  package let requestsPerSecond: Double
  /// Of those, so many percent were within the target.
  package let percentWithin: Double

  private enum CodingKeys: String, CodingKey {
    case depth, requestsPerSecond, percentWithin
    case isComplete = "complete"
  }
}

/// Doubles the depth while the target is met, then halves the distance to what was too much. Each depth is judged by
/// the requests that were submitted and answered in one window.
package struct DepthSearch {
  private let target: LatencyTarget
  package private(set) var depth = 1
  private var deepestMet = 0
  private var shallowestMissed: Int
  /// Until then there is no upper bound but the depth that was asked for.
  private var hasMissed = false
  private var windowStart: UInt64
  private var answers: UInt64 = 0
  private var within: UInt64 = 0
  private var rateMet = 0.0
  private var percentMet = 0.0
  package private(set) var isComplete = false

  package init(_ target: LatencyTarget, depthMax: Int, start: UInt64) {
    self.target = target
    shallowestMissed = depthMax + 1
    windowStart = start
  }

  /// An answer to a request that was submitted, or was due, at that time.
  package mutating func record(submittedAt: UInt64, latency: UInt64) {
    // One of the window before, at another depth.
    if submittedAt < windowStart { return }
    answers += 1
    if latency <= target.nanoseconds { within += 1 }
  }

  /// Judges the window if it is over.
  package mutating func look(at now: UInt64) {
    if now &- windowStart < target.windowNanoseconds || answers == 0 || isComplete { return }
    let percent = Double(within) * 100 / Double(answers)
    let isMet = percent >= target.percentile
    if isMet {
      deepestMet = depth
      rateMet = Double(answers) * 1e9 / Double(now &- windowStart)
      percentMet = percent
    } else {
      shallowestMissed = depth
      hasMissed = true
    }
    windowStart = now
    answers = 0
    within = 0
    if deepestMet + 1 >= shallowestMissed {
      isComplete = true
      depth = max(deepestMet, 1)
    } else if hasMissed {
      depth = (deepestMet + shallowestMissed) / 2
    } else {
      depth = min(depth * 2, shallowestMissed - 1)
    }
  }

  package var result: LatencyTargetResult {
    LatencyTargetResult(
      depth: deepestMet, isComplete: isComplete, requestsPerSecond: rateMet, percentWithin: percentMet)
  }
}
