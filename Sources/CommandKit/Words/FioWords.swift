import ArgumentParser
import Baton
import BatonSystem

// Values in fio's forms. Times without a unit are in the unit that fio takes.

extension RunTime {
  /// Nanoseconds, from a number with a unit, or without one in `unit` nanoseconds.
  ///
  /// - Throws: an error that lists what is accepted.
  package static func nanoseconds(parsing word: String, unit: UInt64) throws -> UInt64 {
    let isBare = word.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2e }
    let nanoseconds = try seconds(parsing: word) * (isBare ? Double(unit) : 1e9)
    guard nanoseconds <= 1e18 else { throw ValidationError("'\(word)' is too long a time") }
    return UInt64(nanoseconds)
  }

  /// From microseconds, where no unit is given.
  package static func fromMicroseconds(parsing word: String) throws -> UInt64 {
    try nanoseconds(parsing: word, unit: 1000)
  }

  /// From seconds, where no unit is given.
  package static func fromSeconds(parsing word: String) throws -> UInt64 {
    try nanoseconds(parsing: word, unit: 1_000_000_000)
  }
}

/// Percentiles as fio's percentile_list has them: `50:99:99.9`.
package struct PercentileList: Sendable, Equatable {
  package let percents: [Double]

  /// fio's own list.
  package static let standard = PercentileList(percents: [
    1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.5, 99.9, 99.95, 99.99,
  ])
  /// As many as fio takes.
  private static let countMax = 20

  private init(percents: [Double]) { self.percents = percents }

  package init(parsing word: String) throws {
    let numbers = word.split(separator: ":", omittingEmptySubsequences: false).map { Double($0) }
    let percents = numbers.compactMap { $0 }.filter { $0 > 0 && $0 <= 100 }
    guard percents.count == numbers.count, percents.count <= Self.countMax else {
      throw ValidationError(
        "'\(word)' is not a list of percentiles; use up to \(Self.countMax) numbers from 0 to 100, such as 50:99:99.9")
    }
    self.percents = percents.sorted()
  }
}

extension PacingPlan.Arrivals: ExpressibleByArgument {}
