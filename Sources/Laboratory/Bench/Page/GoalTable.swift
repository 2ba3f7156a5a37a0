import BatonCommandKit

/// The goals and their verdicts, for all suites together.
enum GoalTable {
  /// One goal.
  struct Line {
    let suite: String
    let what: String
    let reference: String
    /// As it is written, with its direction.
    let goal: String
    let measured: String
    let verdict: BenchReport.Verdict
  }

  /// Every goal of the report, in the order of its rows.
  static func lines(_ report: BenchReport) -> [Line] {
    report.results.flatMap { row in
      var lines: [Line] = []
      func add(_ reference: String, _ goal: String, _ measured: String?, _ verdict: BenchReport.Verdict?) {
        lines.append(
          Line(
            suite: row.suite, what: row.name, reference: reference, goal: goal, measured: measured ?? "not compared",
            verdict: verdict ?? .undecided))
      }
      if let goal = row.goal {
        if row.isGoalOfFigure {
          add(
            "", "\(row.better == .less ? "at most" : "at least") \(Quantity.chosen(goal, row.unit))",
            Quantity.text(row.p50, row.unit), row.verdict)
        } else {
          // A share says more of a rate than the ratio of two times.
          add(
            row.floor?.name ?? "",
            row.better == .less ? "at most \(Quantity.chosen(goal))×" : "at least \(Quantity.share(1 / goal))",
            row.ratioToFloor.map { row.better == .less ? Quantity.times($0) : Quantity.share(1 / $0) }, row.verdict)
        }
      }
      for peer in row.peers {
        guard let goal = peer.goal else { continue }
        add(
          peer.name, BarChart.aim(goal, row), peer.ratio.map { BarChart.standing($0, row) }, peer.verdict)
      }
      return lines
    }
  }

  static func markup(_ lines: [Line]) -> Markup {
    let titles = ["suite", "what", "compared with", "goal", "measured", "verdict"]
    return tag(
      "table", ["class": "goals"],
      tag("thead", [:], tag("tr", [:], Markup(titles.map { tag("th", ["scope": "col"], Markup($0)) }))),
      tag(
        "tbody", [:],
        Markup(
          lines.map { line in
            tag(
              "tr", [:], tag("td", ["class": "suite-name"], tag("a", ["href": "#\(line.suite)"], Markup(line.suite))),
              tag("th", ["scope": "row"], Markup(line.what)),
              tag("td", ["class": "reference"], Markup(line.reference)),
              tag("td", ["class": "number goal"], Markup(line.goal)),
              tag("td", ["class": "number strong"], Markup(line.measured)),
              tag("td", ["class": "judged"], badge(line.verdict)))
          }))
    ).scrolling("Goals")
  }

  /// A verdict in words and in colour.
  static func badge(_ verdict: BenchReport.Verdict) -> Markup {
    switch verdict {
    case .met: tag("span", ["class": "verdict met"], "✓ met")
    case .missed: tag("span", ["class": "verdict missed"], "✗ missed")
    case .undecided: tag("span", ["class": "verdict open"], "undecided")
    }
  }
}
