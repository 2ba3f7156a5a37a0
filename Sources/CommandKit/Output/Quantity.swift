/// A figure with its significant digits and its unit.
package enum Quantity {
  /// Three significant digits or the whole part, whichever is more.
  package static func number(_ value: Double) -> String {
    guard value.isFinite else { return "-" }
    switch abs(value) {
    case 0: return "0"
    case ..<0.000001: return "\(value)"
    case ..<0.001: return Figure.fixed(value, 6)
    case ..<0.9995: return Figure.fixed(value, 3)
    case ..<9.995: return Figure.fixed(value, 2)
    case ..<99.95: return Figure.fixed(value, 1)
    case ..<1e15: return (value < 0 ? "-" : "") + Figure.count(UInt64(abs(value).rounded()))
    default: return "\(value)"
    }
  }

  /// A ratio: two digits behind the point, more where they would say nothing: one that misses 1 by a hair is not 1.
  package static func ratio(_ ratio: Double) -> String {
    guard ratio.isFinite else { return "-" }
    switch abs(ratio) {
    case 0.995..<1, 1.0.nextUp..<1.005: return Figure.fixed(ratio, 3)
    case 0.095..<9.995: return Figure.fixed(ratio, 2)
    default: return number(ratio)
    }
  }

  /// A round number that somebody chose, without zeros that say nothing: `1.4`, `8`, `0.125`.
  package static func chosen(_ value: Double) -> String { trimmed(number(value)) }

  /// The same with its unit: `100 ns`, `1 µs`, `200 instructions`.
  package static func chosen(_ value: Double, _ unit: String) -> String {
    let words = text(value, unit).split(separator: " ", maxSplits: 1).map(String.init)
    return ([trimmed(words[0])] + words.dropFirst()).joined(separator: " ")
  }

  private static func trimmed(_ number: String) -> String {
    guard number.contains("."), !number.contains("e") else { return number }
    var number = number
    while number.last == "0" { number.removeLast() }
    if number.last == "." { number.removeLast() }
    return number
  }

  /// `1.02×`.
  package static func times(_ value: Double) -> String { value.isFinite ? "\(ratio(value))×" : "-" }

  /// `88 %`.
  package static func share(_ value: Double) -> String {
    guard value.isFinite else { return "-" }
    let isNear = value != 1 && abs(value - 1) < 0.015
    return "\(Figure.fixed(value * 100, value < 0.0995 || isNear ? 1 : 0)) %"
  }

  /// The nanoseconds of a unit of time.
  private static let times = ["ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9]

  package static func isTime(_ unit: String) -> Bool { times[unit] != nil }

  /// As people say it: `61.2 ns`, `12.3 µs`, `73.9 k requests/s`, `198 instructions`.
  package static func text(_ value: Double, _ unit: String) -> String {
    guard value.isFinite else { return "-" }
    if let nanoseconds = times[unit] {
      let value = value * nanoseconds
      switch abs(value) {
      case ..<999.5: return "\(number(value)) ns"
      case ..<999_500: return "\(number(value / 1e3)) µs"
      case ..<999_500_000: return "\(number(value / 1e6)) ms"
      default: return "\(number(value / 1e9)) s"
      }
    }
    if unit.hasSuffix("/s") {
      switch abs(value) {
      case ..<9999.5: break
      case ..<999_500: return "\(number(value / 1e3)) k \(unit)"
      default: return "\(number(value / 1e6)) M \(unit)"
      }
    }
    return unit.isEmpty ? number(value) : "\(number(value)) \(unit)"
  }
}
