/// Histograms of latencies, one for each slice of a run's time, in the counts of HdrHistogram with three significant
/// digits: nothing is lost between this and its log.
///
/// While a run goes on, one dense array is counted in; at the end of a slice only what is not zero is kept. Cost of an
/// answer: an increment, and for the first of its value in the slice an entry in a list.
package struct IntervalHistograms: Sendable {
  /// The counts of one slice, growing in index.
  package struct Interval: Sendable, Equatable {
    package struct Count: Sendable, Equatable {
      package let index: Int
      package var count: UInt64

      package init(index: Int, count: UInt64) {
        self.index = index
        self.count = count
      }
    }
    package var counts: [Count]

    /// Of two hosts in the same slice.
    package func adding(_ other: Interval) -> Interval {
      var sum: [Count] = []
      var (one, two) = (counts[...], other.counts[...])
      while let first = one.first, let second = two.first {
        if first.index == second.index {
          sum.append(Count(index: first.index, count: first.count + second.count))
          one.removeFirst()
          two.removeFirst()
        } else if first.index < second.index {
          sum.append(first)
          one.removeFirst()
        } else {
          sum.append(second)
          two.removeFirst()
        }
      }
      return Interval(counts: sum + one + two)
    }
  }

  // HdrHistogram's layout for three significant digits: 2048 values of one unit, then 1024 values for each doubling.
  package static let significantDigits = 3
  package static let highest: UInt64 = 3_600_000_000_000
  private static let halfCount = 1024
  private static let unitMask: UInt64 = 2047
  private static let unitBits = 11

  /// The place of a value in HdrHistogram's array of counts.
  package static func index(of value: UInt64) -> Int {
    let value = min(value, highest)
    let bucket = UInt64.bitWidth - (value | unitMask).leadingZeroBitCount - unitBits
    return (bucket + 1) * halfCount + Int(value >> UInt64(bucket)) - halfCount
  }

  /// The greatest value that has its count there.
  package static func highestValue(at index: Int) -> UInt64 {
    let bucket = max(index / halfCount - 1, 0)
    let within = UInt64(index - bucket * halfCount)
    return (within + 1) << UInt64(bucket) - 1
  }

  private var counts: [UInt32]
  private var touched: [Int] = []
  package private(set) var intervals: [Interval] = []

  package init() { counts = Array(repeating: 0, count: Self.index(of: Self.highest) + 1) }

  package mutating func record(_ value: UInt64) {
    let index = Self.index(of: value)
    if counts[index] == 0 { touched.append(index) }
    counts[index] &+= 1
  }

  /// A slice is over.
  package mutating func endInterval() {
    touched.sort()
    intervals.append(Interval(counts: touched.map { .init(index: $0, count: UInt64(counts[$0])) }))
    for index in touched { counts[index] = 0 }
    touched.removeAll(keepingCapacity: true)
  }
}
