import Glibc
import Synchronization

/// How much one thing differs from another, with an interval that holds the truth in 99 of 100 measurements, whatever
/// the distribution of the noise: by ranks alone, so a stalled round costs no more than any other bad one.
struct RankInterval: Equatable {
  /// The difference, and the ends of the interval. Infinite ends: too few values to say anything.
  let estimate: Double
  let low: Double
  let high: Double

  /// Of 100 measurements of equal things, one may be said to differ.
  static let error = 0.01

  /// Of differences that belong together in pairs: the median of the means of any two (Hodges and Lehmann), with the
  /// interval of Wilcoxon's signed-rank test.
  init(paired differences: [Double]) {
    let count = differences.count
    var means: [Double] = []
    means.reserveCapacity(count * (count + 1) / 2)
    for (index, one) in differences.enumerated() {
      for other in differences[index...] { means.append((one + other) / 2) }
    }
    self.init(sorted: means.sorted(), beyond: Self.signedRankLimit(count))
  }

  /// Of two samples that have nothing to do with each other: the median of all differences, with the interval of the
  /// test of Mann and Whitney.
  init(_ ones: [Double], minus others: [Double]) {
    var differences: [Double] = []
    differences.reserveCapacity(ones.count * others.count)
    for one in ones { for other in others { differences.append(one - other) } }
    self.init(sorted: differences.sorted(), beyond: Self.rankSumLimit(ones.count, others.count))
  }

  private init(sorted: [Double], beyond limit: Int?) {
    if sorted.isEmpty {
      (estimate, low, high) = (.nan, -.infinity, .infinity)
      return
    }
    let middle = sorted.count / 2
    estimate = sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    if let limit, limit < sorted.count - 1 - limit {
      (low, high) = (sorted[limit], sorted[sorted.count - 1 - limit])
    } else {
      (low, high) = (-.infinity, .infinity)
    }
  }

  /// How many of the smallest means lie outside: the most, so that the statistic of equal things is that or less with
  /// half of the error at most. Nil: not even none.
  static func signedRankLimit(_ count: Int) -> Int? {
    if count > exactMax {
      let size = Double(count) * Double(count + 1)
      return normalLimit(mean: size / 4, variance: size * Double(2 * count + 1) / 24)
    }
    return remembered(count, nil) { countSignedRanks(count) }
  }

  private static func countSignedRanks(_ count: Int) -> Int? {
    // The number of ways in which the ranks 1 to `count`, each with or without a sign, add up to each sum.
    let most = count * (count + 1) / 2
    var ways = [Double](repeating: 0, count: most + 1)
    ways[0] = 1
    for rank in stride(from: 1, through: count, by: 1) {
      for sum in stride(from: most, through: rank, by: -1) { ways[sum] += ways[sum - rank] }
    }
    return limit(ways)
  }

  /// The same for two samples of those sizes.
  static func rankSumLimit(_ one: Int, _ other: Int) -> Int? {
    if one == 0 || other == 0 { return nil }
    if max(one, other) > exactMax {
      let most = Double(one * other)
      return normalLimit(mean: most / 2, variance: most * Double(one + other + 1) / 12)
    }
    return remembered(one, other) { countRankSums(one, other) }
  }

  private static func countRankSums(_ one: Int, _ other: Int) -> Int? {
    let most = one * other
    // The number of ways in which so many of `one` lie behind so many of `other`: the recurrence of Mann and Whitney.
    var before = [[Double]](repeating: [1] + Array(repeating: 0, count: most), count: other + 1)
    for _ in 0..<one {
      var row = [[1] + [Double](repeating: 0, count: most)]
      for columns in 1...other {
        var ways = row[columns - 1]
        for sum in stride(from: most, through: columns, by: -1) { ways[sum] += before[columns][sum - columns] }
        row.append(ways)
      }
      before = row
    }
    return limit(before[other])
  }

  /// A limit depends on the numbers of values alone, and a report has many rows of as many rounds.
  private static func remembered(_ one: Int, _ other: Int?, _ count: () -> Int?) -> Int? {
    let key = [one, other ?? -1]
    if let known = limits.withLock({ $0[key] }) { return known }
    let limit = count()
    limits.withLock { $0[key] = limit }
    return limit
  }

  private static let limits = Mutex<[[Int]: Int?]>([:])

  /// Above this many values the sums are as good as normally distributed, and counting them would take long.
  private static let exactMax = 50
  /// Of a normal distribution, half of the error lies beyond so many deviations.
  private static let deviations = 2.5758

  private static func normalLimit(mean: Double, variance: Double) -> Int? {
    let limit = (mean - deviations * variance.squareRoot() - 0.5).rounded(.down)
    return limit < 0 ? nil : Int(limit)
  }

  /// The greatest sum that is reached or undercut with half of the error at most.
  private static func limit(_ ways: [Double]) -> Int? {
    let total = ways.reduce(0, +)
    var sum = 0.0
    for (index, count) in ways.enumerated() {
      sum += count
      if sum > total * error / 2 { return index == 0 ? nil : index - 1 }
    }
    return nil
  }
}

/// What comes of a comparison, for the thing that is compared.
enum ComparisonVerdict: String, Encodable {
  case better, worse, undecided

  /// Of a ratio that is below 1 where it is better: decided only if its whole interval lies on one side of 1, and is
  /// further from it than the noise that the run's control has shown.
  init(ratioFrom low: Double, to high: Double, noise: Double) {
    if !(noise < Noise.factorMax) || !low.isFinite || !high.isFinite {
      self = .undecided
    } else if high * noise < 1 {
      self = .better
    } else if low > noise {
      self = .worse
    } else {
      self = .undecided
    }
  }
}
