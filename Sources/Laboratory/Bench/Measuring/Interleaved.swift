import BatonCommandKit
import BatonSystem

/// Measurements of several things, taken in turn, round by round: the same disturbance meets them all.
///
/// Each round begins with another thing, so that none always runs in the wake of the same one. Whatever is reported of
/// a comparison comes from here: medians over rounds, ratios of the same round, and how far those spread.
struct Interleaved {
  /// One value a round, for each thing.
  private(set) var values: [[Double]]
  /// A thing, and the one that is the same measured once more.
  private(set) var control: (of: Int, again: Int)?

  /// Rounds below which a median says nothing.
  static let roundsMin = 3

  /// Measures each of `things` things once in each round. The first round warms up and is not kept.
  ///
  /// The thing `control` is measured twice in each round, for `controlRow`: how far the two are from each other is the
  /// noise of this run. After `within` seconds no further round begins, once there are `roundsMin`.
  init(
    rounds: Int, within seconds: Double = .infinity, things: Int, control: Int? = nil,
    _ measure: (_ thing: Int, _ round: Int) throws -> Double
  ) rethrows {
    try self.init(rounds: rounds, within: seconds, trials: things, control: control) { [try measure($0, $1)] }
  }

  /// The same for trials that give several values each, always as many: they become things in the order of the trials.
  /// Of the trial `control` that is measured twice, the first value counts.
  init(
    rounds: Int, within seconds: Double = .infinity, trials: Int, control: Int? = nil,
    _ measure: (_ trial: Int, _ round: Int) throws -> [Double]
  ) rethrows {
    let order = Array(0..<trials) + (control.map { [$0] } ?? [])
    // Where the values of each place in the order begin.
    var starts: [Int] = []
    values = []
    let start = monotonicNanoseconds()
    for round in 0...rounds {
      if round > Self.roundsMin, Double(monotonicNanoseconds() - start) / 1e9 > seconds { break }
      for step in order.indices {
        let place = (step + round) % order.count
        let measured = try measure(order[place], round)
        if round == 0 {
          starts.append(values.count)
          values += Array(repeating: [], count: measured.count)
        } else {
          for (index, value) in measured.enumerated() { values[starts[place] + index].append(value) }
        }
      }
    }
    if let control { self.control = (starts[control], starts[trials]) }
  }

  /// What was measured elsewhere: one value a round, for each thing.
  init(values: [[Double]], control: (of: Int, again: Int)? = nil) {
    self.values = values
    self.control = control
  }

  /// How many rounds were kept.
  var rounds: Int { values.first?.count ?? 0 }

  /// A percentile over the rounds of one thing.
  func percentile(_ thing: Int, _ percent: Double) -> Double { Self.percentile(values[thing], percent) }

  /// The 10th and the 90th percentile over the rounds of one thing.
  func spread(_ thing: Int) -> BenchReport.Spread? { Self.spread(values[thing]) }

  /// The median over rounds of one thing divided by another of the same round.
  func ratio(_ one: Int, to other: Int) -> Double { Self.percentile(ratios(one, to: other), 50) }

  /// One ratio a round.
  private func ratios(_ one: Int, to other: Int) -> [Double] { zip(values[one], values[other]).map { $0 / $1 } }

  private static func percentile(_ values: [Double], _ percent: Double) -> Double {
    if values.isEmpty { return .nan }
    let sorted = values.sorted()
    return sorted[min(Int((Double(sorted.count) * percent / 100).rounded(.down)), sorted.count - 1)]
  }

  private static func spread(_ values: [Double]) -> BenchReport.Spread? {
    let (low, high) = (percentile(values, 10), percentile(values, 90))
    return low.isFinite && high.isFinite ? .init(low: low, high: high) : nil
  }
}

extension Interleaved {
  /// What ours is compared with.
  enum Rival {
    /// That thing of the same measurement; at most `goal` is aimed at for the ratio.
    case thing(_ name: String, Int, goal: Double? = nil)
    /// Not run, for that reason.
    case notRun(_ name: String, because: String)
  }

  /// A row: the thing `ours` compared with its floor and its peers.
  ///
  /// A ratio is ours divided by theirs where less is better, theirs divided by ours where more is, of the same round;
  /// reported is the median over rounds, with the 10th and the 90th percentile. Where there are `latencies` of single
  /// requests (in nanoseconds, and so is the row), the row's percentiles are taken over those, otherwise over rounds.
  func row(
    _ suite: BenchSuite, _ name: String, metric: String, unit: String, ours: Int,
    floor: (name: String, thing: Int)? = nil, peers: [Rival] = [], goal: BenchReport.Goal? = nil,
    better: BenchReport.Better = .less, waiting: BenchReport.Waiting? = nil, latencies: LatencySummary? = nil,
    curves: [BenchReport.Curve] = []
  ) -> BenchReport.Row {
    // The far end of what is good: of a rate, 99 % of the rounds had at least p99.
    func tail(_ percent: Double) -> Double { percentile(ours, better == .less ? percent : 100 - percent) }
    var row = BenchReport.Row(
      suite: suite.rawValue, name: name, metric: metric, unit: unit,
      p50: latencies.map { Double($0.p50) } ?? percentile(ours, 50),
      p99: latencies.map { Double($0.p99) } ?? tail(99), p999: latencies.map { Double($0.p999) } ?? tail(99.9))
    row.better = better
    row.waiting = waiting
    row.percentilesOver = latencies == nil ? .rounds : .requests
    row.rounds = rounds
    row.spread = spread(ours)
    row.curves = curves
    row.values = values[ours]
    row.controlNoise = controlNoise
    row.aim(goal)
    if let floor {
      row.floor = .init(name: floor.name, p50: percentile(floor.thing, 50), spread: spread(floor.thing))
      let compared = comparison(ours, floor.thing, better)
      row.compare(ratio: compared.ratio, spread: compared.spread)
      row.ratios = better == .less ? ratios(ours, to: floor.thing) : ratios(floor.thing, to: ours)
    }
    for peer in peers {
      switch peer {
      case .notRun(let name, let reason): row.peers.append(.init(name: name, notRun: reason))
      case .thing(let name, let thing, let goal):
        let compared = comparison(ours, thing, better)
        row.peers.append(
          .init(name: name, p50: percentile(thing, 50), ratio: compared.ratio, spread: compared.spread, goal: goal))
      }
    }
    return row
  }

  /// How far the thing that was measured twice is from itself.
  private var controlNoise: Noise? {
    guard let control else { return nil }
    let (ratio, spread) = comparison(control.again, control.of, .less)
    return Noise(median: ratio, spread: spread, rounds: rounds)
  }

  /// The row of the thing that was measured twice: A against A, 1 but for the noise. None where none was.
  func controlRow(
    _ suite: BenchSuite, of name: String, metric: String, unit: String, better: BenchReport.Better = .less,
    waiting: BenchReport.Waiting? = nil
  ) -> [BenchReport.Row] {
    guard let control else { return [] }
    var row = row(
      suite, "control: \(name) against itself", metric: metric, unit: unit, ours: control.again,
      floor: (name, control.of), better: better, waiting: waiting)
    row.isControl = true
    return [row]
  }

  private func comparison(_ ours: Int, _ theirs: Int, _ better: BenchReport.Better) -> (
    ratio: Double, spread: BenchReport.Spread?
  ) {
    let ratios = better == .less ? ratios(ours, to: theirs) : ratios(theirs, to: ours)
    return (Self.percentile(ratios, 50), Self.spread(ratios))
  }
}
