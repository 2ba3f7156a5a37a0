import BatonCommandKit

extension BenchReport {
  /// For people, on a terminal.
  var text: String {
    var lines = machine.lines
    lines += [
      "", "Less is better for every ratio: below 1, Baton is faster than what it is",
      "compared with. For p50 and p99 the column 'better' says which way. Ratios are",
      "medians over rounds, with the 10th and the 90th percentile. Do not compare",
      "absolute figures of two runs. A goal is undecided where the control of its",
      "measurement strays too far.",
    ]
    for suite in suites {
      lines += ["", suite]
      var table = Table(
        "case", "wait", "p50", "p99", "unit", "better", "compared with", "p50", "ratio", "spread", "goal")
      table.substitute = 6
      var notRun: [String] = []
      for row in results where row.suite == suite {
        table.add(
          row.name, row.waiting?.rawValue ?? "", Quantity.number(row.p50), Quantity.number(row.p99), row.unit,
          row.better.rawValue, row.floor?.name ?? "", row.floor.map { Quantity.number($0.p50) } ?? "",
          Self.ratio(row.ratioToFloor), Self.spread(row.ratioSpread),
          Self.goal(row.goal, row.verdict, row.isGoalOfFigure ? row.better : .less))
        for peer in row.peers {
          if let reason = peer.notRun {
            notRun.append("\(row.name): \(peer.name) was not run: \(reason)")
          } else {
            table.add(
              "", "", "", "", "", "", peer.name, peer.p50.map { Quantity.number($0) } ?? "", Self.ratio(peer.ratio),
              Self.spread(peer.ratioSpread), Self.goal(peer.goal, peer.verdict, .less))
          }
        }
      }
      lines += [table.text] + notRun
    }
    if !warnings.isEmpty { lines.append("") }
    return (lines + warnings.map { "warning: \($0)" }).joined(separator: "\n")
  }

  /// The suites that there are results of, in the order in which they ran.
  var suites: [String] {
    var names: [String] = []
    for row in results where !names.contains(row.suite) { names.append(row.suite) }
    return names
  }

  private static func ratio(_ ratio: Double?) -> String { ratio.map { Quantity.ratio($0) } ?? "" }

  private static func spread(_ spread: Spread?) -> String { spread.map { Quantity.range($0) } ?? "" }

  private static func goal(_ goal: Double?, _ verdict: Verdict?, _ better: Better) -> String {
    guard let goal, let verdict else { return "" }
    let word = verdict == .missed ? "MISSED" : verdict.rawValue
    return "\(better == .less ? "<=" : ">=") \(Quantity.ratio(goal)) \(word)"
  }
}
