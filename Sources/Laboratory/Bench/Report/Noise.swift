import Glibc

/// The possible error of a measurement: a factor, 1 if nothing disturbed it.
struct Noise {
  let factor: Double

  /// Below this factor a measurement counts as undisturbed.
  static let tolerance = 1.05
  /// From this factor on it says nothing at all.
  static let factorMax = 2.0

  /// The standard error of a median is 1.25 standard deviations divided by the root of the number of rounds. From the
  /// 10th to the 90th percentile are 2.56 standard deviations. Half of a 95 % interval is 1.96 standard errors.
  private static let halfIntervalPerWidth = 1.96 * 1.25 / 2.56

  /// Of a thing measured twice, by the ratio of the two.
  init(ratio: Double) { factor = ratio > 0 ? max(ratio, 1 / ratio) : .infinity }

  /// Of a thing measured twice in several rounds: how far the median ratio is from 1, or could as well be.
  init(median: Double, spread: BenchReport.Spread?, rounds: Int) {
    var factor = Noise(ratio: median).factor
    if let spread, rounds > 1 {
      // Of one that is not positive the logarithm says nothing; the ratio then says nothing either.
      let width = spread.low > 0 && spread.high > 0 ? log(spread.high / spread.low) : .infinity
      factor = max(factor, exp(width * Self.halfIntervalPerWidth / Double(rounds).squareRoot()))
    }
    self.factor = factor
  }

  private init(factor: Double) { self.factor = factor }

  /// The worst of several; 1 of none.
  static func furthest(_ noise: [Noise]) -> Noise { Noise(factor: noise.map(\.factor).max() ?? 1) }

  /// Whether it counts as disturbed.
  var isNoticeable: Bool { !(factor <= Self.tolerance) }

  /// What comes of a goal, at most `goal`, for a ratio that was measured with this noise: undecided where the noise
  /// could be what made the difference.
  func verdict(_ ratio: Double, goal: Double) -> BenchReport.Verdict {
    if !isNoticeable { return ratio <= goal ? .met : .missed }
    if !(factor < Self.factorMax) { return .undecided }
    if ratio * factor <= goal { return .met }
    return ratio / factor > goal ? .missed : .undecided
  }
}
