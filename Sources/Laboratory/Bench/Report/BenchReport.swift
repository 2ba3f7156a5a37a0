import Baton
import BatonCommandKit

/// The report of a bench.
///
/// A ratio is ours divided by theirs where less is better (a time), theirs divided by ours where more is better (a
/// rate): in every row less than 1 means that Baton wins. Floors and peers run in the same call, interleaved round
/// by round with what they are compared to; ratios are medians over rounds.
///
/// `Interleaved.row` makes all rows, so that each is computed in the same way.
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
    /// At most this for the ratio to the floor.
    case ratio(Double)
    /// At most this for the median itself; at least this where more is better.
    case figure(Double)
  }

  /// What came of a goal.
  enum Verdict: String, Encodable {
    case met, missed
    /// Nothing was compared, or the measurement is too noisy to say.
    case undecided
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
    /// At most this ratio is aimed at.
    let goal: Double?
    /// Nil where nothing is aimed at.
    fileprivate(set) var verdict: Verdict?
    /// Why it was not run, where it was not.
    let notRun: String?

    enum CodingKeys: String, CodingKey {
      case name, p50, ratio, goal, verdict
      case ratioSpread = "ratio_spread"
      case notRun = "not_run"
    }

    /// One that was measured. A ratio that is no number (of two zeros) is none.
    init(name: String, p50: Double, ratio: Double, spread: Spread?, goal: Double?) {
      self.name = name
      self.p50 = p50.isFinite ? p50 : nil
      self.ratio = ratio.isFinite ? ratio : nil
      ratioSpread = spread
      self.goal = goal
      notRun = nil
    }

    init(name: String, notRun reason: String) {
      self.name = name
      p50 = nil
      ratio = nil
      ratioSpread = nil
      goal = nil
      notRun = reason
    }
  }

  /// Values are in the unit of their row.
  typealias Curve = PercentileCurve

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
    /// The figure in each round, and its ratio to the floor, for 'compare'.
    var values: [Double] = []
    var ratios: [Double] = []
    /// Whether it is one thing measured twice.
    var isControl = false
    /// How far the control of this measurement is from 1, where it has one.
    var controlNoise: Noise?
    /// The verdict on the goal; nil if it has no goal.
    private(set) var verdict: Verdict?

    /// A figure on its own; what it is compared with comes after.
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

    /// Compared with the floor. A ratio that is no number (of two zeros) is none.
    mutating func compare(ratio: Double, spread: Spread?) {
      ratioToFloor = ratio.isFinite ? ratio : nil
      ratioSpread = spread
    }

    /// Decides its goals. Spinning figures of one CPU mean nothing.
    fileprivate mutating func judge(isCrowded: Bool) {
      func decide(_ ratio: Double?, _ spread: Spread?, _ goal: Double?) -> Verdict? {
        guard let goal else { return nil }
        guard let ratio, !isCrowded else { return .undecided }
        let noise = [controlNoise, spread.map { Noise(median: 1, spread: $0, rounds: rounds) }].compactMap { $0 }
        return Noise.furthest(noise).verdict(ratio, goal: goal)
      }
      if let goal, isGoalOfFigure {
        verdict = isCrowded ? .undecided : (better == .less ? p50 <= goal : p50 >= goal) ? .met : .missed
      } else {
        verdict = decide(ratioToFloor, ratioSpread, goal)
      }
      for index in peers.indices {
        peers[index].verdict = decide(peers[index].ratio, peers[index].ratioSpread, peers[index].goal)
      }
    }

    enum CodingKeys: String, CodingKey {
      case suite, metric, unit, p50, p99, p999, better, waiting, rounds, spread, floor, peers, goal, verdict, curves
      case control, values, ratios
      case name = "case"
      case percentilesOver = "percentiles_over"
      case ratioToFloor = "ratio_to_floor"
      case ratioSpread = "ratio_spread"
      case goalOf = "goal_of"
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
        try fields.encode(verdict, forKey: .verdict)
      }
      if !curves.isEmpty { try fields.encode(curves, forKey: .curves) }
      if !values.isEmpty { try fields.encode(values.filter(\.isFinite), forKey: .values) }
      if !ratios.isEmpty { try fields.encode(ratios.filter(\.isFinite), forKey: .ratios) }
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
  /// Remarks on this run.
  var remarks: [String] = []

  enum CodingKeys: String, CodingKey {
    case machine, started, seconds, results, warnings
    case isQuick = "quick"
  }

  init(machine: Machine) { self.machine = machine }

  func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(machine, forKey: .machine)
    try fields.encode(isQuick, forKey: .isQuick)
    try fields.encode(started, forKey: .started)
    try fields.encode(seconds, forKey: .seconds)
    try fields.encode(results, forKey: .results)
    try fields.encode(warnings, forKey: .warnings)
  }

  /// Takes a row in and decides its goals.
  mutating func append(_ row: Row) {
    var row = row
    row.judge(isCrowded: row.waiting == .spinning && machine.pinned.isEmpty)
    results.append(row)
  }

  mutating func append(_ rows: [Row]) { for row in rows { append(row) } }

  /// The verdicts on all goals, of rows and of their peers.
  var verdicts: [Verdict] { results.flatMap { [$0.verdict] + $0.peers.map(\.verdict) }.compactMap { $0 } }

  /// The remarks, and one line about the noise of the run if its controls show any.
  var warnings: [String] { remarks + [noiseWarning].compactMap { $0 } }

  private var noiseWarning: String? {
    let controls = results.filter(\.isControl)
    let strays = controls.filter { $0.ratioToFloor.map { Noise(ratio: $0).isNoticeable } ?? false }
    guard
      let furthest = strays.max(by: {
        Noise(ratio: $0.ratioToFloor ?? 1).factor < Noise(ratio: $1.ratioToFloor ?? 1).factor
      }), let ratio = furthest.ratioToFloor
    else { return nil }
    let open = verdicts.count { $0 == .undecided }
    return "noise in this run: \(strays.count) of \(controls.count) controls \(strays.count == 1 ? "is" : "are") more "
      + "than 5 % from 1, the furthest at \(Quantity.times(ratio)) (\(furthest.suite), \(furthest.name)); do not trust "
      + "smaller differences; undecided goals: \(open) of \(verdicts.count)"
  }
}
