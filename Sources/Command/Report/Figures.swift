import Baton
import BatonSharedMemory
import Glibc
import Histogram

/// Latencies of many requests, in nanoseconds, three significant digits.
struct Latencies {
  private var histogram = Histogram<UInt64>(
    highestTrackableValue: 3_600_000_000_000, numberOfSignificantValueDigits: .three)

  mutating func record(_ nanoseconds: UInt64) { histogram.record(nanoseconds) }

  /// Takes in what another one has recorded.
  mutating func add(_ other: Latencies) { histogram.add(other.histogram) }

  /// Steps of a curve in each half of what is left up to 100 %: fine enough that a line through them is smooth.
  private static let stepsPerHalf = 5

  /// The latency at each percentile, in nanoseconds; empty where nothing was recorded.
  func curve(_ name: String) -> BenchReport.Curve {
    BenchReport.Curve(
      name: name,
      points: histogram.percentiles(ticksPerHalfDistance: Self.stepsPerHalf).map {
        .init(percentile: $0.percentileLevelIteratedTo, value: Double($0.value))
      })
  }

  var summary: LatencySummary {
    LatencySummary(
      count: UInt64(histogram.totalCount), p50: histogram.valueAtPercentile(50), p90: histogram.valueAtPercentile(90),
      p99: histogram.valueAtPercentile(99), p999: histogram.valueAtPercentile(99.9), max: histogram.max)
  }
}

/// Percentiles in nanoseconds.
struct LatencySummary: Encodable {
  let count: UInt64
  let p50: UInt64
  let p90: UInt64
  let p99: UInt64
  let p999: UInt64
  let max: UInt64

  /// `p50 12.3 us, p90 ...`.
  var text: String {
    "p50 \(Figure.duration(p50)), p90 \(Figure.duration(p90)), p99 \(Figure.duration(p99)), "
      + "p99.9 \(Figure.duration(p999)), max \(Figure.duration(max))"
  }
}

/// Numbers as people read them.
enum Figure {
  /// `850 ns`, `12.3 us`, `4.56 ms`, `1.20 s`.
  static func duration(_ nanoseconds: UInt64) -> String {
    switch nanoseconds {
    case ..<1000: "\(nanoseconds) ns"
    case ..<1_000_000: "\(fixed(Double(nanoseconds) / 1e3, 1)) us"
    case ..<1_000_000_000: "\(fixed(Double(nanoseconds) / 1e6, 2)) ms"
    default: "\(fixed(Double(nanoseconds) / 1e9, 2)) s"
    }
  }

  /// With that many digits behind the point.
  static func fixed(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite else { return "-" }
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let scaled = (abs(value) * scale).rounded()
    // Beyond this a whole number does not hold it.
    if scaled >= 1e18 { return "\(value)" }
    let whole = UInt64(scaled)
    let sign = value < 0 && whole > 0 ? "-" : ""
    if digits == 0 { return "\(sign)\(whole)" }
    let divisor = UInt64(scale)
    let fraction = String(whole % divisor)
    return "\(sign)\(whole / divisor).\(String(repeating: "0", count: digits - fraction.count))\(fraction)"
  }

  /// `12,345`.
  static func count(_ value: UInt64) -> String {
    var text = ""
    for (index, digit) in String(value).reversed().enumerated() {
      if index > 0, index % 3 == 0 { text.append(",") }
      text.append(digit)
    }
    return String(text.reversed())
  }

  /// `49.8 %`.
  static func percent(_ part: UInt64, of whole: UInt64) -> String {
    whole == 0 ? "-" : "\(fixed(Double(part) * 100 / Double(whole), 1)) %"
  }

  /// `12.3 MiB/s`.
  static func throughput(_ bytes: UInt64, seconds: Double) -> String {
    "\(fixed(Double(bytes) / seconds / 1_048_576, 1)) MiB/s"
  }
}
