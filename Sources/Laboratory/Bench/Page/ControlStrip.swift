import BatonCommandKit

/// The difference between two measurements of one thing: a dot on a short scale around 1, with its spread.
enum ControlStrip {
  /// Ends of the scale. What lies beyond is drawn at its end.
  private static let range = 0.75...1.25
  /// The range that counts as undisturbed.
  private static let band = 0.95...1.05

  static func item(_ row: BenchReport.Row) -> Markup {
    guard let ratio = row.ratioToFloor else { return tag("li", [:], Markup(row.name)) }
    return tag(
      "li", [:],
      BarChart.said(
        row.floor?.name ?? row.name, note: row.waiting?.rawValue,
        values: (row.ratioSpread.map { Quantity.range($0) } ?? "", Quantity.times(ratio))),
      drawing(row, ratio))
  }

  private static func drawing(_ row: BenchReport.Row, _ ratio: Double) -> Markup {
    func percent(_ ratio: Double) -> String {
      let inside = min(max(ratio, range.lowerBound), range.upperBound)
      return "\(Figure.fixed((inside - range.lowerBound) / (range.upperBound - range.lowerBound) * 100, 2))%"
    }
    let width = (band.upperBound - band.lowerBound) / (range.upperBound - range.lowerBound) * 100
    var parts: [Markup] = [
      tag("title", [:], Markup("\(row.name): \(Quantity.times(ratio))")),
      void("line", ["class": "rail", "x1": "0", "x2": "100%", "y1": "10", "y2": "10"]),
      void(
        "rect",
        [
          "class": "band", "x": percent(band.lowerBound), "width": "\(Figure.fixed(width, 2))%", "y": "2",
          "height": "16",
        ]),
      void("line", ["class": "grid one", "x1": percent(1), "x2": percent(1), "y1": "0", "y2": "20"]),
    ]
    if let spread = row.ratioSpread {
      parts.append(
        void(
          "line", ["class": "spread", "x1": percent(spread.low), "x2": percent(spread.high), "y1": "10", "y2": "10"]))
    }
    parts.append(
      void(
        "circle", ["class": band.contains(ratio) ? "dot" : "dot stray", "cx": percent(ratio), "cy": "10", "r": "5"]))
    return tag("svg", ["class": "strip", "width": "100%", "height": "20", "role": "img"], Markup(parts))
  }
}
