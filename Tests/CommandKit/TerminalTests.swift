import BatonCommandKit
import Foundation
import Testing

@Suite("What people see on a terminal of a given width")
struct TerminalTests {
  private var table: Table {
    var table = Table("function", "owner", "term", "state", "backing")
    table.add("management", "nobody", "0")
    table.add("unit 0, system", "a", "1,234", "online", "/srv/somewhere/far/away/in/a/folder/disk.img (O_DIRECT)")
    table.add("unit 1", "b", "5", "offline", "null")
    return table
  }

  private func widest(_ text: String) -> Int { text.split(separator: "\n").map(\.count).max() ?? 0 }

  @Test("A table with room stays as it is, and one without a terminal too")
  func wide() {
    #expect(table.text(within: nil) == table.text(within: 200))
    #expect(table.text(within: nil).split(separator: "\n").count == 4)
  }

  @Test("A table without room keeps within the width, and breaks no word", arguments: [30, 40, 60, 80])
  func narrow(columns: Int) {
    let text = table.text(within: columns)
    #expect(widest(text) <= columns)
    let words = Set(text.split { $0 == " " || $0 == "\n" })
    for word in ["management", "nobody", "1,234", "online", "offline", "function", "backing"] {
      #expect(words.contains(Substring(word)), "\(word) at \(columns)\n\(text)")
    }
    // Each part names its rows, and leaves out those of which it has nothing.
    #expect(text.split(separator: "\n").filter { $0.hasPrefix("unit 1") }.count == text.split(separator: "\n\n").count)
    #expect(text.contains("…"))
  }

  @Test("A row without a name that loses the one before it gets that one's name")
  func unnamed() {
    var table = Table("case", "p50", "compared with", "ratio")
    table.add("round trip", "100")
    table.add("", "", "a peer that has a long name", "0.5")
    table.add("", "", "another peer of that kind", "0.7")
    let parts = table.text(within: 30).split(separator: "\n\n").map { String($0) }
    #expect(parts.count > 1)
    let part = parts.first { $0.contains("0.5") } ?? ""
    #expect(part.split(separator: "\n")[1].hasPrefix("round trip"))
    #expect(!part.split(separator: "\n")[2].hasPrefix("round trip"))
    // What tells them apart stands in another part.
    table.substitute = 2
    let last = table.text(within: 36).components(separatedBy: "\n\n").last ?? ""
    #expect(last.contains("\nround trip\n  a peer") && last.contains("0.5\n"), "\(last)")
    #expect(last.contains("\n  another") && !last.contains("compared with"), "\(last)")
  }

  @Test("A long line goes on below its text, between words", arguments: [40, 60, 80])
  func folded(columns: Int) {
    let line = "latency            p50 12.3 us, p90 45.6 us, p99 78.9 us, p99.9 123.4 us, max 1.23 ms"
    let text = Console.fold(line[...], within: columns)
    #expect(widest(text) <= columns)
    let lines = text.split(separator: "\n")
    #expect(lines.count > 1)
    #expect(lines.dropFirst().allSatisfy { $0.prefix(19).allSatisfy { $0 == " " } && $0.dropFirst(19).first != " " })
    #expect(
      lines.joined(separator: " ").split(separator: " ").joined(separator: " ")
        == line.split(separator: " ").joined(separator: " "))
  }

  @Test("A word that has no room behind its label goes below it, whole")
  func longWord() {
    let hash = String(repeating: "0123456789abcdef", count: 4)
    #expect(
      Console.fold("read back          \(hash)"[...], within: 80)
        == "read back\n\(String(repeating: " ", count: 16))\(hash)")
  }

  @Test("What has no blank to break at stays whole")
  func unbroken() {
    let uri = "  a  nbd+unix:///system?socket=/a/long/path/to/a/folder/of/a/subsystem/a.nbd"
    #expect(Console.fold(uri[...], within: 40).split(separator: "\n").contains { $0.hasSuffix("a.nbd") })
    #expect(Console.fold("", within: 40) == "")
    #expect(Console.fold("short", within: 40) == "short")
  }
}
