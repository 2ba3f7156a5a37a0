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

@Suite("Requests: every operation, and every reason not to do it, through either controller")
struct RequestTests {
  static let arenaSize: UInt64 = 16 << 20

  @Test("Block operations do what they say, whichever controller owns the unit", arguments: ["mem:1M", "%/file:1M"])
  func operations(unit: String) throws {
    let laboratory = try Laboratory(units: ["null:1M", unit])
    let host = laboratory.host
    for controller in ControllerIdentity.allCases {
      host.fill(0..<65536, with: 0xa0 + controller.rawValue)
      for isDurable in [false, true] {
        let write = try laboratory.perform(
          Request(.write, unit: 1, offset: 65536, length: 65536, isDurable: isDurable), on: controller)
        #expect(write.status == .success && write.value == 65536)
        #expect(write.service.controller == controller)
      }
      #expect(try laboratory.perform(Request(.flush, unit: 1), on: controller).status == .success)
      let discard = try laboratory.perform(
        Request(.discard, unit: 1, offset: 65536 + 8192, length: 8192), on: controller)
      #expect(discard.status == .success)
      for (operation, isDurable) in [(Operation.writeZeroes, false), (.writeZeroes, true), (.fillZeroes, true)] {
        let zeroes = try laboratory.perform(
          Request(operation, unit: 1, offset: 65536 + 16384, length: 8192, isDurable: isDurable),
          on: controller)
        #expect(zeroes.status == .success && zeroes.value == 8192)
      }
      host.fill(131_072..<262_144, with: 0xee)
      let read = try laboratory.perform(
        Request(.read, unit: 1, offset: 65536, length: 65536, buffer: 131_072), on: controller.peer)
      #expect(read.status == .success && read.value == 65536 && read.service.controller == controller.peer)
      #expect(host.holds(131_072..<131_072 + 8192, 0xa0 + controller.rawValue))
      #expect(host.holds(131_072 + 16384..<131_072 + 24576, 0))
      #expect(host.holds(131_072 + 24576..<131_072 + 65536, 0xa0 + controller.rawValue))
      #expect(host.holds(131_072 + 65536..<262_144, 0xee), "and no byte more")
    }
  }

  @Test("A read in place asks for what lies in memory, moves nothing, and is refused for the rest")
  func readInPlace() throws {
    let folder = try ScratchFolder(onTmpfs: true)
    let units = ["mem:1M", "\(folder.path)/file:1M", "%/file:1M", "fault:error-after=1000000:mem:1M"]
    let laboratory = try Laboratory(units: units)
    laboratory.host.fill(0..<65536, with: 0x77)
    for controller in ControllerIdentity.allCases {
      for unit in units.indices {
        let request = Request(.readInPlace, unit: UInt32(unit), offset: 65536, length: 65536)
        let answer = try laboratory.perform(request, on: controller)
        #expect(answer.status == (unit < 2 ? .success : .unsupported), "\(units[unit])")
        #expect(answer.value == (unit < 2 ? 65536 : 0))
        let past = Request(.readInPlace, unit: UInt32(unit), offset: 1 << 20, length: 512)
        #expect(try laboratory.perform(past, on: controller).status == .outOfRange)
      }
      let offline = Request(.setUnitState, unit: 0, offset: UnitState.offline.rawValue)
      #expect(try laboratory.perform(offline, on: controller).status == .success)
      #expect(try laboratory.perform(Request(.readInPlace, length: 512), on: controller).status == .offline)
      let online = Request(.setUnitState, unit: 0, offset: UnitState.online.rawValue)
      #expect(try laboratory.perform(online, on: controller).status == .success)
    }
    #expect(laboratory.host.holds(0..<65536, 0x77), "nothing goes into the arena")
  }

  @Test("A request that is over at once is refused for the same reasons as any other, and counted the same")
  func overAtOnce() throws {
    var stopped = Laboratory.controllerOptions
    // Never reached: but points are minded, so another compilation of the same text serves.
    stopped.stopOrder = StopOrder(.journalBefore, occurrence: .max)
    let laboratories = try [
      Laboratory(units: ["null:1M", "null:1M"]), Laboratory(units: ["mem:1M", "mem:1M"]),
      Laboratory(units: ["null:1M", "null:1M"], controllers: stopped),
    ]
    var random = SeededRandom(seed: 4)
    let edges: [UInt64] = [
      0, 1, 511, 512, 4096, (1 << 20) - 512, 1 << 20, (1 << 20) + 512, Self.arenaSize - 512, Self.arenaSize,
      Request.transferMax, Request.transferMax + 512, 1 << 63, .max - 511, .max,
    ]
    func edge() -> UInt64 { Bool.random(using: &random) ? 512 : edges.randomElement(using: &random)! }
    for turn in 0..<4000 {
      if turn % 100 == 0 {
        let states: [UnitState] = [.online, .online, .readOnly, .offline]
        let request = Request(
          .setUnitState, unit: 0, offset: states.randomElement(using: &random)!.rawValue)
        for laboratory in laboratories { _ = try laboratory.perform(request, on: .a) }
      }
      let operation: Operation = turn % 5 == 0 ? .flush : Bool.random(using: &random) ? .read : .write
      let request = Request(
        operation, unit: UInt32.random(in: 0...2, using: &random), offset: edge(), length: edge(), buffer: edge(),
        isDurable: Bool.random(using: &random))
      let controller = turn % 7 == 0 ? ControllerIdentity.b : .a
      let answers = try laboratories.map { try $0.perform(request, on: controller) }
      for answer in answers.dropFirst() {
        #expect(answer.status == answers[0].status && answer.value == answers[0].value, "\(request)")
        #expect(answer.service == answers[0].service, "\(request)")
      }
    }
    let counters: [Counter] = [.requests, .direct, .transferred, .answered, .errors, .bytesRead, .bytesWritten]
    for controller in ControllerIdentity.allCases {
      for counter in counters {
        let counts = laboratories.map { $0.count(counter, of: controller) }
        #expect(counts.allSatisfy { $0 == counts[0] && $0 > 0 }, "\(counter) of \(controller): \(counts)")
      }
    }
  }

  /// Requests that cannot be served, on units of 4 GiB (0), 1 MiB (1, memory) and 1 MiB (2, a file).
  static var refused: [(Request, Status)] {
    let size: UInt64 = 1 << 20
    var table: [(Request, Status)] = []
    for operation in [Operation.read, .write, .discard, .writeZeroes, .fillZeroes] {
      let lengthMax = operation == .read || operation == .write ? Request.transferMax : Request.extentMax
      func add(_ status: Status, unit: UInt32 = 1, offset: UInt64 = 0, length: UInt64 = 512, buffer: UInt64 = 0) {
        table.append((Request(operation, unit: unit, offset: offset, length: length, buffer: buffer), status))
      }
      add(.noSuchUnit, unit: 3)
      add(.noSuchUnit, unit: UInt32.max)
      add(.zeroLength, length: 0)
      add(.zeroLength, offset: UInt64.max, length: 0, buffer: UInt64.max)
      add(.tooLong, unit: 0, length: lengthMax + 512)
      add(.tooLong, unit: 0, length: UInt64.max)
      add(.tooLong, unit: 0, offset: UInt64.max, length: UInt64.max, buffer: UInt64.max)
      add(.outOfRange, offset: size)
      add(.outOfRange, offset: size - 512, length: 1024)
      add(.outOfRange, offset: size + 512)
      add(.outOfRange, offset: UInt64.max)
      add(.outOfRange, offset: UInt64.max - 511)
      add(.outOfRange, offset: UInt64.max - 1023, length: 1024)
      add(.outOfRange, offset: 1 << 63)
      add(.misaligned, offset: 1)
      add(.misaligned, offset: 511)
      add(.misaligned, length: 1)
      add(.misaligned, length: 513)
      add(.misaligned, offset: 256, length: 256)
      add(.misaligned, unit: 2, offset: 100)
      guard operation == .read || operation == .write else { continue }
      add(.misaligned, buffer: 8)
      add(.misaligned, unit: 2, buffer: 256)
      add(.badBuffer, buffer: arenaSize)
      add(.badBuffer, length: 1024, buffer: arenaSize - 512)
      add(.badBuffer, buffer: UInt64.max)
      add(.badBuffer, buffer: UInt64.max - 511)
      add(.badBuffer, buffer: 1 << 63)
    }
    table.append((Request(.flush, unit: 3), .noSuchUnit))
    table.append((Request(.flush, unit: UInt32.max), .noSuchUnit))
    for (operation, least) in [(Operation.identify, 48), (.listUnits, 48), (.statistics, 1024)] as [(Operation, UInt64)]
    {
      table.append((Request(operation, length: 0), .zeroLength))
      table.append((Request(operation, length: least - 1), .badBuffer))
      table.append((Request(operation, length: Request.transferMax + 1), .tooLong))
      table.append((Request(operation, length: UInt64.max, buffer: UInt64.max), .tooLong))
      table.append((Request(operation, length: least, buffer: arenaSize), .badBuffer))
      table.append((Request(operation, length: least, buffer: arenaSize - least + 8), .badBuffer))
      table.append((Request(operation, length: least, buffer: UInt64.max - 7), .badBuffer))
      table.append((Request(operation, length: least, buffer: 4), .misaligned))
    }
    table.append((Request(.listUnits, unit: 3, length: 4096), .noSuchUnit))
    table.append((Request(.unitState, unit: 3), .noSuchUnit))
    table.append((Request(.unitState, unit: UInt32.max), .noSuchUnit))
    table.append((Request(.setUnitState, unit: 3), .noSuchUnit))
    table.append((Request(.setUnitState, offset: 3), .invalidValue))
    table.append((Request(.setUnitState, offset: UInt64.max), .invalidValue))
    return table
  }

  @Test("What cannot be served is refused with its reason, and nothing else happens")
  func refusals() throws {
    let laboratory = try Laboratory(units: ["null:4G", "mem:1M", "%/file:1M"])
    for controller in ControllerIdentity.allCases {
      for (request, status) in Self.refused {
        let completion = try laboratory.perform(request, on: controller)
        #expect(completion.status == status, "\(request)")
        #expect(completion.value == 0 && completion.service.controller == controller)
      }
      // Refusals need no ownership, so that nobody can be made to give functions away by nonsense.
      #expect(laboratory.owner(of: Function(unit: 1)) == .initial || controller == .b)
    }
    #expect(laboratory.count(.errors, of: .a) == UInt64(Self.refused.count))
    #expect(laboratory.count(.terms, of: .a) == 0)
    for unit in 0..<3 {
      #expect(
        try laboratory.perform(Request(.write, unit: UInt32(unit), length: 4096), on: .a).status == .success)
    }
  }

  @Test("What is legal at the very edge is done")
  func edges() throws {
    let laboratory = try Laboratory(units: ["null:4G", "mem:1M"])
    let size: UInt64 = 1 << 20
    let requests = [
      Request(.read, unit: 0, length: Request.transferMax, buffer: Self.arenaSize - Request.transferMax),
      Request(.write, unit: 0, offset: 4 << 30 - Request.transferMax, length: Request.transferMax),
      Request(.writeZeroes, unit: 0, offset: 3 << 30, length: Request.extentMax),
      Request(.discard, unit: 0, length: Request.extentMax),
      Request(.read, unit: 1, offset: size - 512, length: 512, buffer: Self.arenaSize - 512),
      Request(.write, unit: 1, length: size),
      // Not used by these, so not checked: garbage in it does no harm.
      Request(.discard, unit: 1, length: 512, buffer: UInt64.max),
      Request(.writeZeroes, unit: 1, length: 512, buffer: UInt64.max),
      Request(.flush, unit: 1, offset: UInt64.max, length: UInt64.max, buffer: UInt64.max),
      Request(.unitState, unit: 1, offset: UInt64.max, length: UInt64.max, buffer: UInt64.max),
      Request(.identify, unit: UInt32.max, offset: UInt64.max, length: 48, buffer: Self.arenaSize - 48),
    ]
    for request in requests {
      for controller in ControllerIdentity.allCases {
        #expect(try laboratory.perform(request, on: controller).status == .success, "\(request)")
      }
    }
  }

  @Test("What is no operation is refused, whatever else is in the line")
  func noOperation() throws {
    let laboratory = try Laboratory(units: ["mem:1M"])
    for controller in ControllerIdentity.allCases {
      let raw = try RawHost(laboratory, to: controller)
      #expect(try reply(over: raw.socket, laboratory) == .attached)
      var sequence: UInt64 = 0
      for number in UInt8(0)...255 where Operation(rawValue: number) == nil {
        let slot = Int(sequence % 8)
        sequence += 1
        raw.fields(slot).pointee.operation = number
        raw.fields(slot).pointee.unit = UInt32.max
        raw.fields(slot).pointee.next = UInt16(sequence % 8)
        raw.line(slot).flag.storeReleasing(RequestFlag.submitted(sequence).rawValue)
        try laboratory.turn { raw.flag(slot).isAnswered }
        #expect(raw.flag(slot) == .answered(sequence, .invalidOperation))
      }
    }
  }

  @Test("Management answers the same through either controller")
  func management() throws {
    let laboratory = try Laboratory(units: ["mem:1M", "%/file:64k", "null:1G"])
    let arena = laboratory.host.arena.baseAddress!
    for controller in ControllerIdentity.allCases {
      let identify = try laboratory.perform(Request(.identify, length: 48, buffer: 4096), on: controller)
      #expect(identify.status == .success && identify.value == 48)
      let identity = (arena + 4096).load(as: baton_identity.self)
      #expect(identity.generation == laboratory.region.header.generation)
      #expect(identity.controller == UInt64(controller.rawValue))
      #expect(identity.incarnation == 1 && identity.pid == UInt64(getpid()))
      #expect(identity.unit_count == 3 && identity.layout_version == UInt64(BATON_LAYOUT_VERSION))

      let all = try laboratory.perform(Request(.listUnits, length: 4096, buffer: 8192), on: controller)
      #expect(all.status == .success && all.value == 3)
      let descriptions = (arena + 8192).assumingMemoryBound(to: baton_unit_description.self)
      #expect((0..<3).map { descriptions[$0].unit } == [0, 1, 2])
      #expect((0..<3).map { descriptions[$0].size } == [1 << 20, 65536, 1 << 30])
      #expect((0..<3).map { descriptions[$0].kind } == [3, 1, 4])
      #expect((0..<3).map { descriptions[$0].state } == [0, 0, 0])
      #expect((0..<3).allSatisfy { descriptions[$0].block_size >= 512 })
      // From the second on, with room for one and a half.
      let part = try laboratory.perform(Request(.listUnits, unit: 1, length: 72, buffer: 8192), on: controller)
      #expect(part.value == 1 && descriptions[0].unit == 1)
      #expect(descriptions[1].unit == 1, "what has no room is not written")

      let statistics = try laboratory.perform(Request(.statistics, length: 1024, buffer: 16384), on: controller)
      #expect(statistics.status == .success && statistics.value == 1024)
      let counters = (arena + 16384).assumingMemoryBound(to: UInt64.self)
      #expect(counters[Counter.hosts.rawValue] == 1 && counters[Counters.capacity + Counter.hosts.rawValue] == 1)
      #expect(counters[controller.index * Counters.capacity + Counter.requests.rawValue] >= 4)
    }
  }

  @Test(
    "A unit's state is set through one controller and holds through the other", arguments: ControllerIdentity.allCases)
  func unitStates(setter: ControllerIdentity) throws {
    let laboratory = try Laboratory(units: ["mem:1M", "mem:1M"])
    func expect(_ statuses: [Operation: Status], sourceLocation: SourceLocation = #_sourceLocation) throws {
      for controller in ControllerIdentity.allCases {
        for operation in [Operation.read, .write, .flush, .discard, .writeZeroes, .fillZeroes] {
          let completion = try laboratory.perform(Request(operation, unit: 1, length: 4096), on: controller)
          #expect(
            completion.status == statuses[operation] ?? .success, "\(operation) through \(controller)",
            sourceLocation: sourceLocation)
          let other = try laboratory.perform(Request(operation, unit: 0, length: 4096), on: controller)
          #expect(other.status == .success, "the other unit is not concerned", sourceLocation: sourceLocation)
        }
      }
    }
    func set(_ state: UnitState) throws {
      let completion = try laboratory.perform(
        Request(.setUnitState, unit: 1, offset: state.rawValue), on: setter)
      #expect(completion.status == .success && completion.value == state.rawValue)
      for controller in ControllerIdentity.allCases {
        #expect(try laboratory.perform(Request(.unitState, unit: 1), on: controller).value == state.rawValue)
      }
    }
    try expect([:])
    try set(.readOnly)
    try expect([.write: .readOnly, .discard: .readOnly, .writeZeroes: .readOnly, .fillZeroes: .readOnly])
    try set(.offline)
    try expect([
      .read: .offline, .write: .offline, .flush: .offline, .discard: .offline, .writeZeroes: .offline,
      .fillZeroes: .offline,
    ])
    try set(.online)
    try expect([:])
  }

  @Test("Storage that fails answers its own request with an error, and stops nothing")
  func storageErrors() throws {
    let laboratory = try Laboratory(units: [
      "fault:error-every=2:%/one:1M", "fault:error-after=1,delay=100us:mem:1M", "mem:1M",
    ])
    var failed = 0
    for turn in 0..<40 {
      let controller: ControllerIdentity = turn % 3 == 0 ? .a : .b
      let completion = try laboratory.perform(Request(.write, unit: 0, length: 4096), on: controller)
      #expect(completion.status == .success || completion.status == .inputOutputError)
      if completion.status == .inputOutputError { failed += 1 }
      #expect(try laboratory.perform(Request(.write, unit: 2, length: 4096), on: controller).status == .success)
    }
    // Each controller counts its own operations.
    #expect((19...20).contains(failed))
    for controller in ControllerIdentity.allCases {
      for turn in 0..<5 {
        let completion = try laboratory.perform(Request(.read, unit: 1, length: 4096), on: controller)
        #expect(completion.status == (turn == 0 ? .success : .inputOutputError))
      }
    }
    #expect(laboratory.count(.errors, of: .a) + laboratory.count(.errors, of: .b) == UInt64(failed) + 8)
  }

  @Test(
    "A full disk is a status, and the rest of it goes on",
    .enabled(if: SmallFileSystem.isPossible, Comment(rawValue: SmallFileSystem.reason)))
  func noSpace() throws {
    let small = try #require(SmallFileSystem())
    let laboratory = try Laboratory(units: ["\(small.folder("file")):4M", "mem:1M"])
    for controller in ControllerIdentity.allCases {
      let write = Request(.write, unit: 0, length: 524_288)
      #expect(try laboratory.perform(write, on: controller).status == .success)
      let tooMuch = Request(.write, unit: 0, offset: 1 << 20, length: 2 << 20)
      #expect(try laboratory.perform(tooMuch, on: controller).status == .noSpace)
      #expect(try laboratory.perform(Request(.write, unit: 1, length: 4096), on: controller).status == .success)
    }
  }

  @Test("A file that is cut short underneath: its requests fail, the others do not")
  func shrunk() throws {
    let laboratory = try Laboratory(units: ["%/file:1M", "mem:1M"])
    #expect(truncate(laboratory.folder("file"), 4096) == 0)
    for controller in ControllerIdentity.allCases {
      let read = Request(.read, unit: 0, offset: 65536, length: 4096)
      #expect(try laboratory.perform(read, on: controller).status == .inputOutputError)
      #expect(try laboratory.perform(Request(.read, unit: 0, length: 4096), on: controller).status == .success)
      #expect(try laboratory.perform(Request(.read, unit: 1, length: 4096), on: controller).status == .success)
    }
  }
}
