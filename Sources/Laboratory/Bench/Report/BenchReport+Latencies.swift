import BatonCommandKit

extension Latencies {
  /// Steps of a curve in each half of what is left up to 100 %: fine enough that a line through them is smooth.
  private static let stepsPerHalf = 5

  /// The latency at each percentile, in nanoseconds; empty where nothing was recorded.
  func curve(_ name: String) -> BenchReport.Curve {
    BenchReport.Curve(
      name: name,
      points: percentiles(stepsPerHalf: Self.stepsPerHalf).map {
        .init(percentile: $0.percentile, value: Double($0.nanoseconds))
      })
  }
}
