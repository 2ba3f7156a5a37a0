import Baton
import BatonSystem

/// The sizes of requests: one, a range, or a choice with shares. All are multiples of the grain, the unit in which
/// requests are placed and verified.
package struct RequestSizes: Sendable, Equatable {
  private struct Choice: Equatable {
    let bytes: Int
    /// Of 100, this choice and those before it.
    let percentUpTo: UInt64
  }

  /// All multiples of the smallest up to the largest where there are no choices.
  private let choices: [Choice]
  package let min: Int
  package let max: Int
  package let grain: Int

  /// Requests of one size.
  package init(_ bytes: Int) {
    choices = []
    min = bytes
    max = bytes
    grain = bytes
  }

  /// Every multiple of `least` up to `most`, each as often.
  package init(from least: Int, to most: Int) {
    choices = []
    min = least
    max = most / least * least
    grain = least
  }

  /// `4k-64k`, as fio's bsrange has it; nil if it is no range.
  package init?(range word: String) {
    let ends = word.split(separator: "-", omittingEmptySubsequences: false).map { ByteCount.parse($0) }
    guard ends.count == 2, let least = ends[0], let most = ends[1], least > 0, least <= most, most <= 1 << 30 else {
      return nil
    }
    self.init(from: Int(least), to: Int(most))
  }

  /// `4k/60:64k/40`, as fio's bssplit has it: sizes with their shares in percent. Sizes without a share have equal
  /// parts of what is left of 100. Nil if it is none.
  package init?(split word: String) {
    var sizes: [(bytes: Int, percent: UInt64?)] = []
    for part in word.split(separator: ":", omittingEmptySubsequences: false) {
      let fields = part.split(separator: "/", omittingEmptySubsequences: false)
      guard (1...2).contains(fields.count), let bytes = ByteCount.parse(fields[0]), bytes > 0, bytes <= 1 << 30 else {
        return nil
      }
      var percent: UInt64?
      if fields.count == 2, !fields[1].isEmpty {
        guard let share = UInt64(fields[1]), share <= 100 else { return nil }
        percent = share
      }
      sizes.append((Int(bytes), percent))
    }
    let given = sizes.reduce(0) { $0 + ($1.percent ?? 0) }
    let open = UInt64(sizes.count { $0.percent == nil })
    guard !sizes.isEmpty, given <= 100, open > 0 || given == 100 else { return nil }
    var total: UInt64 = 0
    var openTaken: UInt64 = 0
    var choices: [Choice] = []
    for size in sizes {
      if let percent = size.percent {
        total += percent
      } else {
        // Shares that add up to what is left, whatever it is divided by.
        total += (100 - given) * (openTaken + 1) / open - (100 - given) * openTaken / open
        openTaken += 1
      }
      choices.append(Choice(bytes: size.bytes, percentUpTo: total))
    }
    self.choices = choices
    min = sizes.map(\.bytes).min()!
    max = sizes.map(\.bytes).max()!
    grain = sizes.reduce(0) { Self.commonDivisor($0, $1.bytes) }
  }

  private static func commonDivisor(_ one: Int, _ other: Int) -> Int {
    other == 0 ? one : commonDivisor(other, one % other)
  }

  /// The size of the next request, in grains.
  package func next(_ random: inout SplitMix64) -> Int {
    if min == max { return max / grain }
    if choices.isEmpty { return 1 + Int(random.below(UInt64(max / grain))) }
    let drawn = random.below(100)
    for choice in choices where drawn < choice.percentUpTo { return choice.bytes / grain }
    return choices[choices.count - 1].bytes / grain
  }
}
