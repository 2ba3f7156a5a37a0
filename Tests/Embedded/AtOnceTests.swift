import Baton
import BatonChannel
import BatonController
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import Testing

/// Requests that are over as soon as they have begun are not entered in the journal. These tests put the answers of a
/// batch back, as if its controller had died at one of them.
@Suite("At once: requests on null units leave no entry in the journal, and those on memory units must")
struct AtOnceTests {
  private static let requests = 5

  @Test(
    "A controller that dies at any answer of a batch on a null unit: each request is answered, once",
    arguments: 0...requests, [false, true])
  func anyAnswer(answered: Int, isHostLate: Bool) throws {
    let laboratory = try Laboratory(units: ["null:64k"])
    let raw = try RawHost(laboratory, to: .a)
    #expect(try reply(over: raw.socket, laboratory) == .attached)
    func attachToPeer() throws -> OwnedDescriptor {
      let socket = try raw.attach(laboratory, to: .b)
      #expect(try reply(over: socket, laboratory) == .attached)
      return socket
    }
    let early = isHostLate ? nil : try attachToPeer()
    for slot in 0..<Self.requests {
      let request = Request(slot % 2 == 0 ? .read : .write, length: 4096)
      raw.line(slot).submit(request, .submitted(UInt64(slot) + 1), next: slot + 1)
    }
    laboratory.poll(.a)
    for slot in 0..<Self.requests { #expect(raw.flag(slot) == .answered(UInt64(slot) + 1, .success)) }
    let region = try Region(opening: laboratory.subsystem.location)
    let journal = region.journal(of: .a)
    #expect((0..<Journal.capacity).allSatisfy { (journal.entries + $0).inFlight.loadRelaxed() == 0 })
    laboratory.drop(.a)
    for slot in answered..<Self.requests {
      // Of the first one without an answer the controller has written everything but the flag.
      if slot > answered { raw.fields(slot).pointee.service = 0 }
      raw.line(slot).flag.storeReleasing(RequestFlag.submitted(UInt64(slot) + 1).rawValue)
    }
    try laboratory.turn { laboratory.count(.takeovers, of: .b) == 1 }
    let late = isHostLate ? try attachToPeer() : nil
    // And the one after them is found behind them.
    let last = Self.requests
    raw.line(last).submit(Request(.read, length: 512), .submitted(UInt64(last) + 1), next: last + 1)
    try laboratory.turn { (0...Self.requests).allSatisfy { raw.flag($0).isAnswered } }
    for slot in 0...Self.requests {
      #expect(raw.flag(slot) == .answered(UInt64(slot) + 1, .success))
      #expect(raw.line(slot).response.service.controller == (slot < answered ? .a : .b))
    }
    #expect(laboratory.count(.recovered, of: .b) == 0 && laboratory.count(.hostsRefused, of: .b) == 0)
    #expect(laboratory.count(.requests, of: .b) == UInt64(Self.requests + 1 - answered))
    #expect((early == nil) == isHostLate && (late == nil) != isHostLate)
  }

  @Test("A request that names its own line as the next one's disconnects its host, wherever it is in a batch")
  func ownLine() throws {
    for place in 0..<3 {
      let laboratory = try Laboratory(units: ["null:64k"])
      let raw = try RawHost(laboratory, to: .a)
      #expect(try reply(over: raw.socket, laboratory) == .attached)
      for slot in 0...place {
        raw.line(slot).submit(
          Request(.read, length: 512), .submitted(UInt64(slot) + 1), next: slot == place ? slot : slot + 1)
      }
      #expect(try reply(over: raw.socket, laboratory) == .ended)
      #expect(laboratory.count(.hostsRefused, of: .a) == 1)
    }
  }

  @Test("Kinds of requests that alternate within a batch, on several units, are counted and answered as their own")
  func alternating() throws {
    let laboratory = try Laboratory(units: ["null:64k", "null:1M", "mem:64k"])
    let raw = try RawHost(laboratory, to: .a, linesPerChannel: 64)
    #expect(try reply(over: raw.socket, laboratory) == .attached)
    var random = SeededRandom(seed: 3)
    var sequence: UInt64 = 0
    var (read, written): (UInt64, UInt64) = (0, 0)
    for _ in 0..<50 {
      var expected: [Status] = []
      let first = Int(sequence % 64)
      for _ in 0..<Int.random(in: 1...40, using: &random) {
        let isWrite = Bool.random(using: &random)
        let unit = UInt32.random(in: 0...2, using: &random)
        // Some begin past the end of the smaller units, and some are of no whole number of blocks.
        let offset = UInt64.random(in: 0...20, using: &random) * 4096
        let length: UInt64 = Int.random(in: 0..<8, using: &random) == 0 ? 100 : 4096
        let size: UInt64 = unit == 1 ? 1 << 20 : 65536
        let status: Status = offset + length > size ? .outOfRange : length == 100 ? .misaligned : .success
        let slot = Int(sequence % 64)
        sequence += 1
        let request = Request(isWrite ? .write : .read, unit: unit, offset: offset, length: length)
        raw.line(slot).submit(request, .submitted(sequence), next: (slot + 1) % 64)
        expected.append(status)
        if status == .success { if isWrite { written += length } else { read += length } }
      }
      try laboratory.turn { raw.flag(Int((sequence - 1) % 64)).isAnswered }
      for (index, status) in expected.enumerated() {
        let number = sequence - UInt64(expected.count - index - 1)
        #expect(raw.flag((first + index) % 64) == .answered(number, status))
      }
    }
    #expect(laboratory.count(.requests, of: .a) == sequence && laboratory.count(.answered, of: .a) == sequence)
    #expect(laboratory.count(.bytesRead, of: .a) == read && laboratory.count(.bytesWritten, of: .a) == written)
  }

  @Test(
    "Without a journal an older write on a memory unit undoes a newer one that was answered", arguments: [true, false])
  func memoryNeedsTheJournal(keepsJournal: Bool) throws {
    var options = Laboratory.controllerOptions
    options.keepsJournal = keepsJournal
    let laboratory = try Laboratory(units: ["mem:64k"], controllers: options)
    let other = laboratory.host
    let raw = try RawHost(laboratory, to: .a)
    #expect(try reply(over: raw.socket, laboratory) == .attached)
    raw.memory.arena.initializeMemory(as: UInt8.self, repeating: 1)
    raw.line(0).submit(Request(.write, length: 4096), .submitted(1), next: 1)
    try laboratory.turn { raw.flag(0).isAnswered }
    // a has died between the write and its answer, and its host is away.
    let writable = try Region(opening: laboratory.subsystem.location)
    let entry = writable.journal(of: .a).entries
    laboratory.drop(.a)
    if keepsJournal { entry.inFlight.storeReleasing(1) }
    raw.line(0).flag.storeReleasing(RequestFlag.submitted(1).rawValue)
    other.fill(0..<4096, with: 2)
    try laboratory.turn { laboratory.count(.takeovers, of: .b) == 1 }
    #expect(other.submit(Request(.read, length: 4096, buffer: 4096), to: .b))
    #expect(other.submit(Request(.write, length: 4096), to: .b))
    for _ in 0..<1000 { laboratory.poll(.b) }
    #expect(other.hasAnswer != keepsJournal)
    if !keepsJournal {
      for _ in 0..<2 { #expect(try laboratory.complete().status == .success) }
      #expect(other.holds(4096..<8192, 1), "seen before the newer write began")
    }
    let back = try raw.attach(laboratory, to: .b)
    #expect(try reply(over: back, laboratory) == .attached)
    try laboratory.turn { raw.flag(0) == .answered(1, .success) }
    if keepsJournal { for _ in 0..<2 { #expect(try laboratory.complete().status == .success) } }
    #expect(try laboratory.perform(Request(.read, length: 4096, buffer: 8192), on: .b).status == .success)
    #expect(other.holds(8192..<12288, keepsJournal ? 2 : 1))
  }
}
