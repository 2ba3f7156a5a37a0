import BatonCommandKit
import Testing

@testable import BatonLaboratory

@Suite("Compare: intervals by ranks, on samples whose answer is known")
struct RankIntervalTests {
  @Test("Limits are those of the tables for a two-sided error of 1 %")
  func limits() {
    // Wilcoxon's signed-rank test: the greatest sum that is significant; below 8 pairs there is none.
    let signed = [7: nil, 8: 0, 9: 1, 10: 3, 12: 7, 15: 15, 20: 37, 25: 68] as [Int: Int?]
    for (count, limit) in signed { #expect(RankInterval.signedRankLimit(count) == limit, "\(count) pairs") }
    // The test of Mann and Whitney: the greatest U that is significant.
    let sums: [(Int, Int, Int?)] = [
      (3, 3, nil), (4, 6, 0), (5, 5, 0), (6, 6, 2), (8, 8, 7), (10, 10, 16), (20, 20, 105), (10, 15, 29), (15, 10, 29),
    ]
    for (one, other, limit) in sums {
      #expect(RankInterval.rankSumLimit(one, other) == limit, "\(one) and \(other) values")
    }
    #expect(RankInterval.rankSumLimit(0, 5) == nil)
  }

  @Test("The estimate of pairs is the median of the means of any two, and few pairs say nothing")
  func paired() {
    let interval = RankInterval(paired: [1, 2, 10])
    // 1, 1.5, 2, 5.5, 6, 10.
    #expect(interval.estimate == 3.75)
    #expect(interval.low == -.infinity && interval.high == .infinity)
    let eight = RankInterval(paired: [1, 2, 3, 4, 5, 6, 7, 8])
    #expect(eight == RankInterval(paired: [8, 1, 7, 2, 6, 3, 5, 4]))
    #expect(eight.estimate == 4.5 && eight.low == 1 && eight.high == 8)
  }

  @Test("The estimate of two samples is the median of all differences")
  func unpaired() {
    let interval = RankInterval([1, 5], minus: [0, 2])
    // 1, -1, 5, 3.
    #expect(interval.estimate == 2 && interval.low == -.infinity)
    let apart = RankInterval((11...20).map(Double.init), minus: (1...10).map(Double.init))
    #expect(apart.estimate == 10 && apart.low > 0)
  }

  /// From a distribution with a long tail, as times have it, with that median.
  private func draw(_ count: Int, median: Double, _ random: inout SplitMix64) -> [Double] {
    (0..<count).map { _ in
      // The middle of three, and now and then one far above.
      let middle = [random.unit(), random.unit(), random.unit()].sorted()[1]
      return median * (1 + 0.1 * (middle - 0.5)) * (random.below(10) == 0 ? 1 + random.unit() : 1)
    }
  }

  /// Of so many comparisons of things that differ by a factor, the verdicts.
  private func verdicts(_ factor: Double, rounds: Int, times: Int, isPaired: Bool, seed: UInt64)
    -> [ComparisonVerdict: Int]
  {
    var random = SplitMix64(seed: seed)
    var counts: [ComparisonVerdict: Int] = [:]
    for _ in 0..<times {
      let ones = draw(rounds, median: factor, &random)
      let others = draw(rounds, median: 1, &random)
      let interval =
        isPaired
        ? RankInterval(paired: zip(ones, others).map { $0 - $1 })
        : RankInterval(ones, minus: others)
      // Of differences around 0, not of logarithms: the same question.
      let verdict = ComparisonVerdict(ratioFrom: 1 + interval.low, to: 1 + interval.high, noise: 1)
      counts[verdict, default: 0] += 1
    }
    return counts
  }

  @Test("Equal things are said to differ in one of a hundred comparisons", arguments: [true, false])
  func equal(isPaired: Bool) {
    let counts = verdicts(1, rounds: 20, times: 600, isPaired: isPaired, seed: 11)
    let wrong = counts[.better, default: 0] + counts[.worse, default: 0]
    // 6 are expected; four deviations are 10.
    #expect(wrong <= 16, "\(counts)")
  }

  @Test("A difference of 5 % of things that vary by 10 % is found in 40 rounds", arguments: [true, false])
  func different(isPaired: Bool) {
    for (factor, expected) in [(1.05, ComparisonVerdict.worse), (1 / 1.05, .better)] {
      let counts = verdicts(factor, rounds: 40, times: 50, isPaired: isPaired, seed: 12)
      #expect(counts[expected, default: 0] >= 45, "\(counts)")
    }
  }

  @Test("What the control shows as noise is no difference")
  func noise() {
    #expect(ComparisonVerdict(ratioFrom: 1.02, to: 1.06, noise: 1) == .worse)
    #expect(ComparisonVerdict(ratioFrom: 1.02, to: 1.06, noise: 1.03) == .undecided)
    #expect(ComparisonVerdict(ratioFrom: 0.9, to: 0.95, noise: 1.03) == .better)
    #expect(ComparisonVerdict(ratioFrom: 0.9, to: 0.98, noise: 1.03) == .undecided)
    #expect(ComparisonVerdict(ratioFrom: 0.1, to: 0.2, noise: 2) == .undecided)
    #expect(ComparisonVerdict(ratioFrom: 0.9, to: 1.1, noise: 1) == .undecided)
    #expect(ComparisonVerdict(ratioFrom: -.infinity, to: .infinity, noise: 1) == .undecided)
  }
}
