import BatonNBD
import BatonTestSupport
import Glibc
import Testing

@Suite("NBD: limits, backpressure and ends")
struct LimitTests {
  func rig(
    size: UInt64 = 1 << 20, blockSize: UInt32 = 512, structured: Bool = false,
    _ change: (inout NBDLimits) -> Void = { _ in }
  ) throws -> NBDRig {
    var limits = NBDLimits()
    change(&limits)
    let rig = try NBDRig(exports: [NBDExport(size: size, blockSize: blockSize)], limits: limits)
    rig.enter(structured: structured)
    return rig
  }

  func pattern(_ count: Int, _ seed: Int = 1) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: ($0 / 5) &* 31 &+ seed) }
  }

  // MARK: Requests in flight

  @Test("No more requests are taken than there are slots, whether they are executed or only to be refused")
  func slots() throws {
    for offset in [0, 1] as [UInt64] {
      let rig = try rig { $0.requestsMax = 4 }
      rig.isPrompt = false
      rig.holdsSend = { true }
      rig.say((1...9).flatMap { Say.request(0, cookie: $0, offset: offset, length: 512) })
      #expect(rig.waiting.count == (offset == 0 ? 4 : 0))
      #expect(!rig.isMidMessage, "what waits here for room is nothing that the client owes")
      while !rig.waiting.isEmpty { rig.complete(0) }
      rig.run()
      #expect(rig.log.count == (offset == 0 ? 4 : 0), "a slot is taken until its reply has gone")
      rig.holdsSend = { false }
      rig.isPrompt = true
      rig.run()
      let replies = rig.replies(reads: Dictionary(uniqueKeysWithValues: (1...9).map { ($0, 512) }))
      #expect(replies.map(\.cookie) == Array(1...9))
    }
  }

  @Test("Nothing is received while there is no room for what came")
  func backpressure() throws {
    let rig = try rig { $0.requestsMax = 2 }
    rig.isPrompt = false
    let requests = (1...20_000).flatMap { Say.request(3, cookie: $0) }
    rig.say(requests)
    #expect(rig.waiting.count == 2)
    #expect(!rig.isReceiving)
    #expect(rig.bytesReceived < 300_000)
    rig.isPrompt = true
    rig.completeAll()
    #expect(rig.replies().map(\.cookie) == Array(1...20_000))
  }

  @Test("Its driver takes operations when there is room for them")
  func room() throws {
    let rig = try rig()
    rig.isPrompt = false
    rig.roomMax = 3
    rig.say((1...10).flatMap { Say.request(3, cookie: $0) })
    #expect(rig.waiting.count == 3)
    rig.roomMax = 100
    rig.run()
    #expect(rig.waiting.count == 10)
  }

  @Test("A client that asks one thing at a time awaits a reply that is the last; one that asks more does not")
  func oneAfterTheOther() throws {
    let rig = try rig(size: 4 << 20)
    rig.isPrompt = false
    rig.holdsSend = { true }
    #expect(!rig.awaitsReply && !rig.sendsLast, "nothing was asked")
    rig.say(Say.request(0, cookie: 1, length: 4096))
    #expect(rig.awaitsReply && !rig.sendsLast)
    rig.completeAll()
    #expect(rig.awaitsReply && rig.sendsLast)
    rig.say(Say.request(0, cookie: 2, length: 4096))
    #expect(!rig.awaitsReply && !rig.sendsLast, "it did not wait")
    rig.completeAll()
    rig.holdsSend = { false }
    rig.run()
    #expect(!rig.awaitsReply && !rig.sendsLast)
    // A disconnection behind it: then the end of the send is waited for.
    let other = try self.rig(size: 4 << 20)
    other.isPrompt = false
    other.holdsSend = { true }
    other.say(Say.request(0, cookie: 1, length: 4096) + Say.request(2, cookie: 2))
    other.completeAll()
    #expect(other.isSending && !other.sendsLast)
    // The beginning of another message.
    rig.holdsSend = { true }
    rig.say(Say.request(0, cookie: 3, length: 4096) + [0x25])
    #expect(!rig.awaitsReply)
    rig.say(Array(Say.request(0, cookie: 4, length: 4096).dropFirst()))
    rig.holdsSend = { false }
    rig.completeAll()
    // More than a socket is sure to have room for, and the rest of what it had none for.
    rig.holdsSend = { true }
    rig.say(Say.request(0, cookie: 5, length: 1 << 20))
    rig.completeAll()
    #expect(rig.isSending && !rig.sendsLast)
    rig.holdsSend = { false }
    rig.run()
    _ = rig.heard()
    rig.say(Say.request(0, cookie: 6, length: 4096))
    var sends = 0
    rig.sendCount = { _ in 100 }
    rig.holdsSend = {
      sends += 1
      return sends == 2
    }
    rig.waiting.indices.forEach { rig.complete($0) }
    _ = rig.step()
    _ = rig.step()
    #expect(rig.isSending && !rig.sendsLast, "the rest of a reply")
  }

  // MARK: Memory

  @Test("Requests wait for pages, in order; buffers lie in the memory, aligned, and none in another")
  func memory() throws {
    for blockSize in [512, 4096, 16384, 65536] as [UInt32] {
      let rig = try rig(size: 16 << 20, blockSize: blockSize)
      rig.isPrompt = false
      let lengths: [UInt32] = [blockSize, 4 << 20, 65536, 2 << 20, 4 << 20, 65536, 1 << 20]
      rig.say(
        lengths.enumerated().flatMap { Say.request(0, cookie: UInt64($0), offset: 0, length: $1) })
      #expect(rig.waiting.count == 4, "the second large one does not fit, and what comes after it waits as well")
      var before: [Range<Int>] = []
      for operation in rig.waiting {
        let range = operation.buffer..<operation.buffer + Int(operation.length)
        #expect(range.lowerBound % Int(blockSize) == 0)
        #expect(range.lowerBound >= rig.limits.stagingSize && range.upperBound <= rig.limits.memorySize)
        #expect(!before.contains { $0.overlaps(range) })
        before.append(range)
      }
      #expect(rig.memoryInUse <= rig.limits.poolSize)
      rig.isPrompt = true
      rig.completeAll()
      let reads = Dictionary(uniqueKeysWithValues: lengths.enumerated().map { (UInt64($0), Int($1)) })
      #expect(rig.replies(reads: reads).map(\.cookie) == [0, 1, 2, 3, 4, 5, 6])
      #expect(rig.memoryInUse == 0)
    }
  }

  @Test("The smallest pool that is allowed takes the longest transfer in the largest blocks, from the first request on")
  func smallestPool() throws {
    let rig = try rig(size: 4 << 20, blockSize: 65536) { $0.poolSize = Int($0.transferMax) + 65536 }
    rig.disks[0] = pattern(4 << 20)
    rig.say(Say.request(0, cookie: 1, length: 4 << 20))
    rig.say(Say.request(0, cookie: 2, length: 4 << 20))
    let replies = rig.replies(reads: [1: 4 << 20, 2: 4 << 20])
    #expect(replies.map(\.data) == [rig.disks[0], rig.disks[0]])
  }

  @Test("A request that comes right behind the handshake waits for the last answer's page, if it must")
  func smallestPoolAtOnce() throws {
    var limits = NBDLimits()
    limits.poolSize = Int(limits.transferMax) + 65536
    let rig = try NBDRig(exports: [NBDExport(size: 8 << 20, blockSize: 512)], limits: limits)
    var random = SeededRandom(seed: 1)
    rig.holdsSend = { Bool.random(using: &random) }
    rig.say(Say.flags() + Say.go() + Say.request(0, cookie: 1, length: 4 << 20))
    for _ in 0..<100 { rig.run() }
    var listener = Listener(rig.heard())
    #expect(listener.take(18) == Say.greeting)
    #expect(listener.answers().count == 3)
    #expect(listener.reply(reads: [1: 4 << 20])?.data.count == 4 << 20)
    #expect(listener.left == 0)
  }

  // MARK: Straight to its place

  @Test("The rest of a payload is received where the storage takes it from, and what follows it as well")
  func inPlace() throws {
    let rig = try rig(size: 16 << 20)
    let large = pattern(1 << 20)
    var pieces = [
      Say.request(1, cookie: 1, offset: 0, payload: large), Say.request(1, cookie: 2, offset: 1 << 20, payload: large),
      Say.request(1, cookie: 3, offset: 2 << 20, payload: pattern(512)), Say.request(3, cookie: 4),
    ]
    rig.say(Array(pieces[0].prefix(28)))
    #expect(rig.lastReceive.count == 2)
    #expect(rig.lastReceive[0].offset >= rig.limits.stagingSize)
    #expect(rig.lastReceive[0].count == large.count)
    #expect(
      rig.lastReceive[1].offset == 0 && rig.lastReceive[1].count == 28, "a header, and not another payload's begin")
    pieces[0].removeFirst(28)
    rig.say(pieces.flatMap { $0 })
    #expect(rig.replies().map(\.cookie) == [1, 2, 3, 4])
    #expect(Array(rig.disks[0][0..<2 << 20]) == large + large)
    #expect(Array(rig.disks[0][2 << 20..<2 << 20 + 512]) == pattern(512))
    #expect(rig.memoryInUse == 0)
  }

  @Test("Small writes come many at a time")
  func batches() throws {
    let rig = try rig(size: 16 << 20)
    var receives = 0
    rig.receiveCount = {
      receives += 1; return $0
    }
    let requests = (0..<64).flatMap { Say.request(1, cookie: $0, offset: $0 * 4096, payload: pattern(4096, Int($0))) }
    rig.say(requests)
    #expect(receives <= 5, "64 writes of 4 KiB are two and a bit of what one receive takes")
    #expect(rig.replies().map(\.cookie) == Array(0..<64))
    for block in 0..<64 { #expect(Array(rig.disks[0][block * 4096..<(block + 1) * 4096]) == pattern(4096, block)) }
  }

  @Test("Many replies go in one send")
  func manyReplies() throws {
    let rig = try rig(structured: true)
    rig.isPrompt = false
    rig.say((1...200).flatMap { Say.request(0, cookie: $0, length: 512) })
    while !rig.waiting.isEmpty { rig.complete(0) }
    var sends: [Int] = []
    rig.sendCount = {
      sends.append($0); return $0
    }
    rig.run()
    #expect(sends == [128 * (28 + 512), 72 * (28 + 512)])
    #expect(rig.replies().map(\.cookie) == Array(1...200))
  }

  // MARK: Ends

  @Test("The client closes its end: what it asked for is answered, then it is over")
  func closes() throws {
    let rig = try rig()
    rig.isPrompt = false
    rig.isClosed = true
    rig.say(Say.request(0, cookie: 1, length: 512))
    #expect(rig.waiting.count == 1 && !rig.isFinished)
    rig.completeAll()
    #expect(rig.replies(reads: [1: 512]).map(\.cookie) == [1])
    #expect(rig.isFinished)
  }

  @Test("The client closes its end in the middle of a message")
  func closesMidway() throws {
    for bytes in [
      Array(Say.request(0, cookie: 1, length: 512).prefix(10)),
      Array(Say.request(1, cookie: 1, payload: pattern(512)).prefix(100)),
      Say.request(1, cookie: 1, length: 1 << 20), Say.request(1, cookie: 1, offset: 1, length: 512) + [1, 2, 3],
    ] {
      let rig = try rig(size: 4 << 20)
      rig.isClosed = true
      rig.say(bytes)
      #expect(rig.log == [])
      #expect(rig.isFinished)
      #expect(rig.memoryInUse == 0)
      #expect(rig.tearDown() == nil)
    }
  }

  @Test("A connection that breaks: what is under way ends, nothing more is said, nothing stays")
  func breaks() throws {
    for sends in [false, true] {
      let rig = try rig(size: 8 << 20)
      rig.isPrompt = false
      rig.say(
        (1...6).flatMap { Say.request(0, cookie: $0, length: 65536) } + Say.request(1, cookie: 7, length: 1 << 20))
      rig.holdsSend = { true }
      rig.complete(0)
      rig.complete(0)
      if sends { rig.run() }
      #expect(rig.isSending == sends)
      #expect(rig.isReceiving)
      rig.endReceive(-104)
      #expect(!rig.isFinished)
      #expect(!rig.step(), "nothing more is taken or sent")
      let before = rig.memoryInUse
      rig.complete(0)
      #expect(rig.memoryInUse == before - 65536, "what ends goes at once")
      while !rig.waiting.isEmpty { rig.complete(0) }
      #expect(rig.isFinished == !sends)
      if sends { rig.connection.endSend(-32) }
      #expect(rig.isFinished)
      #expect(rig.memoryInUse == 0)
      #expect(rig.heard() == [])
    }
  }

  @Test("Given up with a receive into a request's pages under way: the pages stay until it has ended")
  func abandonReceiving() throws {
    for gives in [{ $0.abandon() }, { $0.hangUp() }] as [(inout NBDConnection) -> Void] {
      let rig = try rig(size: 4 << 20)
      rig.say(Say.request(1, cookie: 1, length: 1 << 20) + [1, 2, 3])
      #expect(rig.isReceiving)
      gives(&rig.connection)
      #expect(!rig.isFinished)
      #expect(rig.memoryInUse == 1 << 20)
      rig.endReceive(700)
      #expect(rig.memoryInUse == 0)
      #expect(rig.isFinished)
      #expect(rig.log == [])
    }
  }

  @Test("The server leaves: what was taken is answered, what was not is left to be asked elsewhere")
  func leaves() throws {
    let rig = try rig { $0.requestsMax = 2 }
    rig.isPrompt = false
    rig.say((1...4).flatMap { Say.request(3, cookie: $0) })
    rig.connection.hangUp()
    rig.completeAll()
    #expect(rig.replies().map(\.cookie) == [1, 2])
    #expect(rig.isFinished)
  }

  @Test("A request that is withdrawn is not answered, and the connection ends after the others' answers")
  func withdrawn() throws {
    let rig = try rig()
    rig.isPrompt = false
    rig.say((1...3).flatMap { Say.request(0, cookie: $0, length: 512) })
    rig.outcome = { _ in .withdrawn }
    rig.complete(1)
    rig.outcome = { _ in .done }
    rig.endReceive(0)
    #expect(!rig.isFinished)
    rig.completeAll()
    #expect(rig.replies(reads: [1: 512, 3: 512]).map(\.cookie) == [1, 3])
    #expect(rig.isFinished)
    #expect(rig.memoryInUse == 0)
  }

  @Test("Half a message, then silence, can be told from a client that has nothing to say")
  func silence() throws {
    let rig = try rig(size: 4 << 20)
    #expect(!rig.isMidMessage)
    rig.isPrompt = false
    let message = Say.request(1, cookie: 1, payload: pattern(1000 * 512))
    rig.say([message[0]])
    let messages = rig.messages
    #expect(rig.isMidMessage)
    rig.say(Array(message[1..<28]))
    #expect(rig.isMidMessage)
    rig.say(Array(message[28..<1000]))
    #expect(rig.isMidMessage && rig.messages == messages)
    #expect(rig.bytesReceived > 1000, "it can be seen whether anything came at all")
    rig.say(Array(message[1000...]))
    #expect(!rig.isMidMessage && rig.messages == messages + 1)
    #expect(rig.waiting.count == 1)
  }

  @Test("A client that does not read: what is under way says how far it came")
  func notReading() throws {
    let rig = try rig()
    rig.holdsSend = { true }
    rig.say(Say.request(0, cookie: 1, length: 512))
    #expect(rig.isSending)
    let sent = rig.bytesSent
    rig.holdsSend = { false }
    rig.sendCount = { _ in 100 }
    _ = rig.step()
    #expect(rig.bytesSent == sent + 100)
  }

  @Test("Thousands of clients in one place, one after the other, in every state")
  func manyClients() throws {
    let limits = NBDLimits()
    let memory = UnsafeMutableRawPointer.allocate(byteCount: limits.memorySize, alignment: 65536)
    defer { memory.deallocate() }
    var connection = NBDConnection(memory: memory, limits: limits)
    let exports = try NBDExports([NBDExport(size: 1 << 20, blockSize: 512)])
    let script =
      Say.flags() + Say.structuredReply + Say.go() + Say.request(0, cookie: 1, length: 512)
      + Say.request(1, cookie: 2, payload: [UInt8](repeating: 7, count: 300 * 512))
    for number in 0..<5000 {
      connection.begin()
      var at = 0
      let end = number * 37 % (script.count + 1)
      var operations: [NBDOperation] = []
      while at < end {
        let vectors = connection.beginReceive()
        if vectors.isEmpty {
          let sent = connection.beginSend().vectors.reduce(0) { $0 + $1.iov_len }
          if sent == 0 { break }
          connection.endSend(sent)
          connection.negotiate(exports)
          continue
        }
        var count = 0
        for vector in vectors {
          let part = min(vector.iov_len, end - at)
          script.withUnsafeBytes { vector.iov_base.copyMemory(from: $0.baseAddress! + at, byteCount: part) }
          at += part
          count += part
        }
        connection.endReceive(count)
        connection.negotiate(exports)
        while let operation = connection.next() { operations.append(operation) }
      }
      if number % 3 == 0 { _ = connection.beginSend() }
      let isSending = connection.isSending
      connection.abandon()
      if isSending { connection.endSend(-1) }
      for operation in operations { connection.finish(operation.slot, .done) }
      if connection.isReceiving { connection.endReceive(-1) }
      guard connection.isFinished, connection.memoryInUse == 0 else {
        Issue.record("client \(number) is not over")
        break
      }
      connection.end()
    }
    #expect(number(of: connection) == 0)
  }

  private func number(of connection: borrowing NBDConnection) -> Int { connection.executing }
}
