import BatonNBD
import BatonSystem
import BatonTestSupport
import Glibc
import Testing

@Suite("NBD: messages in any pieces, events in any order")
struct DisorderTests {
  static let isLong = getenv("BATON_TEST_LONG").map { String(cString: $0) } == "1"

  func rig(_ limits: NBDLimits = NBDLimits()) throws -> NBDRig {
    let rig = try NBDRig(
      exports: [NBDExport(size: 1 << 20, blockSize: 512, name: "first", description: "for people")], limits: limits)
    rig.extents = { _ in [(512, true, true), (512, false, false)] }
    return rig
  }

  /// Every option and every command, with good and bad, to the end.
  static let script: [UInt8] = {
    let data = (0..<1024).map { UInt8(truncatingIfNeeded: $0 / 3) }
    var says = Say.flags() + Say.option(3) + Say.option(5) + Say.option(11, [1, 2, 3]) + Say.structuredReply
    says += Say.contexts(9, "first", []) + Say.contexts(10, "unit0", ["base:allocation", "x:y"])
    says += Say.inform(6, "nothing") + Say.inform(6, "first", [1, 2, 3]) + Say.go("unit0")
    says += Say.request(1, cookie: 1, offset: 512, flags: 1, payload: data)
    says += Say.request(0, cookie: 2, offset: 512, length: 1024, flags: 4) + Say.request(3, cookie: 3)
    says += Say.request(1, cookie: 4, offset: 1, payload: Array(data.prefix(700)))
    says += Say.request(7, cookie: 5, length: 4096) + Say.request(7, cookie: 6, length: 4096, flags: 8)
    says += Say.request(99, cookie: 7, length: 512) + Say.request(4, cookie: 8, length: 512)
    says += Say.request(6, cookie: 9, offset: 512, length: 512, flags: 2) + Say.request(5, cookie: 10, length: 512)
    says += Say.request(1, cookie: 11, payload: []) + Say.request(0, cookie: 12, offset: 512, length: 1024)
    says += Say.request(0, cookie: 13, offset: 1 << 20, length: 512)
    return says + Say.request(2, cookie: 14)
  }()

  /// What is answered when every message comes by itself.
  func answersOneByOne() throws -> [UInt8] {
    let rig = try rig()
    for byte in Self.script { rig.say([byte]) }
    #expect(rig.isFinished)
    return rig.heard()
  }

  @Test("Every option and command, cut in two at every byte: always the same answers")
  func cutInTwo() throws {
    let expected = try answersOneByOne()
    #expect(expected.count > 3000)
    for cut in 0...Self.script.count {
      let rig = try rig()
      rig.say(Array(Self.script[..<cut]))
      rig.say(Array(Self.script[cut...]))
      guard rig.heard() == expected, rig.isFinished, rig.memoryInUse == 0 else {
        Issue.record("cut at \(cut)")
        break
      }
    }
  }

  @Test("All in one piece, and in pieces of every size", arguments: Array(1...40) + [100, 511, 512, 1000, 100_000])
  func piecesOfSize(_ size: Int) throws {
    let expected = try answersOneByOne()
    let rig = try rig()
    rig.receiveCount = { min($0, size) }
    rig.say(Self.script)
    #expect(rig.heard() == expected)
    #expect(rig.isFinished)
    let slow = try self.rig()
    slow.sendCount = { min($0, size) }
    slow.say(Self.script)
    #expect(slow.heard() == expected)
    #expect(slow.isFinished)
  }

  @Test("Large payloads, cut around every edge that they have")
  func largeCuts() throws {
    var limits = NBDLimits()
    limits.stagingSize = 65536
    let data = (0..<100_352).map { UInt8(truncatingIfNeeded: $0 / 512 &+ $0) }
    let write = Say.request(1, cookie: 1, payload: data)
    let says = write + Say.request(1, cookie: 2, offset: 102_400, payload: data) + Say.request(3, cookie: 3)
    let edges = [0, 28, 65536, write.count, write.count + 28, 2 * write.count, 2 * write.count + 28]
    for first in edges {
      for second in edges where second > first {
        for near in -2...2 {
          let cuts = [first + near, second - near].map { min(max($0, 0), says.count) }.sorted()
          let rig = try NBDRig(exports: [NBDExport(size: 1 << 20, blockSize: 512)], limits: limits)
          rig.enter()
          rig.say(Array(says[..<cuts[0]]))
          rig.say(Array(says[cuts[0]..<cuts[1]]))
          rig.say(Array(says[cuts[1]...]))
          guard rig.replies().map(\.cookie) == [1, 2, 3], areSame(rig.disks[0][..<100_352], data[...]),
            areSame(rig.disks[0][102_400..<202_752], data[...])
          else {
            Issue.record("cuts at \(cuts)")
            return
          }
        }
      }
    }
  }

  @Test(
    "Data that is sent from where it lies makes the same bytes, in whichever pieces they go", arguments: [true, false])
  func inPlace(isStructured: Bool) throws {
    var said: [[UInt8]] = []
    for isInPlace in [false, true] {
      for piece in [1, 15, 16, 17, 20, 27, 28, 29, 1000, 4096, 5000, 1 << 20] {
        let rig = try rig()
        rig.disks[0] = (0..<rig.disks[0].count).map { UInt8(truncatingIfNeeded: $0 / 512 &* 31 &+ $0) }
        rig.enter(structured: isStructured)
        rig.isInPlace = { isInPlace && $0.offset % 2048 == 0 }
        rig.outcome = { $0.offset == 8192 ? .failed(.inputOutput) : .done }
        rig.sendCount = { min($0, piece) }
        rig.say(
          (0..<24).flatMap { Say.request(0, cookie: $0, offset: $0 * 1024, length: UInt32(512 + $0 % 3 * 512)) }
            + Say.request(3, cookie: 99) + Say.request(2, cookie: 100))
        said.append(rig.heard())
        #expect(rig.isFinished && rig.memoryInUse == 0)
        #expect(rig.tearDown() == nil)
      }
    }
    #expect(said[0].count > 20 * 1024)
    for bytes in said { #expect(areSame(bytes, said[0])) }
  }

  @Test("Reads and writes at random through several requests at once: every block as it was written last")
  func workload() throws {
    for seed in 0..<(Self.isLong ? 400 : 20) as Range<UInt64> {
      var random = SeededRandom(seed: seed)
      let rig = try NBDRig(exports: [NBDExport(size: 1 << 20, blockSize: 512)])
      rig.enter(structured: seed % 2 == 0)
      rig.isPrompt = false
      rig.isInPlace = { seed % 3 == 0 && $0.length >= 2048 }
      var model = [UInt8](repeating: 0, count: 1 << 20)
      var busy: [UInt64: (range: Range<Int>, isRead: Bool)] = [:]
      for cookie in 1...600 as ClosedRange<UInt64> {
        let chunk = Int.random(in: 1...100_000, using: &random)
        rig.receiveCount = { min($0, chunk) }
        rig.sendCount = { min($0, chunk) }
        let first = Int.random(in: 0..<2000, using: &random)
        let blocks = Int.random(in: 1...(cookie % 10 == 0 ? 48 : 8), using: &random)
        let range = first * 512..<(first + blocks) * 512
        // What overlaps something under way has no order.
        if !busy.values.contains(where: { $0.range.overlaps(range) }) {
          let isRead = Bool.random(using: &random)
          busy[cookie] = (range, isRead)
          if isRead {
            rig.input += Say.request(0, cookie: cookie, offset: UInt64(range.lowerBound), length: UInt32(range.count))
          } else {
            let data = random.bytes(range.count)
            model.put(data, at: range.lowerBound)
            rig.input += Say.request(1, cookie: cookie, offset: UInt64(range.lowerBound), payload: data)
          }
        }
        for _ in 0..<Int.random(in: 0..<6, using: &random) { _ = rig.step() }
        while rig.waiting.count > 5 || !rig.waiting.isEmpty && Bool.random(using: &random) {
          rig.complete(Int.random(in: 0..<rig.waiting.count, using: &random))
        }
        if cookie % 16 == 0 || cookie == 600 {
          rig.run()
          while !rig.waiting.isEmpty { rig.completeAll() }
          let replies = rig.replies(reads: busy.filter(\.value.isRead).mapValues(\.range.count))
          #expect(Set(replies.map(\.cookie)) == Set(busy.keys) && replies.count == busy.count)
          for reply in replies {
            guard let request = busy[reply.cookie], reply.error == 0 else { continue }
            if request.isRead { #expect(areSame(reply.data[...], model[request.range])) }
          }
          busy = [:]
        }
      }
      #expect(areSame(rig.disks[0], model))
      #expect(rig.tearDown() == nil)
    }
  }

  @Test("Anything at all is said, in any order of events", arguments: 0..<4)
  func anything(_ row: Int) {
    // In its long form ten minutes over all rows, with another beginning each time: the row and the number that a
    // failure names, and the seed, say it again.
    let began = monotonicNanoseconds()
    let seed = Self.isLong ? began & ~0xffff : 0
    var number = 0
    while Self.isLong ? monotonicNanoseconds() - began < 150_000_000_000 : number < 400 {
      defer { number += 1 }
      let bytes = Self.something(seed: seed ^ (UInt64(row) << 32 | UInt64(number)))
      if let wrong = NBDFuzz.run(bytes) {
        Issue.record("seed \(seed), row \(row), number \(number): \(wrong)")
        return
      }
    }
  }

  /// Bytes for `NBDFuzz`: of any kind, or what a client would say, with some of it spoilt.
  static func something(seed: UInt64) -> [UInt8] {
    var random = SeededRandom(seed: seed)
    var bytes = (0..<10).map { _ in UInt8.random(in: 0...255, using: &random) }
    switch bytes[9] % 3 {
    case 0, 1:
      if Bool.random(using: &random) {
        let spoken = bytes[9] % 3 == 0 ? 0 : script.firstRange(of: Say.go("unit0"))?.upperBound ?? 0
        bytes += Array(script[spoken...])
        for _ in 0..<Int.random(in: 0..<4, using: &random) where bytes.count > 10 {
          bytes[Int.random(in: 10..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
        }
      } else {
        bytes += (0..<Int.random(in: 0..<500, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      }
    default:
      bytes += (0..<8 * Int.random(in: 0..<40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
    }
    return bytes
  }
}
