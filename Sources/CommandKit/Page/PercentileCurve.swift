/// A latency at each percentile. Values are in the unit of their chart.
package struct PercentileCurve: Encodable {
  package struct Point: Encodable {
    /// 0 to 100.
    package let percentile: Double
    package let value: Double

    package init(percentile: Double, value: Double) {
      self.percentile = percentile
      self.value = value
    }

    /// A pair, as programs that draw take it.
    package func encode(to encoder: any Encoder) throws {
      var pair = encoder.unkeyedContainer()
      try pair.encode(percentile)
      try pair.encode(value)
    }
  }

  package let name: String
  /// Growing percentiles, the last one 100.
  package let points: [Point]

  package init(name: String, points: [Point]) {
    self.name = name
    self.points = points
  }

  /// The latency that this share of the requests stayed within. Nil if there were too few requests to know.
  package func value(at percentile: Double) -> Double? {
    // The last point is the maximum, which stands for every percentile above the one before it.
    if percentile < 100, let last = points.dropLast().last, last.percentile < percentile { return nil }
    return points.first { $0.percentile >= percentile }?.value
  }
}

extension Latencies {
  /// Steps of a curve in each half of what is left up to 100 %: fine enough that a line through them is smooth.
  private static let stepsPerHalf = 5

  /// The latency at each percentile, in nanoseconds; empty where nothing was recorded.
  package func curve(_ name: String) -> PercentileCurve {
    PercentileCurve(
      name: name,
      points: percentiles(stepsPerHalf: Self.stepsPerHalf).map {
        .init(percentile: $0.percentile, value: Double($0.nanoseconds))
      })
  }
}
