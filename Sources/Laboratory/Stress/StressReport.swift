import Baton
import BatonCommandKit

/// The report of `stress`, for people and programs.
struct StressReport: Encodable {
  /// Faults of one kind, and what they cost.
  struct Kind: Encodable {
    let kind: String
    let faults: UInt64
    /// From the fault to the first answer at each host, the longest of them.
    @OrNull var firstAnswerNanoseconds: LatencySummary?
    /// From the fault to the last answer of what was outstanding.
    @OrNull var lastAnswerNanoseconds: LatencySummary?
  }

  /// How many times a controller stopped at a point.
  struct Point: Encodable {
    let point: String
    let hits: Int
  }

  /// As the configuration has it.
  let seed: String
  let seconds: Double
  let interrupted: Bool
  @OrNull var violation: String?
  /// The remains of a failed run.
  @OrNull var failureFolder: String?
  let faults: UInt64
  let kinds: [Kind]
  let overlapped: UInt64
  let starts: UInt64
  let putOutRunning: UInt64
  let lastWords: String
  let pausesSurvived: UInt64
  let killedInTime: UInt64
  let requests: UInt64
  let requestsByKind: [String: UInt64]
  let readsVerified: UInt64
  let mixedReads: UInt64
  let plannedErrors: UInt64
  let points: [Point]
  let pointsMissed: UInt64

  /// From a run that is over.
  init(_ plan: StressPlan, _ ledger: StressLedger, _ driver: StressDriver, seconds: Double, isInterrupted: Bool) {
    let faults = driver.faults
    seed = "\(plan.seed)"
    self.seconds = seconds
    interrupted = isInterrupted
    violation = ledger.violation
    self.faults = faults.total
    kinds = faults.counts.keys.sorted().map { kind in
      Kind(
        kind: kind.rawValue, faults: faults.counts[kind] ?? 0,
        firstAnswerNanoseconds: faults.firstAnswers[kind]?.summary,
        lastAnswerNanoseconds: faults.lastAnswers[kind]?.summary)
    }
    overlapped = faults.overlapped
    starts = faults.starts
    putOutRunning = faults.putOutRunning
    lastWords = faults.lastWords
    pausesSurvived = faults.pausesSurvived
    killedInTime = faults.killedInTime
    requests = ledger.answers.values.reduce(0, +)
    requestsByKind = Dictionary(uniqueKeysWithValues: ledger.answers.map { ($0.key.rawValue, $0.value) })
    readsVerified = ledger.readsChecked
    mixedReads = ledger.mixedReads
    plannedErrors = ledger.plannedErrors
    let (hits, all) = driver.points
    points = all.map { Point(point: "\($0)", hits: hits[$0] ?? 0) }
    pointsMissed = faults.pointsMissed
  }

  /// Why it ended.
  func ending(_ signal: CInt) -> Ending {
    if let violation { return Ending(reason: .violation, status: 2, message: violation) }
    return signal == 0 ? .complete : Ending(signal: signal)
  }

  /// For people.
  var text: String {
    var table = Table("fault", "times", "measured", "first p50", "p99", "worst", "last p50", "p99", "worst")
    for kind in kinds {
      func figure(_ value: UInt64?) -> String { value.map { Figure.duration($0) } ?? "-" }
      table.add(
        kind.kind, Figure.count(kind.faults), Figure.count(kind.lastAnswerNanoseconds?.count ?? 0),
        figure(kind.firstAnswerNanoseconds?.p50), figure(kind.firstAnswerNanoseconds?.p99),
        figure(kind.firstAnswerNanoseconds?.max),
        figure(kind.lastAnswerNanoseconds?.p50), figure(kind.lastAnswerNanoseconds?.p99),
        figure(kind.lastAnswerNanoseconds?.max))
    }
    let hit = points.filter { $0.hits > 0 }
    let missed = points.filter { $0.hits == 0 }
    var lines: [String] = []
    if faults > 0 {
      lines += [
        table.text, "",
        "first, last        from the fault to the first answer at every host, and to the last answer to an "
          + "outstanding request",
      ]
    }
    lines += [
      "requests           \(Figure.count(requests)) in \(Figure.fixed(seconds, 1)) s: "
        + StressRequest.allCases.compactMap { kind in
          requestsByKind[kind.rawValue].map { "\(kind.rawValue) \(Figure.count($0))" }
        }.joined(separator: ", "),
      "checked            \(Figure.count(readsVerified)) blocks that were read"
        + (mixedReads > 0 ? ", \(Figure.count(mixedReads)) of them while they were written" : ""),
      "controllers        \(Figure.count(starts)) lives; "
        + "\(Figure.count(overlapped)) \(overlapped == 1 ? "fault" : "faults") overlapped",
    ]
    if plannedErrors > 0 { lines.append("planned errors     \(Figure.count(plannedErrors))") }
    if pausesSurvived + killedInTime > 0 {
      lines.append(
        "short pauses       \(Figure.count(pausesSurvived)) survived, \(Figure.count(killedInTime)) killed although it "
          + "answered in time")
    }
    if putOutRunning > 0 {
      lines.append(
        "fenced while alive \(Figure.count(putOutRunning)), stalled by the machine"
          + (lastWords.isEmpty ? "" : "; the last one logged: \(lastWords)"))
    }
    if faults > 0 {
      lines.append(
        "points hit         \(hit.count) of \(points.count)"
          + (hit.isEmpty ? "" : ": " + hit.map { "\($0.point) \($0.hits)" }.joined(separator: ", ")))
      if !missed.isEmpty { lines.append("points not hit     " + missed.map(\.point).joined(separator: ", ")) }
    }
    lines.append(
      "seed               \(seed)"
        + (interrupted ? "; interrupted: this is the verdict so far" : ""))
    if violation == nil {
      lines.append("all correct: \(Figure.count(faults)) faults, nothing lost, repeated, torn or unanswered")
    }
    return lines.joined(separator: "\n")
  }
}
