import Baton
import BatonCommandKit

/// A run as one page that needs nothing else, in the style of the bench's.
struct RunPage {
  let report: RunReport
  let result: WorkloadResult
  /// What was asked for, in words.
  let title: String
  let started: String
  let ending: Ending
  private let machine = Platform.present

  /// Of hosts that ran at the same time.
  init(report: RunReport, _ outcomes: [HostOutcome], title: String, started: String, ending: Ending) {
    self.report = report
    var result = WorkloadResult()
    for outcome in outcomes { result.add(outcome.result) }
    self.result = result
    self.title = title
    self.started = started
    self.ending = ending
  }

  /// The whole file. HTML that is well-formed XML too.
  var html: String {
    PageFrame.document(
      title: "Baton run, \(report.subsystem)", head, tag("main", [:], warning, latency, overTime, figures, facts), foot)
  }

  private var head: Markup {
    let tiles = [
      ("requests per second", Quantity.text(report.requestsPerSecond, ""), "\(Figure.count(report.requests)) in all"),
      ("throughput", Figure.throughput(report.bytes, seconds: report.seconds), "reads and writes together"),
      (
        "median", Quantity.text(Double(report.latencyNanoseconds.summary.p50), "ns"),
        "half of the requests within"
      ), ("99 %", Quantity.text(Double(report.latencyNanoseconds.summary.p99), "ns"), "of the requests within"),
    ]
    return PageFrame.heading(
      eyebrow: "Baton \(machine.baton) · run", title: report.subsystem, lead: title, tiles: tiles)
  }

  private var warning: Markup {
    guard ending.status != 0 else { return [] }
    return tag(
      "section", ["class": "warnings", "aria-label": "Warnings"], tag("h2", [:], "The run is not complete"),
      tag("ul", [:], tag("li", [:], Markup(ending.message ?? ending.reason.rawValue))))
  }

  private var latency: Markup {
    let sides = [("reads", result.reads), ("writes", result.writes)].filter { $0.1.requests > 0 }
    guard let chart = CurveChart(sides.map { $0.1.latencies.curve($0.0) }, unit: "ns") else { return [] }
    return section("latency", "Latency", chart.markup(title: report.subsystem))
  }

  private var overTime: Markup {
    guard let timeline = result.recorder?.timeline else { return [] }
    let period = Double(timeline.period) / 1e9
    func lines(_ value: (Timeline.Cell, Double) -> Double?) -> [TimelineChart.Line] {
      [("reads", \Timeline.Slice.reads), ("writes", \Timeline.Slice.writes)].compactMap { name, side in
        if timeline.slices.allSatisfy({ $0[keyPath: side].requests == 0 }) { return nil }
        return TimelineChart.Line(
          name: name,
          points: timeline.slices.enumerated().compactMap { index, slice in
            // The last slice is as long as the run was; one that has hardly begun says nothing.
            let length = min(period, report.seconds - Double(index) * period)
            if length < period / 2 { return nil }
            return value(slice[keyPath: side], length).map { (Double(index) * period + length / 2, $0) }
          })
      }
    }
    let rate = TimelineChart(lines { Double($0.requests) / $1 }, unit: "requests/s", seconds: report.seconds)
    let mean = TimelineChart(lines { cell, _ in cell.latencyMean }, unit: "ns", seconds: report.seconds)
    let worst = TimelineChart(
      lines { cell, _ in cell.requests > 0 ? Double(cell.latencyMax) : nil }, unit: "ns", seconds: report.seconds)
    let caption = "seconds of the run; each point is the mean of \(Quantity.chosen(period, "s"))"
    return section(
      "time", "Over time", rate?.markup(title: "Requests per second", caption: caption) ?? [],
      mean?.markup(title: "Mean latency", caption: caption) ?? [],
      worst?.markup(
        title: "Longest latency",
        caption: "seconds of the run; each point is the worst of \(Quantity.chosen(period, "s"))")
        ?? [])
  }

  private var figures: Markup {
    let percents = report.latencyNanoseconds.percentiles.map(\.percent)
    let sides = [
      ("all", report.latencyNanoseconds), ("reads", report.read.latencyNanoseconds),
      ("writes", report.write.latencyNanoseconds),
    ]
    .filter { $0.1.summary.count > 0 }
    func row(_ name: String, _ value: (LatencyDetail) -> Double) -> Markup {
      tag(
        "tr", [:], tag("th", ["scope": "row"], Markup(name)),
        Markup(sides.map { tag("td", ["class": "number"], Markup(Quantity.text(value($0.1), "ns"))) }))
    }
    let rows =
      [row("least") { Double($0.min) }]
      + percents.enumerated().map { index, percent in
        row("\(Figure.chosen(percent)) %") { Double($0.percentiles[index].nanoseconds) }
      } + [
        row("most") { Double($0.summary.max) }, row("mean") { $0.mean },
        row("standard deviation") { $0.standardDeviation },
      ]
    let titles = sides.map { tag("th", ["scope": "col", "class": "number"], Markup($0.0)) }
    return section(
      "figures", "Latency in figures",
      tag(
        "table", [:],
        tag("thead", [:], tag("tr", [:], tag("td"), Markup(titles))),
        tag("tbody", [:], Markup(rows))
      ).scrolling("Latency in figures"))
  }

  private var facts: Markup {
    var facts = [
      ("processor", machine.cpu), ("kernel", "Linux \(machine.kernel)"), ("measured", started),
      ("took", "\(Figure.fixed(report.seconds, 2)) s"), ("served by", report.servedBy.text),
      ("changes of owner", report.changesOfOwner.map { Figure.count($0) } ?? "unknown"),
      ("waited for one", "\(Figure.percent(report.transferred, of: report.requests)) of the requests"),
    ]
    if let lateness = report.latenessNanoseconds { facts.append(("submitted late by", lateness.text)) }
    return tag(
      "section", ["class": "card machine", "id": "machine"], tag("h2", [:], "The run and the machine"),
      tag(
        "dl", [:], Markup(facts.map { tag("div", [:], tag("dt", [:], Markup($0.0)), tag("dd", [:], Markup($0.1))) })))
  }

  private func section(_ id: String, _ title: String, _ contents: Markup...) -> Markup {
    tag("section", ["class": "card", "id": id], tag("h2", [:], Markup(title)), Markup(contents))
  }

  private var foot: Markup {
    tag(
      "footer", [:],
      tag(
        "p", [:], "Written by baton run. Latencies are the host's, from the due time or the submission to the answer."))
  }
}
