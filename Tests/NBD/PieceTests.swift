import BatonNBD
import BatonTestSupport
import Testing

/// Reads and writes that are longer than one operation: served in pieces.
@Suite("NBD: requests in pieces")
struct PieceTests {
  private static let piece = 65536

  /// A rig with pieces of 64 KiB and room for two or three of them.
  private func rig(structured: Bool = false, size: Int = 2 << 20) throws -> NBDRig {
    var limits = NBDLimits()
    limits.stagingSize = 65536
    limits.transferMax = UInt32(Self.piece)
    limits.payloadMax = 1 << 20
    limits.poolSize = 3 * Self.piece
    let rig = try NBDRig(exports: [NBDExport(size: UInt64(size), blockSize: 512)], limits: limits)
    rig.enter(structured: structured)
    return rig
  }

  private func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 / 512 &* 7 &+ $0) }
  }

  /// All chunks that came, the pieces of a read with them.
  private func chunks(_ rig: NBDRig, reads: [UInt64: Int] = [:]) -> [Reply] {
    var listener = Listener(rig.heard(), allowsPieces: true)
    var replies: [Reply] = []
    while let reply = listener.reply(reads: reads) { replies.append(reply) }
    #expect(listener.left == 0)
    return replies
  }

  @Test("A client is offered 32 MiB, and gets and sends as much, in less memory")
  func longest() throws {
    let limits = NBDLimits()
    #expect(limits.payloadMax == 32 << 20 && limits.memorySize < 16 << 20)
    for structured in [false, true] {
      let rig = try NBDRig(exports: [NBDExport(size: 16 << 20, blockSize: 512)])
      rig.enter(structured: structured)
      let data = pattern(16 << 20)
      rig.say(Say.request(1, cookie: 1, payload: data) + Say.request(0, cookie: 2, length: 16 << 20))
      #expect(areSame(rig.disks[0], data))
      #expect(rig.log.map(\.length) == [UInt64](repeating: 4 << 20, count: 8))
      let replies = chunks(rig, reads: [2: 16 << 20])
      #expect(replies.first == Reply(cookie: 1))
      #expect(areSame(replies.dropFirst().flatMap(\.data), data))
      #expect(rig.memoryInUse == 0)
    }
  }

  @Test("A write is executed piece by piece, each durable where it is to be, and answered once")
  func write() throws {
    let rig = try rig()
    let data = pattern(5 * Self.piece + 512)
    rig.isPrompt = false
    rig.say(Say.request(1, cookie: 9, offset: 1024, flags: 1, payload: data) + Say.request(3, cookie: 10))
    for number in 0..<6 {
      #expect(rig.waiting.count == (number < 5 ? 1 : 2), "the next piece is received when this one is on the storage")
      #expect(rig.waiting[0].isDurable && rig.waiting[0].offset == UInt64(1024 + number * Self.piece))
      #expect(rig.waiting[0].length == UInt64(number < 5 ? Self.piece : 512))
      #expect(rig.memoryInUse == Self.piece && !rig.isMidMessage && !rig.awaitsReply || number == 5)
      #expect(rig.heard().isEmpty)
      rig.complete(0)
      rig.run()
    }
    rig.completeAll()
    #expect(rig.replies() == [Reply(cookie: 9), Reply(cookie: 10)])
    #expect(Array(rig.disks[0][1024..<1024 + data.count]) == data)
    #expect(rig.memoryInUse == 0)
  }

  @Test("A write that fails in the middle is answered when its rest has been read over", arguments: 0..<3)
  func writeFails(failing: Int) throws {
    let rig = try rig()
    let data = pattern(3 * Self.piece)
    rig.outcome = { $0.kind != .flush && $0.offset == UInt64(failing * Self.piece) ? .failed(.noSpace) : .done }
    rig.say(Say.request(1, cookie: 1, payload: data) + Say.request(3, cookie: 2))
    #expect(rig.log.filter { $0.kind == .write }.count == failing + 1)
    #expect(rig.replies() == [Reply(cookie: 1, error: 28), Reply(cookie: 2)])
    #expect(rig.memoryInUse == 0 && !rig.isMidMessage)
  }

  @Test("A client that goes in the middle of a payload is not answered, and nothing of it stays")
  func writeBreaksOff() throws {
    for isPrompt in [false, true] {
      let rig = try rig()
      rig.isPrompt = isPrompt
      rig.say(Array(Say.request(1, cookie: 1, payload: pattern(4 * Self.piece)).prefix(28 + 2 * Self.piece)))
      #expect(rig.isMidMessage == isPrompt)
      rig.connection.hangUp()
      if rig.isReceiving { rig.endReceive(0) }
      rig.completeAll()
      #expect(rig.heard().isEmpty && rig.isFinished && rig.memoryInUse == 0)
    }
  }

  @Test("A structured read is a chunk for each piece, and other replies may come between")
  func readInChunks() throws {
    let rig = try rig(structured: true)
    rig.disks[0] = pattern(2 << 20)
    for inPlace in [false, true] {
      rig.isInPlace = { _ in inPlace }
      rig.say(
        Say.request(0, cookie: 1, offset: 512, length: UInt32(4 * Self.piece))
          + Say.request(0, cookie: 2, offset: 0, length: 1024))
      let replies = chunks(rig)
      let first = replies.filter { $0.cookie == 1 }
      #expect(first.map(\.offset) == (0..<4).map { UInt64(512 + $0 * Self.piece) })
      #expect(first.map(\.isLast) == [false, false, false, true])
      #expect(areSame(first.flatMap(\.data), Array(rig.disks[0][512..<512 + 4 * Self.piece])))
      #expect(replies.filter { $0.cookie == 2 }.map(\.data) == [Array(rig.disks[0][0..<1024])])
      #expect(rig.memoryInUse == 0)
    }
  }

  @Test("A structured read that fails in the middle ends in an error, and the connection goes on", arguments: 0..<3)
  func readFails(failing: Int) throws {
    let rig = try rig(structured: true)
    rig.outcome = { $0.kind != .flush && $0.offset == UInt64(failing * Self.piece) ? .failed(.inputOutput) : .done }
    rig.say(Say.request(0, cookie: 1, length: UInt32(3 * Self.piece)) + Say.request(3, cookie: 2))
    let replies = chunks(rig)
    #expect(replies.filter { $0.cookie == 1 }.map(\.error) == [UInt32](repeating: 0, count: failing) + [5])
    #expect(replies.filter { $0.cookie == 1 }.last?.isLast == true)
    #expect(replies.contains { $0.cookie == 2 && $0.error == 0 })
    #expect(!rig.isFinished && rig.memoryInUse == 0)
  }

  /// Without structured replies, and where a read must not be fragmented.
  @Test("A read that is one message is sent without anything between its pieces", arguments: [false, true])
  func readInOne(structured: Bool) throws {
    let rig = try rig(structured: structured)
    rig.disks[0] = pattern(2 << 20)
    rig.isPrompt = false
    let flags: UInt16 = structured ? 4 : 0
    rig.say(
      Say.request(0, cookie: 1, length: UInt32(3 * Self.piece), flags: flags) + Say.request(3, cookie: 2)
        + Say.request(0, cookie: 3, offset: 512, length: UInt32(2 * Self.piece), flags: flags))
    // The flush and the other read are over before the second piece.
    while !rig.waiting.isEmpty {
      rig.complete(rig.waiting.count - 1)
      rig.run()
    }
    let replies = rig.replies(reads: [1: 3 * Self.piece, 3: 2 * Self.piece])
    #expect(Set(replies.map(\.cookie)) == [1, 2, 3] && replies.count == 3)
    #expect(replies.first { $0.cookie == 1 }?.data == Array(rig.disks[0][0..<3 * Self.piece]))
    #expect(replies.first { $0.cookie == 3 }?.data == Array(rig.disks[0][512..<512 + 2 * Self.piece]))
    #expect(rig.memoryInUse == 0)
  }

  @Test("A read that is one message and fails after it has begun ends the connection", arguments: [false, true])
  func readInOneFails(structured: Bool) throws {
    for failing in 0..<3 {
      for outcome in [NBDOutcome.failed(.inputOutput), .withdrawn] {
        let rig = try rig(structured: structured)
        rig.outcome = { $0.kind != .flush && $0.offset == UInt64(failing * Self.piece) ? outcome : .done }
        rig.say(Say.request(0, cookie: 1, length: UInt32(3 * Self.piece), flags: structured ? 4 : 0))
        let heard = rig.heard()
        if failing == 0, outcome != .withdrawn {
          #expect(!rig.isFinished && heard.count >= 16, "an error can still be said")
        } else {
          #expect(heard.count == (failing == 0 ? 0 : (structured ? 28 : 16) + failing * Self.piece))
          if rig.isReceiving { rig.endReceive(0) }
          #expect(rig.isFinished)
        }
        #expect(rig.memoryInUse == 0)
      }
    }
  }

  @Test("Whatever comes in whatever pieces: all data is right, and every request is answered once", arguments: 1...60)
  func random(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let structured = Bool.random(using: &random)
    let rig = try rig(structured: structured)
    rig.disks[0] = random.bytes(2 << 20)
    rig.isPrompt = false
    var sizes = SeededRandom(seed: seed &+ 1000)
    rig.receiveCount = { Int.random(in: 1...max($0, 1), using: &sizes) }
    rig.sendCount = { Int.random(in: 1...max($0, 1), using: &sizes) }
    // Reads of one half, writes to another: what is read does not depend on what comes first.
    let half = 1 << 20
    var expected = rig.disks[0]
    var reads: [UInt64: (range: Range<Int>, isWhole: Bool)] = [:]
    var writes: Set<UInt64> = []
    var says: [UInt8] = []
    for cookie in 1...UInt64(20) {
      let count = 512 * Int.random(in: 1...(Bool.random(using: &random) ? 1000 : 8), using: &random)
      let place = 512 * Int.random(in: 0...(half - count) / 512, using: &random)
      if Bool.random(using: &random) {
        let isWhole = !structured || Bool.random(using: &random)
        reads[cookie] = (place..<place + count, isWhole)
        says += Say.request(
          0, cookie: cookie, offset: UInt64(place), length: UInt32(count), flags: structured && isWhole ? 4 : 0)
      } else {
        let data = random.bytes(count)
        writes.insert(cookie)
        expected.put(data, at: half + place)
        says += Say.request(1, cookie: cookie, offset: UInt64(half + place), payload: data)
      }
    }
    // The rig keeps what is sent in place in the order of its execution, which a whole read does not keep to.
    if structured { rig.isInPlace = { [reads] in $0.offset & 1024 != 0 && !Self.isWhole($0, reads) } }
    rig.input = says
    var idle = 0
    while idle < 3 {
      idle = rig.step() ? 0 : idle + 1
      // Writes in the order in which they came, reads in any.
      if let write = rig.waiting.firstIndex(where: { $0.kind == .write }) {
        rig.complete(write)
        idle = 0
      } else if !rig.waiting.isEmpty {
        rig.complete(Int.random(in: 0..<rig.waiting.count, using: &sizes))
        idle = 0
      }
    }
    let replies = chunks(rig, reads: reads.mapValues { $0.range.count })
    #expect(areSame(rig.disks[0], expected))
    for (cookie, read) in reads {
      let mine = replies.filter { $0.cookie == cookie }
      #expect(areSame(mine.flatMap(\.data), Array(expected[read.range])), "read \(cookie)")
      #expect(mine.filter(\.isLast).count == 1 && mine.last?.isLast == true)
      if read.isWhole { #expect(mine.count == 1) }
    }
    for cookie in writes { #expect(replies.filter { $0.cookie == cookie } == [Reply(cookie: cookie)]) }
    #expect(rig.memoryInUse == 0 && rig.isGuardIntact)
    #expect(rig.tearDown() == nil)
  }

  /// Whether the read that an operation is a piece of is to be one message.
  private static func isWhole(
    _ operation: NBDOperation, _ reads: [UInt64: (range: Range<Int>, isWhole: Bool)]
  ) -> Bool {
    reads.values.contains { $0.isWhole && $0.range.contains(Int(operation.offset)) }
  }
}
