import Glibc

/// How random offsets are spread over the blocks, in fio's words.
package enum RandomDistribution: Sendable, Equatable {
  /// Each block as often as any other.
  case uniform
  /// The block of rank k is asked for in proportion to 1 / k^theta.
  case zipf(theta: Double)
  /// A share h of the requests goes to a share 1 - h of the blocks, again within those, and so on.
  case pareto(h: Double)

  /// `random`, `zipf`, `zipf:1.2`, `pareto`, `pareto:0.2`; nil: none of these.
  package init?(parsing word: String) {
    let parts = word.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let value = parts.count == 2 ? Double(parts[1]) : nil
    if parts.count == 2, value == nil { return nil }
    switch parts[0] {
    case "random" where parts.count == 1: self = .uniform
    case "zipf":
      // fio's default, and its limits.
      let theta = value ?? 1.1
      guard theta > 0, theta <= 100 else { return nil }
      self = .zipf(theta: theta)
    case "pareto":
      let h = value ?? 0.2
      guard h > 0, h < 1 else { return nil }
      self = .pareto(h: h)
    default: return nil
    }
  }

  /// As it is typed.
  package var name: String {
    switch self {
    case .uniform: "random"
    case .zipf(let theta): "zipf:\(theta)"
    case .pareto(let h): "pareto:\(h)"
    }
  }
}

/// Draws block numbers as a distribution says, in constant time and memory whatever their number.
///
/// Ranks are scattered over the blocks by a multiplication modulo their number, so that the popular ones do not lie
/// next to each other, and no two ranks share a block.
package struct BlockChooser {
  private let count: UInt64
  private let kind: RandomDistribution
  /// Without a common divisor with the number of blocks: multiplying by it permutes them.
  private let scatter: UInt64
  // Zipf, by rejection-inversion: W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates from
  // monotone discrete distributions", ACM TOMACS 6 (1996). The density is inverted as if it were continuous, and the
  // few draws that this gets wrong are drawn again.
  private var theta = 0.0
  private var areaAtFirst = 0.0
  private var areaAtLast = 0.0
  private var sureWithin = 0.0
  // Pareto: rank = count * u^power.
  private var power = 1.0

  package init(_ kind: RandomDistribution, count: UInt64) {
    self.count = count
    self.kind = kind
    // The golden section of the blocks keeps neighbouring ranks far apart.
    var step = max(UInt64(Double(count) * 0.6180339887498949), 1)
    while Self.commonDivisor(step, count) != 1 { step += 1 }
    scatter = step
    switch kind {
    case .uniform: break
    case .zipf(let theta):
      self.theta = theta
      areaAtFirst = area(1.5) - 1
      areaAtLast = area(Double(count) + 0.5)
      sureWithin = 2 - place(ofArea: area(2.5) - density(2))
    case .pareto(let h): power = log(h) / log(1 - h)
    }
  }

  private static func commonDivisor(_ one: UInt64, _ other: UInt64) -> UInt64 {
    var (one, other) = (one, other)
    while other != 0 { (one, other) = (other, one % other) }
    return one
  }

  package mutating func next(_ random: inout SplitMix64) -> UInt64 {
    if case .uniform = kind { return random.below(count) }
    let rank = rank(&random)
    // A product of less than count times count, divided by count: the quotient fits.
    let product = rank.multipliedFullWidth(by: scatter)
    return count.dividingFullWidth(product).remainder
  }

  /// From 0; the lower the more popular.
  package func rank(_ random: inout SplitMix64) -> UInt64 {
    switch kind {
    case .uniform: return random.below(count)
    case .pareto: return min(UInt64(Double(count) * pow(random.unit(), power)), count - 1)
    case .zipf:
      while true {
        let drawn = areaAtLast + random.unit() * (areaAtFirst - areaAtLast)
        let place = place(ofArea: drawn)
        let rank = min(max((place + 0.5).rounded(.down), 1), Double(count))
        if rank - place <= sureWithin || drawn >= area(rank + 0.5) - density(rank) { return UInt64(rank) - 1 }
      }
    }
  }

  private func density(_ place: Double) -> Double { exp(-theta * log(place)) }

  /// The integral of the density, also where theta is 1: (x^(1 - theta) - 1) / (1 - theta).
  private func area(_ place: Double) -> Double {
    let logarithm = log(place)
    let exponent = (1 - theta) * logarithm
    // The limit for small exponents, where the quotient would lose its digits.
    let quotient = abs(exponent) > 1e-8 ? expm1(exponent) / exponent : 1 + exponent / 2
    return quotient * logarithm
  }

  private func place(ofArea area: Double) -> Double {
    let scaled = max(area * (1 - theta), -1)
    let quotient = abs(scaled) > 1e-8 ? log1p(scaled) / scaled : 1 - scaled / 2
    return exp(quotient * area)
  }
}
