import BatonCommandKit

extension Quantity {
  /// `0.98 to 1.05`.
  static func range(_ spread: BenchReport.Spread) -> String { "\(ratio(spread.low)) to \(ratio(spread.high))" }
}
