import Baton
import BatonCommandKit
import Glibc

/// Two things compared, figure by figure, for people and programs.
struct Comparison: Encodable {
  struct Row: Encodable {
    let name: String
    let unit: String
    /// Medians.
    let a: Double
    let b: Double
    /// B relative to A, so that less than 1 is better; with its interval, null where there are too few rounds.
    let ratio: Double
    @OrNull var low: Double?
    @OrNull var high: Double?
    let rounds: Int
    /// The same thing compared with itself in the same run; null where that was not measured.
    @OrNull var control: Double?
    let verdict: ComparisonVerdict
    /// The reason where it is undecided whatever the figures are.
    @OrNull var remark: String?
  }

  let a: String
  let b: String
  /// Of each verdict, in percent.
  let confidence: Double
  var rows: [Row] = []
  var remarks: [String] = []

  init(a: String, b: String) {
    self.a = a
    self.b = b
    confidence = (1 - RankInterval.error) * 100
  }

  /// Adds a figure that was measured in rounds, of which each had both.
  mutating func add(
    paired name: String, unit: String, a: [Double], b: [Double], again: [Double]? = nil, lessIsBetter: Bool = true
  ) {
    let sign = lessIsBetter ? 1.0 : -1
    let interval = RankInterval(paired: zip(a, b).map { sign * log($1 / $0) })
    let control = again.map { again in RankInterval(paired: zip(a, again).map { log($1 / $0) }) }
    // A control whose whole interval is off has found a difference where there is none.
    let isOff = control.map { $0.low > 0 || $0.high < 0 } ?? false
    append(
      name, unit, a, b, interval, rounds: min(a.count, b.count), control: control.map { exp($0.estimate) },
      noise: isOff ? exp(abs(control?.estimate ?? 0)) : 1)
  }

  /// Adds a figure of two runs that have nothing to do with each other. `noise` is what their controls have shown.
  mutating func add(
    apart name: String, unit: String, a: [Double], b: [Double], noise: Double, lessIsBetter: Bool = true
  ) {
    let sign = lessIsBetter ? 1.0 : -1
    let interval = RankInterval(b.map { sign * log($0) }, minus: a.map { sign * log($0) })
    append(name, unit, a, b, interval, rounds: min(a.count, b.count), control: nil, noise: noise)
  }

  private mutating func append(
    _ name: String, _ unit: String, _ a: [Double], _ b: [Double], _ interval: RankInterval, rounds: Int,
    control: Double?, noise: Double
  ) {
    let (low, high) = (exp(interval.low), exp(interval.high))
    let isKnown = interval.low.isFinite && interval.high.isFinite
    rows.append(
      Row(
        name: name, unit: unit, a: Self.median(a), b: Self.median(b), ratio: exp(interval.estimate),
        low: isKnown ? low : nil, high: isKnown ? high : nil, rounds: rounds, control: control,
        verdict: ComparisonVerdict(
          ratioFrom: isKnown ? low : -.infinity, to: isKnown ? high : .infinity, noise: noise),
        remark: isKnown ? (noise > 1 ? "the control is off" : nil) : "too few rounds"))
  }

  private static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? .nan : sorted[sorted.count / 2]
  }

  var text: String {
    var table = Table("figure", "A", "B", "B to A", "99 % interval", "control", "rounds", "verdict")
    for row in rows {
      let interval =
        row.low.flatMap { low in row.high.map { "\(Quantity.ratio(low)) to \(Quantity.ratio($0))" } } ?? "-"
      table.add(
        row.name, Quantity.text(row.a, row.unit), Quantity.text(row.b, row.unit), Quantity.ratio(row.ratio), interval,
        row.control.map { Quantity.ratio($0) } ?? "-", "\(row.rounds)",
        row.verdict.rawValue + (row.remark.map { " (\($0))" } ?? ""))
    }
    return
      (["A is \(a)", "B is \(b)", "", table.text, "", "B to A: less than 1 is better, for times and for rates."]
      + remarks).joined(separator: "\n")
  }
}
