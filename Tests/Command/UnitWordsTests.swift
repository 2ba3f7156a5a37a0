import Testing

@testable import BatonCommand

@Suite("Command line: thousands of units")
struct UnitWordsTests {
  @Test("All units but the first go past the parser, in their order, and nothing else does")
  func separated() {
    let (kept, aside) = UnitWords.separate(
      "create --unit a name --unit=b --buffered --unit c:1M --unit --json --unit= --unit".split(separator: " ")
        .map { String($0) })
    #expect(kept == ["create", "--unit", "a", "name", "--buffered", "--unit", "--json", "--unit"])
    #expect(aside == ["b", "c:1M", ""])
  }

  @Test("Other commands, and what stands after the end of the options, stay as they are")
  func untouched() {
    for text in ["", "create", "run x --unit 1 --unit 2", "create -- --unit a --unit b"] {
      let words = text.split(separator: " ").map { String($0) }
      let (kept, aside) = UnitWords.separate(words)
      #expect(kept == words && aside.isEmpty)
    }
  }
}
