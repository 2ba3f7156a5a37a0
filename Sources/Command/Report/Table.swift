/// A table in text: columns as wide as they need to be, numbers to the right.
struct Table {
  private var rows: [[String]] = []
  private let titles: [String]

  init(_ titles: String...) { self.titles = titles }

  mutating func add(_ cells: String...) { rows.append(cells) }

  var text: String {
    let all = [titles] + rows
    let widths = titles.indices.map { column in all.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
    func line(_ cells: [String]) -> String {
      var text = ""
      for (column, cell) in cells.enumerated() {
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        let isNumber = cell.first.map { $0.isNumber || $0 == "-" } ?? false
        text += (column > 0 ? "  " : "") + (isNumber ? padding + cell : cell + padding)
      }
      while text.last == " " { text.removeLast() }
      return text
    }
    return all.map(line).joined(separator: "\n")
  }
}
