import BatonCommandKit

/// A case as bars: Baton, its floor and its peers, all in units of one reference.
struct BarChart {
  enum Kind: String {
    case ours, floor, peer
  }

  struct Bar {
    let kind: Kind
    let name: String
    /// Times the reference; nil where it was not measured.
    var length: Double?
    /// The figure itself, as it is written.
    var figure: String?
    /// Times the reference, 10th to 90th percentile.
    var spread: BenchReport.Spread?
    /// The longest the judged bar may be.
    var goal: Double?
    /// A remark: how Baton compares with a peer, or why the peer was not run.
    var note: String?
  }

  /// The thing whose length is 1.
  enum Reference: String {
    case floor = "the floor"
    case ours = "Baton"
    case goal = "the goal"
  }

  /// Nil where there are figures, or reasons, but no ratios.
  let reference: Reference?
  let bars: [Bar]

  /// Nil where the figure stands alone.
  init?(_ row: BenchReport.Row) {
    var ours = Bar(kind: .ours, name: "Baton", figure: Quantity.text(row.p50, row.unit))
    let measured = row.peers.filter { $0.ratio != nil }
    if let floor = row.floor, let ratio = row.ratioToFloor {
      reference = .floor
      ours.length = ratio
      ours.spread = row.ratioSpread
      if !row.isGoalOfFigure { ours.goal = row.goal }
      bars =
        [ours, Bar(kind: .floor, name: floor.name, length: 1, figure: Quantity.text(floor.p50, row.unit))]
        + Self.peers(row, ours: ratio)
    } else if !measured.isEmpty {
      reference = .ours
      ours.length = 1
      bars = [ours] + Self.peers(row, ours: 1)
    } else if let goal = row.goal, row.isGoalOfFigure, goal > 0, row.p50 > 0 {
      reference = .goal
      ours.length = row.better == .less ? row.p50 / goal : goal / row.p50
      ours.goal = 1
      bars = [ours] + Self.peers(row, ours: 1)
    } else if row.floor != nil || !row.peers.isEmpty {
      reference = nil
      let floor = row.floor.map { Bar(kind: .floor, name: $0.name, figure: Quantity.text($0.p50, row.unit)) }
      bars = [ours] + (floor.map { [$0] } ?? []) + Self.peers(row, ours: 1)
    } else {
      return nil
    }
  }

  /// The shortest first, those that were not run last. Theirs over the reference is ours over the reference, divided by
  /// ours over theirs.
  private static func peers(_ row: BenchReport.Row, ours: Double) -> [Bar] {
    let bars = row.peers.map { peer in
      guard let ratio = peer.ratio else {
        return Bar(
          kind: .peer, name: peer.name, figure: peer.p50.map { Quantity.text($0, row.unit) },
          note: peer.notRun.map { "not run: \($0)" } ?? "no ratio")
      }
      let length = ratio > 0 ? ours / ratio : .infinity
      return Bar(
        kind: .peer, name: peer.name, length: length, figure: peer.p50.map { Quantity.text($0, row.unit) },
        goal: peer.goal.map { $0 * length }, note: "Baton is \(Self.standing(ratio, row))")
    }
    return bars.filter { $0.length != nil }.sorted { $0.length ?? 0 < $1.length ?? 0 }
      + bars.filter { $0.length == nil }
  }

  /// How Baton compares with something, by the ratio, in words: `1.30× faster`, `as fast`.
  static func standing(_ ratio: Double, _ row: BenchReport.Row) -> String {
    let isSpeed = row.better == .more || Quantity.isTime(row.unit)
    switch ratio {
    case 0.995...1.005: return isSpeed ? "as fast" : "equal"
    case ..<1: return (ratio > 0 ? Quantity.times(1 / ratio) + " " : "") + (isSpeed ? "faster" : "less")
    default: return "\(Quantity.times(ratio)) \(isSpeed ? "slower" : "more")"
    }
  }

  /// A goal relative to a peer, in words.
  static func aim(_ goal: Double, _ row: BenchReport.Row) -> String {
    let isSpeed = row.better == .more || Quantity.isTime(row.unit)
    switch goal {
    case 0.995...1.005: return isSpeed ? "not slower" : "not more"
    case ..<1: return goal > 0 ? "at least \(Quantity.chosen(1 / goal))× \(isSpeed ? "faster" : "less")" : "none"
    default: return "at most \(Quantity.chosen(goal))× \(isSpeed ? "slower" : "more")"
    }
  }

  /// The bars as markup: a list, and the axis below it.
  func markup(_ scale: RatioScale) -> Markup {
    tag(
      "div", ["class": "chart"],
      tag("ul", ["class": "bars"], Markup(bars.map { item($0, scale) })),
      axis(scale))
  }

  private func item(_ bar: Bar, _ scale: RatioScale) -> Markup {
    let said = Self.said(
      bar.name, note: bar.note, values: (bar.figure ?? "", bar.length.map { Quantity.times($0) } ?? ""))
    let drawn = bar.length.map { Self.drawing(bar, length: $0, title: title(bar, $0), scale) } ?? []
    return tag("li", ["class": bar.kind.rawValue], said, drawn)
  }

  /// The line above something that is drawn: a name with a note at the left, two figures at the right.
  static func said(_ name: String, note: String?, values: (String, String)) -> Markup {
    let remark: Markup = note.map { [" ", tag("span", ["class": "note"], Markup($0))] } ?? []
    return tag(
      "div", ["class": "said"], tag("div", [:], tag("span", ["class": "subject"], Markup(name)), remark),
      tag("div", ["class": "figure"], Markup(values.0)), tag("div", ["class": "times"], Markup(values.1)))
  }

  /// The bar for readers who do not see it.
  private func title(_ bar: Bar, _ length: Double) -> String {
    var title = "\(bar.name): \(bar.figure ?? ""), \(Quantity.times(length)) \(reference?.rawValue ?? "")"
    if let spread = bar.spread { title += ", in most rounds \(Quantity.range(spread))" }
    if let goal = bar.goal {
      title +=
        bar.kind == .peer
        ? "; the goal is that Baton takes at most \(Quantity.times(goal))" : "; the goal is \(Quantity.times(goal))"
    }
    return title
  }

  /// One bar, with its spread and its goal. The places are in percent of the width, so that it fits any; the heights
  /// are pixels.
  static func drawing(_ bar: Bar, length: Double, title: String, _ scale: RatioScale) -> Markup {
    var parts: [Markup] = [tag("title", [:], Markup(title))]
    func percent(_ ratio: Double) -> String { "\(Figure.fixed(scale.position(ratio), 2))%" }
    func vertical(_ place: String, _ from: Int, _ to: Int, _ kind: String) -> Markup {
      void("line", ["class": kind, "x1": place, "x2": place, "y1": "\(from)", "y2": "\(to)"])
    }
    for tick in scale.ticks {
      parts.append(vertical(percent(Double(tick)), 0, 26, tick == 1 ? "grid one" : "grid"))
    }
    parts.append(
      void("rect", ["class": "fill", "x": "0", "y": "7", "height": "12", "width": percent(length), "rx": "2"]))
    if scale.cuts(length) {
      parts.append(
        tag(
          "svg", ["x": "100%", "overflow": "visible"],
          void("path", ["class": "cut", "d": "M-22 22l6-18M-16 22l6-18"])))
    }
    if let spread = bar.spread {
      let (low, high) = (percent(spread.low), percent(spread.high))
      parts += [
        void("line", ["class": "spread", "x1": low, "x2": high, "y1": "13", "y2": "13"]),
        vertical(low, 9, 17, "spread"), vertical(high, 9, 17, "spread"),
      ]
    }
    if let goal = bar.goal, !scale.cuts(goal) {
      parts += [
        vertical(percent(goal), 3, 26, "goal"),
        tag(
          "svg", ["x": percent(goal), "overflow": "visible"],
          void("path", ["class": "flag", "d": "M-5 0h10l-5 6z"])),
      ]
    }
    return tag("svg", ["class": "bar", "width": "100%", "height": "26", "role": "img"], Markup(parts))
  }

  /// The meaning of the lines behind the bars.
  private func axis(_ scale: RatioScale) -> Markup {
    guard let reference else { return [] }
    let labels = scale.ticks.map { tick in
      tag(
        "span", ["style": "left:\(Figure.fixed(scale.position(Double(tick)), 2))%"],
        Markup(tick == 1 ? reference.rawValue : tick == 0 ? "0" : "\(tick)×"))
    }
    return tag("div", ["class": "axis", "aria-hidden": "true"], Markup(labels))
  }
}
