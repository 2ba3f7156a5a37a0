import Baton
import BatonCommandKit

/// A soak as one page: pauses, load and faults over its time.
struct SoakPage {
  let log: SoakLog
  let seconds: Double
  private let machine = Platform.present

  init(log: SoakLog, seconds: Double) {
    self.log = log
    self.seconds = seconds
  }

  var html: String {
    PageFrame.document(title: "Baton soak", head, tag("main", [:], warning, pauses, load, table))
  }

  private var head: Markup {
    let tiles = [
      ("run so far", Soak.clock(log.seconds), "of \(Soak.clock(seconds))"),
      ("faults", Figure.count(log.segments.reduce(0) { $0 + $1.faults }), "\(log.segments.count) segments"),
      ("requests", Figure.count(log.segments.reduce(0) { $0 + $1.requests }), "every answer checked"),
      (
        "longest pause", Figure.duration(log.segments.map(\.pauseMax).max() ?? 0), "from a fault to the first answer"
      ),
    ]
    return PageFrame.heading(
      eyebrow: "Baton \(machine.baton) · soak", title: "Faults for hours",
      lead: "Seed \(log.heading.seed), \(machine.cpu), Linux \(machine.kernel)", tiles: tiles)
  }

  private var warning: Markup {
    let wrong = log.segments.filter { $0.violation != nil }
    if wrong.isEmpty { return [] }
    return tag(
      "section", ["class": "warnings", "aria-label": "Warnings"], tag("h2", [:], "Something was wrong"),
      tag("ul", [:], Markup(wrong.map { tag("li", [:], Markup("Segment \($0.number): \($0.violation ?? "")")) })))
  }

  /// Seconds from the start to the end of each segment.
  private var ends: [Double] {
    var sum = 0.0
    return log.segments.map {
      sum += $0.seconds
      return sum
    }
  }

  private func line(_ name: String, _ value: (SoakSegment) -> Double?) -> TimelineChart.Line {
    TimelineChart.Line(
      name: name,
      points: zip(ends, log.segments).compactMap { end, segment in value(segment).map { (end, $0) } })
  }

  private var pauses: Markup {
    let kinds = Set(log.segments.flatMap { $0.pauses.map(\.kind) }).sorted()
    func chart(_ title: String, _ value: @escaping (SoakSegment.Pause) -> UInt64) -> Markup {
      let lines = kinds.map { kind in
        line(kind) { segment in segment.pauses.first { $0.kind == kind }.map { Double(value($0)) } }
      }
      return TimelineChart(lines, unit: "ns", seconds: log.seconds)?
        .markup(title: title, caption: "time of the soak; a point for each segment") ?? []
    }
    return tag(
      "section", ["class": "card", "id": "pauses"], tag("h2", [:], "Pauses, by kind of fault"),
      chart("Median pause of a segment", { $0.p50 }), chart("Longest pause of a segment", { $0.max }))
  }

  private var load: Markup {
    let requests = TimelineChart(
      [line("requests") { $0.seconds > 0 ? Double($0.requests) / $0.seconds : nil }], unit: "requests/s",
      seconds: log.seconds)
    return tag(
      "section", ["class": "card", "id": "load"], tag("h2", [:], "Load"),
      requests?.markup(title: "Requests per second", caption: "time of the soak; a point for each segment") ?? [])
  }

  /// The last segments, the newest first.
  private var table: Markup {
    let titles = ["segment", "started", "seed", "faults", "requests", "longest pause", "verdict"]
    let rows = log.segments.suffix(60).reversed().map { segment in
      [
        "\(segment.number)", segment.started, "\(segment.seed)", Figure.count(segment.faults),
        Figure.count(segment.requests), Figure.duration(segment.pauseMax), segment.violation ?? "all correct",
      ]
    }
    return tag(
      "section", ["class": "card", "id": "segments"], tag("h2", [:], "The last segments"),
      tag(
        "table", [:],
        tag("thead", [:], tag("tr", [:], Markup(titles.map { tag("th", ["scope": "col"], Markup($0)) }))),
        tag(
          "tbody", [:],
          Markup(rows.map { tag("tr", [:], Markup($0.map { tag("td", [:], Markup($0)) })) }))
      ).scrolling("The last segments"))
  }
}
