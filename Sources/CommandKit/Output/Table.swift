/// A table in text: columns as wide as they need to be, numbers to the right.
///
/// Where it is wider than the terminal, long cells are broken between words, and columns that still have no room go
/// below, each time with the first column, which names the rows.
package struct Table {
  private var rows: [[String]] = []
  private let titles: [String]
  /// The column that names a row without a name of its own in the first one, where that column is in another part.
  package var substitute: Int?

  private static let gap = 2

  package init(_ titles: String...) { self.titles = titles }

  package mutating func add(_ cells: String...) { rows.append(cells) }

  /// As wide as standard output's terminal.
  package var text: String { text(within: Console.columns(of: .output)) }

  /// So many columns wide at most, as far as single words allow; nil: as wide as it is.
  package func text(within columns: Int?) -> String {
    let all = ([titles] + rows).map { $0 + Array(repeating: "", count: max(titles.count - $0.count, 0)) }
    let natural = titles.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    let whole = natural.reduce(0, +) + Self.gap * (titles.count - 1)
    guard let columns, whole > columns else {
      return all.map { Self.lines([$0], natural) }.joined(separator: "\n")
    }
    // The first column names the rows of each part, so it leaves room for others.
    let most = titles.indices.map { max($0 == 0 ? columns * 2 / 5 : columns / 2, 1) }
    let folded = all.map { row in titles.indices.map { Self.fold(row[$0], within: most[$0]) } }
    let widths = titles.indices.map { column in
      folded.map { $0[column].map(\.count).max() ?? 0 }.max() ?? 0
    }
    return parts(widths, within: columns).map { part($0, folded, widths) }.joined(separator: "\n\n")
  }

  /// The columns that go side by side, the first one in each part.
  private func parts(_ widths: [Int], within columns: Int) -> [[Int]] {
    var parts: [[Int]] = [[0]]
    var used = widths[0]
    for column in titles.indices.dropFirst() {
      if used + Self.gap + widths[column] > columns, parts[parts.count - 1].count > 1 {
        parts.append([0])
        used = widths[0]
      }
      parts[parts.count - 1].append(column)
      used += Self.gap + widths[column]
    }
    return parts
  }

  /// One part. A row that has nothing in its columns is left out, and its name goes to the next one without a name.
  private func part(_ columns: [Int], _ rows: [[[String]]], _ widths: [Int]) -> String {
    var text: [String] = []
    var pending: [String]?
    for (number, row) in rows.enumerated() {
      var cells = columns.map { row[$0] }
      let isNamed = cells[0] != [""]
      if number > 0, cells.dropFirst().allSatisfy({ $0 == [""] }) {
        if isNamed { pending = cells[0] }
        continue
      }
      if number > 0, !isNamed, let substitute, !columns.contains(substitute) {
        if let pending { text += pending }
        let name = row[substitute].joined(separator: " ")
        cells[0] = Self.fold(name, within: max(widths[0] - Self.gap, 1)).map { $0.isEmpty ? "" : "  " + $0 }
      } else if !isNamed, let pending {
        cells[0] = pending
      }
      pending = nil
      let height = cells.map(\.count).max() ?? 1
      let lines = (0..<height).map { line in cells.map { line < $0.count ? $0[line] : "" } }
      text.append(Self.lines(lines, columns.map { widths[$0] }))
    }
    return text.joined(separator: "\n")
  }

  private static func lines(_ lines: [[String]], _ widths: [Int]) -> String {
    lines.map { cells in
      var text = ""
      for (column, cell) in cells.enumerated() {
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        let isNumber = cell.first.map { $0.isNumber || $0 == "-" } ?? false
        text += (column > 0 ? String(repeating: " ", count: gap) : "") + (isNumber ? padding + cell : cell + padding)
      }
      while text.last == " " { text.removeLast() }
      return text
    }.joined(separator: "\n")
  }

  /// A cell in lines of so many columns at most: broken between words, a longer word without its middle.
  private static func fold(_ cell: String, within columns: Int) -> [String] {
    if cell.count <= columns { return [cell] }
    var lines: [String] = []
    for word in cell.split(separator: " ").map({ shorten(String($0), to: columns) }) {
      if let last = lines.last, last.count + 1 + word.count <= columns {
        lines[lines.count - 1] += " " + word
      } else {
        lines.append(word)
      }
    }
    return lines
  }

  /// Both ends of a word say more than its beginning alone: it is a path, mostly.
  private static func shorten(_ word: String, to columns: Int) -> String {
    if word.count <= columns { return word }
    let head = (columns - 1) / 3
    return word.prefix(head) + "…" + word.suffix(columns - 1 - head)
  }
}
