import Baton
import BatonChannel
import BatonController
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonTestSupport
import CBatonShims
import Glibc
import Testing

/// Both controllers live in the test's process here: what ends a life is that its seat is free. Death by signal, late
/// I/O of the kernel and frozen processes are `baton stress`'s.
@Suite("Takeover: a controller is gone, and its hosts see a pause")
struct TakeoverTests {
  static let each: [Request] = [
    Request(.read, length: 4096, buffer: 4096), Request(.write, length: 4096, buffer: 4096), Request(.flush),
    Request(.discard, length: 4096), Request(.writeZeroes, length: 4096),
    Request(.write, length: 4096, buffer: 4096, isDurable: true),
  ]

  /// Turns the loops until these are answered with success, each once.
  func expectAnswers(
    _ cookies: Set<UInt64>, _ laboratory: Laboratory, from host: TestHost? = nil, by controller: ControllerIdentity?,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let host = host ?? laboratory.host
    var answered: Set<UInt64> = []
    try laboratory.turn(turnsMax: 3_000_000) {
      while let completion = host.next() {
        #expect(completion.status == .success, "request \(completion.cookie)", sourceLocation: sourceLocation)
        if let controller {
          #expect(completion.service.controller == controller, sourceLocation: sourceLocation)
        }
        let isFirst = answered.insert(completion.cookie).inserted
        #expect(isFirst, "request \(completion.cookie) twice", sourceLocation: sourceLocation)
      }
      return answered.isSuperset(of: cookies)
    }
    for _ in 0..<3000 { laboratory.poll() }
    #expect(host.next() == nil && answered == cookies, sourceLocation: sourceLocation)
    #expect(host.strayAnswers == 0, sourceLocation: sourceLocation)
  }

  @Test(
    "A host with 32 requests at a controller that dies gets 32 answers, each once",
    arguments: ["mem:1M", "null:1M", "%/file:1M", "fault:delay=3ms:mem:1M", "fault:delay=3ms,short=512:%/file:1M"],
    [0, 1, 2, 5, 40])
  func everyAnswerOnce(unit: String, turns: Int) throws {
    let laboratory = try Laboratory(units: [unit])
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
    for cookie in UInt64(0)..<32 {
      let offset = cookie * 4096
      let isRead = cookie % 3 == 0
      let request = Request(isRead ? .read : .write, offset: offset, length: 4096, buffer: offset)
      #expect(laboratory.host.submit(request, to: .a, cookie: cookie))
    }
    for _ in 0..<turns { laboratory.poll(.a) }
    laboratory.drop(.a)
    try expectAnswers(Set(0..<32), laboratory, by: nil)
    // All may have been answered before; then only the occasional look at the seat finds the death.
    try laboratory.turn { laboratory.count(.takeovers, of: .b) == 1 }
    try laboratory.turn { laboratory.owner(of: Function(unit: 0)).owner == .b }
  }

  @Test("The planted defect that executes writes twice does just that: every answer still comes, each once")
  func executesTwice() throws {
    var options = Laboratory.controllerOptions
    options.defect = .replayTwice
    // While the writes of one unit are on the storage for the second time, those of the other end for the first time,
    // and others take and give back places.
    let laboratory = try Laboratory(
      units: ["fault:delay=10ms:mem:1M", "fault:delay=15ms:mem:1M", "fault:delay=1ms:mem:1M"], controllers: options)
    let host = laboratory.host
    laboratory.fill(0..<512, with: 1)
    for cookie in UInt64(0)..<8 {
      #expect(
        host.submit(
          Request(.write, unit: UInt32(cookie % 2), offset: cookie * 512, length: 512), to: .a, cookie: cookie))
    }
    // One turn takes them all, and ends none that it begins.
    laboratory.poll(.a)
    laboratory.drop(.a)
    var answered: Set<UInt64> = []
    var cookie: UInt64 = 8
    try laboratory.turn {
      while cookie < 400, host.outstanding < 16 {
        #expect(host.submit(Request(.write, unit: 2, offset: cookie * 512, length: 512), to: .b, cookie: cookie))
        cookie += 1
      }
      // All that there are, before a turn in which one can be executed for the second time.
      while host.hasAnswer {
        guard let completion = host.next() else { continue }
        let isFirst = answered.insert(completion.cookie).inserted
        #expect(isFirst && completion.status == .success, "request \(completion.cookie)")
        // What a host does with a buffer once it has been answered gets into the blocks.
        if completion.cookie == 0 { laboratory.fill(0..<512, with: 2) }
      }
      return answered.count == 400
    }
    #expect(laboratory.count(.replayed, of: .b) == 8)
    #expect(host.strayAnswers == 0)
    var reads = 0
    repeat {
      reads += 1
      #expect(try laboratory.perform(Request(.read, length: 512, buffer: 4096), on: .b).status == .success)
    } while !host.holds(4096..<4608, 2) && reads < 100
    #expect(host.holds(4096..<4608, 2), "executed once")
    try laboratory.stop(.b)
  }

  @Test("Every kind of block request survives the death of its controller in flight", arguments: each)
  func everyKind(request: Request) throws {
    let laboratory = try Laboratory(units: ["fault:delay=2ms:%/file:1M"])
    let host = laboratory.host
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
    host.fill(4096..<8192, with: 9)
    #expect(host.submit(request, to: .a, cookie: 1))
    laboratory.poll(.a)
    laboratory.drop(.a)
    try expectAnswers([1], laboratory, by: .b)
    #expect(laboratory.count(.recovered, of: .b) == 1)
    #expect(laboratory.count(.replayed, of: .b) == 1)
    let read = try laboratory.perform(Request(.read, length: 4096, buffer: 8192), on: .b)
    #expect(read.status == .success)
    #expect(host.holds(8192..<12288, request.operation == .write ? 9 : 0))
  }

  @Test("What a host submits to a controller that is dead, before it notices, is served by its peer")
  func adoptedLines() throws {
    let laboratory = try Laboratory(units: ["mem:1M"])
    let host = laboratory.host
    #expect(try laboratory.perform(Request(.write, length: 512), on: .a).status == .success)
    laboratory.drop(.a)
    for cookie in UInt64(0)..<100 {
      // Without `maintain`, which would notice.
      #expect(host.submit(Request(.write, offset: cookie * 512, length: 512), to: .a, cookie: cookie))
      for _ in 0..<cookie % 7 * 64 { laboratory.poll(.b) }
    }
    try expectAnswers(Set(0..<100), laboratory, by: .b)
    #expect(laboratory.count(.adopted, of: .b) > 0)
    #expect(laboratory.count(.recovered, of: .b) == 0)
  }

  @Test("It comes back, hosts attach by themselves, and ownership moves both ways again")
  func comesBack() throws {
    let laboratory = try Laboratory(units: ["mem:1M", "%/file:1M"])
    let host = laboratory.host
    for round in 0..<20 {
      let dying: ControllerIdentity = round % 2 == 0 ? .a : .b
      for cookie in UInt64(0)..<20 {
        let request = Request(.write, unit: UInt32(cookie % 2), offset: cookie * 4096, length: 4096)
        #expect(host.submit(request, to: cookie % 3 == 0 ? .a : .b, cookie: cookie))
      }
      for _ in 0..<round { laboratory.poll() }
      laboratory.drop(dying)
      try expectAnswers(Set(0..<20), laboratory, by: nil)
      try laboratory.start(dying)
      try laboratory.turn { host.isAttached(to: dying) }
      for controller in [dying, dying.peer, dying] {
        let completion = try laboratory.perform(Request(.write, unit: 1, length: 4096), on: controller)
        #expect(
          completion.status == .success && completion.service.controller == controller,
          "round \(round): \(laboratory.region.membership.current)")
      }
      let membership = laboratory.region.membership.current
      #expect(membership.standing(.a) == .member && membership.standing(.b) == .member)
    }
  }

  @Test("Both die: the first one back finishes what hosts wait for", arguments: [ControllerIdentity.a, .b])
  func bothDie(first: ControllerIdentity) throws {
    let laboratory = try Laboratory(units: ["fault:delay=2ms:mem:1M", "fault:delay=2ms:%/file:1M"])
    let host = laboratory.host
    let second = try laboratory.attach()
    for round in 0..<6 {
      for cookie in UInt64(0)..<24 {
        let request = Request(.write, unit: UInt32(cookie / 12), offset: cookie * 4096, length: 4096)
        let controller: ControllerIdentity = cookie < 12 ? .a : .b
        #expect(host.submit(request, to: controller, cookie: cookie))
        #expect(second.submit(request, to: controller, cookie: cookie))
      }
      for _ in 0..<round { laboratory.poll() }
      laboratory.drop(.a)
      // The survivor may have begun to recover, or not.
      for _ in 0..<round * 40 { laboratory.poll(.b) }
      laboratory.drop(.b)
      host.maintain()
      try laboratory.start(first)
      var answered = [Set<UInt64>](repeating: [], count: 2)
      try laboratory.turn(turnsMax: 3_000_000) {
        for (index, host) in [host, second].enumerated() {
          while let completion = host.next() {
            #expect(completion.status == .success)
            let isFirst = answered[index].insert(completion.cookie).inserted
            #expect(isFirst)
          }
        }
        return answered[0].count == 24 && answered[1].count == 24
      }
      try laboratory.start(first.peer)
      try laboratory.turn {
        [host, second].allSatisfy { $0.isAttached(to: .a) && $0.isAttached(to: .b) }
      }
    }
    #expect(host.strayAnswers == 0 && second.strayAnswers == 0)
  }

  @Test("What overlaps a write that is being recovered waits for it; what does not is served at once")
  func overlapWaits() throws {
    // With faults, which leave these transfers as they are, or they would be over when they were started on tmpfs.
    let laboratory = try Laboratory(units: ["fault:short=1M:%/file:1M"])
    let host = laboratory.host
    let other = try laboratory.attach()
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
    host.fill(0..<8192, with: 1)
    other.fill(0..<4096, with: 2)
    #expect(host.submit(Request(.write, offset: 4096, length: 8192), to: .a, cookie: 1))
    // One turn takes it and gives it to the kernel; the next one, which does not come, would answer it.
    laboratory.poll(.a)
    #expect(other.submit(Request(.write, offset: 8192, length: 4096), to: .b, cookie: 2))
    #expect(other.submit(Request(.read, offset: 65536, length: 4096, buffer: 4096), to: .b, cookie: 3))
    laboratory.poll(.b)
    laboratory.drop(.a)
    var late: LateWork? = try LateWork(of: .a, on: 0, laboratory)
    try expectAnswers([3], laboratory, from: other, by: .b)
    #expect(late != nil && !host.hasAnswer)
    #expect(laboratory.count(.held, of: .b) == 1)
    #expect(laboratory.count(.recovered, of: .b) == 1 && laboratory.count(.replayed, of: .b) == 0)
    late = nil
    try laboratory.turn { host.hasAnswer || other.hasAnswer }
    #expect(host.hasAnswer, "what waited is begun after that")
    try expectAnswers([1], laboratory, by: .b)
    try expectAnswers([2], laboratory, from: other, by: .b)
    #expect(try laboratory.perform(Request(.read, offset: 8192, length: 4096), on: .b).status == .success)
    #expect(host.holds(0..<4096, 2), "the later write stands")
  }

  @Test("What waits for a recovery waits for that one, and not for those of other units")
  func waitsForTheRightRecovery() throws {
    let laboratory = try Laboratory(units: ["fault:short=1M:%/first:1M", "fault:short=1M:%/second:1M"])
    let host = laboratory.host
    let other = try laboratory.attach()
    for unit in UInt32(0)..<2 {
      #expect(try laboratory.perform(Request(.write, unit: unit, length: 4096), on: .a).status == .success)
    }
    // One write on each unit is given to the kernel, at other places.
    #expect(host.submit(Request(.write, unit: 0, offset: 8192, length: 4096), to: .a, cookie: 1))
    #expect(host.submit(Request(.write, unit: 1, offset: 65536, length: 4096), to: .a, cookie: 2))
    laboratory.poll(.a)
    laboratory.drop(.a)
    var lateFirst: LateWork? = try LateWork(of: .a, on: 0, laboratory)
    var lateSecond: LateWork? = try LateWork(of: .a, on: 1, laboratory)
    #expect(other.submit(Request(.write, unit: 0, offset: 8192, length: 4096), to: .b, cookie: 3))
    #expect(other.submit(Request(.write, unit: 1, offset: 8192, length: 4096), to: .b, cookie: 4))
    try expectAnswers([4], laboratory, from: other, by: .b)
    #expect(laboratory.count(.held, of: .b) == 1)
    lateSecond = nil
    try expectAnswers([2], laboratory, by: .b)
    #expect(lateFirst != nil && lateSecond == nil && !other.hasAnswer, "its own recovery is not over")
    #expect(laboratory.count(.replayed, of: .b) == 1)
    lateFirst = nil
    try expectAnswers([1], laboratory, by: .b)
    try expectAnswers([3], laboratory, from: other, by: .b)
  }

  @Test("A change of a unit's state takes effect once, whichever controller dies, and is answered")
  func managementOnce() throws {
    let laboratory = try Laboratory(units: ["mem:1M"])
    let host = laboratory.host
    for round in 0..<30 {
      let dying: ControllerIdentity = round % 2 == 0 ? .a : .b
      let state: UnitState = round % 3 == 0 ? .readOnly : .online
      let before = UnitStateWord(rawValue: laboratory.region.unitStates.word(0).loadRelaxed()).count
      #expect(host.submit(Request(.setUnitState, offset: state.rawValue), to: dying, cookie: 7))
      for _ in 0..<round / 2 { laboratory.poll() }
      laboratory.drop(dying)
      try expectAnswers([7], laboratory, by: nil)
      let after = UnitStateWord(rawValue: laboratory.region.unitStates.word(0).loadRelaxed())
      #expect(after.count == before + 1 && after.state == state)
      for request in [
        Request(.unitState), Request(.identify, length: 4096), Request(.listUnits, length: 4096),
        Request(.statistics, length: 4096),
      ] {
        #expect(try laboratory.perform(request, on: dying.peer).status == .success)
      }
      try laboratory.start(dying)
      try laboratory.turn { host.isAttached(to: dying) }
    }
  }

  @Test("A request that took effect before its controller died is answered from the record, not executed again")
  func managementFromTheRecord() throws {
    let laboratory = try Laboratory(units: ["mem:1M"])
    let host = try RawHost(laboratory, to: .a)
    #expect(try reply(over: host.socket, laboratory) == .attached)
    let second = try host.attach(laboratory, to: .b)
    #expect(try reply(over: second, laboratory) == .attached)
    host.line(0).submit(Request(.setUnitState, offset: UnitState.offline.rawValue), .submitted(1), next: 1)
    try laboratory.turn { host.flag(0).isAnswered }
    // As if a had died between the effect and the answer: its journal says that the request is in flight, and the
    // line is not answered.
    let writable = try Region(opening: laboratory.subsystem.location)
    let entry = writable.journal(of: .a).entries
    #expect(entry.pointee.operation == Operation.setUnitState.rawValue && entry.pointee.sequence == 1)
    laboratory.drop(.a)
    entry.inFlight.storeReleasing(1)
    host.line(0).flag.storeReleasing(RequestFlag.submitted(1).rawValue)
    try laboratory.turn { host.flag(0).isAnswered }
    #expect(laboratory.count(.replayed, of: .b) == 1)
    #expect(host.flag(0).status == .success && host.flag(0).sequence == 1)
    let word = UnitStateWord(rawValue: laboratory.region.unitStates.word(0).loadRelaxed())
    #expect(word.count == 1 && word.state == .offline)
  }

  @Test("A controller that is fenced stops and answers nothing more")
  func fencedStops() throws {
    var options = Laboratory.controllerOptions
    options.deadlineNanoseconds = ControllerOptions.deadlineNanosecondsMin
    let laboratory = try Laboratory(units: ["mem:1M"], controllers: options)
    let host = laboratory.host
    #expect(try laboratory.perform(Request(.write, length: 512), on: .a).status == .success)
    // a does not turn any more; b does, and finds it silent.
    #expect(host.submit(Request(.write, length: 512), to: .a, cookie: 1))
    #expect(host.submit(Request(.write, length: 512), to: .b, cookie: 2))
    var turns = 0
    while laboratory.region.membership.current.standing(.a) == .member, turns < 100_000_000 {
      laboratory.poll(.b)
      turns += 1
    }
    #expect(laboratory.region.membership.current.standing(.a) == .fenced)
    // It is of this very process, so it cannot be killed; as long as it has its seat nothing is served in its place.
    for _ in 0..<10_000 { laboratory.poll(.b) }
    #expect(host.next() == nil)
    #expect(laboratory.region.controller(.b).takeover.loadRelaxed() == TakeoverStage.awaitsExit.rawValue)
    let answered = laboratory.count(.answered, of: .a)
    for _ in 0..<1000 { laboratory.poll(.a) }
    #expect(laboratory.isStopped(.a))
    #expect(laboratory.count(.answered, of: .a) == answered)
    laboratory.drop(.a)
    try expectAnswers([1, 2], laboratory, by: .b)
  }

  @Test("A controller that leaves with lines untaken leaves them to its peer")
  func leftLines() throws {
    let laboratory = try Laboratory(units: ["mem:1M"])
    let host = laboratory.host
    try laboratory.stop(.a)
    for cookie in UInt64(0)..<5 {
      // The host has not noticed yet.
      #expect(host.submit(Request(.write, offset: cookie * 512, length: 512), to: .a, cookie: cookie))
    }
    try expectAnswers(Set(0..<5), laboratory, by: .b)
    #expect(laboratory.count(.takeovers, of: .b) == 0, "nothing was recovered, it only stands in")
  }

  @Test("A host that is gone for good does not keep a dead controller from being recovered")
  func hostGone() throws {
    var options = Laboratory.controllerOptions
    // It is of this very process, which lives: only time says that it does not come back.
    options.hostAbsenceNanoseconds = 20_000_000
    let laboratory = try Laboratory(units: ["fault:delay=2ms:%/file:1M"], controllers: options)
    try submitAndGo(laboratory)
    laboratory.drop(.a)
    // b learns of both at once, or of the host first, or of the controller first.
    for _ in 0..<3 { laboratory.poll(.b) }
    try laboratory.turn { laboratory.count(.takeovers, of: .b) == 1 }
    #expect(laboratory.count(.recovered, of: .b) == 8)
    // What overlaps waits, but not for ever.
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .b).status == .success)
    try laboratory.start(.a)
    try laboratory.turn(turnsMax: 30_000_000) { laboratory.host.isAttached(to: .a) }
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
    try laboratory.stop(.a)
    try laboratory.stop(.b)
  }

  /// A host with requests in flight at a, which is gone when this returns.
  private func submitAndGo(_ laboratory: Laboratory) throws {
    let other = try laboratory.attach()
    for cookie in UInt64(0)..<8 {
      #expect(other.submit(Request(.write, offset: cookie * 4096, length: 4096), to: .a, cookie: cookie))
    }
    laboratory.poll(.a)
    laboratory.kill(other)
  }

  @Test("A host that was away for too long is told so once when it comes back, and nothing is executed late")
  func hostComesLate() throws {
    var options = Laboratory.controllerOptions
    options.hostAbsenceNanoseconds = 20_000_000
    let laboratory = try Laboratory(units: ["fault:delay=2ms:%/file:1M"], controllers: options)
    let host = try RawHost(laboratory, to: .a)
    #expect(try reply(over: host.socket, laboratory) == .attached)
    host.line(0).submit(Request(.write, length: 4096), .submitted(1), next: 1)
    laboratory.poll(.a)
    laboratory.drop(.a)
    try laboratory.turn { laboratory.count(.recovered, of: .b) == 1 }
    laboratory.fill(0..<4096, with: 7)
    // It overlaps, and is served once the host counts as gone.
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .b).status == .success)
    try laboratory.start(.a)
    try laboratory.turn { laboratory.host.isAttached(to: .a) }
    #expect(!host.flag(0).isAnswered)
    // To both, as hosts do.
    let toB = try host.attach(laboratory, to: .b)
    let toA = try host.attach(laboratory, to: .a)
    #expect(try reply(over: toB, laboratory) == .attached)
    #expect(try reply(over: toA, laboratory) == .attached)
    try laboratory.turn { host.flag(0).isAnswered }
    #expect(host.flag(0) == .answered(1, .controllerLost))
    #expect(laboratory.count(.replayed, of: .a) == 0 && laboratory.count(.replayed, of: .b) == 0)
    #expect(try laboratory.perform(Request(.read, length: 4096, buffer: 8192), on: .a).status == .success)
    #expect(laboratory.host.holds(8192..<12288, 7))
    try laboratory.stop(.a)
    try laboratory.stop(.b)
  }

  @Test("Many hosts with requests in flight: all are answered, and the dead controller can join again")
  func manyHosts() throws {
    let laboratory = try Laboratory(units: ["fault:delay=5ms:mem:4M"])
    for _ in 0..<6 { try laboratory.attach() }
    for round in 0..<3 {
      for (index, host) in laboratory.hosts.enumerated() {
        for cookie in UInt64(0)..<16 {
          let offset = (UInt64(index) * 16 + cookie) * 4096
          #expect(host.submit(Request(.write, offset: offset, length: 4096), to: .a, cookie: cookie))
        }
      }
      for _ in 0..<round { laboratory.poll(.a) }
      // In its second turn it answers what the first one began, if as much time has passed in between.
      let answered = laboratory.hosts.map { answers(to: $0, by: .a) }
      laboratory.drop(.a)
      for (host, answered) in zip(laboratory.hosts, answered) {
        try expectAnswers(Set(0..<16).subtracting(answered), laboratory, from: host, by: .b)
      }
      try laboratory.start(.a)
      try laboratory.turn { laboratory.hosts.allSatisfy { $0.isAttached(to: .a) } }
      #expect(try laboratory.perform(Request(.write, length: 512), on: .a).status == .success)
    }
    // One turn answers nothing of what it has begun.
    #expect(laboratory.count(.recovered, of: .b) > 0)
  }

  /// What a host has been answered by now, each with success and by this controller.
  private func answers(
    to host: TestHost, by controller: ControllerIdentity, sourceLocation: SourceLocation = #_sourceLocation
  ) -> Set<UInt64> {
    var answered: Set<UInt64> = []
    while host.hasAnswer {
      // It may take several looks to find it.
      guard let completion = host.next() else { continue }
      #expect(completion.status == .success, sourceLocation: sourceLocation)
      #expect(completion.service.controller == controller, sourceLocation: sourceLocation)
      let isFirst = answered.insert(completion.cookie).inserted
      #expect(isFirst, "request \(completion.cookie) twice", sourceLocation: sourceLocation)
    }
    return answered
  }

  @Test("A new life that dies while its peer releases: nothing that was taken is taken twice")
  func dyingJoiner() throws {
    let laboratory = try Laboratory(units: ["fault:delay=20ms:mem:1M"])
    let host = laboratory.host
    #expect(try laboratory.perform(Request(.write, length: 512), on: .b).status == .success)
    laboratory.drop(.a)
    for cookie in UInt64(0)..<16 {
      #expect(host.submit(Request(.write, offset: cookie * 512, length: 512), to: .a, cookie: cookie))
    }
    for _ in 0..<2000 { laboratory.poll(.b) }
    try laboratory.turn { laboratory.count(.adopted, of: .b) == 16 || host.outstanding == 0 }
    for _ in 0..<3 {
      // It has its seat and waits; b takes nothing new for it, and waits for what it has taken; then it is gone.
      try laboratory.start(.a)
      for _ in 0..<200 { laboratory.poll(.b) }
      laboratory.drop(.a)
      for _ in 0..<200 { laboratory.poll(.b) }
    }
    try expectAnswers(Set(0..<16), laboratory, by: .b)
    #expect(laboratory.count(.adopted, of: .b) == 16)
    try laboratory.start(.a)
    try laboratory.turn { host.isAttached(to: .a) }
    #expect(try laboratory.perform(Request(.write, length: 512), on: .a).status == .success)
  }

  @Test("A write that overlaps one on the storage waits for it, whichever host it comes from")
  func overlappingWrites() throws {
    let laboratory = try Laboratory(units: ["fault:delay=5ms:mem:1M"])
    let host = laboratory.host
    let other = try laboratory.attach()
    #expect(try laboratory.perform(Request(.write, length: 512), on: .a).status == .success)
    host.fill(0..<8192, with: 1)
    other.fill(0..<4096, with: 2)
    #expect(host.submit(Request(.write, length: 8192), to: .a, cookie: 1))
    #expect(other.submit(Request(.write, offset: 4096, length: 4096), to: .a, cookie: 2))
    #expect(other.submit(Request(.read, offset: 4096, length: 4096, buffer: 8192), to: .a, cookie: 3))
    #expect(other.submit(Request(.write, offset: 8192, length: 4096, buffer: 4096), to: .a, cookie: 4))
    let before = laboratory.count(.storageOperations, of: .a)
    // One turn takes them all, the first host's first, and ends nothing that it begins, however long it takes.
    laboratory.poll(.a)
    #expect(laboratory.count(.held, of: .a) == 1)
    #expect(laboratory.count(.storageOperations, of: .a) == before + 3)
    try expectAnswers([2, 3, 4], laboratory, from: other, by: .a)
    let completion = try laboratory.complete()
    #expect(completion.status == .success)
    #expect(try laboratory.perform(Request(.read, offset: 4096, length: 4096), on: .b).status == .success)
    #expect(host.holds(0..<4096, 2))
  }
}
