import Glibc

/// Figures over the time of a run: a line for each, from zero up, on one linear scale.
package struct TimelineChart {
  package struct Line {
    package let name: String
    /// Seconds and the figure; a gap has none.
    package let points: [(seconds: Double, value: Double)]

    package init(name: String, points: [(seconds: Double, value: Double)]) {
      self.name = name
      self.points = points.filter { $0.seconds.isFinite && $0.value.isFinite }
    }
  }

  private let lines: [Line]
  private let unit: String
  private let seconds: Double
  private let values: LinearScale
  private let times: LinearScale

  /// Labels below a chart that fit on a telephone.
  private static let narrowLabelsMax = 5

  /// Nil where there are no points.
  package init?(_ lines: [Line], unit: String, seconds: Double) {
    let drawn = lines.filter { !$0.points.isEmpty }
    if drawn.isEmpty || !(seconds > 0) { return nil }
    self.lines = drawn
    self.unit = unit
    self.seconds = seconds
    values = LinearScale(holding: drawn.flatMap { $0.points.map(\.value) }.max() ?? 1)
    times = LinearScale(holding: seconds)
  }

  /// The chart, and a table with a line for each figure, which is its legend too.
  package func markup(title: String, caption: String) -> Markup {
    tag(
      "figure", ["class": "curves"], tag("figcaption", [:], Markup(title)),
      tag(
        "div", ["class": "plot"],
        tag(
          "div", ["class": "up", "aria-hidden": "true"],
          Markup(
            values.ticks.map { tick in
              tag(
                "span", ["style": "bottom:\(Figure.fixed(values.position(tick), 2))%"],
                Markup(label(Quantity.chosen(tick, unit), tick)))
            })),
        drawing(title),
        tag(
          "div", ["class": "along", "aria-hidden": "true"],
          Markup(
            shownTimes.enumerated().map { index, tick in
              let isSpared = shownTimes.count > Self.narrowLabelsMax && (shownTimes.count - index) % 2 == 0
              return tag(
                "span",
                [
                  "class": isSpared ? "spared" : nil, "style": "left:\(Figure.fixed(place(tick), 2))%",
                ],
                Markup(tick == 0 ? "0" : Quantity.chosen(tick, "s")))
            }))),
      tag("p", ["class": "caption", "aria-hidden": "true"], Markup(caption)), legend)
  }

  /// A figure without the unit of a rate, which the title says: there is no room for it.
  private func label(_ text: String, _ value: Double) -> String {
    if value == 0 { return "0" }
    return text.hasSuffix(" \(unit)") && unit.hasSuffix("/s") ? String(text.dropLast(unit.count + 1)) : text
  }

  private var shownTimes: [Double] { times.ticks.filter { $0 <= seconds } }

  private func place(_ time: Double) -> Double { min(time / seconds, 1) * 100 }

  private func drawing(_ title: String) -> Markup {
    let summary = lines.map { "\($0.name): at most \(Quantity.text(most($0), unit))" }
    var parts: [Markup] = [tag("title", [:], Markup("\(title). \(summary.joined(separator: "; "))."))]
    func line(_ x: (Double, Double), _ y: (Double, Double)) -> Markup {
      void(
        "line",
        [
          "class": "grid", "x1": Figure.fixed(x.0, 2), "x2": Figure.fixed(x.1, 2), "y1": Figure.fixed(y.0, 2),
          "y2": Figure.fixed(y.1, 2),
        ])
    }
    for tick in values.ticks {
      let height = 100 - values.position(tick)
      parts.append(line((0, 100), (height, height)))
    }
    for tick in shownTimes { parts.append(line((place(tick), place(tick)), (0, 100))) }
    for (index, curve) in lines.enumerated().reversed() {
      let points = curve.points.map {
        "\(Figure.fixed(place($0.seconds), 2)),\(Figure.fixed(100 - values.position($0.value), 2))"
      }
      parts.append(
        void(
          "polyline", ["class": "line \(CurveChart.style(index))", "points": points.joined(separator: " ")]))
    }
    return tag("svg", ["viewBox": "0 0 100 100", "preserveAspectRatio": "none", "role": "img"], Markup(parts))
  }

  private func most(_ line: Line) -> Double { line.points.map(\.value).max() ?? 0 }

  private var legend: Markup {
    let titles = ["least", "median", "most"].map { tag("th", ["scope": "col"], Markup($0)) }
    let rows = lines.enumerated().map { index, line in
      let sorted = line.points.map(\.value).sorted()
      let figures = [sorted[0], sorted[sorted.count / 2], sorted[sorted.count - 1]]
      return tag(
        "tr", [:], tag("th", ["scope": "row"], CurveChart.sample(index), Markup(line.name)),
        Markup(figures.map { tag("td", [:], Markup(label(Quantity.text($0, unit), $0))) }))
    }
    return tag(
      "table", [:], tag("thead", [:], tag("tr", [:], tag("td"), Markup(titles))), tag("tbody", [:], Markup(rows))
    ).scrolling("Figures over time")
  }
}

/// The place of a value on an axis from zero, in steps of 1, 2 or 5 times a power of ten.
package struct LinearScale {
  package let high: Double
  package let ticks: [Double]

  /// Steps at most.
  private static let stepsMax = 6.0

  package init(holding most: Double) {
    let most = most.isFinite && most > 0 ? most : 1
    let power = pow(10, log10(most / Self.stepsMax).rounded(.down))
    let step = [1, 2, 5, 10].map { $0 * power }.first { $0 * Self.stepsMax >= most } ?? 10 * power
    let count = (most / step).rounded(.up)
    high = count * step
    ticks = (0...Int(count)).map { Double($0) * step }
  }

  /// Percent of the length, from zero.
  package func position(_ value: Double) -> Double { min(max(value / high, 0), 1) * 100 }
}
