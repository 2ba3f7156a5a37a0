/// Numbers as people read them.
package enum Figure {
  /// `850 ns`, `12.3 us`, `4.56 ms`, `1.20 s`.
  package static func duration(_ nanoseconds: UInt64) -> String {
    switch nanoseconds {
    case ..<1000: "\(nanoseconds) ns"
    case ..<1_000_000: "\(fixed(Double(nanoseconds) / 1e3, 1)) us"
    case ..<1_000_000_000: "\(fixed(Double(nanoseconds) / 1e6, 2)) ms"
    default: "\(fixed(Double(nanoseconds) / 1e9, 2)) s"
    }
  }

  /// With that many digits behind the point.
  package static func fixed(_ value: Double, _ digits: Int) -> String {
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

  /// A number that somebody chose, without zeros that say nothing: `99.9`, `50`.
  package static func chosen(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
  }

  /// `12,345`.
  package static func count(_ value: UInt64) -> String {
    var text = ""
    for (index, digit) in String(value).reversed().enumerated() {
      if index > 0, index % 3 == 0 { text.append(",") }
      text.append(digit)
    }
    return String(text.reversed())
  }

  /// `49.8 %`.
  package static func percent(_ part: UInt64, of whole: UInt64) -> String {
    whole == 0 ? "-" : "\(fixed(Double(part) * 100 / Double(whole), 1)) %"
  }

  /// `12.3 MiB/s`.
  package static func throughput(_ bytes: UInt64, seconds: Double) -> String {
    "\(fixed(Double(bytes) / seconds / 1_048_576, 1)) MiB/s"
  }
}
