import Baton
import BatonChannel
import BatonHost
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonTestSupport
import CBatonShims
import Glibc
import Testing

@Suite("A host that writes garbage harms only itself")
struct GarbageTests {
  /// What garbage looks like.
  enum Kind: CaseIterable {
    /// Every byte of every line at random.
    case raw
    /// The same, and then the flag that is due in the line where the controller looks.
    case plausibleFlag
    /// A flag that is due, a line that exists, an operation that exists: the rest at random.
    case plausibleRequest
  }

  @Test(
    "Garbage in all request lines of one host, while another goes on being served", arguments: Kind.allCases)
  func garbage(kind: Kind) throws {
    let laboratory = try Laboratory(units: ["mem:64k", "%/file:64k", "null:1G", "mem:64k"])
    var random = SeededRandom(seed: 42)
    let host = laboratory.host
    var taken = 0
    for round in 0..<400 {
      let controller: ControllerIdentity = round % 2 == 0 ? .a : .b
      let raw = try RawHost(laboratory, to: controller)
      #expect(try reply(over: raw.socket, laboratory) == .attached)
      var slot = 0
      var sequence: UInt64 = 1
      for _ in 0..<16 {
        for word in 0..<raw.lines.count / 8 {
          raw.lines.storeBytes(of: random.next(), toByteOffset: word * 8, as: UInt64.self)
        }
        if kind != .raw {
          var next = slot
          if kind == .plausibleRequest {
            while next == slot { next = Int.random(in: 0..<8, using: &random) }
            raw.fields(slot).pointee.next = UInt16(next)
            raw.fields(slot).pointee.operation = Operation.allCases.randomElement(using: &random)!.rawValue
            // Not the unit that the other host's data is on, and no state that would turn it off.
            raw.fields(slot).pointee.unit = UInt32.random(in: 0...2, using: &random)
            if Bool.random(using: &random) {
              raw.fields(slot).pointee.offset &= 0xfe00
              raw.fields(slot).pointee.length &= 0x7e00
              raw.fields(slot).pointee.buffer &= 0xfe00
            }
          }
          raw.line(slot).flag.storeReleasing(RequestFlag.submitted(sequence).rawValue)
          slot = next
          sequence += 1
        }
        laboratory.poll()
      }
      taken += Int(sequence)
      let pattern = UInt8(truncatingIfNeeded: round)
      host.fill(0..<4096, with: pattern)
      #expect(try laboratory.perform(Request(.write, unit: 3, length: 4096), on: controller).status == .success)
      let read = try laboratory.perform(
        Request(.read, unit: 3, length: 4096, buffer: 8192), on: controller.peer)
      #expect(read.status == .success && host.holds(8192..<12288, pattern))
    }
    #expect(host.isAttached(to: .a) && host.isAttached(to: .b))
    try laboratory.turn { laboratory.count(.hosts, of: .a) == 1 && laboratory.count(.hosts, of: .b) == 1 }
  }

  @Test("Lines that change while the controller looks at them: it goes by what it has copied and checked")
  func changingLines() throws {
    let laboratory = try Laboratory(units: ["mem:64k", "mem:64k"])
    let raw = try RawHost(laboratory, to: .a)
    #expect(try reply(over: raw.socket, laboratory) == .attached)
    var random = SeededRandom(seed: 5)
    laboratory.afterTurn = {
      // Everything but the flags, in between any two turns: also while requests wait for a change of owner.
      for slot in 0..<8 {
        for word in 1..<8 where word != 6 {
          raw.lines.storeBytes(of: random.next(), toByteOffset: slot * 64 + word * 8, as: UInt64.self)
        }
      }
    }
    var sequence: UInt64 = 0
    for _ in 0..<2000 {
      let slot = Int(sequence % 8)
      sequence += 1
      // The function is the other controller's at the time, so that the request waits.
      #expect(try laboratory.perform(Request(.read, unit: 0, length: 512), on: .b).status == .success)
      let request = Request(.write, unit: 0, offset: 4096, length: 4096, buffer: 8192)
      raw.line(slot).submit(request, .submitted(sequence), next: Int(sequence % 8))
      try laboratory.turn { raw.flag(slot).isAnswered }
      #expect(raw.flag(slot) == .answered(sequence, .success))
    }
  }

  /// A host's place in the polling order depends on which hosts were quiet for how long: disconnected hosts have
  /// every kind of place, hot and cold, first and last, about to become cold.
  @Test("A host that is disconnected leaves the polling order whole, whatever its place in it", arguments: 0..<8)
  func expelledAnywhere(extra: Int) throws {
    let laboratory = try Laboratory(units: ["mem:64k"])
    var options = HostOptions()
    options.arenaSize = 65536
    for _ in 0..<5 { try laboratory.attach(options) }
    func serveAll() throws {
      for host in laboratory.hosts {
        #expect(try laboratory.perform(Request(.read, length: 512), on: .a, from: host).status == .success)
      }
    }
    try serveAll()
    for isQuietFirst in [false, true] {
      for isGoodFirst in [true, false] {
        for quiet in [0, 2040, 2048, 2056, 5000] {
          var raws: [RawHost] = []
          for _ in 0..<3 {
            let raw = try RawHost(laboratory, to: .a)
            #expect(try reply(over: raw.socket, laboratory) == .attached)
            raws.append(raw)
          }
          if isQuietFirst {
            // They become cold before the others do, and so stand behind them.
            for _ in 0..<200 { laboratory.poll(.a) }
            try serveAll()
          }
          for _ in 0..<quiet + extra { laboratory.poll(.a) }
          for raw in raws {
            if isGoodFirst { raw.line(0).submit(Request(.read, length: 512), .submitted(1), next: 1) }
            // A number that is not due.
            raw.line(isGoodFirst ? 1 : 0).submit(Request(.read, length: 512), .submitted(77), next: 2)
          }
          for raw in raws {
            #expect(try reply(over: raw.socket, laboratory) == .ended)
            if isGoodFirst { #expect(raw.flag(0) == .answered(1, .success)) }
          }
          #expect(laboratory.count(.hosts, of: .a) == 6)
          try serveAll()
        }
      }
    }
  }

  /// The host names lines again that it has not had back, and wipes the flags that would give it away.
  @Test("A host that submits more than it has lines is disconnected, and takes nobody's room")
  func tooMany() throws {
    let laboratory = try Laboratory(units: ["fault:delay=200ms:null:1M", "mem:64k"])
    let raw = try RawHost(laboratory, to: .a)
    #expect(try reply(over: raw.socket, laboratory) == .attached)
    var sequence: UInt64 = 0
    for _ in 0..<100 {
      let slot = Int(sequence % 8)
      sequence += 1
      raw.line(Int(sequence % 8)).flag.storeReleasing(0)
      raw.line(slot).submit(
        Request(.read, unit: 0, length: 512), .submitted(sequence), next: Int(sequence % 8))
      laboratory.poll(.a)
    }
    #expect(try reply(over: raw.socket, laboratory) == .ended)
    #expect(laboratory.count(.hostsRefused, of: .a) == 1)
    let answered = laboratory.count(.answered, of: .a)
    #expect(laboratory.count(.requests, of: .a) <= answered + 8, "no more at a time than it has lines")
    #expect(try laboratory.perform(Request(.write, unit: 1, length: 512), on: .a).status == .success)
  }
}
