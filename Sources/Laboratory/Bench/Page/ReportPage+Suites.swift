import BatonCommandKit

extension ReportPage {
  /// A sentence about what a suite measures.
  private static let about = [
    "handoff":
      "The right to serve a function goes from one process to the other and back: transitions of one word.",
    "dispatch": "A request goes from a host to a controller and back, on a unit that does nothing.",
    "throughput": "As many requests as go through, many of them outstanding, on a unit that does nothing.",
    "storage": "Requests to a real file through the dispatcher, compared with other ways to use the same file.",
    "nbd": "A unit as a disk over NBD: fio at a controller, and at other servers on the same file.",
    "takeover": "A controller is killed under load, and its peer answers in its place.",
    "scale": "Thousands of functions and dozens of hosts, compared with one of each.",
  ]

  /// One suite: its cases by the way of waiting, its controls, every figure.
  func suite(_ name: String) -> Markup {
    let rows = report.results.filter { $0.suite == name }
    let cases = rows.filter { !$0.isControl }
    let ways: [BenchReport.Waiting?] = [.spinning, .adaptive, .parking, nil]
    let groups = ways.map { way in (way, cases.filter { $0.waiting == way }) }.filter { !$0.1.isEmpty }
    // Groups of a single case each stand side by side.
    let isWide = groups.count == 1 || groups.contains { $0.1.count > 1 || $0.1.contains { !$0.curves.isEmpty } }
    return tag(
      "section", ["class": "suite", "id": name], tag("h2", [:], Markup(name)),
      Self.about[name].map { tag("p", ["class": "about"], Markup($0)) } ?? [],
      tag("div", ["class": "groups"], Markup(groups.map { group($0.0, $0.1, isWide: isWide) })),
      controls(rows.filter(\.isControl)),
      tag(
        "details", [:], tag("summary", [:], "Every figure of \(name), with its spread"),
        FigureTable.markup(rows, title: "Every figure of \(name)")))
  }

  /// The cases that wait in one way.
  private func group(_ way: BenchReport.Waiting?, _ rows: [BenchReport.Row], isWide: Bool) -> Markup {
    let heading =
      way.map { ($0.rawValue, $0.meaning) } ?? ("figures", "where the way of waiting has no part")
    // In two columns the last of an odd number takes both.
    let odd = rows.lastIndex { $0.curves.isEmpty }.flatMap { last in
      isWide && rows.count { $0.curves.isEmpty } % 2 == 1 ? last : nil
    }
    return tag(
      "section", ["class": isWide ? "group wide" : "group"],
      tag("h3", [:], Markup(heading.0), tag("span", [:], Markup(heading.1))),
      tag(
        "div", ["class": "cases"],
        Markup(rows.enumerated().map { self.row($1, isWide: $0 == odd || !$1.curves.isEmpty) })))
  }

  private func row(_ row: BenchReport.Row, isWide: Bool) -> Markup {
    let chart = BarChart(row)
    let curves = CurveChart(row.curves, unit: row.unit)
    let drawn: [Markup] = [chart?.markup(scale), curves?.markup(title: row.name)].compactMap { $0 }
    var facts = [row.metric, row.better == .less ? "less is better" : "more is better"]
    if row.rounds > 1 { facts.append("\(row.rounds) rounds") }
    let goal: Markup =
      row.goal.map { goal in
        let limit =
          row.isGoalOfFigure
          ? "\(row.better == .less ? "≤" : "≥") \(Quantity.chosen(goal, row.unit))" : "≤ \(Quantity.chosen(goal))×"
        return tag(
          "p", ["class": "aim"], Markup("goal \(limit) "), GoalTable.badge(row.verdict ?? .undecided))
      } ?? []
    return tag(
      "article", ["class": isWide ? "card case wide" : "card case"],
      tag(
        "div", ["class": "title"],
        tag(
          "div", [:], tag("h4", [:], Markup(row.name)),
          tag("p", ["class": "facts"], Markup(facts.joined(separator: " · ")))),
        goal),
      headline(row, isDrawn: chart != nil),
      tag("div", ["class": drawn.count == 2 ? "drawn both" : "drawn"], Markup(drawn)))
  }

  /// The one figure that a case is about. The others stand next to the bars, if any.
  private func headline(_ row: BenchReport.Row, isDrawn: Bool) -> Markup {
    func piece(_ kind: String?, _ text: String) -> Markup { tag("span", ["class": kind], Markup(text)) }
    let figure = Quantity.text(row.p50, row.unit)
    var parts: [Markup] = []
    if let ratio = row.ratioToFloor, !row.isGoalOfFigure {
      parts = [piece("big", Quantity.times(ratio)), piece(nil, "the floor")]
      if row.better == .more { parts[1] = piece(nil, "the floor's time, \(Quantity.share(1 / ratio)) of its rate") }
      if let spread = row.ratioSpread { parts.append(piece("range", Quantity.range(spread))) }
      if !isDrawn { parts.append(piece("figure", figure)) }
    } else {
      parts = [piece("big", figure)]
      if let spread = row.spread, row.rounds > 1 {
        parts.append(
          piece("range", "\(Quantity.text(spread.low, row.unit)) to \(Quantity.text(spread.high, row.unit))"))
      }
    }
    // Percentiles over requests are a result, those over rounds only its spread.
    if row.percentilesOver == .requests {
      parts.append(
        piece("tail", "p99 \(Quantity.text(row.p99, row.unit)) · p99.9 \(Quantity.text(row.p999, row.unit))"))
    }
    return tag("p", ["class": "headline"], Markup(parts))
  }

  private func controls(_ rows: [BenchReport.Row]) -> Markup {
    if rows.isEmpty { return [] }
    return tag(
      "div", ["class": "card controls"],
      tag("h4", [:], "Control"),
      tag(
        "p", ["class": "facts"],
        """
        One thing, measured twice a round, against itself. The distance from 1 is the noise of this run; within the \
        band it is below 5 %. Where a goal lies within the noise of its measurement it is undecided.
        """),
      tag("ul", [:], Markup(rows.map { ControlStrip.item($0) })))
  }
}

extension BenchReport.Waiting {
  /// Its meaning for readers of the report.
  fileprivate var meaning: String {
    switch self {
    case .spinning: "both processes look all the time, each on a core of its own"
    case .adaptive: "looks for a bounded time, then sleeps: the default"
    case .parking: "sleeps in the kernel until it is woken"
    }
  }
}
