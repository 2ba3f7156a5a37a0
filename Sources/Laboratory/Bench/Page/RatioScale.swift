/// The place of a ratio on the bars of a page: from 0 at the left, the same on all of them.
struct RatioScale {
  /// The ratio at the right end. What is longer is cut.
  let max: Double

  /// Right ends that divide into whole steps. With room for a peer that is forty times the floor nothing else would
  /// show.
  private static let ends = [3.0, 4, 5, 6]
  /// The room that a ratio needs around it, so that its spread shows.
  private static let margin = 1.05

  /// The shortest that holds all of them, or the longest there is.
  init(holding ratios: [Double], goals: [Double] = []) {
    let most = (ratios.map { $0 * Self.margin } + goals).filter(\.isFinite).max() ?? 1
    max = Self.ends.first { $0 >= most } ?? Self.ends[Self.ends.count - 1]
  }

  /// Percent of the width.
  func position(_ ratio: Double) -> Double { ratio.isFinite ? Swift.min(Swift.max(ratio / max, 0), 1) * 100 : 100 }

  func cuts(_ ratio: Double) -> Bool { !(ratio <= max) }

  /// The ratios that have a line.
  var ticks: [Int] { Array(0...Int(max)) }
}
