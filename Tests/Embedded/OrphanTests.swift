import Baton
import BatonChannel
import BatonOwnership
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc
import Testing

@Suite("Orphans: requests that were given up because their host did not come back in time")
struct OrphanTests {
  /// A controller dies with a write of a host that is attached to nobody else, and the survivor gives the write up.
  /// Then somebody else has written the same block, and been answered.
  private func givenUp() throws -> (Laboratory, RawHost) {
    var options = Laboratory.controllerOptions
    options.hostAbsenceNanoseconds = 20_000_000
    let laboratory = try Laboratory(units: ["fault:delay=2ms:%/file:1M"], controllers: options)
    let host = try RawHost(laboratory, to: .a)
    #expect(try reply(over: host.socket, laboratory) == .attached)
    memset(host.memory.arena.baseAddress!, 3, 4096)
    host.line(0).submit(Request(.write, length: 4096), .submitted(1), next: 1)
    laboratory.poll(.a)
    laboratory.drop(.a)
    try laboratory.turn { laboratory.count(.recovered, of: .b) == 1 }
    laboratory.fill(0..<4096, with: 7)
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .b).status == .success)
    #expect(!host.flag(0).isAnswered)
    return (laboratory, host)
  }

  /// Nothing of the given-up write may be seen any more.
  private func expectNewerWrite(
    _ laboratory: Laboratory, on controller: ControllerIdentity, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let read = try laboratory.perform(Request(.read, length: 4096, buffer: 8192), on: controller)
    #expect(read.status == .success, sourceLocation: sourceLocation)
    #expect(laboratory.host.holds(8192..<12288, 7), "an older write undid a newer one", sourceLocation: sourceLocation)
  }

  private func standing(_ laboratory: Laboratory) -> MembershipWord.Standing {
    laboratory.region.membership.current.standing(.a)
  }

  /// Turns b alone until the membership word says so of a.
  private func turnSurvivor(_ laboratory: Laboratory, until wanted: MembershipWord.Standing) {
    var turns = 0
    while standing(laboratory) != wanted, turns < 10_000_000 {
      laboratory.poll(.b)
      turns += 1
    }
    #expect(standing(laboratory) == wanted)
  }

  @Test("A host that goes in the middle of a long drain proof is waited for as long as any other")
  func absenceBeginsWithTheEndOfTheConnection() throws {
    let absence: UInt64 = 300_000_000
    var options = Laboratory.controllerOptions
    options.hostAbsenceNanoseconds = absence
    let laboratory = try Laboratory(units: ["%/file:1M"], controllers: options)
    let host = try RawHost(laboratory, to: .a)
    #expect(try reply(over: host.socket, laboratory) == .attached)
    host.line(0).submit(Request(.write, length: 4096), .submitted(1), next: 1)
    laboratory.poll(.a)
    laboratory.drop(.a)
    var late: LateWork? = try LateWork(of: .a, on: 0, laboratory)
    try laboratory.turn { laboratory.count(.recovered, of: .b) == 1 }
    let socket = try host.attach(laboratory, to: .b)
    #expect(try reply(over: socket, laboratory) == .attached)
    // The kernel has not let go of the unit for longer than a host may be away.
    let begin = monotonicNanoseconds()
    while monotonicNanoseconds() &- begin <= absence { laboratory.poll(.b) }
    let departure = monotonicNanoseconds()
    let hosts = laboratory.count(.hosts, of: .b)
    shutdown(socket.number, CInt(SHUT_RDWR))
    try laboratory.turn { laboratory.count(.hosts, of: .b) == hosts - 1 }
    withExtendedLifetime(late) {}
    late = nil
    // It overlaps, and is served when the host counts as gone.
    laboratory.fill(0..<4096, with: 7)
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .b).status == .success)
    #expect(monotonicNanoseconds() &- departure > absence, "given up before its time")
    #expect(laboratory.count(.replayed, of: .b) == 0)
  }

  @Test("The life that they were handed to ends before it joins: the survivor has them again")
  func joinerThatNeverJoins() throws {
    let (laboratory, host) = try givenUp()
    try laboratory.start(.a)
    turnSurvivor(laboratory, until: .vacant)
    laboratory.drop(.a)
    turnSurvivor(laboratory, until: .left)
    let socket = try host.attach(laboratory, to: .b)
    #expect(try reply(over: socket, laboratory) == .attached)
    try laboratory.turn { host.flag(0).isAnswered }
    #expect(host.flag(0) == .answered(1, .controllerLost))
    try expectNewerWrite(laboratory, on: .b)
  }

  @Test("The life that they were handed to ends before it joins, and so does the survivor: the next life has them")
  func joinerAndSurvivor() throws {
    let (laboratory, host) = try givenUp()
    try laboratory.start(.a)
    turnSurvivor(laboratory, until: .vacant)
    laboratory.drop(.a)
    laboratory.drop(.b)
    // The orphans are in a's journal, and a's standing says that it had left.
    try laboratory.start(.b)
    let socket = try host.attach(laboratory, to: .b)
    #expect(try reply(over: socket, laboratory) == .attached)
    try laboratory.turn { host.flag(0).isAnswered }
    #expect(host.flag(0) == .answered(1, .controllerLost))
    try laboratory.turn { laboratory.host.isAttached(to: .b) }
    try expectNewerWrite(laboratory, on: .b)
  }

  @Test("Handed to a life that joins, they are answered by it")
  func joiner() throws {
    let (laboratory, host) = try givenUp()
    try laboratory.start(.a)
    try laboratory.turn { laboratory.host.isAttached(to: .a) }
    let socket = try host.attach(laboratory, to: .a)
    #expect(try reply(over: socket, laboratory) == .attached)
    try laboratory.turn { host.flag(0).isAnswered }
    #expect(host.flag(0) == .answered(1, .controllerLost))
    try expectNewerWrite(laboratory, on: .a)
  }

  @Test("Their keeper dies while their host is attached to the survivor: it answers them")
  func keeperOfAnAttachedHost() throws {
    let (laboratory, host) = try givenUp()
    try laboratory.start(.a)
    try laboratory.turn { laboratory.host.isAttached(to: .a) }
    let socket = try host.attach(laboratory, to: .b)
    #expect(try reply(over: socket, laboratory) == .attached)
    laboratory.drop(.a)
    try laboratory.turn { host.flag(0).isAnswered }
    #expect(host.flag(0) == .answered(1, .controllerLost))
    host.line(1).submit(Request(.write, offset: 8192, length: 4096), .submitted(2), next: 2)
    try laboratory.turn { host.flag(1).isAnswered }
    #expect(host.flag(1) == .answered(2, .success))
    try expectNewerWrite(laboratory, on: .b)
  }

  @Test("Their host comes back and is gone before it is welcomed: nobody touches its memory")
  func goneBeforeTheWelcome() throws {
    let (laboratory, host) = try givenUp()
    do {
      let socket = try host.attach(laboratory, to: .b)
      // Closed before b looks.
      _ = socket.number
    }
    try laboratory.turn { laboratory.count(.hostsAttached, of: .b) == 2 && laboratory.count(.hosts, of: .b) == 1 }
    try expectNewerWrite(laboratory, on: .b)
    // The next time it stays.
    let socket = try host.attach(laboratory, to: .b)
    #expect(try reply(over: socket, laboratory) == .attached)
    try laboratory.turn { host.flag(0).isAnswered }
    #expect(host.flag(0) == .answered(1, .controllerLost))
  }

  @Test("A host whose connection ended with a write on the storage finds it answered when it comes back")
  func reattached() throws {
    let laboratory = try Laboratory(units: ["fault:delay=20ms:%/file:1M"])
    let host = try RawHost(laboratory, to: .a)
    #expect(try reply(over: host.socket, laboratory) == .attached)
    host.line(0).submit(Request(.write, length: 4096), .submitted(1), next: 1)
    laboratory.poll(.a)
    #expect(laboratory.count(.storageOperations, of: .a) == 1)
    shutdown(host.socket.number, CInt(SHUT_RDWR))
    try laboratory.turn { laboratory.count(.hosts, of: .a) == 1 }
    // Until the write has ended its place is kept, and it is refused.
    var answer = Reply.ended
    while answer != .attached {
      let socket = try host.attach(laboratory, to: .a)
      answer = try reply(over: socket, laboratory)
    }
    #expect(host.flag(0) == .answered(1, .success))
    #expect(laboratory.count(.storageOperations, of: .a) == 1, "executed once")
  }
}
