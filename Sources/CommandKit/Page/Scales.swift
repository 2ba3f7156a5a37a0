import Glibc

/// The place of a percentile: each nine takes the same width, as HdrHistogram's plots have it.
package struct PercentileScale {
  /// Nines at the right end.
  package let nines: Double

  /// From 99 % on an axis says something; nobody measures more than ten nines.
  private static let ninesRange = 2.0...10.0

  package init(holding curves: [PercentileCurve]) {
    let most = curves.flatMap(\.points).filter { $0.percentile < 100 }.map { Self.nines($0.percentile) }.max() ?? 0
    // Rounding must not give one more nine to 99.99 %.
    let whole = (most - 1e-6).rounded(.up)
    nines = Swift.min(Swift.max(whole, Self.ninesRange.lowerBound), Self.ninesRange.upperBound)
  }

  private static func nines(_ percentile: Double) -> Double { -log10(1 - percentile / 100) }

  /// Percent of the width. 100 % is at infinity, and so at the end.
  package func position(_ percentile: Double) -> Double {
    if percentile >= 100 { return 100 }
    return Swift.min(Self.nines(Swift.max(percentile, 0)) / nines, 1) * 100
  }

  /// Percentiles that have a line, as they are written.
  package var ticks: [(position: Double, name: String)] {
    (0...Int(nines)).map { count in
      let name =
        switch count {
        case 0: "0"
        case 1: "90"
        case 2: "99"
        default: "99." + String(repeating: "9", count: count - 2)
        }
      return (Double(count) / nines * 100, name)
    }
  }
}

/// The place of a value on an axis of powers of ten, from bottom to top.
package struct LogScale {
  /// The ends.
  package let low: Double
  package let high: Double
  /// Values that have a line, growing.
  package let ticks: [Double]

  /// If there would be more lines than this, only whole powers have one.
  private static let ticksMax = 8
  /// Beyond these the steps themselves are no numbers any more.
  private static let least = 1e-300
  private static let most = 1e300

  /// From the last step of 1, 2 and 5 that is not above the lowest value to the first that is not below the highest.
  package init(holding values: [Double]) {
    let usable = values.filter { $0.isFinite && $0 > 0 }.map { Swift.min(Swift.max($0, Self.least), Self.most) }
    let least = usable.min() ?? 1
    let most = usable.max() ?? least
    let powers = Int(log10(least).rounded(.down))...(Int(log10(most).rounded(.down)) + 1)
    let steps = powers.flatMap { power in [1, 2, 5].map { (value: $0 * pow(10, Double(power)), isWhole: $0 == 1) } }
    let begin = steps.lastIndex { $0.value <= least } ?? 0
    let end = steps[(begin + 1)...].firstIndex { $0.value >= most } ?? steps.count - 1
    low = steps[begin].value
    high = steps[end].value
    let within = steps[begin...end]
    ticks = (within.count <= Self.ticksMax ? Array(within) : within.filter(\.isWhole)).map(\.value)
  }

  /// Percent of the height, from below. What is not above zero lies at the bottom.
  package func position(_ value: Double) -> Double {
    guard value > 0, value.isFinite else { return value > 0 ? 100 : 0 }
    let share = (log10(value) - log10(low)) / (log10(high) - log10(low))
    return Swift.min(Swift.max(share, 0), 1) * 100
  }
}
