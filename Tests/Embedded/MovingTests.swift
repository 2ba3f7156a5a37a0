import Baton
import BatonChannel
import BatonHost
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc
import Testing

/// The controller that served each term of each unit: at most one, or two had work on the storage at once.
struct TermLedger {
  private var owners: [UInt64: ControllerIdentity] = [:]

  mutating func expectOneOwner(
    _ service: Service, unit: Int = 0, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let key = service.term << 8 | UInt64(unit)
    let owner = owners[key] ?? service.controller
    #expect(owner == service.controller, "term \(service.term) of unit \(unit)", sourceLocation: sourceLocation)
    owners[key] = owner
  }
}

@Suite("Ownership that moves: nothing lost, nobody starved")
struct MovingOwnershipTests {
  /// One host, blocks at random: a write that was answered is seen by every read that is submitted later.
  @Test(
    "A write that was answered is seen by every later read, through whichever controller",
    arguments: [ResidencyPolicy.pendingOnly, .standard])
  func dependentOrder(residency: ResidencyPolicy) throws {
    var controllers = Laboratory.controllerOptions
    controllers.residency = residency
    let laboratory = try Laboratory(
      units: ["mem:64k", "%/file:64k", "fault:delay=1us,short=512:%/slow:64k"], controllers: controllers)
    let host = laboratory.host
    var random = SeededRandom(seed: 7)
    let blocks = 16
    let depth = 16
    /// What a block holds as far as was answered, and whether something is under way for it.
    var newest = [[UInt64]](repeating: [UInt64](repeating: 0, count: blocks), count: 3)
    var busy = [Set<Int>](repeating: [], count: 3)
    var underWay = [(unit: Int, block: Int, isWrite: Bool, value: UInt64)?](repeating: nil, count: depth)
    var submitted = 0
    var finished = 0
    var value: UInt64 = 0
    let count = 20_000
    var transferred = 0
    var ledger = TermLedger()
    while finished < count {
      for place in 0..<depth where underWay[place] == nil && submitted < count {
        let unit = submitted % 50 == 0 ? 2 : Int.random(in: 0..<2, using: &random)
        let block = Int.random(in: 0..<blocks, using: &random)
        if busy[unit].contains(block) { continue }
        let isWrite = Bool.random(using: &random)
        let address = host.arena.baseAddress! + place * 4096
        if isWrite {
          value += 1
          address.assumingMemoryBound(to: UInt64.self).update(repeating: value, count: 512)
        } else {
          address.assumingMemoryBound(to: UInt64.self).update(repeating: UInt64.max, count: 512)
        }
        let request = Request(
          isWrite ? .write : .read, unit: UInt32(unit), offset: UInt64(block) * 4096, length: 4096,
          buffer: UInt64(place) * 4096)
        guard host.submit(request, to: Bool.random(using: &random) ? .a : .b, cookie: UInt64(place)) else {
          continue
        }
        busy[unit].insert(block)
        underWay[place] = (unit, block, isWrite, value)
        submitted += 1
      }
      laboratory.poll()
      while let completion = host.next() {
        let place = Int(completion.cookie)
        let (unit, block, isWrite, value) = underWay[place]!
        #expect(completion.status == .success)
        if completion.service.isTransferred { transferred += 1 }
        ledger.expectOneOwner(completion.service, unit: unit)
        if isWrite {
          newest[unit][block] = value
        } else {
          let words = (host.arena.baseAddress! + place * 4096).assumingMemoryBound(to: UInt64.self)
          #expect(words[0] == newest[unit][block], "unit \(unit), block \(block)")
          #expect(memcmp(words, words + 1, 4096 - 8) == 0, "a block is whole")
        }
        busy[unit].remove(block)
        underWay[place] = nil
        finished += 1
      }
    }
    #expect(transferred > 100, "ownership moved")
    #expect(laboratory.count(.grants, of: .a) > 50 && laboratory.count(.grants, of: .b) > 50)
  }

  @Test(
    "Two hosts at different controllers on one unit: both get on, turn by turn",
    arguments: [ResidencyPolicy.pendingOnly, .fixed(nanoseconds: 20_000), .standard])
  func bothProgress(residency: ResidencyPolicy) throws {
    var controllers = Laboratory.controllerOptions
    controllers.residency = residency
    let laboratory = try Laboratory(units: ["fault:delay=1us:mem:64k"], controllers: controllers)
    let hosts = [laboratory.host, try laboratory.attach()]
    let depth = 8
    var answered = [0, 0]
    var lastTerm = [UInt64](repeating: 0, count: 2)
    var terms: Set<UInt64> = []
    var ledger = TermLedger()
    for (index, host) in hosts.enumerated() {
      for _ in 0..<depth { #expect(host.submit(Request(.read, length: 512), to: index == 0 ? .a : .b)) }
    }
    // As long as neither has had its fill: the one that gets on more slowly decides. After the machine has stood still
    // in a change of owner such changes seem dear, and the next terms are long: until there were some, all the same.
    while min(answered[0], answered[1]) < 500 || terms.count <= 10 {
      laboratory.poll()
      for (index, host) in hosts.enumerated() {
        while let completion = host.next() {
          #expect(completion.status == .success)
          #expect(completion.service.controller.index == index)
          ledger.expectOneOwner(completion.service)
          #expect(completion.service.term >= lastTerm[index], "terms only grow")
          lastTerm[index] = completion.service.term
          terms.insert(completion.service.term)
          answered[index] += 1
          #expect(host.submit(Request(.read, length: 512), to: index == 0 ? .a : .b))
        }
      }
      if answered[0] + answered[1] > 1_000_000 { break }
    }
    #expect(answered[0] >= 500 && answered[1] >= 500, "\(answered)")
    #expect(terms.count > 10)
    if residency == .pendingOnly {
      // They alternate: neither has much more than the depth a term ahead of the other.
      #expect(abs(answered[0] - answered[1]) <= answered[0] / 2, "\(answered)")
    }
  }

  @Test("Every hint is lost: the words are found by sweeping")
  func hintsLost() throws {
    let laboratory = try Laboratory(units: [String](repeating: "mem:64k", count: 100))
    let file = OwnedDescriptor(shim_open(laboratory.subsystem.location.region, true, false, false))
    let header = laboratory.region.header
    let mapping = try Mapping(of: file, count: Int(header.size), subject: "region")
    let links = mapping.base + Int(header.links_offset)
    let count = Int(header.functions_offset - header.links_offset)
    // Between any two turns, so that nobody ever reads a hint.
    laboratory.afterTurn = { memset(links, 0, count) }
    for turn in 0..<400 {
      let controller: ControllerIdentity = turn / 2 % 2 == 0 ? .a : .b
      let unit = UInt32(turn * 37 % 100)
      let completion = try laboratory.perform(Request(.write, unit: unit, length: 512), on: controller)
      #expect(completion.status == .success)
      let other = try laboratory.perform(Request(.read, unit: unit, length: 512), on: controller.peer)
      #expect(other.status == .success)
    }
    #expect(laboratory.count(.requestsSwept, of: .a) > 100)
    #expect(laboratory.count(.requestsSwept, of: .b) > 100)
  }

  @Test("A link that is full of nonsense: hints are checked, and what finds no room is found by sweeping")
  func nonsenseOnTheLink() throws {
    let laboratory = try Laboratory(units: ["mem:64k", "mem:64k"])
    let file = OwnedDescriptor(shim_open(laboratory.subsystem.location.region, true, false, false))
    let header = laboratory.region.header
    let mapping = try Mapping(of: file, count: Int(header.size), subject: "region")
    let links = (mapping.base + Int(header.links_offset)).assumingMemoryBound(to: UInt64.self)
    let count = Int(header.functions_offset - header.links_offset) / 8
    var random = SeededRandom(seed: 9)
    laboratory.afterTurn = {
      let nonsense: [UInt64] = [random.next(), random.next() % 8, UInt64.max, 1 << 63, UInt64(Int64.max)]
      for slot in 0..<count { links[slot] = nonsense[slot % 5] }
    }
    for turn in 0..<100 {
      let controller: ControllerIdentity = turn % 2 == 0 ? .a : .b
      let write = try laboratory.perform(Request(.write, unit: 1, length: 512), on: controller)
      #expect(write.status == .success)
    }
    #expect(laboratory.count(.hintsLost, of: .a) + laboratory.count(.hintsLost, of: .b) > 0)
  }

  @Test("Four thousand units, each its own function")
  func manyUnits() throws {
    let laboratory = try Laboratory(units: [String](repeating: "null:1M", count: 4096))
    #expect(laboratory.host.unitCount == 4096)
    var submitted: UInt32 = 0
    var finished = 0
    // Every unit by a, then every unit by b: each function moves.
    while finished < 3 * 4096 {
      while submitted < 3 * 4096 {
        let controller: ControllerIdentity = submitted / 4096 % 2 == 0 ? .a : .b
        guard laboratory.host.submit(Request(.write, unit: submitted % 4096, length: 512), to: controller) else {
          break
        }
        submitted += 1
      }
      laboratory.poll()
      while let completion = laboratory.host.next() {
        #expect(completion.status == .success)
        finished += 1
      }
    }
    let refused = try laboratory.perform(Request(.write, unit: 4096, length: 512), on: .a)
    #expect(refused.status == .noSuchUnit)
    for unit in 0..<4096 { #expect(laboratory.owner(of: Function(unit: unit)).term >= 1) }
  }
}

@Suite("Controllers that leave, die and come back")
struct LeavingTests {
  @Test("A graceful stop: what is in flight and pending is answered, functions handed over, the host goes on")
  func graceful() throws {
    let laboratory = try Laboratory(units: ["fault:delay=2ms:mem:1M", "mem:1M", "mem:1M"])
    let host = laboratory.host
    for (round, leaver) in [ControllerIdentity.a, .b, .a, .b].enumerated() {
      let stayer = leaver.peer
      // Unit 0 and 1 are the leaver's, unit 2 and management the other's.
      for unit in [UInt32(0), 1] {
        #expect(try laboratory.perform(Request(.write, unit: unit, length: 512), on: leaver).status == .success)
      }
      #expect(try laboratory.perform(Request(.write, unit: 2, length: 512), on: stayer).status == .success)
      #expect(try laboratory.perform(Request(.unitState, unit: 0), on: stayer).status == .success)
      var waiting: Set<UInt64> = []
      for cookie in UInt64(0)..<60 {
        let request = Request(
          .write, unit: UInt32(cookie % 3), offset: cookie * 512, length: 512, buffer: cookie * 512)
        // In flight and pending at the leaver; and pending at the other for what the leaver has.
        #expect(host.submit(request, to: cookie % 4 == 3 ? stayer : leaver, cookie: cookie))
        waiting.insert(cookie)
      }
      for _ in 0..<round { laboratory.poll() }
      laboratory.beginStop(leaver)
      for cookie in UInt64(60)..<90 {
        #expect(host.submit(Request(.read, unit: UInt32(cookie % 3), length: 512), to: leaver, cookie: cookie))
        waiting.insert(cookie)
      }
      try laboratory.turn(turnsMax: 3_000_000) {
        while let completion = host.next() {
          #expect(completion.status == .success, "cookie \(completion.cookie)")
          let isExpected = waiting.remove(completion.cookie) != nil
          #expect(isExpected, "answered once: \(completion.cookie)")
        }
        return waiting.isEmpty && laboratory.isStopped(leaver)
      }
      #expect(host.rerouted >= 30)
      for function in 0..<4 {
        let word = laboratory.owner(of: Function(index: function))
        #expect(!word.isOwned(by: leaver), "\(Function(index: function)): \(word)")
      }
      #expect(laboratory.region.controller(leaver).phase.phase == .absent)
      laboratory.drop(leaver)
      #expect(!laboratory.isSeatTaken(of: leaver))
      // Once the leaver has gone, its requests go to its peer.
      let completion = try laboratory.perform(Request(.write, unit: 1, length: 512), on: leaver)
      #expect(completion.status == .success && completion.service.controller == stayer)
      try laboratory.start(leaver)
      try laboratory.turn { host.isAttached(to: leaver) }
      #expect(laboratory.region.controller(leaver).phase == (.serving, UInt64(round / 2 + 2)))
      let again = try laboratory.perform(Request(.write, unit: 1, length: 512), on: leaver)
      #expect(again.status == .success && again.service.controller == leaver)
    }
  }

  /// The owner drains for the other, the other leaves and takes its request back: the owner goes on serving.
  @Test("A request for ownership that is withdrawn while the owner drains leaves the owner serving")
  func withdrawnWhileDraining() throws {
    _ = try stopWhileDraining(.b)
  }

  /// a owns the unit and drains for b, with one request in flight, one of b's and one of its own behind that; then
  /// `leaver` is told to leave. Every request is answered with success, and the leaver stops.
  private func stopWhileDraining(_ leaver: ControllerIdentity) throws -> Laboratory {
    let laboratory = try Laboratory(units: ["fault:delay=20ms:mem:1M"])
    let host = laboratory.host
    #expect(try laboratory.perform(Request(.write, length: 512), on: .a).status == .success)
    #expect(host.submit(Request(.write, length: 512), to: .a, cookie: 1))
    laboratory.poll(.a)
    #expect(host.submit(Request(.write, length: 512), to: .b, cookie: 2))
    laboratory.poll(.b)
    // a sees the request and stops admitting: what comes now waits.
    laboratory.poll(.a)
    #expect(host.submit(Request(.write, length: 512), to: .a, cookie: 3))
    laboratory.poll(.a)
    laboratory.beginStop(leaver)
    var answered: Set<UInt64> = []
    try laboratory.turn(turnsMax: 1_000_000) {
      while let completion = host.next() {
        #expect(completion.status == .success)
        answered.insert(completion.cookie)
      }
      return answered == [1, 2, 3] && laboratory.isStopped(leaver)
    }
    return laboratory
  }

  /// The owner drains for the other, requests come meanwhile, and then the owner is told to leave.
  @Test("A controller that leaves while it drains answers what waited behind that")
  func leavesWhileDraining() throws {
    let laboratory = try stopWhileDraining(.a)
    #expect(laboratory.owner(of: Function(unit: 0)).owner == .b)
  }

  @Test("Both leave and come back: no function is owned by a controller that has gone")
  func bothLeave() throws {
    let laboratory = try Laboratory(units: ["mem:64k", "mem:64k"])
    for round in 0..<10 {
      #expect(try laboratory.perform(Request(.write, unit: 0, length: 512), on: .a).status == .success)
      #expect(try laboratory.perform(Request(.write, unit: 1, length: 512), on: .b).status == .success)
      laboratory.beginStop(.a)
      for _ in 0..<round { laboratory.poll() }
      laboratory.beginStop(.b)
      try laboratory.turn { laboratory.isStopped(.a) && laboratory.isStopped(.b) }
      for function in 0..<3 { #expect(laboratory.owner(of: Function(index: function)).owner == nil) }
      laboratory.drop(.a)
      laboratory.drop(.b)
      try laboratory.start(.a)
      try laboratory.start(.b)
      try laboratory.turn { laboratory.host.isAttached(to: .a) && laboratory.host.isAttached(to: .b) }
    }
  }

  @Test("A host whose controllers all leave is told, and loses nothing that was answered")
  func nobodyLeft() throws {
    var options = HostOptions()
    options.patienceNanoseconds = 20_000_000
    let laboratory = try Laboratory(units: ["fault:delay=5ms:mem:64k"], hosts: options)
    let host = laboratory.host
    try laboratory.stop(.b)
    try laboratory.turn { !host.isAttached(to: .b) }
    for cookie in UInt64(0)..<8 { #expect(host.submit(Request(.write, length: 512), to: .a, cookie: cookie)) }
    for _ in 0..<3 { laboratory.poll() }
    laboratory.beginStop(.a)
    for cookie in UInt64(8)..<16 { #expect(host.submit(Request(.write, length: 512), to: .a, cookie: cookie)) }
    var statuses: [UInt64: Status] = [:]
    try laboratory.turn {
      while let completion = host.next() { statuses[completion.cookie] = completion.status }
      return statuses.count == 16
    }
    for cookie in UInt64(0)..<8 { #expect(statuses[cookie] == .success) }
    for cookie in UInt64(8)..<16 { #expect(statuses[cookie] == .leaving) }
    try laboratory.turn { laboratory.isStopped(.a) && !host.isAttached(to: .a) }
    #expect(!host.submit(Request(.write, length: 512)))
    laboratory.drop(.a)
    try laboratory.start(.b)
    try laboratory.turn { host.isAttached(to: .b) }
    #expect(try laboratory.perform(Request(.write, length: 512), on: .b).status == .success)
  }

  @Test("A controller that cannot start leaves nothing, and says why")
  func cannotStart() throws {
    let laboratory = try Laboratory(units: ["%/file:64k"])
    expectError(.busy, naming: "controller a") { try laboratory.start(.a) }
    try laboratory.stop(.a)
    rename(laboratory.folder("file"), laboratory.folder("elsewhere"))
    expectError(.missing, naming: laboratory.folder("file")) { try laboratory.start(.a) }
    #expect(laboratory.region.controller(.a).phase.phase == .absent)
    #expect(!laboratory.isSeatTaken(of: .a))
    rename(laboratory.folder("elsewhere"), laboratory.folder("file"))
    try laboratory.start(.a)
    try laboratory.turn { laboratory.host.isAttached(to: .a) }
    expectError(.busy, naming: laboratory.subsystem.location.name) { try laboratory.subsystem.destroy() }
    try laboratory.stop(.a)
    try laboratory.stop(.b)
    try laboratory.subsystem.destroy()
    expectError(.missing, naming: laboratory.subsystem.location.region) { try laboratory.start(.a) }
    #expect(laboratory.folder.contents == ["file"])
  }

  @Test("A host that finds no controller says so")
  func noController() throws {
    let laboratory = try Laboratory()
    try laboratory.stop(.a)
    try laboratory.stop(.b)
    expectError(.missing, naming: laboratory.subsystem.location.name) {
      _ = try Host(of: laboratory.subsystem)
    }
  }
}
