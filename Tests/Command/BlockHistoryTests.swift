import Testing

@testable import BatonCommand

@Suite("Block history: what a read may find")
struct BlockHistoryTests {
  private var history = BlockHistory()
  private var moment: UInt64 = 0

  private mutating func now() -> UInt64 {
    moment += 1
    return moment
  }

  private mutating func begin(zero: Bool = false) -> UInt32 { history.beginWrite(isZero: zero, at: now()) }
  private mutating func end(_ write: UInt32, isCertain: Bool = true) {
    history.endWrite(write, at: now(), isCertain: isCertain)
  }
  private mutating func beginRead() -> UInt64 {
    let at = now()
    history.beginRead(at: at)
    return at
  }
  private mutating func endRead(_ submittedAt: UInt64, _ found: Stamp.Content...) -> String? {
    history.endRead(submittedAt: submittedAt, at: now(), found: found)
  }
  private mutating func read(_ found: Stamp.Content...) -> String? {
    let at = beginRead()
    return history.endRead(submittedAt: at, at: now(), found: found)
  }

  @Test("A block begins as zeroes, and is what was answered last")
  mutating func plain() {
    #expect(read(.zeroes) == nil)
    let first = begin()
    end(first)
    #expect(read(.write(first)) == nil)
    #expect(read(.zeroes) != nil, "a lost write")
    let second = begin()
    end(second)
    #expect(read(.write(second)) == nil)
    #expect(read(.write(first)) != nil, "an older write came back")
    #expect(read(.write(second + 1)) != nil, "nobody wrote that")
    #expect(read(.foreign("belongs to unit 7")) == "belongs to unit 7")
  }

  @Test("While a write is under way a read finds it or what was before; once found, nothing older")
  mutating func underWay() {
    let first = begin()
    end(first)
    let second = begin()
    #expect(read(.write(first)) == nil)
    #expect(read(.write(second)) == nil)
    #expect(read(.write(first)) != nil, "it had been read already")
    end(second)
    #expect(read(.write(second)) == nil)
  }

  @Test("A read that overlaps a write may find either, though the write is answered first")
  mutating func overlapping() {
    let first = begin()
    end(first)
    let early = beginRead()
    let second = begin()
    end(second)
    let third = begin()
    end(third)
    #expect(endRead(early, .write(first)) == nil)
    let again = beginRead()
    #expect(endRead(again, .write(first)) != nil)
  }

  @Test("Of two writes under way at once either may remain, and either may come back until it is answered")
  mutating func concurrent() {
    let first = begin()
    let second = begin()
    #expect(read(.write(second)) == nil)
    #expect(read(.write(first)) == nil)
    #expect(read(.write(second)) == nil)
    end(first)
    end(second)
    #expect(read(.write(first)) == nil)
    let third = begin()
    end(third)
    #expect(read(.write(first)) != nil)
    #expect(read(.write(second)) != nil)
  }

  @Test("A write that failed may have taken effect or not, until the next one")
  mutating func failed() {
    let first = begin()
    end(first)
    let second = begin()
    end(second, isCertain: false)
    #expect(read(.write(first)) == nil)
    #expect(read(.write(second)) == nil)
    #expect(read(.write(first)) != nil, "the failed one had been read")
    let third = begin()
    end(third)
    #expect(read(.write(second)) != nil)
  }

  @Test("Zeroes replace what was, a discard may")
  mutating func zeroes() {
    let first = begin()
    end(first)
    let zeroed = begin(zero: true)
    end(zeroed)
    #expect(read(.zeroes) == nil)
    #expect(read(.write(first)) != nil)
    let second = begin()
    end(second)
    #expect(read(.zeroes) != nil)
    let discarded = begin(zero: true)
    end(discarded, isCertain: false)
    #expect(read(.write(second)) == nil)
    #expect(read(.zeroes) == nil)
    #expect(read(.write(second)) != nil)
  }

  @Test("Sectors of several writes are right while those are under way, and torn afterwards")
  mutating func sectors() {
    let first = begin()
    end(first)
    let second = begin()
    #expect(read(.write(first), .write(second)) == nil)
    end(second)
    #expect(read(.write(second), .write(first))?.hasPrefix("sector 1: ") == true)
  }

  @Test("A sector of parts is right through the page cache while it is written, and never otherwise")
  mutating func torn() {
    for tears in [true, false] {
      history = BlockHistory(tearsSectors: tears)
      let first = begin()
      end(first)
      #expect(read(.torn("torn")) == "torn")
      let early = beginRead()
      let second = begin()
      #expect((read(.torn("torn")) == nil) == tears)
      end(second)
      #expect((endRead(early, .torn("torn")) == nil) == tears)
      #expect(read(.torn("torn")) == "torn")
    }
  }
}
