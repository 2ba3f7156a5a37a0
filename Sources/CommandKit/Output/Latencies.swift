import Histogram

/// Latencies of many requests, in nanoseconds, three significant digits.
package struct Latencies: Sendable {
  private var histogram = Histogram<UInt64>(
    highestTrackableValue: 3_600_000_000_000, numberOfSignificantValueDigits: .three)

  package init() {}

  package mutating func record(_ nanoseconds: UInt64) { histogram.record(nanoseconds) }

  /// Takes in what another one has recorded.
  package mutating func add(_ other: Latencies) { histogram.add(other.histogram) }

  package var count: UInt64 { UInt64(histogram.totalCount) }

  /// The latency that so many percent stayed within.
  package func percentile(_ percent: Double) -> UInt64 { histogram.valueAtPercentile(percent) }

  /// The latency at each step of a curve, `stepsPerHalf` steps in each half of what is left up to 100 %; empty where
  /// nothing was recorded.
  package func percentiles(stepsPerHalf: Int) -> [(percentile: Double, nanoseconds: UInt64)] {
    histogram.percentiles(ticksPerHalfDistance: stepsPerHalf).map { ($0.percentileLevelIteratedTo, $0.value) }
  }

  package var summary: LatencySummary {
    LatencySummary(
      count: count, p50: histogram.valueAtPercentile(50), p90: histogram.valueAtPercentile(90),
      p99: histogram.valueAtPercentile(99), p999: histogram.valueAtPercentile(99.9), max: histogram.max)
  }

  /// With what fio reports too.
  package func detail(percentiles: [Double]) -> LatencyDetail {
    let isEmpty = count == 0
    return LatencyDetail(
      summary: summary, min: isEmpty ? 0 : histogram.min, mean: isEmpty ? 0 : histogram.mean,
      standardDeviation: isEmpty ? 0 : histogram.stdDeviation,
      percentiles: percentiles.map { .init(percent: $0, nanoseconds: histogram.valueAtPercentile($0)) })
  }
}

/// Percentiles in nanoseconds.
package struct LatencySummary: Encodable, Sendable {
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

/// What is known of the latencies of one kind of request, in nanoseconds.
package struct LatencyDetail: Encodable, Sendable {
  package struct Percentile: Encodable, Sendable {
    package let percent: Double
    package let nanoseconds: UInt64
  }

  package let summary: LatencySummary
  package let min: UInt64
  package let mean: Double
  package let standardDeviation: Double
  package let percentiles: [Percentile]

  private enum CodingKeys: String, CodingKey { case min, mean, standardDeviation, percentiles }

  /// The summary's fields and these, in one object.
  package func encode(to encoder: any Encoder) throws {
    try summary.encode(to: encoder)
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(min, forKey: .min)
    try fields.encode(mean, forKey: .mean)
    try fields.encode(standardDeviation, forKey: .standardDeviation)
    try fields.encode(percentiles, forKey: .percentiles)
  }

  /// `min 850 ns, mean 12.3 us, standard deviation 2.1 us`.
  package var text: String {
    "min \(Figure.duration(min)), mean \(Figure.duration(UInt64(mean))), "
      + "standard deviation \(Figure.duration(UInt64(standardDeviation)))"
  }

  /// `1 %: 850 ns, 5 %: ...`.
  package var percentileText: String {
    percentiles.map { "\(Figure.chosen($0.percent)) %: \(Figure.duration($0.nanoseconds))" }.joined(separator: ", ")
  }
}
