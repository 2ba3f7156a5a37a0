import Baton
import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc
import Testing

@Suite("Journal: what a survivor makes of what it finds there")
struct JournalTests {
  /// Enters a write by a host of that place into a journal, as if its controller had died with it.
  private func plant(
    _ journal: Journal, entry index: Int, place: Int, change: (inout baton_accepted_request) -> Void = { _ in }
  ) {
    var entry = baton_accepted_request()
    entry.next = -1
    entry.earlier = -1
    entry.later = -1
    entry.channel = UInt32(place * 2)
    entry.operation = Operation.write.rawValue
    entry.sequence = 1
    entry.offset = UInt64(index * 4096)
    entry.length = 4096
    change(&entry)
    (journal.entries + index).pointee = entry
    (journal.entries + index).inFlight.storeReleasing(1)
    if journal.top.loadRelaxed() <= UInt64(index) { journal.top.storeReleasing(UInt64(index) + 1) }
  }

  /// A host that is alive and stays away.
  private func plantHost(_ journal: Journal, place: Int) {
    journal.host(place).pointee.identity = UInt64(1000 + place)
    journal.host(place).pointee.pid = UInt64(getpid())
    journal.host(place).pointee.start_time = ProcessIdentity.startTicks
  }

  @Test("An entry that was answered and not cleared hides no newer one of its line")
  func staleEntry() throws {
    let laboratory = try Laboratory(units: ["fault:delay=30ms:%/file:1M"])
    let host = try RawHost(laboratory, to: .a)
    #expect(try reply(over: host.socket, laboratory) == .attached)
    let toB = try host.attach(laboratory, to: .b)
    #expect(try reply(over: toB, laboratory) == .attached)
    host.line(0).submit(Request(.write, length: 4096), .submitted(1), next: 1, mayStay: true)
    try laboratory.turn { host.flag(0).isAnswered }
    let writable = try Region(opening: laboratory.subsystem.location)
    let entry = writable.journal(of: .a).entries
    #expect(entry.pointee.operation == Operation.write.rawValue && entry.pointee.sequence == 1)
    // a dies between the answer and the clearing, and the kernel has not let go of its last operation.
    laboratory.drop(.a)
    entry.inFlight.storeReleasing(1)
    var late: LateWork? = try LateWork(of: .a, on: 0, laboratory)
    host.line(0).submit(Request(.write, offset: 65536, length: 4096), .submitted(2), next: 1, mayStay: true)
    let journal = writable.journal(of: .b).entries
    try laboratory.turn { (0..<64).count { (journal + $0).inFlight.loadRelaxed() == 1 } == 2 }
    #expect(late != nil)
    laboratory.drop(.b)
    late = nil
    // The next life finds both: request 2 is in flight, and nothing in the line is new.
    try laboratory.start(.a)
    let back = try host.attach(laboratory, to: .a)
    #expect(try reply(over: back, laboratory) == .attached)
    try laboratory.turn { host.flag(0) == .answered(2, .success) }
    #expect(laboratory.count(.requests, of: .a) == 0, "taken as something new, and recovered too")
    host.line(0).submit(Request(.read, length: 4096), .submitted(3), next: 1, mayStay: true)
    try laboratory.turn { host.flag(0).isAnswered }
    #expect(host.flag(0) == .answered(3, .success), "a second answer to request 2 stands in the line")
    #expect(laboratory.count(.replayed, of: .a) == 1)
  }

  @Test("Nothing of a dead controller's is served before its journal has been read to its end")
  func readFirst() throws {
    let laboratory = try Laboratory(units: ["fault:delay=1ms:%/file:64M"])
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
    let writable = try Region(opening: laboratory.subsystem.location)
    // b's own journal is as full as another life could have left it, and so a's cannot be read on at once.
    laboratory.drop(.b)
    let (mine, theirs) = (writable.journal(of: .b), writable.journal(of: .a))
    for place in 0..<2 {
      plantHost(mine, place: place)
      plantHost(theirs, place: place)
    }
    laboratory.drop(.a)
    for index in 0..<Journal.capacity {
      plant(mine, entry: index, place: 0) {
        $0.sequence = UInt64(index)
        $0.operation = Operation.read.rawValue
      }
    }
    plant(theirs, entry: 0, place: 1) { $0.offset = 8 << 20 }
    try laboratory.start(.b)
    for _ in 0..<3000 { laboratory.poll(.b) }
    #expect((theirs.entries).inFlight.loadRelaxed() == 1, "there is no room for it")
    #expect(laboratory.owner(of: Function(unit: 0)).owner == .a, "taken over though the journal is not read")
    // It leaves all the same, and a next life is the wiser for it.
    laboratory.drop(.b)
  }

  @Test("An entry that no request can have is ignored, whatever is wrong with it, and counted")
  func unsound() throws {
    let laboratory = try Laboratory(units: ["mem:64K", "%/file:64K"])
    let writable = try Region(opening: laboratory.subsystem.location)
    let file = laboratory.folder("file")
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
    laboratory.drop(.a)
    let journal = writable.journal(of: .a)
    plantHost(journal, place: 3)
    let damage: [(inout baton_accepted_request) -> Void] = [
      { $0.offset = 1 << 40 }, { $0.offset = UInt64.max - 4095 }, { $0.length = 1 << 40 }, { $0.length = 0 },
      { $0.offset = 65536 }, { $0.offset = 61441 }, { $0.buffer = 1 }, { $0.buffer = UInt64.max },
      { $0.operation = 0 }, { $0.operation = 15 }, { $0.operation = 255 }, { $0.unit = 2 }, { $0.unit = UInt32.max },
      { $0.channel = 512 }, { $0.channel = UInt32.max }, { $0.slot = 4096 }, { $0.slot = UInt16.max },
      { $0.sequence = UInt64.max }, { $0.channel = 8 },
      {
        $0.operation = Operation.setUnitState.rawValue
        $0.offset = 3
      },
      {
        $0.operation = Operation.discard.rawValue
        $0.length = 1 << 31
      },
    ]
    for (index, change) in damage.enumerated() {
      for unit in UInt32(0)..<2 {
        plant(journal, entry: 2 * index + Int(unit), place: 3) {
          $0.offset = 4096
          $0.unit = unit
          change(&$0)
        }
      }
    }
    (journal.entries + 2 * damage.count).pointee = journal.entries.pointee
    plant(journal, entry: 2 * damage.count, place: 3) { $0.offset = 0 }
    (journal.entries + 2 * damage.count).inFlight.storeReleasing(7)
    try laboratory.turn { laboratory.count(.takeovers, of: .b) == 1 }
    #expect(try laboratory.perform(Request(.read, length: 4096), on: .b).status == .success)
    #expect(laboratory.count(.journalDamage, of: .b) == UInt64(2 * damage.count + 1))
    #expect(laboratory.count(.recovered, of: .b) == 0)
    var facts = stat()
    #expect(stat(file, &facts) == 0 && facts.st_size == 65536, "written outside of the unit")
    // The same in a controller's own journal, by its next life.
    laboratory.drop(.b)
    let own = writable.journal(of: .b)
    plantHost(own, place: 0)
    plant(own, entry: 0, place: 0) { $0.offset = 1 << 40 }
    plant(own, entry: 1, place: 1)
    try laboratory.start(.b)
    try laboratory.turn { laboratory.count(.journalDamage, of: .b) == 2 }
    try laboratory.stop(.b)
  }

  @Test("An entry in the journal of a controller that left in good order holds nobody for ever")
  func afterAGoodLeave() throws {
    var options = Laboratory.controllerOptions
    options.hostAbsenceNanoseconds = 20_000_000
    let laboratory = try Laboratory(units: ["mem:64K"], controllers: options)
    let writable = try Region(opening: laboratory.subsystem.location)
    try laboratory.stop(.b)
    let journal = writable.journal(of: .b)
    plantHost(journal, place: 0)
    plant(journal, entry: 0, place: 0)
    try laboratory.start(.b)
    try laboratory.turn { laboratory.host.isAttached(to: .b) }
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .b).status == .success)
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
    try laboratory.stop(.b)
    try laboratory.stop(.a)
  }

  @Test("A journal full of what hosts wait for that stay away keeps no controller from leaving")
  func leavesAnyhow() throws {
    var options = Laboratory.controllerOptions
    options.farewellNanoseconds = 50_000_000
    let laboratory = try Laboratory(units: ["mem:64M"], controllers: options)
    let writable = try Region(opening: laboratory.subsystem.location)
    laboratory.drop(.b)
    laboratory.drop(.a)
    for identity in ControllerIdentity.allCases {
      for place in 0..<Journal.hostPlaces { plantHost(writable.journal(of: identity), place: place) }
      for index in 0..<Journal.capacity {
        plant(writable.journal(of: identity), entry: index, place: index % Journal.hostPlaces) {
          $0.sequence = UInt64(index)
          $0.operation = Operation.read.rawValue
          $0.offset = 0
        }
      }
    }
    try laboratory.start(.a)
    for _ in 0..<100 { laboratory.poll(.a) }
    laboratory.beginStop(.a)
    try laboratory.turn { laboratory.isStopped(.a) }
    laboratory.drop(.a)
  }

  @Test("Requests under recovery take the places of operations: a journal never outgrows the peer's room for it")
  func recoveringTakesPlaces() throws {
    var options = Laboratory.controllerOptions
    options.hostAbsenceNanoseconds = 20_000_000
    let laboratory = try Laboratory(units: ["fault:delay=2ms:%/file:16M"], controllers: options)
    let writable = try Region(opening: laboratory.subsystem.location)
    laboratory.drop(.b)
    laboratory.drop(.a)
    // They leave room for twelve operations at a time.
    let recovering = Storage.operationsMax - 12
    let journal = writable.journal(of: .a)
    plantHost(journal, place: 0)
    for index in 0..<recovering {
      plant(journal, entry: index, place: 0) {
        $0.sequence = UInt64(index)
        $0.slot = UInt16(index % 1024)
        $0.offset = 8 << 20
        $0.operation = Operation.read.rawValue
      }
    }
    try laboratory.start(.a)
    try laboratory.turn { laboratory.host.isAttached(to: .a) }
    for cookie in UInt64(0)..<60 {
      #expect(laboratory.host.submit(Request(.write, offset: cookie * 4096, length: 4096), to: .a, cookie: cookie))
    }
    var answers: Set<UInt64> = []
    try laboratory.turn {
      let inFlight = (0..<Journal.capacity).count { (journal.entries + $0).inFlight.loadRelaxed() != 0 }
      #expect(inFlight <= Storage.operationsMax)
      while let completion = laboratory.host.next() {
        #expect(completion.status == .success)
        answers.insert(completion.cookie)
      }
      return answers.count == 60
    }
  }

  @Test("What both journals name is one request if host, line and number are the same, and two otherwise")
  func sameRequest() throws {
    for change in 0..<4 {
      let laboratory = try Laboratory(units: ["mem:1M"])
      let writable = try Region(opening: laboratory.subsystem.location)
      laboratory.drop(.b)
      laboratory.drop(.a)
      let (mine, theirs) = (writable.journal(of: .a), writable.journal(of: .b))
      for journal in [mine, theirs] {
        for place in 0..<2 { plantHost(journal, place: place) }
      }
      plant(mine, entry: 0, place: 0) { ($0.slot, $0.sequence) = (3, 7) }
      plant(theirs, entry: 0, place: change == 1 ? 1 : 0) {
        ($0.slot, $0.sequence) = (change == 2 ? 4 : 3, change == 3 ? 8 : 7)
      }
      // a finds its own entry, and the peer's.
      try laboratory.start(.a)
      for _ in 0..<100 { laboratory.poll(.a) }
      #expect(laboratory.count(.recovered, of: .a) == (change == 0 ? 1 : 2), "what differs: \(change)")
      #expect(theirs.entries.inFlight.loadRelaxed() == 0, "it has been read")
    }
  }

  @Test("A controller that gave up leaving does nothing more, however often it is turned; its peer finishes its work")
  func givesUp() throws {
    var options = Laboratory.controllerOptions
    options.farewellNanoseconds = 1_000_000
    let laboratory = try Laboratory(units: ["fault:delay=200ms:%/file:64K"], controllers: options)
    laboratory.fill(0..<4096, with: 5)
    #expect(laboratory.host.submit(Request(.write, length: 4096), to: .a, cookie: 1))
    laboratory.poll(.a)
    #expect(laboratory.count(.storageOperations, of: .a) == 1)
    laboratory.beginStop(.a)
    while !laboratory.isStopped(.a) { laboratory.poll(.a) }
    let answered = laboratory.count(.answered, of: .a)
    // Its operation has ended by the time b is alone with the journal; a is turned all the while.
    try laboratory.turn { laboratory.count(.takeovers, of: .b) == 1 }
    for _ in 0..<1000 { laboratory.poll(.a) }
    #expect(laboratory.count(.answered, of: .a) == answered)
    // b may not serve before the kernel has let go of a's unit, and that is when a is gone.
    laboratory.drop(.a)
    #expect(try laboratory.complete().status == .success)
    #expect(laboratory.count(.replayed, of: .b) == 1)
    #expect(try laboratory.perform(Request(.read, length: 4096, buffer: 8192), on: .b).status == .success)
    #expect(laboratory.host.holds(8192..<12288, 5))
  }

  @Test("Terms at their end: functions move on, and controllers leave")
  func lastTerm() throws {
    let laboratory = try Laboratory(units: ["mem:64K"])
    let writable = try Region(opening: laboratory.subsystem.location)
    try laboratory.stop(.b)
    try laboratory.stop(.a)
    for index in 0..<2 { writable.ownership.word(index).storeRelaxed(OwnershipWord.termMax << 16) }
    try laboratory.start(.a)
    try laboratory.start(.b)
    try laboratory.turn { laboratory.host.isAttached(to: .a) && laboratory.host.isAttached(to: .b) }
    for controller in [ControllerIdentity.a, .b, .a] {
      #expect(try laboratory.perform(Request(.write, length: 4096), on: controller).status == .success)
    }
    #expect(laboratory.owner(of: Function(unit: 0)).term < 8)
    try laboratory.stop(.a)
    try laboratory.stop(.b)
  }

  @Test("Both controllers together admit as many hosts as one journal has places for")
  func hostsOfBoth() throws {
    let laboratory = try Laboratory(units: ["mem:64K"])
    let writable = try Region(opening: laboratory.subsystem.location)
    // Hosts that wait in b's journal, and one more that the laboratory has.
    for place in 1..<Journal.hostPlaces { plantHost(writable.journal(of: .b), place: place) }
    let host = try RawHost(laboratory, to: .a)
    guard case .refused(let reason) = try reply(over: host.socket, laboratory) else {
      Issue.record("admitted, and a survivor would have no place for it")
      return
    }
    #expect(reason.contains("256 hosts"))
    writable.journal(of: .b).host(9).pointee.identity = 0
    let socket = try host.attach(laboratory, to: .a)
    #expect(try reply(over: socket, laboratory) == .attached)
  }
}
