import BatonStorage
import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc
import Testing

@Suite("Backends: what is written can be read")
struct BackendTests {
  static let backends: [(unit: String, onTmpfs: Bool)] = [
    ("%/file:1M", false), ("buffered:%/file:1M", false), ("%/file:1M", true), ("mem:1M", false),
    ("fault:short=512:%/file:1M", false), ("buffered:fault:short=512:%/file:1M", false),
    ("fault:short=4k:%/file:1M", true), ("fault:delay=1us:%/file:1M", true), ("fault:delay=1us:mem:1M", true),
  ]

  /// Random operations of every kind against a copy in an array.
  @Test("Reads, writes, zeroes, discards and flushes do what they do to an array", arguments: backends)
  func againstModel(unit: String, onTmpfs: Bool) throws {
    let rig = try StorageRig([unit], onTmpfs: onTmpfs)
    let block = Int(rig.units[0].geometry.blockSize)
    let count = Int(rig.units[0].geometry.size)
    #expect(count == 1 << 20)
    // Plain memory: an array costs minutes in a debug build.
    let model = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 4096)
    defer { model.deallocate() }
    memset(model.baseAddress!, 0, count)
    var random = SeededRandom(seed: 1)
    // Every piece of a durable write is durable: few of them, and short ones, where the pieces are small.
    let blocksMax = rig.units[0].faults.shortTransferBytes > 0 ? 16 : 64
    for turn in 0..<200 {
      let length = Int.random(in: 1...blocksMax, using: &random) * block
      let offset = Int.random(in: 0...(count - length) / block, using: &random) * block
      let isDurable = turn % 23 == 0
      let place = model.baseAddress! + offset
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<4:
        for piece in stride(from: 0, to: length, by: 512) {
          memset(rig.buffer.baseAddress! + piece, CInt(UInt8(truncatingIfNeeded: piece / 512 + turn)), 512)
        }
        memcpy(place, rig.buffer.baseAddress!, length)
        #expect(
          try rig.perform(.write, offset: UInt64(offset), length: UInt64(length), isDurable: isDurable) == 0)
      case 4:
        memset(place, 0, length)
        #expect(
          try rig.perform(.writeZeroes, offset: UInt64(offset), length: UInt64(length), isDurable: isDurable)
            == 0)
      case 5:
        // Advice in general; the file systems used here make holes, and holes read as zeroes.
        memset(place, 0, length)
        #expect(try rig.perform(.discard, offset: UInt64(offset), length: UInt64(length)) == 0)
      case 6: #expect(try rig.perform(.flush) == 0)
      default:
        rig.fill(0..<length, with: 0xee)
        #expect(try rig.perform(.read, offset: UInt64(offset), length: UInt64(length)) == 0)
        #expect(memcmp(rig.buffer.baseAddress!, place, length) == 0, "turn \(turn)")
      }
    }
    #expect(try rig.perform(.flush) == 0)
    if rig.units[0].geometry.kind == .file {
      #expect(
        try readBytes(of: rig.units[0].path).withUnsafeBytes { memcmp($0.baseAddress!, model.baseAddress!, count) } == 0
      )
    }
    #expect(rig.storage.inFlight == 0)
  }

  @Test("A whole unit in one transfer, at its largest")
  func wholeUnit() throws {
    let rig = try StorageRig(["%/file:1M", "mem:1M"])
    for unit in 0..<2 {
      for position in 0..<1 << 20 { rig.buffer[position] = UInt8(truncatingIfNeeded: position / 512 &* 7) }
      #expect(try rig.perform(.write, unit: unit, length: 1 << 20, isDurable: true) == 0)
      rig.fill(0..<1 << 20, with: 0)
      #expect(try rig.perform(.read, unit: unit, length: 1 << 20) == 0)
      #expect((0..<1 << 20).allSatisfy { rig.buffer[$0] == UInt8(truncatingIfNeeded: $0 / 512 &* 7) })
    }
  }

  @Test(
    "A null unit takes everything, and a read leaves the buffer as it is", arguments: ["", "fault:delay=1us:"])
  func null(faults: String) throws {
    let rig = try StorageRig(["\(faults)null:1G"])
    rig.fill(0..<8192, with: 0x5a)
    for operation in [Storage.Operation.read, .write, .flush, .discard, .writeZeroes, .fillZeroes] {
      #expect(try rig.perform(operation, offset: 1 << 29, length: 4096) == 0)
    }
    #expect(rig.buffer[..<8192].allSatisfy { $0 == 0x5a })
  }

  @Test("Units do not touch each other, and an operation not its neighbours")
  func neighbours() throws {
    let rig = try StorageRig(["mem:64k", "%/file:64k", "mem:64k"])
    for unit in 0..<3 {
      rig.fill(0..<65536, with: UInt8(unit + 1))
      #expect(try rig.perform(.write, unit: unit, length: 65536) == 0)
    }
    #expect(try rig.perform(.writeZeroes, unit: 0, offset: 4096, length: 4096) == 0)
    #expect(try rig.perform(.writeZeroes, unit: 1, offset: 4096, length: 4096) == 0)
    for unit in 0..<3 {
      #expect(try rig.perform(.read, unit: unit, length: 65536) == 0)
      for position in stride(from: 0, to: 65536, by: 512) {
        let isZeroed = unit < 2 && position >= 4096 && position < 8192
        #expect(rig.buffer[position] == (isZeroed ? 0 : UInt8(unit + 1)), "unit \(unit) at \(position)")
      }
    }
  }

  /// A gigabyte of memory in one go keeps the loop for half a second and more.
  @Test(
    "Long zeroes and discards of a memory unit are made in pieces, and others are served meanwhile",
    arguments: [Storage.Operation.discard, .writeZeroes, .fillZeroes], ["", "fault:delay=1ms:"])
  func zeroesInPieces(operation: Storage.Operation, faults: String) throws {
    let rig = try StorageRig(["\(faults)mem:16M"])
    rig.fill(0..<1 << 20, with: 0xff)
    for offset in UInt64(0)..<16 { #expect(try rig.perform(.write, offset: offset << 20, length: 1 << 20) == 0) }
    #expect(rig.start(operation, offset: 512, length: 15 << 20).result == nil)
    var pieces = 0
    var result: Int32?
    while result == nil {
      while let piece = rig.storage.nextPiece() {
        #expect(piece.bytes <= Int(Storage.pieceSize))
        if case .completed(_, let ended) = piece.event { result = ended } else { pieces += 1 }
      }
      // The end of a delay.
      if rig.ended() != nil { Issue.record("it ended in the ring") }
      if result == nil, !rig.storage.hasPieces { rig.ring.wait(nanoseconds: 10_000_000) }
    }
    #expect(result == 0)
    #expect(pieces == (15 << 20) / Int(Storage.pieceSize) - 1)
    #expect(rig.storage.inFlight == 0)
    for offset in UInt64(0)..<16 {
      #expect(try rig.perform(.read, offset: offset << 20, length: 1 << 20) == 0)
      for position in stride(from: 0, to: 1 << 20, by: 512) {
        let place = Int(offset) << 20 + position
        #expect(rig.buffer[position] == (place >= 512 && place < 512 + 15 << 20 ? 0 : 0xff), "at \(place)")
      }
    }
  }

  @Test("Lanes are served in turn, a piece each, whatever each holds; the operations of one lane one after the other")
  func lanes() throws {
    let rig = try StorageRig(["mem:16M"])
    let piece = Storage.pieceSize
    var ended: [UInt64] = []
    // Lane 3 asks for much, first; lane 1 for two pieces, lane 2 for three; and lane 1 once more.
    for (token, (lane, pieces)) in [(3, 16), (3, 16), (1, 2), (2, 3), (1, 2)].enumerated() {
      let disposition = rig.storage.start(
        .read, unit: 0, offset: 0, length: UInt64(pieces) * piece, address: rig.buffer.baseAddress, isDurable: false,
        lane: lane, token: UInt64(token), on: rig.ring)
      guard case .started = disposition else {
        Issue.record("\(pieces) pieces at once")
        return
      }
    }
    var moved = 0
    var endedAt: [Int] = []
    while let next = rig.storage.nextPiece() {
      moved += 1
      if case .completed(let token, 0) = next.event {
        ended.append(token)
        endedAt.append(moved)
      }
    }
    #expect(ended == [2, 3, 4, 0, 1])
    #expect(endedAt == [5, 9, 11, 23, 39])
    #expect(rig.storage.inFlight == 0)
  }

  /// Each operation that is under way finds out for itself what the file system refuses.
  @Test(
    "Many write-zeroes at once where the file system refuses every way but writing: every one falls back",
    .enabled(if: SmallFileSystem.canBePlain, "a file system without fallocate(2) needs root, to be mounted"))
  func zeroingFallsBack() throws {
    let plain = try #require(SmallFileSystem("ramfs", options: "mode=0700"))
    let rig = try StorageRig(["\(plain.folder("file")):1M"])
    #expect(try rig.perform(.writeZeroes, length: 4096, mustBeFast: true) == -EOPNOTSUPP)
    try allFallBack(StorageRig(["\(plain.folder("other")):1M"]))
  }

  @Test("Many write-zeroes at once on tmpfs, which makes holes and zeroes no range", arguments: 1...3)
  func zeroingInHoles(round: Int) throws { try allFallBack(StorageRig(["%/file:1M"], onTmpfs: true)) }

  private func allFallBack(_ rig: StorageRig) throws {
    rig.fill(0..<1 << 20, with: 0xff)
    #expect(try rig.perform(.write, length: 1 << 20) == 0)
    var tokens: Set<UInt64> = []
    for index in 0..<64 {
      let (token, result) = rig.start(
        .writeZeroes, offset: UInt64(index) * 16384, length: 8192, isDurable: index % 2 == 0)
      #expect(result == nil)
      tokens.insert(token)
    }
    while !tokens.isEmpty {
      let ended = try rig.next()
      #expect(ended.result == 0)
      #expect(tokens.remove(ended.token) != nil)
    }
    #expect(try rig.perform(.read, length: 1 << 20) == 0)
    for position in stride(from: 0, to: 1 << 20, by: 512) {
      #expect(rig.buffer[position] == (position % 16384 < 8192 ? 0 : 0xff), "at \(position)")
    }
  }

  @Test(
    "Zeroes that stay allocated make no hole, whatever the file system can do; those that need not may",
    arguments: [false, true])
  func fillsWithoutHoles(onTmpfs: Bool) throws {
    let rig = try StorageRig(["%/file:1M"], onTmpfs: onTmpfs)
    rig.fill(0..<1 << 20, with: 0xff)
    #expect(try rig.perform(.write, length: 1 << 20) == 0)
    func allocated() -> Int {
      var facts = stat()
      return stat(rig.folder("file"), &facts) == 0 ? Int(facts.st_blocks) * 512 : -1
    }
    let before = allocated()
    #expect(before >= 1 << 20)
    #expect(try rig.perform(.fillZeroes, offset: 65536, length: 1 << 19, isDurable: true) == 0)
    #expect(allocated() == before)
    #expect(try rig.perform(.read, length: 1 << 20) == 0)
    for position in stride(from: 0, to: 1 << 20, by: 512) {
      #expect(rig.buffer[position] == (position >= 65536 && position < 65536 + 1 << 19 ? 0 : 0xff), "at \(position)")
    }
    #expect(try rig.perform(.discard, offset: 65536, length: 1 << 19) == 0)
    #expect(allocated() < before)
  }

  @Test("Zeroes that need not stay allocated free the storage: a thin image stays thin", arguments: [false, true])
  func zeroesFreeStorage(onTmpfs: Bool) throws {
    let rig = try StorageRig(["%/file:8M"], onTmpfs: onTmpfs)
    rig.fill(0..<1 << 20, with: 0xff)
    #expect(try rig.perform(.write, length: 1 << 20) == 0)
    func allocated() -> Int {
      var facts = stat()
      return stat(rig.folder("file"), &facts) == 0 ? Int(facts.st_blocks) * 512 : -1
    }
    let before = allocated()
    // Where nothing was written, nothing comes to be allocated; where something was, it is freed.
    for mustBeFast in [false, true] {
      let offset: UInt64 = mustBeFast ? 4 << 20 : 2 << 20
      #expect(
        try rig.perform(.writeZeroes, offset: offset, length: 1 << 20, isDurable: true, mustBeFast: mustBeFast) == 0)
      #expect(allocated() <= before)
    }
    #expect(try rig.perform(.writeZeroes, offset: 0, length: 1 << 19) == 0)
    #expect(allocated() <= before - 1 << 19)
    #expect(try rig.perform(.read, length: 1 << 20) == 0)
    for position in stride(from: 0, to: 1 << 20, by: 512) {
      #expect(rig.buffer[position] == (position < 1 << 19 ? 0 : 0xff), "at \(position)")
    }
  }

  @Test(
    "Zeroes that must be fast: where there is no way quicker than writing that is said, and nothing is changed",
    arguments: [false, true])
  func zeroesFast(onTmpfs: Bool) throws {
    for isKnown in [false, true] {
      let rig = try StorageRig(["%/file:1M"], onTmpfs: onTmpfs)
      rig.fill(0..<1 << 20, with: 0xff)
      #expect(try rig.perform(.write, length: 1 << 20) == 0)
      // What the file system cannot do has been found out, or not.
      if isKnown { #expect(try rig.perform(.fillZeroes, offset: 1 << 19, length: 8192) == 0) }
      let canFill = try Self.canZeroRanges(rig.folder)
      let result = try rig.perform(.fillZeroes, offset: 0, length: 65536, mustBeFast: true)
      #expect(result == (canFill ? 0 : -EOPNOTSUPP))
      #expect(try rig.perform(.writeZeroes, offset: 131_072, length: 65536, isDurable: true, mustBeFast: true) == 0)
      #expect(try rig.perform(.read, length: 1 << 18) == 0)
      for position in stride(from: 0, to: 1 << 18, by: 512) {
        let isZero = position < 65536 && canFill || position >= 131_072 && position < 196_608
        #expect(rig.buffer[position] == (isZero ? 0 : 0xff), "at \(position)")
      }
      // It says nothing to what makes no zeroes.
      #expect(try rig.perform(.read, length: 4096, mustBeFast: true) == 0)
    }
  }

  /// Whether the file system there makes a stretch of a file zero and leaves it allocated, by fallocate(2) itself.
  private static func canZeroRanges(_ folder: ScratchFolder) throws -> Bool {
    let path = try folder.file("zeroes", count: 65536)
    let file = OwnedDescriptor(try check(shim_open(path, true, false, false), path, doing: "opening"))
    // By its name: it is declared under _GNU_SOURCE, and so not imported.
    typealias Fallocate = @convention(c) (CInt, CInt, off_t, off_t) -> CInt
    let fallocate = unsafeBitCast(try #require(dlsym(nil, "fallocate")), to: Fallocate.self)
    // FALLOC_FL_ZERO_RANGE with FALLOC_FL_KEEP_SIZE, linux/falloc.h.
    return fallocate(file.number, 0x10 | 0x01, 0, 4096) == 0
  }

  @Test("A file on tmpfs: a short transfer is over when it was started, what is long, durable or faulty is the ring's")
  func copiesAtOnce() throws {
    let rig = try StorageRig(["%/file:1M", "fault:short=4k:%/other:1M"], onTmpfs: true)
    rig.fill(0..<65536, with: 0xa5)
    #expect(rig.start(.write, offset: 65536, length: 65536).result == 0)
    rig.fill(0..<65536, with: 0)
    #expect(rig.start(.read, offset: 65536, length: 65536).result == 0)
    #expect(rig.buffer[..<65536].allSatisfy { $0 == 0xa5 })
    #expect(rig.storage.inFlight == 0)
    for (operation, unit, length, isDurable): (Storage.Operation, Int, UInt64, Bool) in [
      (.read, 0, 1 << 19, false), (.write, 0, 4096, true), (.flush, 0, 0, false), (.read, 1, 8192, false),
    ] {
      #expect(rig.start(operation, unit: unit, length: length, isDurable: isDurable).result == nil)
      #expect(try rig.next().result == 0)
    }
    // A file that has become too short for it: all of the read is the ring's, which says what is wrong.
    try #require(truncate(rig.units[0].path, 4096) == 0)
    #expect(rig.start(.read, offset: 4096, length: 4096).result == nil)
    #expect(try rig.next().result < 0)
  }

  /// The file's lock is the ring's for as long as it discards: a write from here would wait for it, and so the loop.
  @Test(
    "A file on tmpfs that the ring discards: writes are the ring's as well, reads and other units' writes are not",
    arguments: [Storage.Operation.discard, .writeZeroes, .fillZeroes])
  func doesNotWaitForTheRing(operation: Storage.Operation) throws {
    let rig = try StorageRig(["%/file:1M", "%/other:1M"], onTmpfs: true)
    for _ in 0..<3 {
      let (token, result) = rig.start(operation, length: 1 << 19)
      #expect(result == nil)
      // It is not known to have ended: nothing has been taken from the ring.
      let (written, over) = rig.start(.write, offset: 1 << 19, length: 4096)
      try #require(over == nil)
      #expect(rig.start(.read, offset: 1 << 19, length: 4096, at: 131_072).result == 0)
      #expect(rig.start(.write, unit: 1, length: 4096).result == 0)
      let ended = [try rig.next(), try rig.next()]
      #expect(Set(ended.map(\.token)) == [token, written])
      #expect(ended.allSatisfy { $0.result == 0 })
      #expect(rig.start(.write, offset: 1 << 19, length: 4096).result == 0)
    }
    // What holds the lock for a moment keeps nothing from being done at once.
    for (operation, length, isDurable): (Storage.Operation, UInt64, Bool) in [
      (.flush, 0, false), (.read, 1 << 19, false), (.write, 1 << 19, false), (.write, 4096, true),
    ] {
      #expect(rig.start(operation, length: length, isDurable: isDurable).result == nil)
    }
    #expect(rig.start(.write, length: 4096, at: 131_072).result == 0)
    for _ in 0..<4 { #expect(try rig.next().result == 0) }
  }

  @Test("As many operations at once as there may be, and all of them end")
  func manyAtOnce() throws {
    // With faults, which leave these transfers as they are, or the file's would be over when they were started.
    let rig = try StorageRig(["fault:short=4k:%/file:1M", "fault:delay=1ms:null:1M"], onTmpfs: true)
    var tokens: Set<UInt64> = []
    for index in 0..<Storage.operationsMax {
      #expect(rig.storage.freeSteps == Storage.operationsMax - index)
      let (token, result) = rig.start(.read, unit: index % 2, offset: UInt64(index % 256) * 4096, length: 4096)
      #expect(result == nil)
      tokens.insert(token)
    }
    #expect(rig.storage.freeSteps == 0)
    while !tokens.isEmpty {
      let ended = try rig.next()
      #expect(ended.result == 0)
      #expect(tokens.remove(ended.token) != nil)
    }
    #expect(rig.storage.freeSteps == Storage.operationsMax)
  }
}

@Suite("Backends: faults on purpose")
struct FaultTests {
  @Test("error-after: so many succeed, all others fail", arguments: ["mem:1M", "%/file:1M", "null:1M"])
  func errorAfter(unit: String) throws {
    let rig = try StorageRig(["fault:error-after=3:\(unit)"])
    for turn in 1...8 {
      #expect(try rig.perform(turn % 2 == 0 ? .write : .read, length: 4096) == (turn <= 3 ? 0 : -EIO))
    }
  }

  @Test("error-every: each so-and-so-many fails", arguments: ["mem:1M", "%/file:1M", "null:1M"])
  func errorEvery(unit: String) throws {
    let rig = try StorageRig(["fault:error-every=3:\(unit)", unit.replacing("file", with: "other")])
    for turn in 1...12 {
      #expect(try rig.perform(.write, length: 4096) == (turn % 3 == 0 ? -EIO : 0))
      #expect(try rig.perform(.write, unit: 1, length: 4096) == 0)
    }
  }

  @Test(
    "delay: what would be over at once is under way, and ends as it would have", arguments: ["mem:64k", "null:64k"])
  func delay(unit: String) throws {
    let rig = try StorageRig(["fault:delay=1ms:\(unit)", unit])
    let (token, result) = rig.start(.write, length: 4096)
    #expect(result == nil)
    #expect(rig.start(.write, unit: 1, length: 4096).result == 0)
    #expect(rig.storage.inFlight == 1)
    #expect(try rig.next() == (token, 0))
    #expect(rig.storage.inFlight == 0)
  }

  @Test(
    "short: one system call moves so much and no more, and the whole arrives",
    arguments: [512, 1024, 4608, 65536])
  func short(bytes: Int) throws {
    let rig = try StorageRig(["buffered:fault:short=\(bytes):%/file:256k"])
    for position in 0..<262_144 { rig.buffer[position] = UInt8(truncatingIfNeeded: position / 100) }
    #expect(try rig.perform(.write, length: 262_144, isDurable: true) == 0)
    let written = try readBytes(of: rig.folder("file"))
    #expect(written.elementsEqual(rig.buffer[..<262_144]))
    rig.fill(0..<262_144, with: 0)
    #expect(try rig.perform(.read, offset: 4096, length: 131_072) == 0)
    #expect(rig.buffer[..<131_072].elementsEqual(written[4096..<4096 + 131_072]))
  }
}

/// The limit is the whole process's: these tests run one after the other, and keep it above what any other test writes.
@Suite("Backends: the limit on the size of files, which is a signal where it is met", .serialized)
final class FileSizeLimitTests {
  private static let low: rlim_t = 1 << 40
  private var before = rlimit()

  init() { getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &before) }
  deinit { setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &before) }

  private func limit(soft: rlim_t, hard: rlim_t) throws {
    var limit = rlimit(rlim_cur: soft, rlim_max: hard)
    try #require(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
  }

  @Test("A soft limit below a unit's size is raised, also for a controller that only opens the unit")
  func soft() throws {
    try limit(soft: Self.low, hard: before.rlim_max)
    let rig = try StorageRig(["%/file:2T"], onTmpfs: true)
    try limit(soft: Self.low, hard: before.rlim_max)
    let other = try StorageRig([], life: StorageLife(controllerIndex: 1, incarnation: 1, subsystem: 7), besides: rig)
    #expect(try other.perform(.write, offset: 1 << 40, length: 4096) == 0)
    #expect(try other.perform(.write, offset: (1 << 40) + 4096, length: 131_072) == 0)
  }

  @Test("A hard limit below a unit's size is an error, before anything is made", .enabled(if: geteuid() == 0))
  func hard() throws {
    let folder = try ScratchFolder(onTmpfs: true)
    let specification = try UnitSpecification(parsing: "\(folder.path)/file:2T")
    let geometry = try Backend.prepare(specification, memoryPath: "")
    try limit(soft: Self.low, hard: Self.low)
    expectError(.exhausted, naming: folder("file")) {
      _ = try Storage(units: [(geometry, folder("file"), FaultPlan())], life: .first, lockMillisecondsMax: 0)
    }
    expectError(.exhausted, naming: folder("other")) {
      try Backend.prepare(UnitSpecification(parsing: "\(folder.path)/other:2T"), memoryPath: "")
    }
    expectError(.exhausted, naming: folder("memory")) {
      try Backend.prepare(UnitSpecification(parsing: "mem:2T"), memoryPath: folder("memory"))
    }
  }
}

@Suite("Backends: bad files, devices and limits")
struct BadStorageTests {
  let folder: ScratchFolder

  init() throws { folder = try ScratchFolder() }

  func prepare(_ text: String) throws -> UnitGeometry {
    try Backend.prepare(
      UnitSpecification(parsing: text.replacing("%", with: folder.path)), memoryPath: folder("mem"))
  }

  func open(_ path: String, size: UInt64 = 65536, isDirect: Bool = false) throws {
    let geometry = UnitGeometry(kind: .file, size: size, blockSize: 512, isDirect: isDirect)
    _ = try Storage(units: [(geometry, path, FaultPlan())], life: .first, lockMillisecondsMax: 0)
  }

  @Test("A file that does not exist")
  func missing() throws {
    expectError(.missing, naming: folder("file")) { try prepare("%/file") }
    expectError(.missing, naming: folder("nothing/file")) { try prepare("%/nothing/file:1M") }
    expectError(.missing, naming: folder("file")) { try open(folder("file")) }
    #expect(folder.contents == [])
  }

  @Test("A file with a size is created if it does not exist, and taken as it is if it does")
  func made() throws {
    #expect(try prepare("%/file:1M").size == 1 << 20)
    #expect(FileFacts(path: folder("file"))?.size == 1 << 20)
    #expect(try prepare("%/file:64k").size == 65536)
    #expect(try prepare("%/file").size == 1 << 20)
    #expect(FileFacts(path: folder("file"))?.size == 1 << 20)
  }

  @Test("A file that is too small")
  func tooSmall() throws {
    let path = try folder.file("file", count: 65535)
    expectError(.truncated, naming: path) { try prepare("%/file:64k") }
    expectError(.truncated, naming: path) { try open(path) }
    let tiny = try folder.file("tiny", count: 100)
    expectError(.truncated, naming: tiny) { try prepare("%/tiny") }
    try folder.file("empty", count: 0)
    expectError(.truncated, naming: folder("empty")) { try prepare("%/empty") }
    expectError(.truncated, naming: "0 bytes") { try prepare("null:0") }
    expectError(.truncated, naming: "0 bytes") { try prepare("mem:0") }
  }

  @Test("A size that no file can have", arguments: [UInt64.max, 1 << 63, (1 << 60) + 4096] as [UInt64])
  func tooLarge(size: UInt64) throws {
    expectError(.invalid, naming: folder("file"), hasFix: false) { try prepare("%/file:\(size)") }
    expectError(.invalid, naming: "bytes", hasFix: false) { try prepare("mem:\(size)") }
    expectError(.invalid, naming: "bytes", hasFix: false) { try prepare("null:\(size)") }
    #expect(folder.contents == [])
  }

  @Test("Bytes at the end that fill no block are not part of the unit")
  func wholeBlocks() throws {
    try folder.file("file", count: 3 * 65536 + 100)
    let geometry = try prepare("%/file")
    #expect(geometry.size == 3 * 65536)
    #expect(geometry.kind == .file)
    #expect(geometry.size % UInt64(geometry.blockSize) == 0)
  }

  @Test("A file that nobody may write, also for root, which could")
  func readOnly() throws {
    let path = try folder.file("file", count: 65536)
    chmod(path, 0o444)
    expectError(.permission, naming: path) { try prepare("%/file") }
    expectError(.permission, naming: path) { try open(path) }
    chmod(path, 0o600)
    _ = try prepare("%/file")
  }

  @Test("A folder, a pipe, a character device instead of a file")
  func noFile() throws {
    expectError(.invalid, naming: folder.path) { try prepare("%") }
    expectError(.invalid, naming: folder.path) { try prepare("%:1M") }
    mkfifo(folder("pipe"), 0o600)
    expectError(.invalid, naming: folder("pipe")) { try prepare("%/pipe") }
    expectError(.invalid, naming: "/dev/null") { try prepare("/dev/null") }
  }

  @Test(
    "A file that is cut short underneath: reads behind the end fail, before it they do not", arguments: [true, false])
  func shrunk(isBuffered: Bool) throws {
    let rig = try StorageRig([isBuffered ? "buffered:%/file:1M" : "%/file:1M"])
    rig.fill(0..<1 << 20, with: 7)
    #expect(try rig.perform(.write, length: 1 << 20, isDurable: true) == 0)
    #expect(truncate(rig.folder("file"), 65536) == 0)
    #expect(try rig.perform(.read, offset: 65536, length: 65536) == -EIO)
    #expect(try rig.perform(.read, offset: 32768, length: 65536) == -EIO)
    #expect(try rig.perform(.read, offset: 0, length: 65536) == 0)
    #expect(rig.buffer[..<65536].allSatisfy { $0 == 7 })
    #expect(truncate(rig.folder("file"), 0) == 0)
    #expect(try rig.perform(.read, offset: 0, length: 4096) == -EIO)
    #expect(rig.storage.inFlight == 0)
  }

  @Test("A life of a controller uses a file once; other lives and the other controller may use it too")
  func lives() throws {
    let rig = try StorageRig(["%/file:1M"])
    var life = StorageLife.first
    expectError(.busy, naming: rig.folder("file")) { _ = try StorageRig(["%/file:1M"], life: life, besides: rig) }
    life.incarnation = 2
    #expect(try StorageRig(["%/file:1M"], life: life, besides: rig).perform(.read, length: 4096) == 0)
    life.controllerIndex = 1
    #expect(try StorageRig(["%/file:1M"], life: life, besides: rig).perform(.read, length: 4096) == 0)
  }

  @Test(
    "Controllers of two subsystems are kept off one file from the start, whichever their letters, by whatever name",
    arguments: [1, 7, 1 << 40], ["%/file:1M", "mem:1M"])
  func subsystems(_ number: UInt64, unit: String) throws {
    let life = StorageLife(controllerIndex: 0, incarnation: 1, subsystem: number)
    let rig = try StorageRig([unit], life: life)
    var linked = rig.units
    linked[0].path = rig.folder("hard")
    try #require(Glibc.link(rig.units[0].path, linked[0].path) == 0)
    for subsystem in [number - 1, number + 1, 0, UInt64.max] where subsystem & 0x7fff_ffff != number & 0x7fff_ffff {
      for units in [rig.units, linked] {
        for controller in 0...1 {
          expectError(.busy, naming: units[0].path) {
            _ = try Storage(
              units: units, life: StorageLife(controllerIndex: controller, incarnation: 1, subsystem: subsystem),
              lockMillisecondsMax: 0)
          }
        }
      }
    }
    #expect(try rig.perform(.read, length: 4096) == 0)
    let peer = StorageLife(controllerIndex: 1, incarnation: 1, subsystem: number)
    #expect(try StorageRig([unit], life: peer, besides: rig).perform(.read, length: 4096) == 0)
  }

  @Test("A file that a subsystem uses is no unit of a new one", arguments: ["file", "hard"])
  func usedAtCreation(name: String) throws {
    let rig = try StorageRig(["%/file:1M"])
    try #require(Glibc.link(rig.folder("file"), rig.folder("hard")) == 0)
    expectError(.busy, naming: rig.folder(name)) {
      try Backend.prepare(UnitSpecification(.path(rig.folder(name))), memoryPath: "")
    }
  }

  @Test("The drain proof: a life is drained when its description is gone, and only lives before the given one count")
  func drainProof() throws {
    let texts = ["%/file:1M", "mem:1M", "null:1M"]
    var first: StorageRig? = try StorageRig(texts)
    #expect(try #require(first).perform(.read, length: 4096) == 0)
    let survivor = try StorageRig(
      texts, life: StorageLife(controllerIndex: 1, incarnation: 1, subsystem: 7), besides: first)
    #expect(!survivor.isDrained(unit: 0, controllerIndex: 0, before: 2))
    #expect(survivor.isDrained(unit: 0, controllerIndex: 0, before: 1), "life 1 is not before life 1")
    #expect(survivor.isDrained(unit: 0, controllerIndex: 1, before: 1))
    #expect(survivor.isDrained(unit: 1, controllerIndex: 0, before: 2), "nothing of memory outlives its process")
    #expect(survivor.isDrained(unit: 2, controllerIndex: 0, before: 2))
    // A new life uses the file before the old one is drained, and hides nothing.
    let new = try StorageRig(
      texts, life: StorageLife(controllerIndex: 0, incarnation: 2, subsystem: 7), besides: first)
    #expect(try new.perform(.read, length: 4096) == 0)
    #expect(!survivor.isDrained(unit: 0, controllerIndex: 0, before: 2))
    #expect(!new.isDrained(unit: 0, controllerIndex: 0, before: 2))
    first = nil
    // The thread of the ring that did the read may still have to let go of the file.
    #expect(eventually { survivor.isDrained(unit: 0, controllerIndex: 0, before: 2) })
    #expect(!survivor.isDrained(unit: 0, controllerIndex: 0, before: 3), "the new life uses the file")
    #expect(new.isDrained(unit: 0, controllerIndex: 0, before: 2))
  }

  @Test("A storage that fails to open its last unit has let go of the others")
  func halfOpened() throws {
    try folder.file("first", count: 65536)
    let first = (try prepare("%/first"), folder("first"), FaultPlan())
    let geometry = UnitGeometry(kind: .file, size: 65536, blockSize: 512, isDirect: false)
    expectError(.missing, naming: folder("second")) {
      _ = try Storage(
        units: [first, (geometry, folder("second"), FaultPlan())], life: .first, lockMillisecondsMax: 0)
    }
    _ = try Storage(units: [first], life: .first, lockMillisecondsMax: 0)
  }

  @Test(
    "A full disk: the write says so, what was written stays",
    .enabled(if: SmallFileSystem.isPossible, Comment(rawValue: SmallFileSystem.reason)))
  func full() throws {
    let small = try #require(SmallFileSystem())
    let path = small.folder("file")
    let units = try StorageRig.prepare(["\(path):4M"], in: small.folder)
    let rig = try StorageRig(["null:1M"])
    rig.storage = try Storage(units: units, life: .first, lockMillisecondsMax: 0)
    rig.fill(0..<1 << 20, with: 3)
    #expect(try rig.perform(.write, offset: 0, length: 524_288) == 0)
    #expect(try rig.perform(.write, offset: 524_288, length: 1 << 20) == -ENOSPC)
    #expect(try rig.perform(.read, offset: 0, length: 524_288) == 0)
    #expect(rig.buffer[..<524_288].allSatisfy { $0 == 3 })
    #expect(try rig.perform(.discard, offset: 0, length: 4 << 20) == 0)
    #expect(try rig.perform(.write, offset: 2 << 20, length: 524_288) == 0)
  }

  /// Memory that is promised and not there is a SIGBUS at the first touch.
  @Test(
    "A memory unit that does not fit is refused when it is made",
    .enabled(if: SmallFileSystem.isPossible, Comment(rawValue: SmallFileSystem.reason)))
  func memoryDoesNotFit() throws {
    let small = try #require(SmallFileSystem())
    let path = small.folder("memory")
    expectError(.exhausted, naming: path) {
      try Backend.prepare(UnitSpecification(.memory, size: 4 << 20), memoryPath: path)
    }
  }
}
