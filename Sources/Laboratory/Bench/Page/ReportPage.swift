import Baton
import BatonCommandKit

/// A report as one page that needs nothing else: no script, no font, no picture from elsewhere.
///
/// The head says what it was measured on and what came of the goals; then each suite with its bars, its percentile
/// curves, its controls and every figure; then the method.
struct ReportPage {
  let report: BenchReport
  /// The same for all bars.
  let scale: RatioScale
  private let goals: [GoalTable.Line]

  init(_ report: BenchReport) {
    self.report = report
    // What is judged must lie on the scale; what is not may be cut.
    let rows = report.results.filter { !$0.isControl }
    let judged = rows.filter { $0.goal != nil && !$0.isGoalOfFigure }
    scale = RatioScale(
      holding: (judged.isEmpty ? rows : judged).compactMap(\.ratioToFloor), goals: judged.compactMap(\.goal))
    goals = GoalTable.lines(report)
  }

  /// The whole file. HTML that is well-formed XML too.
  var html: String {
    PageFrame.document(
      title: "Baton bench, \(report.machine.cpu)", head,
      tag("main", [:], warnings, machine, reading, goalSection, Markup(report.suites.map { suite($0) }), method), foot)
  }

  // MARK: The head

  private var head: Markup {
    let links =
      (goals.isEmpty ? [] : [("goals", "goals")]) + report.suites.map { ($0, $0) } + [("method", "method")]
    return PageFrame.heading(
      eyebrow: "Baton \(report.machine.baton) · bench", title: "How far from the hardware",
      lead: """
        Processes pass requests and ownership over shared memory. Each figure is compared with its floor, the \
        least that this machine allows, and with what one would use instead, in the same run, round by round.
        """,
      tiles: tiles,
      tag("nav", ["aria-label": "Sections"], Markup(links.map { tag("a", ["href": "#\($0.0)"], Markup($0.1)) })))
  }

  private var tiles: [(name: String, value: String, note: String)] {
    var tiles: [(String, String, String)] = []
    let judged = goals.filter { $0.verdict != .undecided }
    if !goals.isEmpty {
      let open = goals.count - judged.count
      tiles.append(
        (
          "goals met", "\(judged.count { $0.verdict == .met }) of \(judged.count)",
          open > 0 ? "\(open) more undecided" : "all of them decided"
        ))
    }
    let controls = report.results.filter(\.isControl).compactMap(\.ratioToFloor)
    if let furthest = controls.max(by: { abs($0 - 1) < abs($1 - 1) }) {
      tiles.append(("control", Quantity.times(furthest), "A against A, the furthest of \(controls.count) from 1"))
    }
    let rounds = report.results.map(\.rounds).filter { $0 > 1 }
    if let fewest = rounds.min(), let most = rounds.max() {
      tiles.append(
        ("rounds", fewest == most ? "\(most)" : "\(fewest) to \(most)", report.isQuick ? "the short form" : "medians"))
    }
    tiles.append(
      ("clock", Quantity.text(report.machine.timerNanoseconds, "ns"), "what one reading of it costs"))
    return tiles
  }

  private var warnings: Markup {
    if report.warnings.isEmpty { return [] }
    return tag(
      "section", ["class": "warnings", "aria-label": "Warnings"],
      tag("h2", [:], Markup(report.warnings.count == 1 ? "A warning" : "\(report.warnings.count) warnings")),
      tag("ul", [:], Markup(report.warnings.map { tag("li", [:], Markup($0)) })))
  }

  private var machine: Markup {
    let machine = report.machine
    var facts = [
      ("processor", machine.cpu), ("CPUs", "\(machine.cpus)" + (machine.isVirtual == true ? ", virtual machine" : "")),
      ("kernel", "Linux \(machine.kernel)"),
      ("software", "Baton \(machine.baton), liburing \(machine.liburing ?? "unknown"), \(machine.fio ?? "no fio")"),
      ("pinning", machine.pinning),
      (
        "clock",
        "\(machine.clockSource ?? "unknown source"), \(Quantity.text(machine.timerNanoseconds, "ns")) a reading"
      ), ("governor", machine.governor ?? "none to be read"),
    ]
    if let load = machine.load { facts.append(("load before", Figure.fixed(load, 2))) }
    facts.append(("measured", report.started + (report.seconds > 0 ? ", in \(duration)" : "")))
    return tag(
      "section", ["class": "card machine", "id": "machine"], tag("h2", [:], "The machine"),
      tag(
        "dl", [:],
        Markup(facts.map { tag("div", [:], tag("dt", [:], Markup($0.0)), tag("dd", [:], Markup($0.1))) })))
  }

  private var duration: String {
    let seconds = UInt64(max(0, min(report.seconds, 1e9)).rounded())
    return seconds < 60 ? "\(seconds) s" : "\(seconds / 60) min \(seconds % 60) s"
  }

  private var reading: Markup {
    func sample(_ kind: BarChart.Kind, _ length: Double, spread: BenchReport.Spread? = nil, goal: Double? = nil)
      -> Markup
    {
      let bar = BarChart.Bar(kind: kind, name: kind.rawValue, length: length, spread: spread, goal: goal)
      return tag(
        "span", ["class": "sample \(kind.rawValue)"],
        BarChart.drawing(bar, length: length, title: "an example of a bar", RatioScale(holding: [])))
    }
    func term(_ picture: Markup, _ words: Markup...) -> Markup {
      tag("div", [:], tag("dt", [:], picture), tag("dd", [:], Markup(words)))
    }
    return tag(
      "section", ["class": "card reading", "id": "reading"], tag("h2", [:], "How to read it"),
      tag(
        "dl", [:],
        term(
          sample(.ours, 1.2, spread: .init(low: 1.05, high: 1.5), goal: 1.8),
          tag("b", [:], "Baton"),
          ", in units of the floor. The thin line goes from the 10th to the 90th percentile of ",
          "the rounds, the flag is the goal: a bar that ends left of it meets it."),
        term(
          sample(.floor, 1), tag("b", [:], "The floor"),
          ": the least that the hardware, or the kernel, allows for this. Its length is 1 everywhere."),
        term(
          sample(.peer, 9), tag("b", [:], "A peer"),
          ": what one would use instead. A bar that is cut is longer than there is room for.")),
      tag(
        "p", [:], "Shorter is better. ", tag("b", [:], "A ratio below 1 means that Baton wins"),
        """
        , for times and for rates alike: a rate is drawn as the time that it takes for as much. Times belong to this \
        machine in this hour; ratios are what can be compared.
        """))
  }

  private var goalSection: Markup {
    if goals.isEmpty { return [] }
    return tag(
      "section", ["class": "card", "id": "goals"], tag("h2", [:], "Goals"), GoalTable.markup(goals))
  }
}
