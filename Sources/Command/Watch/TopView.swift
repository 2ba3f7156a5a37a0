import Baton
import BatonCommandKit

/// The screen of `top` as lines of text, from what the region says: no terminal, no clock, no keys.
struct TopView {
  /// The order of the functions.
  enum Order: String, CaseIterable {
    case changes, name, owner, term

    /// The next one, after a key.
    var next: Order {
      let all = Order.allCases
      return all[((all.firstIndex(of: self) ?? 0) + 1) % all.count]
    }
  }

  var order = Order.changes
  /// Functions whose line has this text; empty: all.
  var filter = ""
  var isPaused = false
  var isHelpShown = false
  /// Whether the filter is being typed.
  var isFiltering = false
  /// Functions above the screen.
  var scroll = 0
  /// What was recorded of the functions in the last interval; nil: nothing is recorded.
  var activity: RecordedActivity?

  /// What stands in the help, and in the last line.
  static let keys = [
    ("q", "quit"), ("s", "sort by the next column"), ("/", "filter the functions; Enter ends it, Esc clears it"),
    ("p", "pause, and go on"), ("+ -", "longer and shorter interval"), ("j k", "scroll down and up"),
    ("h ?", "this help"),
  ]

  /// The lines of a screen. The last one says what keys do.
  func lines(
    _ sample: RegionSample, _ rates: RegionRates?, interval: Double, time: String, columns: Int, rows: Int
  ) -> [String] {
    var lines = [head(sample, rates, interval: interval, time: time)]
    if isHelpShown {
      lines +=
        [""] + Self.keys.map { "  \(Self.padded($0.0, 5))\($0.1)" } + ["", "Rates are per second of the interval."]
    } else {
      lines += [""] + controllers(sample, rates, columns: columns) + [""]
      let functions = functions(sample, rates)
      let room = max(rows - lines.count - 2, 1)
      // A line says how many have no room.
      let isCut = functions.count > room
      let shown = isCut ? max(room - 1, 1) : room
      let first = min(scroll, max(functions.count - shown, 0))
      lines.append(functionTitle(columns: columns))
      lines += functions[first...].prefix(shown).map { functionLine($0, sample, rates, columns: columns) }
      if isCut {
        lines.append("… \(first) above, \(functions.count - first - min(shown, functions.count - first)) below")
      }
    }
    lines = Array(lines.prefix(rows - 1))
    while lines.count < rows - 1 { lines.append("") }
    lines.append(foot)
    return lines.map { String($0.prefix(columns)) }
  }

  /// The same as plain text, all of it.
  func text(_ sample: RegionSample, _ rates: RegionRates?, interval: Double, time: String) -> String {
    let wide = 132
    return
      ([head(sample, rates, interval: interval, time: time)] + controllers(sample, rates, columns: wide)
      + [functionTitle(columns: wide)]
      + functions(sample, rates).map { functionLine($0, sample, rates, columns: wide) })
      .map { line in
        var line = line
        while line.last == " " { line.removeLast() }
        return line
      }.joined(separator: "\n")
  }

  private func head(_ sample: RegionSample, _ rates: RegionRates?, interval: Double, time: String) -> String {
    let status = sample.status
    var text = "baton top \(status.name)  \(time.prefix(8))  every \(Figure.fixed(interval, 1)) s"
    if isPaused { text += "  PAUSED" }
    let hosts = status.controllers.map { $0[.hosts] }.max() ?? 0
    text += "  \(hosts) \(hosts == 1 ? "host" : "hosts")"
    guard let rates else { return text }
    text += "  \(Self.rate(rates.rate(.answered))) requests/s"
    text += "  \(Figure.fixed((rates.rate(.bytesRead) + rates.rate(.bytesWritten)) / 1_048_576, 1)) MiB/s"
    return text + "  \(Self.rate(rates.changes)) changes of owner/s"
  }

  private func controllers(_ sample: RegionSample, _ rates: RegionRates?, columns: Int) -> [String] {
    // The first ones fit into 80 columns, and each wider terminal shows more.
    var titles = ["controller", "state", "life", "CPU %", "hosts", "pending", "req/s", "moved/s"]
    if columns >= 110 { titles += ["waits", "parks/s", "read MiB/s", "write MiB/s", "errors/s"] }
    if columns >= 150 { titles += ["pid", "member", "storage/s", "doorbells/s", "takeovers"] }
    let rows = sample.status.controllers.enumerated().map { index, controller -> [String] in
      func rate(_ counter: Counter) -> String { rates.map { Self.rate($0.rate(counter, of: index)) } ?? "-" }
      func mebibytes(_ counter: Counter) -> String {
        rates.map { Figure.fixed($0.rate(counter, of: index) / 1_048_576, 1) } ?? "-"
      }
      let pending = controller[.requests] &- min(controller[.answered], controller[.requests])
      var row = [
        "\(controller.identity)", ControllerTable.state(controller), "\(controller.incarnation)",
        rates?.cpu(of: index).map { Figure.fixed($0 * 100, 1) } ?? "-", Figure.count(controller[.hosts]),
        controller.isRunning ? Figure.count(pending) : "-", rate(.answered), rate(.transferred),
      ]
      if columns >= 110 {
        row += [
          controller.waiting?.name ?? "-", rate(.parks), mebibytes(.bytesRead), mebibytes(.bytesWritten), rate(.errors),
        ]
      }
      if columns >= 150 {
        row += [
          controller.isRunning ? "\(controller.pid)" : "-", controller.standing, rate(.storageOperations),
          rate(.doorbells), Figure.count(controller[.takeovers]),
        ]
      }
      return row
    }
    let table = [titles] + rows
    let widths = titles.indices.map { column in table.map { $0[column].count }.max() ?? 0 }
    return table.map { row in
      row.enumerated().map { column, cell in
        column < 2 ? Self.padded(cell, widths[column]) : Self.indented(cell, widths[column])
      }.joined(separator: "  ")
    }
  }

  private typealias FunctionRow = (
    index: Int, name: String, owner: String, requested: String, term: UInt64, changes: Double?
  )

  /// In their order, those that the filter lets through.
  private func functions(_ sample: RegionSample, _ rates: RegionRates?) -> [FunctionRow] {
    let all = sample.status.functions.enumerated().map { index, function -> FunctionRow in
      let given = function.unit.map { sample.status.units[$0].name } ?? ""
      return (
        index, given.isEmpty ? function.name : "\(function.name), \(given)", function.owner.map { "\($0)" } ?? "nobody",
        function.isRequested ? "by \(function.owner.map { "\($0.peer)" } ?? "?")" : "", function.term,
        rates?.changes(index)
      )
    }
    let shown = filter.isEmpty ? all : all.filter { "\($0.name) \($0.owner) \($0.requested)".contains(filter) }
    switch order {
    // Stable: those that are alike stay in the order of the units.
    case .name: return shown
    case .changes: return sorted(shown) { ($0.changes ?? 0) > ($1.changes ?? 0) }
    case .owner: return sorted(shown) { $0.owner < $1.owner }
    case .term: return sorted(shown) { $0.term > $1.term }
    }
  }

  private func sorted(_ rows: [FunctionRow], _ isBefore: (FunctionRow, FunctionRow) -> Bool) -> [FunctionRow] {
    rows.enumerated().sorted {
      isBefore($0.element, $1.element) || (!isBefore($1.element, $0.element) && $0.offset < $1.offset)
    }.map(\.element)
  }

  /// What is recorded of a function, and how wide its column is. The first ones fit into 80 columns.
  private func recorded(_ columns: Int) -> [(title: String, width: Int)] {
    if activity == nil { return [] }
    let all = [("req/s", 8), ("p50", 8), ("p99", 8), ("pending", 8), ("p99.9", 8), ("max", 8)]
    return Array(columns < 110 ? all.prefix(2) : all[...])
  }

  /// Without what is recorded there is room for a wide name and term.
  private func nameWidth(_ columns: Int) -> Int {
    let others = 50 + recorded(columns).reduce(0) { $0 + $1.width + 2 }
    return max(min(columns - others, 60), activity == nil ? 20 : 10)
  }

  private func functionTitle(columns: Int) -> String {
    func title(_ text: String, _ column: Order) -> String { column == order ? "\(text)*" : text }
    return Self.padded(title("function", .name), nameWidth(columns)) + "  " + Self.padded(title("owner", .owner), 7)
      + "  " + Self.padded("requested", 9) + "  " + Self.indented(title("term", .term), 14) + "  "
      + Self.indented(title("changes/s", .changes), 10)
      + recorded(columns).map { "  " + Self.indented($0.title, $0.width) }.joined()
  }

  private func functionLine(
    _ row: FunctionRow, _ sample: RegionSample, _ rates: RegionRates?, columns: Int
  ) -> String {
    let found = activity?.of(row.index)
    func time(_ percent: Double) -> String {
      found.flatMap { $0.requests > 0 ? Figure.duration($0.latencies.percentile(percent)) : nil } ?? "-"
    }
    let figures = [
      found.map { $0.requests }.flatMap { count in rates.map { Self.rate(Double(count) / $0.seconds) } } ?? "-",
      time(50), time(99), found.map { Figure.count(UInt64($0.outstanding)) } ?? "-", time(99.9), time(100),
    ]
    return Self.padded(row.name, nameWidth(columns)) + "  " + Self.padded(row.owner, 7) + "  "
      + Self.padded(row.requested, 9) + "  " + Self.indented(Figure.count(row.term), 14) + "  "
      + Self.indented(row.changes.map { Self.rate($0) } ?? "-", 10)
      + zip(recorded(columns), figures).map { "  " + Self.indented($0.1, $0.0.width) }.joined()
  }

  private var foot: String {
    if isFiltering { return "filter: \(filter)_" }
    let filtered = filter.isEmpty ? "" : "  filter '\(filter)'"
    return "q quit  s sort by \(order.next.rawValue)  / filter  p pause  + - interval  j k scroll  ? help\(filtered)"
  }

  private static func rate(_ value: Double) -> String {
    value < 9.95 && value != value.rounded() ? Figure.fixed(value, 1) : Figure.count(UInt64(max(value, 0).rounded()))
  }

  /// Exactly so many columns, what is too long without its end.
  private static func padded(_ text: String, _ width: Int) -> String {
    text.count > width
      ? text.prefix(width - 1) + "…" : text + String(repeating: " ", count: width - text.count)
  }

  private static func indented(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(width - text.count, 0)) + text
  }
}
