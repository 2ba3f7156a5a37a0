import Baton
import BatonChannel
import BatonHost
import BatonOwnership
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc
import Testing

@Suite("Hosts that come, go, and break the rules")
struct HostTests {
  @Test("Answers come in any order, each once, over many times the lines", arguments: [2, 4, 8, 64])
  func outOfOrder(lines: Int) throws {
    var options = HostOptions()
    options.linesPerChannel = lines
    let laboratory = try Laboratory(units: ["fault:delay=50us:mem:1M", "mem:1M"], hosts: options)
    let host = laboratory.host
    var submitted: UInt64 = 0
    var waiting: Set<UInt64> = []
    var overtaken = 0
    var random = SeededRandom(seed: UInt64(lines))
    let count: UInt64 = 4000
    while submitted < count || !waiting.isEmpty {
      while submitted < count {
        // Few slow ones among many fast ones, so that the fast ones wrap around the lines past them.
        let request = Request(.write, unit: submitted % 64 == 0 ? 0 : 1, length: 512)
        let controller: ControllerIdentity = Bool.random(using: &random) ? .a : .b
        guard host.submit(request, to: controller, cookie: submitted) else { break }
        waiting.insert(submitted)
        submitted += 1
      }
      laboratory.poll()
      while let completion = host.next() {
        #expect(completion.status == .success)
        let isExpected = waiting.remove(completion.cookie) != nil
        #expect(isExpected, "answered once and not twice: \(completion.cookie)")
        if waiting.contains(where: { $0 < completion.cookie }) { overtaken += 1 }
      }
    }
    #expect(lines == 2 || overtaken > 0)
    #expect(host.outstanding == 0)
    #expect(laboratory.count(.answered, of: .a) + laboratory.count(.answered, of: .b) == count)
  }

  @Test(
    "Batches, and single requests between them: each answered once, and no more than there is room for",
    arguments: [2, 4, 8, 64])
  func batches(lines: Int) throws {
    var options = HostOptions()
    options.linesPerChannel = lines
    let laboratory = try Laboratory(units: ["null:1M", "fault:delay=50us:mem:1M", "mem:1M"], hosts: options)
    let host = laboratory.host
    var random = SeededRandom(seed: UInt64(lines) + 100)
    var submitted: UInt64 = 0
    var waiting: [UInt64: Status] = [:]
    while submitted < 4000 || !waiting.isEmpty {
      let controller: ControllerIdentity = Int.random(in: 0..<8, using: &random) == 0 ? .b : .a
      let room = host.room(to: controller)
      let count = submitted < 4000 ? Int.random(in: 0...2 * lines, using: &random) : 0
      var made: [(request: Request, cookie: UInt64)] = []
      for cookie in submitted..<submitted + UInt64(count) {
        // Some are refused, and a few are slow.
        let offset: UInt64 = Int.random(in: 0..<16, using: &random) == 0 ? 1 << 20 : 0
        let unit = UInt32(Int.random(in: 0..<32, using: &random) == 0 ? 1 : Int.random(in: 0...1, using: &random) * 2)
        made.append((Request(.read, unit: unit, offset: offset, length: 512), cookie))
      }
      var taken = 0
      if Bool.random(using: &random) {
        taken = host.submit(count, to: controller) { made[$0] }
      } else {
        while taken < count, host.submit(made[taken].request, to: controller, cookie: made[taken].cookie) { taken += 1 }
      }
      #expect(taken == min(count, room))
      for (request, cookie) in made[0..<taken] { waiting[cookie] = request.offset == 0 ? .success : .outOfRange }
      submitted += UInt64(taken)
      if Bool.random(using: &random) { laboratory.poll() }
      func complete(_ completion: Completion) {
        let expected = waiting.removeValue(forKey: completion.cookie)
        #expect(expected == completion.status, "answered once and not twice: \(completion.cookie)")
      }
      if Bool.random(using: &random) {
        let most = Int.random(in: 1...64, using: &random)
        var seen = 0
        let count = host.takeAnswers(most: most) {
          seen += 1
          complete($0)
        }
        #expect(count == seen && count <= most)
      } else if let completion = host.next() {
        complete(completion)
      }
      #expect(host.outstanding == waiting.count)
    }
    #expect(host.strayAnswers == 0)
    #expect(laboratory.count(.hostsRefused, of: .a) == 0 && laboratory.count(.hostsRefused, of: .b) == 0)
  }

  private struct Enough: Error {}

  @Test("A caller that throws has taken the answer that it was given, and no other")
  func throwingCaller() throws {
    let laboratory = try Laboratory(units: ["null:1M"])
    let host = laboratory.host
    #expect(host.submit(10, to: .a) { (Request(.read, length: 512), UInt64($0)) } == 10)
    laboratory.poll()
    var seen: [UInt64] = []
    #expect(throws: Enough.self) {
      try host.takeAnswers {
        seen.append($0.cookie)
        if $0.cookie == 3 { throw Enough() }
      }
    }
    #expect(seen == [0, 1, 2, 3] && host.outstanding == 6)
    while host.outstanding > 0 { host.takeAnswers { seen.append($0.cookie) } }
    #expect(seen == Array(0..<10))
  }

  @Test("A host whose answers come from one controller without end still gets the other's")
  func fairPolling() throws {
    let laboratory = try Laboratory(units: ["null:1M", "null:1M"])
    let host = laboratory.host
    for controller in ControllerIdentity.allCases {
      let unit = UInt32(controller.index)
      for _ in 0..<16 {
        let isSubmitted = host.submit(
          Request(.read, unit: 1 - unit, length: 512), to: controller.peer, cookie: 1)
        #expect(isSubmitted)
      }
      #expect(host.submit(Request(.read, unit: unit, length: 512), to: controller, cookie: 2))
      var turns = 0
      while turns < 1000 {
        laboratory.poll()
        turns += 1
        guard let completion = host.next() else { continue }
        if completion.cookie == 2 { break }
        // One answered, one more submitted: the other controller never runs dry.
        let isSubmitted = host.submit(
          Request(.read, unit: 1 - unit, length: 512), to: controller.peer, cookie: 1)
        #expect(isSubmitted)
      }
      #expect(turns < 1000, "the answer of \(controller) is never looked at")
      while host.outstanding > 0 {
        laboratory.poll()
        _ = host.next()
      }
    }
  }

  /// The requests are slow, the host is gone before they end, and there is no place but its own.
  @Test(
    "A host that dies with requests in flight frees its place when they have ended, not before",
    arguments: [1, 2])
  func diesInFlight(hostsMax: Int) throws {
    var controllers = Laboratory.controllerOptions
    controllers.hostsMax = hostsMax
    let laboratory = try Laboratory(units: ["fault:delay=100ms:%/file:1M", "mem:1M"], controllers: controllers)
    for _ in 1..<hostsMax { try laboratory.attach() }
    var refusals = 0
    for round in 0..<5 {
      func submitAndDie() {
        let doomed = laboratory.hosts.last!
        doomed.fill(0..<4096, with: 0x55)
        for index in 0..<32 {
          let request = Request(.write, unit: 0, offset: UInt64(index) * 4096, length: 4096)
          #expect(doomed.submit(request, to: round % 2 == 0 ? .a : .b))
        }
        for _ in 0..<3 { laboratory.poll() }
        laboratory.kill(doomed)
      }
      submitAndDie()
      // Attaches again and again until there is a place: refused, or accepted, and never anything else.
      var raw = try RawHost(laboratory, to: .a)
      var answer = try reply(over: raw.socket, laboratory)
      while answer != .attached {
        guard case .refused(let reason) = answer else {
          Issue.record("\(answer)")
          return
        }
        #expect(reason.contains("\(hostsMax)") && reason.contains("attached"), "\(reason)")
        refusals += 1
        raw = try RawHost(laboratory, to: .a)
        answer = try reply(over: raw.socket, laboratory)
      }
      _ = consume raw
      let next = TestHost(try Host(of: laboratory.subsystem))
      try laboratory.turn {
        next.maintain()
        return next.isAttached(to: .a) && next.isAttached(to: .b)
      }
      laboratory.adopt(next)
      let write = try laboratory.perform(Request(.write, unit: 1, length: 4096), on: .a, from: next)
      #expect(write.status == .success)
    }
    #expect(refusals > 0, "a place was given away while the kernel still wrote into its host's memory")
  }

  @Test("As many hosts as there may be, and one more is told why not")
  func hostsMax() throws {
    var controllers = Laboratory.controllerOptions
    controllers.hostsMax = 3
    let laboratory = try Laboratory(controllers: controllers)
    try laboratory.attach()
    try laboratory.attach()
    let raw = try RawHost(laboratory, to: .b)
    #expect(try reply(over: raw.socket, laboratory) == .refused("3 hosts are attached already"))
    #expect(try reply(over: raw.socket, laboratory) == .ended)
    laboratory.kill(laboratory.hosts[1])
    try laboratory.turn { laboratory.count(.hosts, of: .b) == 2 }
    let again = try RawHost(laboratory, to: .b)
    #expect(try reply(over: again.socket, laboratory) == .attached)
  }

  @Test("Sixty-four hosts at once, each with its own data")
  func manyHosts() throws {
    let laboratory = try Laboratory(units: ["mem:1M"])
    var options = HostOptions()
    options.arenaSize = 65536
    while laboratory.hosts.count < 64 { try laboratory.attach(options) }
    for controller in ControllerIdentity.allCases { #expect(laboratory.count(.hosts, of: controller) == 64) }
    for round in 0..<4 {
      for (index, host) in laboratory.hosts.enumerated() {
        host.fill(0..<4096, with: UInt8(index + round))
        let request = Request(.write, offset: UInt64(index) * 8192, length: 4096)
        #expect(host.submit(request, to: (index + round) % 2 == 0 ? .a : .b))
      }
      for host in laboratory.hosts { #expect(try laboratory.complete(host).status == .success) }
      for (index, host) in laboratory.hosts.enumerated() {
        let request = Request(.read, offset: UInt64(index) * 8192, length: 4096, buffer: 8192)
        #expect(host.submit(request, to: index % 3 == 0 ? .a : .b))
      }
      for (index, host) in laboratory.hosts.enumerated() {
        #expect(try laboratory.complete(host).status == .success)
        #expect(host.holds(8192..<12288, UInt8(index + round)))
      }
    }
    // Every other one goes; those that stay are served as before, hot or cold.
    for (index, host) in laboratory.hosts.enumerated() where index % 2 == 1 { laboratory.kill(host) }
    try laboratory.turn { laboratory.count(.hosts, of: .a) == 32 && laboratory.count(.hosts, of: .b) == 32 }
    for _ in 0..<5000 { laboratory.poll() }
    for host in laboratory.hosts.reversed() {
      for controller in ControllerIdentity.allCases {
        #expect(
          try laboratory.perform(Request(.read, length: 4096), on: controller, from: host).status == .success)
      }
    }
  }

  @Test(
    "A host does not go on with another subsystem of the same name: none of its writes lands there",
    arguments: [(true, true), (true, false), (false, false)])
  func anotherSubsystem(isMadeAnew: Bool, hasControllers: Bool) throws {
    let laboratory = try Laboratory()
    laboratory.fill(0..<4096, with: 0xa5)
    for controller in ControllerIdentity.allCases {
      #expect(laboratory.host.submit(Request(.write, length: 4096), to: controller))
    }
    laboratory.drop(.a)
    laboratory.drop(.b)
    try laboratory.subsystem.destroy()
    if !isMadeAnew {
      #expect(laboratory.host.subsystemLoss == nil)
      #expect(
        eventually {
          laboratory.host.maintain()
          return laboratory.host.subsystemLoss != nil
        })
      #expect(laboratory.host.subsystemLoss?.problem == "was destroyed: 2 requests have no answer")
      return
    }
    let other = try Subsystem.create(
      laboratory.subsystem.location.directory, units: [UnitSpecification(parsing: "mem:1M")])
    if !hasControllers {
      #expect(
        eventually {
          laboratory.host.maintain()
          return laboratory.host.subsystemLoss != nil
        })
      return
    }
    try laboratory.start(.a)
    try laboratory.start(.b)
    func refused(_ controller: ControllerIdentity) throws -> UInt64 {
      try other.status().controllers[Int(controller.rawValue)][.hostsRefused]
    }
    try laboratory.turn { laboratory.host.subsystemLoss != nil }
    // It does not ask for ever: not once more in four times what it waits between two attempts. It has asked both at
    // the same time, and gives up at the first refusal, so the second one may be counted only now.
    let until = monotonicNanoseconds() + 200_000_000
    try laboratory.turn { monotonicNanoseconds() > until }
    let refusals = try [refused(.a), refused(.b)]
    #expect(refusals.contains(1) && refusals.allSatisfy { $0 <= 1 }, "\(refusals)")
    #expect(!laboratory.host.isAttached(to: .a) && !laboratory.host.isAttached(to: .b))
    #expect(laboratory.host.outstanding == 2)
    let host = try laboratory.attach()
    #expect(try laboratory.perform(Request(.read, length: 4096), on: .a, from: host).status == .success)
    #expect(host.holds(0..<4096, 0))
  }

  @Test("A completion says in words how it ended, which controller served it and why it waited")
  func completionDescribed() throws {
    let laboratory = try Laboratory()
    let direct = try laboratory.perform(Request(.write, length: 4096), on: .a)
    let term = direct.service.term
    #expect("\(direct.service)".hasPrefix("by a in term \(term)"))
    let moved = try laboratory.perform(Request(.read, length: 4096), on: .b)
    #expect("\(moved)" == "success, 4096, by b in term \(term + 1), after a change of owner (cookie 0)")
  }

  @Test("What is no memory of a host is refused with its reason, and costs nobody anything")
  func badMemory() throws {
    let laboratory = try Laboratory()
    func offer(_ descriptor: CInt, to controller: ControllerIdentity) throws -> Reply {
      let socket = try ControlMessage.connect(
        path: laboratory.subsystem.location.socket(of: controller), to: controller)
      try ControlMessage.sendAttach(over: socket, kind: UInt32(BATON_ATTACH_HOST), descriptor: descriptor)
      return try reply(over: socket, laboratory)
    }
    func memory(
      count: Int = 1 << 20, isSealed: Bool = true, _ change: (inout baton_host_header) -> Void = { _ in }
    ) throws -> OwnedDescriptor {
      let descriptor = OwnedDescriptor(shim_memfd_create("test"))
      try descriptor.setSize(UInt64(count), subject: "test")
      var header = try HostMemory(linesPerChannel: 8, arenaSize: 65536).header
      change(&header)
      let isWritten = withUnsafeBytes(of: &header) { pwrite(descriptor.number, $0.baseAddress!, $0.count, 0) }
      #expect(isWritten == MemoryLayout<baton_host_header>.size)
      if isSealed { try check(shim_seal_against_resize(descriptor.number), "test", doing: "sealing") }
      return descriptor
    }
    let good = try memory()
    let open = try memory(isSealed: false)
    let foreign = try memory { $0.magic ^= 1 }
    let version = try memory { $0.layout_version += 1 }
    let small = OwnedDescriptor(shim_memfd_create("small"))
    try small.setSize(4095, subject: "small")
    try check(shim_seal_against_resize(small.number), "small", doing: "sealing")
    let empty = OwnedDescriptor(shim_memfd_create("empty"))
    try check(shim_seal_against_resize(empty.number), "empty", doing: "sealing")
    let short = try memory(count: 65536)
    let path = try laboratory.folder.file("file", count: 1 << 20)
    let file = OwnedDescriptor(shim_open(path, true, false, false))
    let contradictions: [(inout baton_host_header) -> Void] = [
      { $0.lines_per_channel = 0 }, { $0.lines_per_channel = 1 }, { $0.lines_per_channel = 3 },
      { $0.lines_per_channel = 8192 }, { $0.lines_per_channel = UInt32.max },
      { $0.lines_per_channel = 1 << 31 },
      { $0.arena_offset = 0 }, { $0.arena_offset += 4096 }, { $0.arena_offset = UInt64.max },
      { $0.arena_size = 0 }, { $0.arena_size = UInt64.max }, { $0.arena_size = HostMemory.arenaMax + 1 },
      { $0.identity = 0 },
    ]
    for controller in ControllerIdentity.allCases {
      func expectRefusal(
        _ descriptor: borrowing OwnedDescriptor, _ words: String,
        sourceLocation: SourceLocation = #_sourceLocation
      ) throws {
        let answer = try offer(descriptor.number, to: controller)
        guard case .refused(let reason) = answer else {
          Issue.record("\(words): \(answer)", sourceLocation: sourceLocation)
          return
        }
        #expect(reason.contains(words), "\(reason)", sourceLocation: sourceLocation)
      }
      try expectRefusal(open, "not sealed")
      try expectRefusal(foreign, "does not begin like host memory")
      try expectRefusal(version, "layout version \(BATON_LAYOUT_VERSION + 1)")
      try expectRefusal(small, "too small")
      try expectRefusal(empty, "too small")
      try expectRefusal(short, "too small")
      // A file on tmpfs can be sealed like a memfd.
      try expectRefusal(file, shim_is_tmpfs(file.number) == 1 ? "not sealed" : "not a memfd")
      try expectRefusal(OwnedDescriptor(-1), "did not come")
      for change in contradictions { try expectRefusal(try memory(change), "contradicts itself") }
      #expect(try offer(good.number, to: controller) == .attached)
      #expect(try laboratory.perform(Request(.write, length: 4096), on: controller).status == .success)
      #expect(laboratory.host.isAttached(to: controller))
      #expect(laboratory.count(.hostsRefused, of: controller) == UInt64(8 + contradictions.count))
    }
  }

  @Test("An attach message of nonsense ends its own connection and nothing else")
  func nonsense() throws {
    let laboratory = try Laboratory()
    var random = SeededRandom(seed: 11)
    for controller in ControllerIdentity.allCases {
      func say(_ bytes: [UInt8]) throws -> Reply {
        let socket = try ControlMessage.connect(
          path: laboratory.subsystem.location.socket(of: controller), to: controller)
        let sent = shim_socket_send(socket.number, bytes, bytes.count, -1)
        #expect(sent == bytes.count)
        return try reply(over: socket, laboratory)
      }
      func message(_ change: (inout baton_attach_request) -> Void) -> [UInt8] {
        var message = baton_attach_request()
        message.magic = baton_host_magic
        message.layout_version = UInt32(BATON_LAYOUT_VERSION)
        message.kind = UInt32(BATON_ATTACH_HOST)
        change(&message)
        return withUnsafeBytes(of: &message) { [UInt8]($0) }
      }
      for count in [1, 2, 16, 23, 25, 4096] {
        #expect(try say((0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }) != .attached)
      }
      #expect(try say(message { $0.magic = 0 }) == .refused("the message is not an attach request"))
      #expect(try say(message { $0.kind = 7 }) == .refused("an attach request of kind 7"))
      let isGone = "the subsystem that this host was attached to is gone; this is a different one"
      #expect(try say(message { $0.generation = 1 }) == .refused(isGone))
      guard case .refused(let reason) = try say(message { $0.layout_version = 99 }) else {
        Issue.record("another version was attached")
        continue
      }
      #expect(reason.contains("layout version 99"))
      // One that says nothing, one that hangs up at once, one that knocks and goes on ringing.
      let mute = try ControlMessage.connect(
        path: laboratory.subsystem.location.socket(of: controller), to: controller)
      _ = try ControlMessage.connect(path: laboratory.subsystem.location.socket(of: controller), to: controller)
      let ringing = try RawHost(laboratory, to: controller)
      #expect(try reply(over: ringing.socket, laboratory) == .attached)
      for _ in 0..<3000 { ControlMessage.send(byte: CInt(BATON_MESSAGE_DOORBELL), over: ringing.socket.number) }
      for _ in 0..<100 { laboratory.poll() }
      #expect(try laboratory.perform(Request(.write, length: 4096), on: controller).status == .success)
      _ = consume mute
    }
  }

  @Test("More connections than there is room for: the first ones are served, and there is room again")
  func manyConnections() throws {
    let laboratory = try Laboratory()
    let path = laboratory.subsystem.location.socket(of: .a)
    var open: [CInt] = []
    for _ in 0..<400 {
      let connection = shim_socket_connect(path)
      // EAGAIN: the listener's queue is full until the controller has had a turn.
      if connection >= 0 { open.append(connection) }
      laboratory.poll()
    }
    #expect(open.count > 256)
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
    for connection in open { close(connection) }
    for _ in 0..<100 { laboratory.poll() }
    try laboratory.attach()
  }
}
