import Baton
import BatonChannel
import BatonSubsystem
import BatonTestSupport
import Testing

/// A request that is outstanding alone may be followed by one in the same line.
@Suite("Staying: the next request may come in the line of the last one, or in the one that it has named")
struct StayingTests {
  private static let read = Request(.read, length: 512)

  /// A host that is attached to a.
  private func attached(_ laboratory: Laboratory) throws -> RawHost {
    let raw = try RawHost(laboratory, to: .a)
    #expect(try reply(over: raw.socket, laboratory) == .attached)
    return raw
  }

  @Test("The controller polls both lines, every time", arguments: ["null:64k", "mem:64k", "fault:delay=1ms:mem:64k"])
  func eitherLine(unit: String) throws {
    let laboratory = try Laboratory(units: [unit])
    let raw = try attached(laboratory)
    var random = SeededRandom(seed: 11)
    var slot = 0
    for sequence in UInt64(1)...400 {
      let other = (slot + 1 + Int(random.next() % 7)) % 8
      let mayStay = random.next() % 4 != 0
      raw.line(slot).submit(Self.read, .submitted(sequence), next: other, mayStay: mayStay)
      try laboratory.turn { raw.flag(slot).isAnswered }
      #expect(raw.flag(slot) == .answered(sequence, .success))
      if !mayStay || random.next() % 2 == 0 { slot = other }
    }
  }

  @Test("A request in the other line is taken while the one in this line is under way")
  func whileUnderWay() throws {
    let laboratory = try Laboratory(units: ["fault:delay=20ms:mem:64k", "mem:64k"])
    let raw = try attached(laboratory)
    var slot = 0
    // On a busy machine the one may be over before the other has been taken: until it was seen under way then.
    for round in UInt64(0)..<1000 {
      let (other, next) = ((slot + 5) % 8, (slot + 6) % 8)
      let (first, second) = (2 * round + 1, 2 * round + 2)
      raw.line(slot).submit(Self.read, .submitted(first), next: other, mayStay: true)
      for _ in 0..<200 { laboratory.poll(.a) }
      raw.line(other).submit(Request(.read, unit: 1, length: 512), .submitted(second), next: next)
      try laboratory.turn { raw.flag(other).isAnswered }
      #expect(raw.flag(other) == .answered(second, .success))
      let wasUnderWay = raw.flag(slot) == .submitted(first)
      try laboratory.turn { raw.flag(slot).isAnswered }
      #expect(raw.flag(slot) == .answered(first, .success))
      #expect(laboratory.count(.hosts, of: .a) == 2)
      if wasUnderWay { return }
      slot = next
    }
    Issue.record("was never in flight when the other request had been answered")
  }

  @Test("A number that is not due puts the host out in the line that was named")
  func wrongNumber() throws {
    let laboratory = try Laboratory(units: ["null:64k"])
    let raw = try attached(laboratory)
    raw.line(0).submit(Self.read, .submitted(1), next: 3, mayStay: true)
    try laboratory.turn { raw.flag(0).isAnswered }
    raw.line(3).submit(Self.read, .submitted(9), next: 4)
    #expect(try reply(over: raw.socket, laboratory) == .ended)
  }

  @Test("A survivor finds the next request in either line, whether the last one has been answered or not")
  func takeover() throws {
    for (isStaying, isAnswered) in [(true, true), (false, true), (false, false)] {
      let laboratory = try Laboratory(units: [isAnswered ? "mem:64k" : "fault:delay=2ms:%/file:64k"])
      let read = Request(.read, length: 4096)
      let raw = try attached(laboratory)
      let toB = try raw.attach(laboratory, to: .b)
      #expect(try reply(over: toB, laboratory) == .attached)
      // Some before it, so that the lines are not as they were at the start.
      for sequence in UInt64(1)...5 {
        raw.line(0).submit(read, .submitted(sequence), next: 1, mayStay: true)
        try laboratory.turn { raw.flag(0).isAnswered }
      }
      raw.line(0).submit(read, .submitted(6), next: 4, mayStay: true)
      if isAnswered {
        try laboratory.turn { raw.flag(0).isAnswered }
      } else {
        laboratory.poll(.a)
        #expect(raw.flag(0) == .submitted(6))
      }
      laboratory.drop(.a)
      let slot = isStaying ? 0 : 4
      raw.line(slot).submit(read, .submitted(7), next: 5)
      try laboratory.turn { raw.flag(slot).isAnswered && raw.flag(0).isAnswered }
      #expect(raw.flag(slot) == .answered(7, .success))
      if !isStaying { #expect(raw.flag(0) == .answered(6, .success)) }
      raw.line(5).submit(read, .submitted(8), next: 6)
      try laboratory.turn { raw.flag(5).isAnswered }
      #expect(raw.flag(5) == .answered(8, .success))
    }
  }

  @Test("A host of eight lines: one at a time, several, as many as there is room for, and one at a time again")
  func changingDepth() throws {
    let laboratory = try Laboratory(units: ["null:64k", "fault:delay=100us:mem:64k"])
    var options = HostOptions()
    options.linesPerChannel = 8
    options.arenaSize = 65536
    let host = try laboratory.attach(options)
    var cookie: UInt64 = 0
    func complete(_ count: Int, unit: UInt32) throws {
      var expected: Set<UInt64> = []
      for _ in 0..<count {
        cookie += 1
        #expect(host.submit(Request(.read, unit: unit, length: 512), to: .a, cookie: cookie))
        expected.insert(cookie)
      }
      try laboratory.turn {
        while let completion = host.next() {
          #expect(completion.status == .success && expected.remove(completion.cookie) != nil)
        }
        return expected.isEmpty
      }
    }
    for round in 0..<40 {
      for count in [1, 1, 1, 5, 1, 2, 1, 7, 1, 1, 3] { try complete(count, unit: UInt32(round % 2)) }
    }
  }
}
