import Histogram

/// Latencies of many requests, in nanoseconds, three significant digits.
package struct Latencies {
  private var histogram = Histogram<UInt64>(
    highestTrackableValue: 3_600_000_000_000, numberOfSignificantValueDigits: .three)

  package init() {}

  package mutating func record(_ nanoseconds: UInt64) { histogram.record(nanoseconds) }

  /// Takes in what another one has recorded.
  package mutating func add(_ other: Latencies) { histogram.add(other.histogram) }

  /// The latency at each step of a curve, `stepsPerHalf` steps in each half of what is left up to 100 %; empty where
  /// nothing was recorded.
  package func percentiles(stepsPerHalf: Int) -> [(percentile: Double, nanoseconds: UInt64)] {
    histogram.percentiles(ticksPerHalfDistance: stepsPerHalf).map { ($0.percentileLevelIteratedTo, $0.value) }
  }

  package var summary: LatencySummary {
    LatencySummary(
      count: UInt64(histogram.totalCount), p50: histogram.valueAtPercentile(50), p90: histogram.valueAtPercentile(90),
      p99: histogram.valueAtPercentile(99), p999: histogram.valueAtPercentile(99.9), max: histogram.max)
  }
}

/// Percentiles in nanoseconds.
package struct LatencySummary: Encodable {
  package let count: UInt64
  package let p50: UInt64
  package let p90: UInt64
  package let p99: UInt64
  package let p999: UInt64
  package let max: UInt64

  /// `p50 12.3 us, p90 ...`.
  package var text: String {
    "p50 \(Figure.duration(p50)), p90 \(Figure.duration(p90)), p99 \(Figure.duration(p99)), "
      + "p99.9 \(Figure.duration(p999)), max \(Figure.duration(max))"
  }
}
