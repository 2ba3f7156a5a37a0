import Baton
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonTestSupport
import Testing

@Suite("Order: what overlaps waits, what waits keeps its order, and a state holds for both controllers")
struct OrderTests {
  /// Two writes, in blocks of the unit: the second one's place, and whether the two share a block.
  struct Pair: CustomTestStringConvertible {
    let first: Range<UInt64>
    let second: Range<UInt64>
    var testDescription: String { "blocks \(first) and \(second)" }
    var sharesBlocks: Bool { first.overlaps(second) }
  }

  static let pairs = [
    Pair(first: 2..<4, second: 3..<5), Pair(first: 2..<4, second: 1..<3), Pair(first: 2..<4, second: 2..<4),
    Pair(first: 2..<4, second: 1..<5), Pair(first: 1..<5, second: 2..<3), Pair(first: 2..<4, second: 4..<6),
    Pair(first: 2..<4, second: 0..<2), Pair(first: 2..<4, second: 6..<8),
  ]

  @Test(
    "Of two writes that share a block the later one waits for the earlier one, others do not wait",
    arguments: pairs, [false, true])
  func overlap(_ pair: Pair, afterGrant: Bool) throws {
    let laboratory = try Laboratory(units: ["fault:delay=5ms:%/file:1M"])
    let host = laboratory.host
    let block = UInt64(laboratory.region.unit(0).geometry.blockSize)
    // Where b owns the unit, both wait in a's pending queue for the grant.
    let owner: ControllerIdentity = afterGrant ? .b : .a
    #expect(try laboratory.perform(Request(.write, offset: 16 * block, length: block), on: owner).status == .success)
    host.fill(0..<Int(4 * block), with: 1)
    host.fill(Int(4 * block)..<Int(8 * block), with: 2)
    let begun = laboratory.count(.storageOperations, of: .a)
    let answered = laboratory.count(.answered, of: .a)
    for (cookie, range) in [(UInt64(1), pair.first), (2, pair.second)] {
      let request = Request(
        .write, offset: range.lowerBound * block, length: UInt64(range.count) * block, buffer: (cookie - 1) * 4 * block)
      #expect(host.submit(request, to: .a, cookie: cookie))
    }
    var hasRunTogether = false
    // In each turn answers come before anything new is begun.
    laboratory.afterTurn = {
      let hasBegunBoth = laboratory.count(.storageOperations, of: .a) == begun + 2
      if hasBegunBoth, laboratory.count(.answered, of: .a) == answered { hasRunTogether = true }
    }
    var ended: Set<UInt64> = []
    try laboratory.turn {
      while let completion = host.next() {
        #expect(completion.status == .success)
        ended.insert(completion.cookie)
      }
      return ended.count == 2
    }
    laboratory.afterTurn = {}
    #expect(hasRunTogether == !pair.sharesBlocks)
    // The later one stands where both wrote.
    let second = Request(
      .read, offset: pair.second.lowerBound * block, length: UInt64(pair.second.count) * block, buffer: 8 * block)
    #expect(try laboratory.perform(second, on: .a).status == .success)
    #expect(host.holds(Int(8 * block)..<Int(8 + UInt64(pair.second.count)) * Int(block), 2))
  }

  @Test("What waits for a grant is served in the order of its arrival", arguments: ["mem:1M", "%/file:1M"])
  func pendingOrder(_ unit: String) throws {
    let laboratory = try Laboratory(units: [unit])
    let host = laboratory.host
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .b).status == .success)
    for cookie in 0..<12 {
      host.fill(cookie * 4096..<(cookie + 1) * 4096, with: UInt8(cookie + 1))
      #expect(
        host.submit(Request(.write, length: 4096, buffer: UInt64(cookie) * 4096), to: .a, cookie: UInt64(cookie)))
    }
    var answered = 0
    try laboratory.turn {
      while host.next() != nil { answered += 1 }
      return answered == 12
    }
    #expect(laboratory.count(.transferred, of: .a) == 12, "all of them waited")
    #expect(try laboratory.perform(Request(.read, length: 4096, buffer: 65536), on: .a).status == .success)
    #expect(host.holds(65536..<69632, 12))
  }

  @Test(
    "A unit's state holds through a takeover and a grant, for what is over at once and for what is not",
    arguments: ["null:1M", "mem:1M", "fault:delay=1ms:%/file:1M"])
  func stateAfterTakeover(_ unit: String) throws {
    let laboratory = try Laboratory(units: [unit])
    let host = laboratory.host
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
    for (state, read, write) in [
      (UnitState.readOnly, Status.success, Status.readOnly), (.offline, .offline, .offline),
      (.online, .success, .success),
    ] {
      #expect(
        try laboratory.perform(Request(.setUnitState, offset: state.rawValue), on: .a).status == .success)
      // The peer, by a grant; then the peer alone; then the new life.
      for step in 0..<3 {
        let server: ControllerIdentity = step < 2 ? .b : .a
        if step == 1 { laboratory.drop(.a) }
        if step == 2 {
          try laboratory.start(.a)
          try laboratory.turn { host.isAttached(to: .a) }
        }
        #expect(try laboratory.perform(Request(.write, length: 4096), on: server).status == write)
        #expect(try laboratory.perform(Request(.read, length: 4096), on: server).status == read)
        for operation in [Operation.discard, .writeZeroes] {
          #expect(try laboratory.perform(Request(operation, length: 4096), on: server).status == write)
        }
      }
    }
  }

  @Test("A controller that goes to sleep looks for what has come since its last turn, and does not sleep over it")
  func lookBeforeSleep() throws {
    let laboratory = try Laboratory(units: ["mem:1M"])
    let host = laboratory.host
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
    for _ in 0..<20 { laboratory.poll() }
    for _ in 0..<20 {
      let parks = laboratory.count(.parks, of: .a)
      #expect(host.submit(Request(.write, length: 4096), to: .a))
      laboratory.a?.park()
      #expect(laboratory.count(.parks, of: .a) == parks)
      #expect(host.hasAnswer)
      #expect(host.next()?.status == .success)
    }
  }
}
