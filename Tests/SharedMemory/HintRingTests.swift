import BatonSharedMemory
import BatonTestSupport
import Testing

@Suite("Hint ring, on a memory of the test's own")
struct HintRingTests {
  /// Both sides of a ring, and the memory between them.
  final class Rig {
    let slots: PlainMemory
    let sent = PlainWord()
    let received = PlainWord()
    var writer: HintRing<PlainMemory>
    var reader: HintRing<PlainMemory>

    init(capacity: Int) {
      slots = PlainMemory(count: capacity)
      writer = HintRing(slots: slots, capacity: capacity, mine: sent, theirs: received)
      reader = HintRing(slots: slots, capacity: capacity, mine: received, theirs: sent)
    }

    func send(_ message: UInt64) -> Bool { writer.send(message) }
    func receive() -> UInt64 { reader.receive() }

    /// A side that starts again, from what lies in the memory.
    func restartWriter() {
      writer = HintRing(slots: slots, capacity: slots.words.count, mine: sent, theirs: received)
    }

    func restartReader() {
      reader = HintRing(slots: slots, capacity: slots.words.count, mine: received, theirs: sent)
    }

    func receiveAll() -> [UInt64] {
      var messages: [UInt64] = []
      while case let message = reader.receive(), message != 0 { messages.append(message) }
      return messages
    }

    func resynchronize() -> [UInt64] {
      var messages: [UInt64] = []
      reader.resynchronize { messages.append($0) }
      return messages
    }
  }

  @Test("An empty ring gives nothing")
  func empty() {
    let rig = Rig(capacity: 4)
    #expect(rig.receive() == 0)
    #expect(rig.resynchronize() == [])
  }

  @Test("Messages come in order, over many times the ring", arguments: [1, 2, 4, 1024])
  func order(capacity: Int) {
    let rig = Rig(capacity: capacity)
    var sent: UInt64 = 0
    var received: UInt64 = 0
    var batch = 1
    while received < 5000 {
      batch = batch % capacity + 1
      for _ in 0..<batch {
        sent += 1
        #expect(rig.send(sent))
      }
      for _ in 0..<batch {
        received += 1
        #expect(rig.receive() == received)
      }
      #expect(rig.receive() == 0)
    }
  }

  @Test("A full ring refuses, loses nothing that it took, and goes on when there is room")
  func full() {
    let rig = Rig(capacity: 4)
    for message in UInt64(1)...4 { #expect(rig.send(message)) }
    #expect(!rig.send(5))
    #expect(!rig.send(5))
    #expect(rig.receive() == 1)
    #expect(rig.send(5))
    #expect(!rig.send(6))
    #expect(rig.receiveAll() == [2, 3, 4, 5])
    #expect(rig.send(UInt64.max))
    #expect(rig.receiveAll() == [UInt64.max])
  }

  @Test("A side that starts again continues where it left off")
  func restart() {
    let rig = Rig(capacity: 8)
    for message in UInt64(1)...5 { #expect(rig.send(message)) }
    #expect(rig.receive() == 1)
    rig.restartWriter()
    rig.restartReader()
    #expect(rig.send(6))
    #expect(rig.receiveAll() == [2, 3, 4, 5, 6])
  }

  @Test("One message costs the writer a look at the slot and two stores, and no look at the reader's position")
  func cost() {
    let rig = Rig(capacity: 8)
    let (before, mine, theirs) = (rig.slots.words[0].steps, rig.sent.steps, rig.received.steps)
    #expect(rig.send(7))
    #expect(rig.slots.words[0].steps - before == 2)
    #expect(rig.sent.steps - mine == 1)
    #expect(rig.received.steps == theirs)
  }

  /// A writer that died after the slot and before its position: a new one finds the slot taken until the reader
  /// has passed it, and then goes on one slot behind the reader.
  @Test("A writer that died between slot and position: the ring repairs itself", arguments: 0..<8)
  func writerDied(at start: Int) {
    let rig = Rig(capacity: 8)
    for message in 0..<UInt64(start) {
      #expect(rig.send(message + 1))
      #expect(rig.receive() == message + 1)
    }
    rig.slots.words[start].value = 100
    rig.restartWriter()
    // The message is in its slot though the position says otherwise.
    #expect(rig.receive() == 100)
    #expect(rig.receive() == 0)
    // The new life writes where its position says: one slot behind the reader, which sees nothing of it.
    #expect(rig.send(101))
    // After that one the two stand at the same slot again; the hint itself lies behind until the ring comes
    // round.
    #expect(rig.send(102))
    var found = rig.receiveAll() + rig.resynchronize()
    found += rig.receiveAll()
    #expect(found.contains(102))
    #expect(rig.send(103))
    found += rig.receiveAll() + rig.resynchronize() + rig.receiveAll()
    #expect(found.contains(103))
    for message in UInt64(200)..<300 {
      #expect(rig.send(message))
      found += rig.receiveAll() + rig.resynchronize()
    }
    for message in UInt64(200)..<300 { #expect(found.contains(message), "message \(message)") }
  }

  /// A reader that died after its position and before it cleared the slot: the next life looks at the slot
  /// behind, and the writer finds a slot that nobody clears when it comes round.
  @Test("A reader that died between position and slot: the ring repairs itself", arguments: 0..<8)
  func readerDied(at start: Int) {
    let rig = Rig(capacity: 8)
    for message in 0..<UInt64(start) {
      #expect(rig.send(message + 1))
      #expect(rig.receive() == message + 1)
    }
    #expect(rig.send(100))
    // The reader's position is stored, the slot is not cleared.
    rig.received.value = UInt64((start + 1) % 8)
    rig.restartReader()
    var refused = 0
    var found: [UInt64] = []
    for message in UInt64(200)..<300 {
      if !rig.send(message) { refused += 1 }
      found += rig.receiveAll() + rig.resynchronize()
    }
    // The stale slot may stop the writer once round; from then on everything arrives.
    #expect(refused <= 8)
    for message in UInt64(250)..<300 { #expect(found.contains(message), "message \(message)") }
  }

  @Test("Whatever the two positions say after a death, the ring repairs itself", arguments: 0..<4, 0..<4)
  func anyPositions(writer: Int, reader: Int) {
    for filled in 0..<16 {
      let rig = Rig(capacity: 4)
      for slot in 0..<4 where filled & 1 << slot != 0 { rig.slots.words[slot].value = 50 + UInt64(slot) }
      rig.sent.value = UInt64(writer)
      rig.received.value = UInt64(reader)
      rig.restartWriter()
      rig.restartReader()
      var found: [UInt64] = []
      for message in UInt64(200)..<240 {
        _ = rig.send(message)
        found += rig.receiveAll() + rig.resynchronize()
      }
      for message in UInt64(220)..<240 {
        #expect(
          found.contains(message), "message \(message), slots \(filled), writer \(writer), reader \(reader)")
      }
    }
  }

  @Test("Words in shared memory do as words of a test's own do")
  func sharedWords() {
    let bytes = 8 * (16 + 2)
    let base = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    defer { base.deallocate() }
    base.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    let slots = SharedWords(base: base, stride: 8, count: 16)
    let (mine, theirs) = (SharedWord(base + 128), SharedWord(base + 136))
    var writer = HintRing(slots: slots, capacity: 16, mine: mine, theirs: theirs)
    var reader = HintRing(slots: slots, capacity: 16, mine: theirs, theirs: mine)
    for message in UInt64(1)...1000 {
      let isSent = writer.send(message)
      let received = reader.receive()
      #expect(isSent && received == message)
    }
  }
}
