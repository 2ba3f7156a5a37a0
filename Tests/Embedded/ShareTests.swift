import Baton
import BatonOwnership
import BatonSubsystem
import BatonTestSupport
import Testing

@testable import BatonController

@Suite("Shares of a turn: hosts that move much and hosts that move little")
struct ShareTests {
  /// What the greedy host does.
  struct Greed: Sendable, CustomTestStringConvertible {
    /// Its unit, with % for a folder on tmpfs.
    var unit: String
    var operation = Operation.read
    var length: UInt64
    /// Whether its requests wait for a change of owner first.
    var isTransferred = false
    /// Whether it was attached before the other host.
    var isFirst = true
    var testDescription: String { "\(operation) \(length) of \(unit)\(isTransferred ? ", transferred" : "")" }
  }

  static let greed = [
    Greed(unit: "mem:8M", length: 4 << 20),
    Greed(unit: "mem:8M", length: 4 << 20, isFirst: false),
    Greed(unit: "mem:8M", operation: .write, length: 4 << 20),
    Greed(unit: "mem:8M", operation: .writeZeroes, length: 4 << 20),
    Greed(unit: "mem:8M", length: 4 << 20, isTransferred: true),
    Greed(unit: "mem:8M", length: 65536),
    Greed(unit: "mem:8M", length: 65536, isTransferred: true),
    Greed(unit: "%/file:8M", length: 262_144),
    Greed(unit: "%/file:8M", operation: .write, length: 262_144),
  ]

  @Test(
    "However much one host asks for, another one's small request waits for few turns and few bytes", arguments: greed)
  func smallBesideLarge(greed: Greed) throws {
    let folder = try ScratchFolder(onTmpfs: true)
    let laboratory = try Laboratory(units: ["mem:1M", greed.unit.replacing("%", with: folder.path)])
    let other = try laboratory.attach()
    let (greedy, small) = greed.isFirst ? (laboratory.host, other) : (other, laboratory.host)
    let depth = 64
    // Both units are a's, or the greedy host's is b's at first.
    #expect(try laboratory.perform(Request(.write, unit: 0, length: 4096), on: .a, from: small).status == .success)
    let owner: ControllerIdentity = greed.isTransferred ? .b : .a
    #expect(try laboratory.perform(Request(.read, unit: 1, length: 512), on: owner, from: greedy).status == .success)
    for _ in 0..<depth {
      // To the same blocks only where that is no order: writes that overlap wait for each other.
      #expect(greedy.submit(Request(greed.operation, unit: 1, length: greed.length), to: .a))
    }
    if greed.isTransferred {
      // Until they are a's, all of them: then they are in its pending queue.
      try laboratory.turn { laboratory.owner(of: Function(unit: 1)).isOwned(by: .a) }
    }
    func moved() -> UInt64 {
      laboratory.count(.bytesRead, of: .a) + laboratory.count(.bytesWritten, of: .a)
    }
    func ended() -> UInt64 { laboratory.count(.answered, of: .a) }
    let (movedBefore, endedBefore) = (moved(), ended())
    #expect(small.submit(Request(.read, unit: 0, length: 4096, buffer: 4096), to: .a))
    var turns = 0
    while !small.hasAnswer, turns < 1000 {
      laboratory.poll(.a)
      turns += 1
    }
    #expect(turns <= 2)
    #expect(moved() - movedBefore <= 4 << 20, "bytes that it waited for")
    #expect(ended() - endedBefore <= 1 + (4 << 20) / greed.length)
    #expect(small.next()?.status == .success)
    // And nobody is forgotten.
    for _ in 0..<depth { #expect(try laboratory.complete(greedy).status == .success) }
  }

  @Test("Hosts get as many bytes as each other, however many and however long requests each of them has outstanding")
  func equalShares() throws {
    let laboratory = try Laboratory(units: ["mem:8M"])
    let modest = try laboratory.attach()
    let greedy = laboratory.host
    var bytes = (greedy: 0, modest: 0)
    for _ in 0..<2000 {
      while greedy.outstanding < 64, greedy.submit(Request(.read, length: 4 << 20), to: .a) {}
      if modest.outstanding == 0 { #expect(modest.submit(Request(.read, length: 1 << 20), to: .a)) }
      laboratory.poll(.a)
      while let completion = greedy.next() { bytes.greedy += Int(completion.value) }
      while let completion = modest.next() { bytes.modest += Int(completion.value) }
    }
    #expect(bytes.greedy > 100 << 20)
    #expect(bytes.modest * 5 > bytes.greedy * 2)
  }

  @Test("What long transfers move is right, piece by piece, and also when their controller goes to sleep between them")
  func longTransfers() throws {
    let laboratory = try Laboratory(units: ["mem:16M", "fault:delay=1ms:mem:16M"])
    let host = laboratory.host
    for unit in 0..<2 as Range<UInt32> {
      for index in 0..<8 { host.fill(index << 19..<(index + 1) << 19, with: UInt8(unit) * 8 + UInt8(index) + 1) }
      let write = try laboratory.perform(Request(.write, unit: unit, offset: 512, length: 4 << 20), on: .a)
      #expect(write.status == .success && write.value == 4 << 20)
      // Submitted to the peer: it waits until nothing is in flight here.
      #expect(host.submit(Request(.read, unit: unit, offset: 512, length: 4 << 20, buffer: 4 << 20), to: .b))
      while host.outstanding > 0 {
        laboratory.poll()
        laboratory.a?.park()
        laboratory.b?.park()
        _ = host.next()
      }
      for index in 0..<8 {
        let start = 4 << 20 + index << 19
        #expect(host.holds(start..<start + 1 << 19, UInt8(unit) * 8 + UInt8(index) + 1))
      }
    }
  }
}
