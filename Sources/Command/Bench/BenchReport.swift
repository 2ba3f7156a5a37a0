import Baton

/// What a bench reports.
///
/// A ratio is ours divided by theirs where less is better (a time), theirs divided by ours where more is better (a
/// rate): in every row less than 1 means that Baton wins. Floors and peers run in the same call, interleaved round
/// by round with what they are compared to; ratios are medians over rounds.
///
/// Rows are made by `Interleaved.row`, so that each of them comes about in the same way.
struct BenchReport: Encodable {
  /// The 10th and the 90th percentile over rounds.
  struct Spread: Encodable {
    let low: Double
    let high: Double
  }

  enum Better: String, Encodable {
    case less, more
  }

  /// How the processes of a measurement wait for each other.
  enum Waiting: String, Encodable {
    case spinning, parking
    /// Spinning for a bounded time, then parking: the default of controllers and hosts.
    case adaptive
  }

  /// What a figure is taken over.
  enum Sample: String, Encodable {
    case rounds, requests
  }

  /// What is aimed at.
  enum Goal {
    /// At the most this for the ratio to the floor.
    case ratio(Double)
    /// At the most this for the median itself; at the least where more is better.
    case figure(Double)
  }

  struct Floor: Encodable {
    let name: String
    let p50: Double
    var spread: Spread?
  }

  struct Peer: Encodable {
    let name: String
    let p50: Double?
    let ratio: Double?
    let ratioSpread: Spread?
    /// At the most this ratio is aimed at.
    let goal: Double?
    fileprivate(set) var goalMet: Bool?
    /// Why it was not run, where it was not.
    let notRun: String?

    enum CodingKeys: String, CodingKey {
      case name, p50, ratio, goal
      case ratioSpread = "ratio_spread"
      case goalMet = "goal_met"
      case notRun = "not_run"
    }

    /// One that was measured. A ratio that is no number (of two zeros) is none.
    init(name: String, p50: Double, ratio: Double, spread: Spread?, goal: Double?) {
      self.name = name
      self.p50 = p50.isFinite ? p50 : nil
      self.ratio = ratio.isFinite ? ratio : nil
      ratioSpread = spread
      self.goal = goal
      goalMet = goal.map { ratio <= $0 }
      notRun = nil
    }

    init(name: String, notRun reason: String) {
      self.name = name
      p50 = nil
      ratio = nil
      ratioSpread = nil
      goal = nil
      goalMet = nil
      notRun = reason
    }
  }

  /// A latency at each percentile. Values are in the unit of their row.
  struct Curve: Encodable {
    struct Point: Encodable {
      /// 0 to 100.
      let percentile: Double
      let value: Double

      /// A pair, as programs that draw take it.
      func encode(to encoder: any Encoder) throws {
        var pair = encoder.unkeyedContainer()
        try pair.encode(percentile)
        try pair.encode(value)
      }
    }

    let name: String
    /// Growing percentiles, the last one 100.
    let points: [Point]
  }

  struct Row: Encodable {
    let suite: String
    let name: String
    let metric: String
    let unit: String
    let p50: Double
    let p99: Double
    let p999: Double
    var better = Better.less
    var waiting: Waiting?
    /// What p50, p99 and p999 are taken over.
    var percentilesOver = Sample.rounds
    /// How many rounds it was measured in.
    var rounds = 1
    /// Of the figure itself, over rounds.
    var spread: Spread?
    var floor: Floor?
    private(set) var ratioToFloor: Double?
    private(set) var ratioSpread: Spread?
    var peers: [Peer] = []
    private(set) var goal: Double?
    /// Whether the goal is one for the figure itself and not for its ratio.
    private(set) var isGoalOfFigure = false
    var curves: [Curve] = []
    /// Whether it is one thing measured twice.
    var isControl = false
    /// Whether goals are judged by it. Not where two spinning processes had no core each.
    private(set) var isJudged = true

    /// A figure on its own; what it is put beside comes after.
    init(suite: String, name: String, metric: String, unit: String, p50: Double, p99: Double, p999: Double) {
      self.suite = suite
      self.name = name
      self.metric = metric
      self.unit = unit
      self.p50 = p50
      self.p99 = p99
      self.p999 = p999
    }

    mutating func aim(_ goal: Goal?) {
      switch goal {
      case .ratio(let ratio): self.goal = ratio
      case .figure(let figure): (self.goal, isGoalOfFigure) = (figure, true)
      case nil: self.goal = nil
      }
    }

    /// Put beside the floor. A ratio that is no number (of two zeros) is none.
    mutating func compare(ratio: Double, spread: Spread?) {
      ratioToFloor = ratio.isFinite ? ratio : nil
      ratioSpread = spread
    }

    /// Goals are neither met nor missed by it.
    fileprivate mutating func leaveUnjudged() {
      isJudged = false
      for index in peers.indices { peers[index].goalMet = nil }
    }

    /// Nil where nothing is aimed at, where what it is to be compared to was not run, and where it is not judged.
    var goalMet: Bool? {
      guard let goal, isJudged else { return nil }
      if isGoalOfFigure { return better == .less ? p50 <= goal : p50 >= goal }
      return ratioToFloor.map { $0 <= goal }
    }

    enum CodingKeys: String, CodingKey {
      case suite, metric, unit, p50, p99, p999, better, waiting, rounds, spread, floor, peers, goal, curves, control
      case name = "case"
      case percentilesOver = "percentiles_over"
      case ratioToFloor = "ratio_to_floor"
      case ratioSpread = "ratio_spread"
      case goalOf = "goal_of"
      case goalMet = "goal_met"
    }

    func encode(to encoder: any Encoder) throws {
      // Figures that are no numbers have no place in JSON.
      func finite(_ value: Double) -> Double? { value.isFinite ? value : nil }
      var fields = encoder.container(keyedBy: CodingKeys.self)
      try fields.encode(suite, forKey: .suite)
      try fields.encode(name, forKey: .name)
      try fields.encode(metric, forKey: .metric)
      try fields.encode(unit, forKey: .unit)
      try fields.encode(finite(p50), forKey: .p50)
      try fields.encode(finite(p99), forKey: .p99)
      try fields.encode(finite(p999), forKey: .p999)
      try fields.encode(percentilesOver, forKey: .percentilesOver)
      try fields.encode(better, forKey: .better)
      try fields.encode(waiting, forKey: .waiting)
      try fields.encode(rounds, forKey: .rounds)
      try fields.encodeIfPresent(spread, forKey: .spread)
      try fields.encode(floor, forKey: .floor)
      try fields.encode(ratioToFloor, forKey: .ratioToFloor)
      try fields.encodeIfPresent(ratioSpread, forKey: .ratioSpread)
      try fields.encode(peers, forKey: .peers)
      if let goal {
        try fields.encode(goal, forKey: .goal)
        try fields.encode(isGoalOfFigure ? "p50" : "ratio_to_floor", forKey: .goalOf)
        try fields.encode(goalMet, forKey: .goalMet)
      }
      if !curves.isEmpty { try fields.encode(curves, forKey: .curves) }
      if isControl { try fields.encode(true, forKey: .control) }
    }
  }

  let machine: Machine
  /// Whether it is the short form.
  var isQuick = false
  /// When it began, as in `2026-11-22T20:15:00Z`.
  var started = ""
  /// How long it took.
  var seconds = 0.0
  private(set) var results: [Row] = []
  var warnings: [String] = []

  enum CodingKeys: String, CodingKey {
    case machine, started, seconds, results, warnings
    case isQuick = "quick"
  }

  /// How far a control may be from 1 before the run counts as disturbed.
  private static let controlTolerance = 0.05

  init(machine: Machine) { self.machine = machine }

  /// Takes a row in. A control that strays gives a warning; spinning figures of one CPU are not judged.
  mutating func append(_ row: Row) {
    var row = row
    if row.waiting == .spinning, machine.pinned.isEmpty { row.leaveUnjudged() }
    results.append(row)
    if row.isControl, let ratio = row.ratioToFloor, abs(ratio - 1) > Self.controlTolerance {
      warnings.append(
        "\(row.suite): \(row.name) is \(Figure.fixed(ratio, 2)), not 1: this run was disturbed, and its ratios are no "
          + "better than that")
    }
  }

  mutating func append(_ rows: [Row]) { for row in rows { append(row) } }
}
