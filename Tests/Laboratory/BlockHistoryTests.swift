import BatonCommandKit
import Testing

@testable import BatonLaboratory

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

  @Test("Of two writes under way at once either may remain, but neither comes back once both have been seen")
  mutating func concurrent() {
    let first = begin()
    let second = begin()
    #expect(read(.write(second)) == nil)
    #expect(read(.write(first)) == nil)
    #expect(read(.write(second)) != nil, "it would have taken effect twice")
    end(first)
    end(second)
    #expect(read(.write(first)) == nil)
    let third = begin()
    end(third)
    #expect(read(.write(first)) != nil)
    #expect(read(.write(second)) != nil)
  }

  @Test("Of two writes that were both answered either may remain until one has been read")
  mutating func answered() {
    for isFirst in [true, false] {
      history = BlockHistory()
      let first = begin()
      let second = begin()
      end(first)
      end(second)
      #expect(read(.write(isFirst ? first : second)) == nil)
      #expect(read(.write(isFirst ? second : first)) != nil)
    }
  }

  @Test("A write that was read and not answered does not undo one that was submitted later")
  mutating func executedAgain() {
    for isRead in [false, true] {
      for isAnswered in [false, true] where isRead || isAnswered {
        history = BlockHistory()
        let first = begin()
        #expect(read(.write(first)) == nil)
        let second = begin()
        #expect(read(.write(first)) == nil, "the second one may come later")
        if isAnswered { end(second) }
        if isRead { #expect(read(.write(second)) == nil) }
        let wrong = read(.write(first))
        #expect(wrong?.contains("expected write 2") == true, "\(wrong ?? "nothing wrong")")
        end(first)
        #expect(read(.write(second)) == nil)
      }
    }
  }

  @Test("A zeroing that was read and not answered does not undo a later write, another zeroing may")
  mutating func zeroedAgain() {
    let first = begin()
    end(first)
    let zeroed = begin(zero: true)
    #expect(read(.zeroes) == nil)
    let second = begin()
    end(second)
    #expect(read(.zeroes) != nil)
    let third = begin(zero: true)
    #expect(read(.write(second)) == nil)
    #expect(read(.zeroes) == nil, "of the other zeroing")
    #expect(read(.write(second)) != nil)
    end(zeroed)
    end(third)
  }

  @Test("What is forgotten is not lost: an order that only a forgotten write has shown still holds")
  mutating func forgotten() {
    let early = begin()
    let middle = begin()
    let reader = beginRead()
    end(middle)
    let last = begin()
    #expect(endRead(reader, .write(early)) == nil)
    // The middle one was read after the early one had been, so it comes after it.
    #expect(read(.write(middle)) == nil)
    end(last)
    #expect(read(.write(early)) != nil)
    #expect(read(.write(last)) == nil)
  }

  @Test("Every history that follows from some order of effects is right", arguments: 0..<200)
  mutating func sound(_ seed: Int) {
    // A register with a mind of its own: each write takes effect at some moment while it is outstanding, each read
    // finds what the register holds at some moment while it is.
    var random = SplitMix64(seed: UInt64(seed))
    var held: Stamp.Content = .zeroes
    var writes: [(sequence: UInt32, content: Stamp.Content, isDone: Bool)] = []
    var reads: [(at: UInt64, found: Stamp.Content?)] = []
    for _ in 0..<400 {
      switch random.below(6) {
      case 0 where writes.count < 3:
        let isZero = random.below(4) == 0
        let sequence = begin(zero: isZero)
        writes.append((sequence, isZero ? .zeroes : .write(sequence), false))
      case 1 where reads.count < 3: reads.append((beginRead(), nil))
      case 2 where !writes.isEmpty:
        let index = Int(random.below(UInt64(writes.count)))
        if !writes[index].isDone { held = writes[index].content }
        writes[index].isDone = true
      case 3 where !reads.isEmpty:
        let index = Int(random.below(UInt64(reads.count)))
        if reads[index].found == nil { reads[index].found = held }
      case 4:
        if let index = writes.firstIndex(where: \.isDone) { end(writes.remove(at: index).sequence) }
      default:
        if let index = reads.firstIndex(where: { $0.found != nil }), let found = reads[index].found {
          #expect(endRead(reads.remove(at: index).at, found) == nil)
        }
      }
    }
  }

  @Test("A write that failed has taken effect or not by its answer, and it stays so")
  mutating func failed() {
    for hasEffect in [true, false] {
      history = BlockHistory()
      let first = begin()
      end(first)
      let second = begin()
      end(second, isCertain: false)
      #expect(read(.write(hasEffect ? second : first)) == nil)
      #expect(read(.write(hasEffect ? first : second)) != nil, "the other write had been read")
      let third = begin()
      end(third)
      #expect(read(.write(second)) != nil)
    }
  }

  @Test("Zeroes replace what was, a discard may")
  mutating func zeroes() {
    for hasEffect in [true, false] {
      history = BlockHistory()
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
      #expect(read(hasEffect ? .zeroes : .write(second)) == nil)
      #expect(read(hasEffect ? .write(second) : .zeroes) != nil)
    }
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
