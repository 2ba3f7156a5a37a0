import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc
import Testing

@Suite("Subsystem: made, opened, destroyed")
struct SubsystemTests {
  let folder: ScratchFolder
  var name: String { folder("subsystem") }

  init() throws { folder = try ScratchFolder() }

  func generation(_ subsystem: Subsystem) throws -> UInt64 {
    try Region(opening: subsystem.location).header.generation
  }

  func create(_ units: [String]) throws -> Subsystem {
    try Subsystem.create(
      name, units: units.map { try UnitSpecification(parsing: $0.replacing("%", with: folder.path)) })
  }

  @Test("What was made is what is opened")
  func opened() throws {
    let units = ["mem:1M", "%/file:64k", "fault:delay=5ms,error-after=7,error-every=9,short=512:null:1G"]
    let subsystem = try create(units)
    let region = try Region(opening: subsystem.location)
    try expectSound(region, subsystem, units)
    #expect(FileFacts(path: subsystem.location.memory(unit: 0))?.size == 1 << 20)
    #expect(folder.contents == ["file", "subsystem"])
  }

  private func expectSound(_ region: borrowing Region, _ subsystem: Subsystem, _ units: [String]) throws {
    #expect(region.unitCount == 3)
    #expect(region.functionCount == 4)
    #expect(
      region.unit(0).geometry
        == UnitGeometry(
          kind: .memory, size: 1 << 20, blockSize: 512, isDirect: false,
          identity: FileFacts(path: subsystem.location.memory(unit: 0))?.identity))
    #expect(region.unit(1).geometry.identity == FileFacts(path: folder("file"))?.identity)
    #expect(region.unit(2).geometry.identity == nil)
    #expect(region.unit(0).path == subsystem.location.memory(unit: 0))
    #expect(region.unit(1).geometry.kind == .file)
    #expect(region.unit(1).geometry.size == 65536)
    #expect(region.unit(1).path == folder("file"))
    #expect(region.unit(1).faults == FaultPlan())
    #expect(region.unit(2).geometry.kind == .null)
    #expect(region.unit(2).path == "")
    #expect(region.unit(2).faults == (try UnitSpecification(parsing: units[2]).faults))
    for function in 0..<4 {
      #expect(OwnershipWord(rawValue: region.ownership.word(function).loadRelaxed()) == .initial)
    }
    for unit in 0..<3 { #expect(region.unitStates.word(unit).loadRelaxed() == UnitState.online.rawValue) }
    for controller in ControllerIdentity.allCases {
      let phase = region.controller(controller).phase
      #expect(phase.phase == .absent && phase.incarnation == 0)
      for counter in Counter.allCases {
        #expect(region.controller(controller).counters[counter].loadRelaxed() == 0)
      }
    }
  }

  @Test("Everything of a subsystem is its user's alone")
  func modes() throws {
    let subsystem = try create(["mem:64k", "%/file:64k"])
    func mode(_ path: String) -> mode_t {
      var facts = stat()
      return stat(path, &facts) == 0 ? facts.st_mode & 0o777 : 0
    }
    #expect(mode(subsystem.location.region) == 0o600)
    #expect(mode(subsystem.location.memory(unit: 0)) == 0o600)
    #expect(mode(folder("file")) == 0o600)
    #expect(mode(subsystem.location.directory) == 0o700)
    let socket = OwnedDescriptor(
      try check(shim_socket_listen(folder("socket")), folder("socket"), doing: "listening"))
    #expect(socket.number >= 0 && mode(folder("socket")) == 0o600)
  }

  @Test("A subsystem that already exists stays as it is")
  func twice() throws {
    let subsystem = try create(["mem:64k"])
    let before = try generation(subsystem)
    expectError(.busy, naming: name) { try create(["mem:64k", "%/new:64k"]) }
    #expect(try generation(subsystem) == before)
    #expect(FileFacts(path: subsystem.location.memory(unit: 0))?.size == 65536)
    #expect(folder.contents == ["subsystem"])
  }

  @Test("Of two that create one of the same name at once one has it, whole")
  func atOnce() async throws {
    for round in 0..<20 {
      let name = folder("round\(round)")
      let made = await withTaskGroup(of: Bool.self) { group in
        for _ in 0..<2 {
          group.addTask { (try? Subsystem.create(name, units: [UnitSpecification(parsing: "mem:64k")])) != nil }
        }
        return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
      }
      #expect(made == 1)
      #expect(try FileFacts(path: Subsystem(name).location.memory(unit: 0))?.size == 65536)
    }
  }

  @Test("A link that leads nowhere is no file of the subsystem's, and stays")
  func danglingLink() throws {
    try #require(symlink("nowhere/file", folder("link")) == 0)
    #expect(throws: BatonError.self) { try create(["%/link:64k"]) }
    #expect(folder.contents == ["link"])
  }

  @Test("Two subsystems of one name are not the same")
  func generations() throws {
    let first = try create(["null:64k"])
    let before = try generation(first)
    try first.destroy()
    #expect(try generation(create(["null:64k"])) != before)
  }

  @Test(
    "Nothing of a subsystem remains when making it fails half way",
    arguments: [
      ["mem:64k", "%/missing"], ["mem:64k", "%/new:64k", "%/missing"], ["%/new:64k", "%/old:1M"],
      ["mem:64k", "%/new:64k", "%/new:64k"], ["%/new:64k", "null:100"], ["mem:64k", "%/nothing/new:64k"],
    ])
  func halfMade(units: [String]) throws {
    try folder.file("old", count: 4096)
    let deep = "\(folder.path)/some/where/subsystem"
    let specifications = try units.map { try UnitSpecification(parsing: $0.replacing("%", with: folder.path)) }
    #expect(throws: BatonError.self) { try Subsystem.create(name, units: specifications) }
    #expect(folder.contents == ["old"])
    #expect(throws: BatonError.self) { try Subsystem.create(deep, units: specifications) }
    #expect(folder.contents == ["old"], "folders on the way go too")
    mkdir(folder("some"), 0o700)
    #expect(throws: BatonError.self) { try Subsystem.create(deep, units: specifications) }
    #expect(folder.contents == ["old", "some"], "the old ones stay")
    // And nothing stands in the way of the next attempt.
    _ = try create(["%/old", "%/new:64k"])
  }

  @Test("No units, or more than there may be")
  func unitCounts() throws {
    expectError(.invalid, naming: name) { try create([]) }
    let tooMany = [UnitSpecification](
      repeating: UnitSpecification(.null, size: 4096), count: Region.unitsMax + 1)
    expectError(.invalid, naming: name) { try Subsystem.create(name, units: tooMany) }
    #expect(folder.contents == [])
  }

  @Test("One file for two units is refused, whatever names it goes by")
  func twoUnitsOneFile() throws {
    let path = try folder.file("file", count: 65536)
    symlink(path, folder("symbolic"))
    Glibc.link(path, folder("hard"))
    mkdir(folder("sub"), 0o700)
    for other in ["%/file", "%/./file", "%/sub/../file", "%/symbolic", "%/hard"] {
      expectError(.invalid, naming: folder.path) { try create(["%/file", other]) }
      expectError(.invalid, naming: folder.path) { try create([other, "null:64k", "%/file:64k"]) }
    }
    #expect(folder.contents == ["file", "hard", "sub", "symbolic"])
    try folder.file("another", count: 65536)
    _ = try create(["%/file", "%/another"])
  }

  @Test("A unit's path holds wherever the opener stands")
  func absolute() throws {
    let path = try folder.file("file", count: 65536)
    symlink(folder.path, folder("way"))
    let subsystem = try create(["%/way/./file"])
    let region = try Region(opening: subsystem.location)
    let found = region.unit(0).path
    #expect(found == path)
  }

  @Test("A device number counts in the boot in which it was noted, and an inode always")
  func identities() {
    let noted = FileFacts.Identity(device: 7, inode: 9)
    let earlier = FileFacts.Identity(device: 0, inode: 9)
    #expect(noted.agrees(with: noted) && earlier.agrees(with: noted))
    #expect(!noted.agrees(with: FileFacts.Identity(device: 8, inode: 9)))
    for other in [noted, earlier] { #expect(!other.agrees(with: FileFacts.Identity(device: 7, inode: 8))) }
    #expect(ProcessIdentity.boot != 0 && ProcessIdentity.boot == ProcessIdentity.boot)
  }

  @Test("Destroying takes what is the subsystem's and leaves what is the user's")
  func destroyed() throws {
    let subsystem = try create(["null:64k", "mem:64k", "%/file:64k", "null:64k", "mem:64k"])
    try writeBytes([1], to: subsystem.location.socket(of: .a))
    try subsystem.destroy()
    #expect(folder.contents == ["file"])
    expectError(.missing, naming: name) { try Region(opening: subsystem.location) }
    expectError(.missing, naming: name, hasFix: false) { try subsystem.destroy() }
  }

  @Test("What lies in a subsystem's folder and is not the subsystem's stays, and nothing is written over")
  func strangers() throws {
    mkdir(name, 0o700)
    let location = try SubsystemLocation(name)
    try writeBytes([1, 2, 3], to: location.memory(unit: 0))
    expectError(.busy, naming: location.memory(unit: 0)) { try create(["mem:64k"]) }
    let subsystem = try create(["null:64k", "mem:64k"])
    try writeBytes([4], to: location.memory(unit: 2))
    try subsystem.destroy()
    #expect(try readBytes(of: location.memory(unit: 0)) == [1, 2, 3])
    #expect(try readBytes(of: location.memory(unit: 2)) == [4])
    #expect(FileFacts(path: location.region) == nil && FileFacts(path: location.memory(unit: 1)) == nil)
    for stranger in [[], [1, 2, 3], [UInt8](repeating: 7, count: 8192)] {
      try writeBytes(stranger, to: location.region)
      expectError(.foreign, naming: location.region) { try subsystem.destroy() }
      #expect(try readBytes(of: location.region) == stranger)
      unlink(location.region)
    }
  }

  @Test("What an interrupted create has left is removed by the next one, or by destroy; nothing else is")
  func interrupted() throws {
    let location = try SubsystemLocation(name)
    let heading = "memory units of a Baton subsystem that is being made:\n"
    func leave(_ said: String) throws {
      mkdir(name, 0o700)
      try writeBytes([1], to: location.memory(unit: 0))
      try writeBytes([2], to: location.memory(unit: 1))
      try writeBytes([3], to: "\(name)/region.new")
      try writeBytes(Array(said.utf8), to: "\(name)/region.units")
    }
    try leave(heading + "0\n2\nend\n")
    let subsystem = try create(["mem:64k"])
    #expect(FileFacts(path: location.memory(unit: 0))?.size == 65536)
    #expect(try readBytes(of: location.memory(unit: 1)) == [2])
    #expect(FileFacts(path: "\(name)/region.units") == nil && FileFacts(path: "\(name)/region.new") == nil)
    try subsystem.destroy()
    try leave(heading + "0\nend\n")
    try subsystem.destroy()
    #expect(FileFacts(path: location.memory(unit: 0)) == nil)
    expectError(.missing, naming: name, hasFix: false) { try subsystem.destroy() }
    // Said in part: nothing had been made.
    try leave(heading + "0\n")
    expectError(.busy, naming: location.memory(unit: 0)) { try create(["mem:64k"]) }
    #expect(try readBytes(of: location.memory(unit: 0)) == [1])
    try leave("somebody else's\n")
    expectError(.busy, naming: "region.units") { try create(["null:64k"]) }
    #expect(try readBytes(of: location.memory(unit: 0)) == [1])
  }

  @Test("A controller that has opened a region takes no seat in it when it has been destroyed")
  func seatInDestroyed() throws {
    let subsystem = try create(["null:64k"])
    let region = try Region(opening: subsystem.location)
    try subsystem.destroy()
    expectError(.missing, naming: name) { try region.takeSeat(of: .a) }
    _ = try create(["null:64k"])
    expectError(.missing, naming: name) { try region.takeSeat(of: .b) }
  }

  @Test("A subsystem is not destroyed while a controller has its seat", arguments: ControllerIdentity.allCases)
  func destroyWhileRunning(controller: ControllerIdentity) throws {
    let subsystem = try create(["mem:64k"])
    let holders = Holders(try Region(opening: subsystem.location), try Region(opening: subsystem.location))
    #expect(try holders.take(controller, first: true))
    expectError(.busy, naming: name) { try subsystem.destroy() }
    _ = try Region(opening: subsystem.location)
    holders.first = nil
    #expect(eventually { !holders.isTaken(controller, first: false) })
    try subsystem.destroy()
    #expect(folder.contents == [])
  }

  @Test("A seat is taken once, and is free again when its holder is gone")
  func seats() throws {
    let location = try create(["null:64k"]).location
    let holders = Holders(try Region(opening: location), try Region(opening: location))
    #expect(try holders.take(.a, first: true))
    #expect(try !holders.take(.a, first: false))
    #expect(holders.isTaken(.a, first: false) && !holders.isTaken(.b, first: false))
    #expect(!holders.isTaken(.a, first: true), "its own seat is not somebody else's")
    #expect(try holders.take(.b, first: false))
    #expect(holders.isTaken(.b, first: true))
    holders.first = nil
    #expect(eventually { !holders.isTaken(.a, first: false) })
    #expect(try holders.take(.a, first: false))
  }

  /// Two openings of one region.
  final class Holders {
    var first: Region?
    let second: Region

    init(_ first: consuming Region, _ second: consuming Region) {
      self.first = consume first
      self.second = second
    }

    func take(_ controller: ControllerIdentity, first isFirst: Bool) throws -> Bool {
      try isFirst ? first!.takeSeat(of: controller) : second.takeSeat(of: controller)
    }

    func isTaken(_ controller: ControllerIdentity, first isFirst: Bool) -> Bool {
      isFirst ? first!.isSeatTaken(of: controller) : second.isSeatTaken(of: controller)
    }
  }

  @Test("The link carries hints both ways, and each side goes on where it left off")
  func linkHints() throws {
    let location = try create(["null:64k", "null:64k"]).location
    let region = try Region(opening: location)
    func pass(_ functions: [Function], from controller: ControllerIdentity) -> [Function] {
      var from = region.link(of: controller)
      var to = region.link(of: controller.peer)
      for function in functions where !from.hint(function) { return [] }
      var received: [Function] = []
      while let function = to.next() { received.append(function) }
      return received
    }
    for controller in ControllerIdentity.allCases {
      let functions = [Function.management, Function(unit: 0), Function(unit: 1)]
      for _ in 0..<1000 { #expect(pass(functions, from: controller) == functions) }
    }
    var link = region.link(of: .a)
    var taken = 0
    while taken <= Int(BATON_LINK_CAPACITY), link.hint(.management) { taken += 1 }
    #expect(taken == Int(BATON_LINK_CAPACITY))
  }

  @Test("A sleeping peer is taken note of once")
  func peerSleep() throws {
    let region = try Region(opening: create(["null:64k"]).location)
    let link = region.link(of: .a)
    #expect(link.takePeerSleep() == nil)
    region.controller(.a).parked.say(.asleep)
    #expect(link.takePeerSleep() == nil)
    region.controller(.b).parked.say(.drowsy)
    #expect(link.takePeerSleep() == nil)
    region.controller(.b).parked.say(.asleep)
    #expect(link.takePeerSleep() == .other)
    #expect(link.takePeerSleep() == nil)
    region.controller(.b).parked.say(.listening)
    #expect(link.takePeerSleep() == .word)
    #expect(link.takePeerSleep() == nil)
    #expect(!link.ringPeer(), "nobody listens")
  }
}

@Suite("Subsystem: words and names")
struct NameTests {
  @Test(
    "What is not a valid subsystem name",
    arguments: [
      "", ".", "..", "a b", "a:b", "a\nb", "a\0b", "é", "a*", "~", "$HOME", "a\\b", "%",
      String(repeating: "x", count: 81),
      "/tmp/a b",
    ])
  func noNames(name: String) {
    expectError(.invalid, naming: "subsystem '\(name)'") { try SubsystemLocation(name) }
  }

  @Test("A name stands for a folder in shared memory, a path for itself")
  func names() throws {
    let named = try SubsystemLocation("A-z_0.9")
    #expect(named.name == "A-z_0.9")
    #expect(named.directory.hasSuffix("/A-z_0.9"))
    #expect(named.directory.hasPrefix("/"))
    let path = try SubsystemLocation("/tmp/x/y")
    #expect(path.directory == "/tmp/x/y")
    #expect(path.region == "/tmp/x/y/region")
    #expect(path.socket(of: .a) == "/tmp/x/y/a.socket")
    #expect(path.socket(of: .b) == "/tmp/x/y/b.socket")
    #expect(try SubsystemLocation(String(repeating: "x", count: 80)).name.count == 80)
  }

  @Test("Functions: management, and one for each unit")
  func functions() {
    #expect(Function.management.index == 0 && Function.management.unit == nil)
    #expect(Function(unit: 0).index == 1 && Function(unit: 0).unit == 0)
    #expect("\(Function.management), \(Function(unit: 3))" == "management, unit 3")
    #expect(Function(unit: 3) == Function(index: 4))
  }

  @Test("States of a unit by word and by number")
  func unitStates() {
    for state in [UnitState.online, .readOnly, .offline] {
      #expect(UnitState(state.description) == state)
      #expect(UnitState(rawValue: state.rawValue) == state)
    }
    #expect(UnitState("Online") == nil && UnitState("") == nil && UnitState(rawValue: 3) == nil)
  }

  @Test("Counters have names of their own and fit their record")
  func counters() {
    #expect(Set(Counter.allCases.map(\.name)).count == Counter.allCases.count)
    #expect(Counter.allCases.allSatisfy { $0.rawValue >= 0 && $0.rawValue < 64 })
  }

  @Test("A process is known by its pid and when it began")
  func processes() {
    #expect(ProcessIdentity.startTicks > 0)
    #expect(ProcessIdentity.startTicks(of: "\(getpid())") == ProcessIdentity.startTicks)
    #expect(ProcessIdentity.startTicks(of: "4194305") == 0)
    #expect(ProcessIdentity.startTicks(of: "nothing") == 0)
  }
}
