import Baton
import BatonCommandKit
import BatonSubsystem

/// Where the time of requests, of changes of owner and of takeovers went: step by step, with percentiles.
struct TraceSummary: Encodable {
  let subsystem: String
  let seconds: Double
  let events: Int
  /// Written over before they were read: the courses that they belong to are not complete, and not counted.
  let eventsLost: UInt64
  let writers: Int
  let writersWithoutRing: UInt64
  let requests: Section
  let changesOfOwner: Section
  let takeovers: Section

  /// One kind of course.
  struct Section: Encodable {
    /// Complete ones.
    let count: Int
    let steps: [Step]
    /// From the first step to the last one; null: there is none.
    @OrNull var nanoseconds: LatencySummary?
  }

  /// The time between two steps of a course.
  struct Step: Encodable {
    let from: String
    let to: String
    let nanoseconds: LatencySummary
  }

  /// Collects times between steps.
  private struct Collector {
    /// The names of all steps, in their order.
    let names: [String]
    private var latencies: [[String]: Latencies] = [:]
    private var whole = Latencies()
    private var count = 0

    init(_ names: [String]) { self.names = names }

    /// Takes the moments of one course, in their order.
    mutating func add(_ moments: [(name: String, time: UInt64)]) {
      guard moments.count > 1 else { return }
      count += 1
      for (before, after) in zip(moments, moments.dropFirst()) {
        // Two clocks of one machine agree, but a step can be noted a moment late.
        latencies[[before.name, after.name], default: Latencies()].record(
          after.time > before.time ? after.time - before.time : 0)
      }
      let (first, last) = (moments[0].time, moments[moments.count - 1].time)
      whole.record(last > first ? last - first : 0)
    }

    var section: Section {
      func rank(_ name: String) -> Int { names.firstIndex(of: name) ?? names.count }
      let sorted = latencies.keys.sorted { (rank($0[0]), rank($0[1])) < (rank($1[0]), rank($1[1])) }
      return Section(
        count: count,
        steps: sorted.map { Step(from: $0[0], to: $0[1], nanoseconds: latencies[$0]!.summary) },
        nanoseconds: count > 0 ? whole.summary : nil)
    }
  }

  init(of story: TraceStory, subsystem: String, nanoseconds: UInt64, lost: UInt64, withoutRing: UInt64) {
    self.subsystem = subsystem
    seconds = Double(nanoseconds) / 1e9
    events = story.events.count
    eventsLost = lost
    writers = story.writers.count
    writersWithoutRing = withoutRing
    requests = Self.requests(story)
    changesOfOwner = Self.changes(story)
    takeovers = Self.takeovers(story)
  }

  private static let requestSteps: [TraceStep] = [
    .submitted, .taken, .served, .given, .completed, .answered, .reaped,
  ]

  private static func requests(_ story: TraceStory) -> Section {
    var collector = Collector(requestSteps.map { "\($0)" })
    for course in story.requests.values {
      // From its host and back to it: what began before the trace, or ended after it, is not counted.
      guard course.time(of: .submitted) != nil, course.time(of: .taken) != nil, course.time(of: .answered) != nil,
        course.time(of: .reaped) != nil
      else { continue }
      collector.add(requestSteps.compactMap { step in course.time(of: step).map { ("\(step)", $0) } })
    }
    return collector.section
  }

  /// The steps of a change of owner, in their order. A hint is on its way while the request stands in the word, so it
  /// is no step of its own.
  private static let changeSteps: [TraceStep] = [.requested, .seen, .relinquishing, .drained, .granted, .begun]

  private static func changes(_ story: TraceStory) -> Section {
    var collector = Collector(changeSteps.map { "\($0)" } + ["first answer"])
    for change in story.changes where change.isComplete {
      var moments = changeSteps.compactMap { step in change.course.time(of: step).map { ("\(step)", $0) } }
      if let answer = change.firstAnswer { moments.append(("first answer", answer)) }
      collector.add(moments)
    }
    return collector.section
  }

  private static let takeoverSteps: [TraceStep] = [.fenced, .killed, .exitSeen, .journalRead, .drainProved, .takenOver]

  private static func takeovers(_ story: TraceStory) -> Section {
    var collector = Collector(["last step of the dead one"] + takeoverSteps.map { "\($0)" } + ["first answer"])
    for takeover in story.takeovers {
      var moments: [(name: String, time: UInt64)] = takeover.lastStep.map { [("last step of the dead one", $0)] } ?? []
      moments += takeoverSteps.compactMap { step in takeover.course.time(of: step).map { ("\(step)", $0) } }
      if let answer = takeover.firstAnswer { moments.append(("first answer", answer)) }
      collector.add(moments.sorted { $0.time < $1.time })
    }
    return collector.section
  }

  /// For people.
  var text: String {
    var parts = [
      "\(subsystem): \(Figure.count(UInt64(events))) steps of \(writers) writers in \(Figure.fixed(seconds, 2)) s"
        + (eventsLost > 0 ? "; \(Figure.count(eventsLost)) lost, because they came faster than they were read" : "")
        + (writersWithoutRing > 0 ? "; \(writersWithoutRing) writers found no ring (--rings)" : "")
    ]
    for (name, section) in [
      ("requests", requests), ("changes of owner", changesOfOwner), ("takeovers", takeovers),
    ] {
      if section.count == 0 {
        parts.append("\(name): none that was recorded from its beginning to its end")
        continue
      }
      var table = Table("\(name): \(Figure.count(UInt64(section.count)))", "p50", "p90", "p99", "max")
      func add(_ name: String, _ times: LatencySummary) {
        table.add(
          name, Figure.duration(times.p50), Figure.duration(times.p90), Figure.duration(times.p99),
          Figure.duration(times.max))
      }
      for step in section.steps { add("\(step.from) → \(step.to)", step.nanoseconds) }
      if let whole = section.nanoseconds { add("from the first to the last", whole) }
      parts.append(table.text)
    }
    return parts.joined(separator: "\n\n")
  }
}
