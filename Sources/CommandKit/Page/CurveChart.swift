/// Percentile curves, as HdrHistogram plots them: each nine of the percentile takes the same width, each power of ten
/// of the latency the same height.
package struct CurveChart {
  private let curves: [PercentileCurve]
  private let unit: String
  private let percentiles: PercentileScale
  private let values: LogScale

  /// Lines that can be told apart by colour and dashes. More than these share them.
  private static let stylesCount = 8
  /// Labels below a chart that fit on a telephone.
  private static let narrowLabelsMax = 5

  /// Nil where there is no curve with points.
  package init?(_ given: [PercentileCurve], unit: String) {
    curves = given.map { curve in
      .init(name: curve.name, points: curve.points.filter { $0.percentile.isFinite && $0.value.isFinite })
    }.filter { !$0.points.isEmpty }
    if curves.isEmpty { return nil }
    self.unit = unit
    percentiles = PercentileScale(holding: curves)
    values = LogScale(holding: curves.flatMap(\.points).map(\.value))
  }

  /// The chart, and a table with a line for each curve, which is its legend too.
  package func markup(title: String) -> Markup {
    tag(
      "figure", ["class": "curves"],
      tag("figcaption", [:], "Latency by percentile"),
      tag(
        "div", ["class": "plot"],
        tag("div", ["class": "up", "aria-hidden": "true"], Markup(values.ticks.map { label($0) })),
        drawing(title),
        tag(
          "div", ["class": "along", "aria-hidden": "true"], Markup(percentiles.ticks.enumerated().map { label($0, $1) })
        )),
      tag("p", ["class": "caption", "aria-hidden": "true"], "% of the requests, answered within this time"),
      legend)
  }

  private func label(_ value: Double) -> Markup {
    tag(
      "span", ["style": "bottom:\(Figure.fixed(values.position(value), 2))%"], Markup(Quantity.chosen(value, unit)))
  }

  /// Labels that there is no room for on a narrow page are spared there: every other one, from the last.
  private func label(_ index: Int, _ tick: (position: Double, name: String)) -> Markup {
    let count = percentiles.ticks.count
    let isSpared = count > Self.narrowLabelsMax && (count - index) % 2 == 0
    return tag(
      "span", ["class": isSpared ? "spared" : nil, "style": "left:\(Figure.fixed(tick.position, 2))%"],
      Markup(tick.name))
  }

  /// Stretched to whatever room there is; the lines keep their width.
  private func drawing(_ title: String) -> Markup {
    let summary = curves.map { curve in
      "\(curve.name): median \(figure(curve, 50)), 99 % within \(figure(curve, 99)), at most \(figure(curve, 100))"
    }
    var parts: [Markup] = [
      tag("title", [:], Markup("Latency by percentile, \(title). \(summary.joined(separator: "; "))."))
    ]
    func line(_ x: (Double, Double), _ y: (Double, Double)) -> Markup {
      void(
        "line",
        [
          "class": "grid", "x1": Figure.fixed(x.0, 2), "x2": Figure.fixed(x.1, 2), "y1": Figure.fixed(y.0, 2),
          "y2": Figure.fixed(y.1, 2),
        ])
    }
    for value in values.ticks {
      let height = 100 - values.position(value)
      parts.append(line((0, 100), (height, height)))
    }
    for tick in percentiles.ticks { parts.append(line((tick.position, tick.position), (0, 100))) }
    // The first one, which is Baton, on top of the others.
    for (index, curve) in curves.enumerated().reversed() {
      let points = curve.points.map {
        "\(Figure.fixed(percentiles.position($0.percentile), 2)),\(Figure.fixed(100 - values.position($0.value), 2))"
      }
      parts.append(
        void("polyline", ["class": "line \(Self.style(index))", "points": points.joined(separator: " ")]))
    }
    return tag("svg", ["viewBox": "0 0 100 100", "preserveAspectRatio": "none", "role": "img"], Markup(parts))
  }

  static func style(_ index: Int) -> String { "line-\(index % stylesCount)" }

  /// A piece of the line of that number, for a legend.
  static func sample(_ index: Int) -> Markup {
    tag(
      "svg", ["class": "sample", "width": "28", "height": "10", "aria-hidden": "true"],
      void("line", ["class": "line \(style(index))", "x1": "0", "x2": "28", "y1": "5", "y2": "5"]))
  }

  private static let legendPercentiles = [50, 90, 99, 99.9, 99.99]

  private var legend: Markup {
    let titles = ["p50", "p90", "p99", "p99.9", "p99.99", "max"].map { tag("th", ["scope": "col"], Markup($0)) }
    let rows = curves.enumerated().map { index, curve in
      let figures = (Self.legendPercentiles + [100]).map { tag("td", [:], Markup(figure(curve, $0))) }
      return tag(
        "tr", [:],
        tag(
          "th", ["scope": "row"],
          Self.sample(index),
          Markup(curve.name)),
        Markup(figures))
    }
    return tag(
      "table", [:], tag("thead", [:], tag("tr", [:], tag("td"), Markup(titles))), tag("tbody", [:], Markup(rows))
    ).scrolling("Percentiles")
  }

  private func figure(_ curve: PercentileCurve, _ percentile: Double) -> String {
    guard let value = curve.value(at: percentile) else { return "-" }
    return Quantity.text(value, unit)
  }
}
