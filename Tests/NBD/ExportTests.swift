import BatonNBD
import BatonTestSupport
import Testing

@Suite("NBD: exports and memory")
struct ExportTests {
  @Test("Names: given, numbered, the default one")
  func names() throws {
    let exports = try NBDExports([
      NBDExport(size: 512, blockSize: 512), NBDExport(size: 512, blockSize: 512, name: "ünit"),
      NBDExport(size: 512, blockSize: 512, name: "unit2"), NBDExport(size: 512, blockSize: 512, name: "unit"),
    ])
    for (name, unit) in [
      ("", 0), ("unit0", 0), ("unit1", 1), ("ünit", 1), ("unit2", 2), ("unit", 3), ("unit3", 3), ("unit4", nil),
      ("unit01", nil), ("unit1x", nil), ("Unit0", nil), ("0", nil), ("unit1000000000", nil),
    ] as [(String, Int?)] {
      #expect(exports.unit(named: Array(name.utf8)) == unit, "\(name)")
    }
    #expect((0..<4).map { exports.name(of: $0) } == ["unit0", "ünit", "unit2", "unit"])
    #expect(exports.unit(named: [0xc3]) == nil)
  }

  @Test("Names that mean another unit, are given twice, or cannot be told")
  func badNames() throws {
    let plain = NBDExport(size: 512, blockSize: 512)
    func named(_ name: String) -> NBDExport { NBDExport(size: 512, blockSize: 512, name: name) }
    expectError(.invalid, naming: "unit 0") { try NBDExports([named("unit1"), plain]) }
    expectError(.invalid, naming: "unit 0") { try NBDExports([named("unit7")]) }
    expectError(.invalid, naming: "unit 1") { try NBDExports([named("a"), named("a")]) }
    expectError(.invalid, naming: "unit 0") { try NBDExports([named(String(repeating: "a", count: 256))]) }
    expectError(.invalid, naming: "unit 0") { try NBDExports([named("a\0b")]) }
    expectError(.invalid, naming: "unit 0") {
      try NBDExports([NBDExport(size: 512, blockSize: 512, description: String(repeating: "a", count: 256))])
    }
  }

  @Test("Sizes that the protocol cannot speak of")
  func badSizes() throws {
    for (size, blockSize) in [(512, 0), (512, 256), (513, 512), (0, 512), (1 << 20, 131072), (3072, 1536)]
      as [(UInt64, UInt32)]
    {
      expectError(.invalid, naming: "unit 0") { try NBDExports([NBDExport(size: size, blockSize: blockSize)]) }
    }
  }

  @Test("Pages: first fit, aligned, and all of them come back")
  func pages() {
    var pool = PagePool(count: 200)
    #expect((0..<3).map { _ in pool.take(1) } == [0, 1, 2])
    #expect(pool.take(16, alignment: 16) == 16)
    #expect(pool.take(13) == 3)
    #expect(pool.take(1) == 32)
    pool.giveBack(1, 1)
    #expect(pool.take(2) == 33)
    #expect(pool.take(1) == 1)
    #expect(pool.take(168) == -1)
    #expect(pool.take(165) == 35)
    #expect(pool.free == 0)
    #expect(pool.take(1) == -1)
    pool.giveBack(35, 165)
    #expect(pool.take(165) == 35)
    pool.clear()
    #expect(pool.free == 200)
    #expect(pool.take(200) == 0)
    #expect(pool.take(1) == -1)
  }

  @Test("Pages at random, compared with a list of them", arguments: [1, 63, 64, 65, 128, 500])
  func pagesAtRandom(_ count: Int) {
    var random = SeededRandom(seed: UInt64(count))
    var pool = PagePool(count: count)
    var used = [Bool](repeating: false, count: count)
    var runs: [(Int, Int)] = []
    for _ in 0..<5000 {
      if Bool.random(using: &random), !runs.isEmpty {
        let (first, pages) = runs.remove(at: Int.random(in: 0..<runs.count, using: &random))
        pool.giveBack(first, pages)
        for page in first..<first + pages { used[page] = false }
      } else {
        let pages = Int.random(in: 1...max(count / 4, 1), using: &random)
        let alignment = 1 << Int.random(in: 0...4, using: &random)
        let fit = stride(from: 0, through: count - pages, by: alignment).first { start in
          !used[start..<start + pages].contains(true)
        }
        let first = pool.take(pages, alignment: alignment)
        #expect(first == fit ?? -1)
        if first >= 0 {
          for page in first..<first + pages { used[page] = true }
          runs.append((first, pages))
        }
      }
      #expect(pool.free == used.count { !$0 })
    }
  }
}
