import BatonCommandKit

/// Every figure of some rows, with its spread: what the bars show, to read off.
enum FigureTable {
  /// A line for each case and floor, and one for each further peer.
  static func markup(_ rows: [BenchReport.Row], title: String) -> Markup {
    let titles = [
      "case", "waiting", "p50", "p99", "p99.9", "10 to 90 %", "unit", "better", "compared with", "p50",
      "ratio (less is better)", "10 to 90 %", "goal", "rounds",
    ].map { tag("th", ["scope": "col"], Markup($0)) }
    return tag(
      "table", ["class": "figures"], tag("thead", [:], tag("tr", [:], Markup(titles))),
      tag("tbody", [:], Markup(rows.map { lines($0) }))
    ).scrolling(title)
  }

  private static func lines(_ row: BenchReport.Row) -> Markup {
    // The case's own cells reach down next to its peers.
    let height = "\(1 + row.peers.count)"
    func own(_ text: String, _ kind: String? = "number") -> Markup {
      tag("td", ["rowspan": height, "class": kind], Markup(text))
    }
    let figures: [Markup] = [
      tag("th", ["rowspan": height, "scope": "row"], Markup(row.name)), own(row.waiting?.rawValue ?? "", nil),
      own(Quantity.number(row.p50)), own(Quantity.number(row.p99)), own(Quantity.number(row.p999)),
      own(row.spread.map { "\(Quantity.number($0.low)) to \(Quantity.number($0.high))" } ?? ""), own(row.unit, nil),
      own(row.better.rawValue, nil),
    ]
    let floor: [Markup] = [
      text(row.floor?.name ?? ""), number(row.floor?.p50), ratio(row.ratioToFloor), ratios(row.ratioSpread),
      goal(row.goal, row.verdict, atLeast: row.isGoalOfFigure && row.better == .more),
    ]
    let peers = row.peers.map { peer in
      if let reason = peer.notRun {
        return tag(
          "tr", ["class": "peer"], text(peer.name),
          tag("td", ["colspan": "4", "class": "reason"], "not run: \(reason)"))
      }
      return tag(
        "tr", ["class": "peer"], text(peer.name), number(peer.p50), ratio(peer.ratio), ratios(peer.ratioSpread),
        goal(peer.goal, peer.verdict, atLeast: false))
    }
    return tag(
      "tr", ["class": row.isControl ? "control" : nil], Markup(figures), Markup(floor), own("\(row.rounds)"))
      + Markup(peers)
  }

  private static func text(_ text: String) -> Markup { tag("td", [:], Markup(text)) }

  private static func numeric(_ text: String) -> Markup { tag("td", ["class": "number"], Markup(text)) }

  private static func number(_ value: Double?) -> Markup { numeric(value.map { Quantity.number($0) } ?? "") }

  private static func ratio(_ ratio: Double?) -> Markup { numeric(ratio.map { Quantity.ratio($0) } ?? "") }

  private static func ratios(_ spread: BenchReport.Spread?) -> Markup {
    numeric(spread.map { Quantity.range($0) } ?? "")
  }

  private static func goal(_ goal: Double?, _ verdict: BenchReport.Verdict?, atLeast: Bool) -> Markup {
    guard let goal, let verdict else { return text("") }
    return tag(
      "td", ["class": "number"], Markup("\(atLeast ? "≥" : "≤") \(Quantity.chosen(goal)) "),
      GoalTable.badge(verdict))
  }
}
