import BatonCommandKit
import Testing

@testable import BatonLaboratory

@Suite("Report page: one file that a browser shows")
struct ReportPageTests {
  /// A page, taken apart by the rules of XML, which are stricter than those of HTML. What breaks them is a problem.
  private struct Parsed {
    var problems: [String] = []
    /// Everything between tags, with the references resolved.
    var text = ""
    var elements: [String] = []
    /// Values by `element attribute`.
    var attributes: [String: [String]] = [:]

    private static let references = ["amp": "&", "lt": "<", "gt": ">", "quot": "\"", "#39": "'"]

    init(_ page: String) {
      let doctype = "<!DOCTYPE html>\n"
      guard page.hasPrefix(doctype) else {
        problems.append("no document type")
        return
      }
      var rest = page.dropFirst(doctype.count)
      var open: [String] = []
      while !rest.isEmpty {
        let words = rest.prefix { $0 != "<" }
        if open.last != "style" { text += resolved(words) + " " }
        if open.isEmpty, words.contains(where: { !$0.isWhitespace }) { problems.append("text outside: \(words)") }
        rest = rest.dropFirst(words.count)
        if rest.isEmpty { break }
        var tag = rest.dropFirst().prefix { $0 != ">" }
        rest = rest.dropFirst(tag.count + 2)
        if tag.first == "/" {
          if open.popLast() != String(tag.dropFirst()) { problems.append("closed out of turn: \(tag)") }
          continue
        }
        let isClosed = tag.last == "/"
        if isClosed { tag = tag.dropLast() }
        let name = String(tag.prefix { !$0.isWhitespace })
        elements.append(name)
        take(tag.dropFirst(name.count), of: name)
        if !isClosed { open.append(name) }
      }
      if !open.isEmpty { problems.append("left open: \(open)") }
    }

    private mutating func take(_ attributes: Substring, of element: String) {
      var rest = attributes.drop(while: \.isWhitespace)
      while !rest.isEmpty {
        let key = rest.prefix { $0 != "=" }
        rest = rest.dropFirst(key.count + 1)
        guard !key.isEmpty, rest.first == "\"", let end = rest.dropFirst().firstIndex(of: "\"") else {
          return problems.append("\(element): attribute without quotes: \(attributes)")
        }
        let value = resolved(rest[rest.index(after: rest.startIndex)..<end])
        self.attributes["\(element) \(key)", default: []].append(value)
        rest = rest[rest.index(after: end)...].drop(while: \.isWhitespace)
      }
    }

    private mutating func resolved(_ text: Substring) -> String {
      var resolved = ""
      var rest = text
      while let character = rest.popFirst() {
        guard character == "&" else {
          resolved.append(character)
          continue
        }
        let name = String(rest.prefix { $0 != ";" })
        if let meant = Self.references[name] {
          resolved += meant
        } else {
          problems.append("not a reference: &\(name.prefix(10))")
        }
        rest = rest.dropFirst(name.count + 1)
      }
      return resolved
    }
  }

  /// A report with something of everything, whose names are as given.
  private func report(_ name: (String) -> String = { $0 }) -> BenchReport {
    var machine = BenchReportTests.twoCPUs
    machine.cpu = name("processor")
    machine.kernel = name("kernel")
    machine.fio = name("fio")
    var report = BenchReport(machine: machine)
    report.started = name("today")
    report.remarks = [name("a warning")]
    let measured = Interleaved(
      values: [[100, 101, 99], [120, 121, 118], [900, 950, 910], [103, 98, 101]], control: (of: 0, again: 3))
    let curves = [
      BenchReport.Curve(
        name: name("a curve"),
        points: [0, 50, 90, 99, 99.9, 100].map { .init(percentile: $0, value: 100 + 10 * $0) }),
      BenchReport.Curve(name: name("an empty curve"), points: []),
    ]
    for (suite, waiting) in [(BenchSuite.handoff, BenchReport.Waiting.spinning), (.dispatch, .parking)] {
      report.append(
        measured.row(
          suite, name("case of \(suite)"), metric: name("metric"), unit: "ns", ours: 1, floor: (name("floor"), 0),
          peers: [
            .thing(name("peer"), 2, goal: 0.125), .notRun(name("missing peer"), because: name("the reason")),
          ], goal: .ratio(1.1), waiting: waiting, curves: curves))
      report.append(measured.controlRow(suite, of: name("floor"), metric: "m", unit: "ns", waiting: waiting))
    }
    report.append(
      measured.row(
        .storage, name("rate"), metric: "rate", unit: "requests/s", ours: 1, floor: (name("other floor"), 0),
        goal: .ratio(1), better: .more))
    report.append(
      Interleaved(values: [[198]]).row(
        .storage, name("plain figure"), metric: "count", unit: name("instructions"), ours: 0, goal: .figure(200)))
    report.append(
      Interleaved(values: [[5], [7]]).row(
        .storage, name("without a floor"), metric: "m", unit: "us", ours: 0, peers: [.thing(name("only peer"), 1)]))
    return report
  }

  @Test("Well-formed, with every name, every reason and every warning")
  func names() {
    var names: [String] = []
    let page = Parsed(
      ReportPage(
        report {
          names.append($0)
          return $0
        }
      ).html)
    #expect(page.problems == [])
    #expect(names.count > 20)
    for name in names where name != "an empty curve" { #expect(page.text.contains(name), "\(name)") }
    for word in ["Spinning", "Parking"].map({ $0.lowercased() }) { #expect(page.text.contains(word)) }
    #expect(page.text.contains("not run: the reason"))
    #expect(page.text.contains("control: floor against itself"))
  }

  @Test("Text stays text, whatever is in it")
  func escaping() {
    let hostile = "</style></title><script>alert(\"1\")</script> & 'quoted' &amp; <b> \u{0}\u{1b}[2J ]]> é 日本"
    let shown = "</style></title><script>alert(\"1\")</script> & 'quoted' &amp; <b> \u{fffd}\u{fffd}[2J ]]> é 日本"
    let page = Parsed(ReportPage(report { "\($0) \(hostile)" }).html)
    #expect(page.problems == [])
    #expect(!page.elements.contains("script"))
    #expect(page.elements.filter { $0 == "style" }.count == 1)
    #expect(page.text.contains("peer \(shown)"))
    // No more and no other elements than without.
    #expect(page.elements == Parsed(ReportPage(report()).html).elements)
  }

  @Test("Nothing is fetched from elsewhere, and nothing runs")
  func selfContained() {
    let html = ReportPage(report()).html
    let page = Parsed(html)
    for element in ["script", "link", "img", "iframe", "object", "image", "use"] {
      #expect(!page.elements.contains(element))
    }
    for word in ["url(", "@import", "src=", "javascript:"] { #expect(!html.contains(word)) }
    #expect(page.attributes["a href"]?.allSatisfy { $0.hasPrefix("#") } == true)
    // Links lead somewhere.
    let places = Set(page.attributes.filter { $0.key.hasSuffix(" id") }.values.joined())
    for link in page.attributes["a href"] ?? [] { #expect(places.contains(String(link.dropFirst())), "\(link)") }
    // Every picture says what it shows, or says that it is none.
    let pictures = page.attributes["svg role"]?.count ?? 0
    #expect(pictures > 0)
    #expect(page.elements.filter { $0 == "title" }.count == pictures + 1)
  }

  @Test(
    "Figures of every size give places within the page and no figure that is no number",
    arguments: [
      0, 1e-300, 1e-9, 0.999, 1, 12345.6, 1e15, 1e18, 1e19, 1e300, .greatestFiniteMagnitude, .infinity, .nan, -5,
    ])
  func extremes(_ value: Double) throws {
    for other in [1, value] {
      for better in [BenchReport.Better.less, .more] {
        var report = BenchReport(machine: BenchReportTests.twoCPUs)
        report.seconds = value
        let measured = Interleaved(values: [[other], [value], [1]], control: (of: 0, again: 1))
        for goal in [BenchReport.Goal.ratio(value), .figure(value), .figure(0)] {
          for unit in ["s", "requests/s"] {
            report.append(
              measured.row(
                .handoff, "case", metric: "m", unit: unit, ours: 1, floor: ("floor", 0),
                peers: [.thing("peer", 2, goal: value), .thing("same", 1)], goal: goal, better: better,
                curves: [
                  .init(
                    name: "curve",
                    points: [.init(percentile: 0, value: other), .init(percentile: value, value: value)])
                ]))
          }
        }
        report.append(measured.controlRow(.handoff, of: "floor", metric: "m", unit: "ns", better: better))
        let page = Parsed(ReportPage(report).html)
        #expect(page.problems == [])
        #expect(!report.text.contains("nan"))
        try expectPlaces(page)
        for figure in page.text.split(whereSeparator: { $0 == " " || $0 == "\n" }) {
          #expect(!["nan", "inf", "+inf", "-nan", "-inf"].contains(figure.lowercased()), "\(figure)")
        }
      }
    }
  }

  /// Every place in percent, and every point of a line, lies within what it is drawn in.
  private func expectPlaces(_ page: Parsed) throws {
    var count = 0
    for (key, values) in page.attributes {
      for value in values {
        var numbers: [String] = []
        if key.hasSuffix(" points") {
          numbers = value.split { $0 == "," || $0 == " " }.map(String.init)
        } else if key.hasSuffix(" style") {
          numbers = [String(value.drop { $0 != ":" }.dropFirst().dropLast())]
        } else if value.hasSuffix("%"), !key.hasPrefix("meta") {
          numbers = [String(value.dropLast())]
        }
        for number in numbers {
          let place = try #require(Double(number), "\(key): \(value)")
          #expect((0...100).contains(place), "\(key): \(value)")
          count += 1
        }
      }
    }
    // At least those of the bars that explain the others.
    #expect(count > 20)
  }

  @Test("A report without results is a page all the same")
  func empty() {
    let page = Parsed(ReportPage(BenchReport(machine: .init())).html)
    #expect(page.problems == [])
    #expect(page.text.contains("unknown CPU"))
    #expect(page.text.contains("nothing is pinned"))
  }

  @Test("Goals are counted, and stand with their verdict")
  func goals() {
    let lines = GoalTable.lines(report())
    #expect(lines.map(\.verdict) == [.missed, .missed, .missed, .missed, .met, .met])
    let page = Parsed(ReportPage(report()).html)
    #expect(page.text.contains("2 of 6"))
    #expect(lines.map(\.goal).contains("at least 8× faster"))
    #expect(lines.map(\.measured).contains("7.71× faster"))
    #expect(lines.map(\.goal).contains("at most 200 instructions"))
  }

  @Test("Bars: in units of the floor, peers from the shortest on, those that were not run last")
  func bars() throws {
    let measured = Interleaved(values: [[100], [150], [900], [120], [300]])
    let row = measured.row(
      .handoff, "a", metric: "m", unit: "ns", ours: 1, floor: ("floor", 0),
      peers: [.notRun("none", because: "why"), .thing("slow", 2), .thing("fast", 3), .thing("middle", 4, goal: 0.5)],
      goal: .ratio(2))
    let chart = try #require(BarChart(row))
    #expect(chart.reference == .floor)
    #expect(chart.bars.map(\.name) == ["Baton", "floor", "fast", "middle", "slow", "none"])
    let lengths = chart.bars.map(\.length)
    for (length, expected) in zip(lengths, [1.5, 1, 1.2, 3, 9]) {
      #expect(abs(try #require(length) - expected) < 1e-9)
    }
    #expect(lengths.last == .some(nil))
    #expect(chart.bars[0].goal == 2)
    // Half of three times the floor is where Baton may end.
    #expect(chart.bars[3].goal == 1.5)
    #expect(chart.bars[2].note == "Baton is 1.25× slower")
    #expect(chart.bars[4].note == "Baton is 6.00× faster")
  }

  @Test("Scales: whole steps, equal nines, powers of ten")
  func scales() {
    let ratios = RatioScale(holding: [1, 2.1], goals: [3])
    #expect(ratios.max == 3)
    #expect(ratios.position(1.5) == 50)
    #expect(ratios.position(9) == 100)
    #expect(ratios.cuts(9) && !ratios.cuts(3))
    #expect(RatioScale(holding: [3.9, 1000]).max == 6)

    func curve(_ points: [(Double, Double)]) -> BenchReport.Curve {
      .init(name: "c", points: points.map { .init(percentile: $0.0, value: $0.1) })
    }
    let percentiles = PercentileScale(holding: [curve([(0, 1), (99.99, 2), (100, 3)])])
    #expect(percentiles.nines == 4)
    #expect(percentiles.ticks.map(\.name) == ["0", "90", "99", "99.9", "99.99"])
    for (percentile, position) in [(0.0, 0.0), (90, 25), (99, 50), (99.9, 75), (99.99, 100), (100, 100)] {
      #expect(abs(percentiles.position(percentile) - position) < 1e-6)
    }

    let values = LogScale(holding: [130, 4100])
    #expect(values.low == 100 && values.high == 5000)
    #expect(values.ticks == [100, 200, 500, 1000, 2000, 5000])
    #expect(abs(values.position(1000) - 100 / 1.69897) < 0.01)
    // Many powers: only these have a line.
    #expect(LogScale(holding: [90, 2e6]).ticks == [100, 1000, 10_000, 100_000, 1e6])
    #expect(LogScale(holding: [7]).position(7) > 0)
  }

  @Test("Figures as people read them")
  func quantities() {
    #expect(Quantity.text(61.23, "ns") == "61.2 ns")
    #expect(Quantity.text(999.7, "ns") == "1.00 µs")
    #expect(Quantity.text(15_200, "us") == "15.2 ms")
    #expect(Quantity.text(73_942, "requests/s") == "73.9 k requests/s")
    #expect(Quantity.text(9402, "requests/s") == "9,402 requests/s")
    #expect(Quantity.text(0, "allocations") == "0 allocations")
    #expect(Quantity.chosen(1000, "ns") == "1 µs")
    #expect(Quantity.chosen(0.125) == "0.125")
    #expect(Quantity.chosen(200) == "200")
    #expect(Quantity.ratio(1.0042) == "1.004")
    #expect(Quantity.ratio(0.058) == "0.058")
    #expect(Quantity.ratio(0.00018160221258042313) == "0.000182")
    #expect(Quantity.times(17.26) == "17.3×")
    #expect(Quantity.share(0.8849) == "88 %")
    #expect(Quantity.share(0.996) == "99.6 %")
  }
}
