import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc
import Testing

@Suite("Region: missing, truncated, foreign, of another version, damaged")
struct DamageTests {
  let folder: ScratchFolder
  let subsystem: Subsystem
  let sound: [UInt8]
  let fixed: baton_region_header

  var path: String { subsystem.location.region }

  init() throws {
    folder = try ScratchFolder()
    let file = folder("a-unit")
    subsystem = try Subsystem.create(
      folder("subsystem"),
      units: [UnitSpecification(.path(file), size: 65536), UnitSpecification(.null, size: 1 << 20)])
    sound = try readBytes(of: subsystem.location.region)
    fixed = try Region(opening: subsystem.location).header
  }

  func open() throws { _ = try Region(opening: subsystem.location) }

  /// Opens the region with some bytes changed: the error.
  func errorWith(_ change: (inout [UInt8]) -> Void) throws -> BatonError? {
    var bytes = sound
    change(&bytes)
    try writeBytes(bytes, to: path, over: sound)
    defer { try? writeBytes(sound, to: path, over: bytes) }
    do { try open() } catch let error as BatonError { return error }
    return nil
  }

  func expectDamage(
    _ codes: Set<BatonError.Code>, _ what: String, sourceLocation: SourceLocation = #_sourceLocation,
    _ change: (inout [UInt8]) -> Void
  ) throws {
    let error = try #require(try errorWith(change), "\(what)", sourceLocation: sourceLocation)
    #expect(codes.contains(error.code), "\(what): \(error)", sourceLocation: sourceLocation)
    #expect(error.description.contains(path), "\(what): \(error)", sourceLocation: sourceLocation)
    #expect(!error.fix.isEmpty, "\(what): \(error)", sourceLocation: sourceLocation)
  }

  @Test("A sound one opens, also after all this")
  func unharmed() throws {
    try open()
    _ = try errorWith { $0[0] ^= 1 }
    try open()
  }

  @Test("A region that does not exist")
  func missing() throws {
    unlink(path)
    expectError(.missing, naming: path) { try open() }
  }

  @Test("A folder where the region should be, and a file where its folder should be")
  func noFile() throws {
    unlink(path)
    mkdir(path, 0o700)
    expectError(.system, naming: path) { try open() }
    let file = try folder.file("file", count: 10)
    let location = try SubsystemLocation(file)
    expectError(.missing, naming: file) { try Region(opening: location) }
  }

  @Test("A region that is too short, at every kind of length")
  func truncated() throws {
    for count in [
      0, 1, 7, 8, 87, 88, 89, 4095, 4096, 4097, 12_288, sound.count / 2, sound.count - 4096, sound.count - 1,
    ] {
      try expectDamage([.truncated], "\(count) bytes") { $0.removeLast($0.count - count) }
    }
  }

  @Test("A region that is too long")
  func tooLong() throws {
    for count in [1, 4096] {
      try expectDamage([.damaged], "\(count) bytes more") { $0 += [UInt8](repeating: 0, count: count) }
    }
  }

  @Test("A file of somebody else")
  func foreign() throws {
    try expectDamage([.foreign], "another magic") { $0[3] ^= 0x10 }
    try expectDamage([.foreign], "zeroes") { $0 = [UInt8](repeating: 0, count: $0.count) }
    var random = SeededRandom(seed: 3)
    try expectDamage([.foreign], "noise") { bytes in
      for index in bytes.indices { bytes[index] = UInt8.random(in: 0...255, using: &random) }
    }
  }

  @Test("Another layout version, older and newer")
  func wrongVersion() throws {
    try expectDamage([.wrongVersion], "version 0") { $0[8] = 0 }
    try expectDamage([.wrongVersion], "the next version") { $0[8] += 1 }
    try expectDamage([.wrongVersion], "a far version") { $0[11] = 0xff }
  }

  /// The checksum of a region: FNV-1a over the header, the fixed half of each unit and the strings.
  private func checksum(_ bytes: [UInt8]) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    func add(_ from: Int, _ count: Int) {
      for byte in bytes[from..<from + count] { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }
    add(0, MemoryLayout<baton_region_header>.offset(of: \.checksum)!)
    for unit in 0..<Int(fixed.unit_count) {
      add(
        Int(fixed.units_offset) + unit * MemoryLayout<baton_unit_record>.stride,
        MemoryLayout<baton_unit_record>.offset(of: \.state)!)
    }
    add(Int(fixed.strings_offset), Int(fixed.strings_count))
    return hash
  }

  @Test("Faults of a unit that storage cannot do, with a right checksum: a delay that would never end, odd pieces")
  func faults() throws {
    #expect(checksum(sound) == fixed.checksum)
    func plant(_ bytes: inout [UInt8], _ value: UInt64, at offset: Int, count: Int) {
      let unit = Int(fixed.units_offset) + MemoryLayout<baton_unit_record>.stride + offset
      withUnsafeBytes(of: value.littleEndian) { bytes.replaceSubrange(unit..<unit + count, with: $0.prefix(count)) }
      let at = MemoryLayout<baton_region_header>.offset(of: \.checksum)!
      withUnsafeBytes(of: checksum(bytes).littleEndian) { bytes.replaceSubrange(at..<at + 8, with: $0) }
    }
    let delay = MemoryLayout<baton_unit_record>.offset(of: \.delay_nanoseconds)!
    let short = MemoryLayout<baton_unit_record>.offset(of: \.short_transfer_bytes)!
    for value in [FaultPlan.delayNanosecondsMax + 1, .max] {
      try expectDamage([.damaged], "a delay of \(value) ns") { plant(&$0, value, at: delay, count: 8) }
    }
    try expectDamage([.damaged], "pieces of 513 bytes") { plant(&$0, 513, at: short, count: 4) }
    // The checksum was right: what storage can do opens.
    var bytes = sound
    plant(&bytes, FaultPlan.delayNanosecondsMax, at: delay, count: 8)
    plant(&bytes, 512, at: short, count: 4)
    try writeBytes(bytes, to: path, over: sound)
    try open()
  }

  @Test("Every byte of the header, with each of its bits turned")
  func header() throws {
    for index in 0..<MemoryLayout<baton_region_header>.size {
      let codes: Set<BatonError.Code> =
        switch index {
        case 0..<8: [.foreign]
        case 8..<12: [.wrongVersion]
        case 16..<24: [.truncated, .damaged]
        default: [.damaged]
        }
      for bit in 0..<8 {
        try expectDamage(codes, "byte \(index), bit \(bit)") { $0[index] ^= 1 << UInt8(bit) }
      }
    }
  }

  @Test("Every byte of the fixed half of each unit's record")
  func unitRecords() throws {
    for unit in 0..<2 {
      for index in 0..<MemoryLayout<baton_unit_record>.offset(of: \.state)! {
        let offset = Int(fixed.units_offset) + unit * MemoryLayout<baton_unit_record>.stride + index
        try expectDamage([.damaged], "unit \(unit), byte \(index)") { $0[offset] ^= 0x40 }
      }
    }
  }

  /// The region with a changed record, and the checksum that fits it.
  private func errorWithRecord(ofUnit unit: Int, _ change: (inout baton_unit_record) -> Void) throws -> BatonError? {
    try errorWith { bytes in
      let offset = Int(fixed.units_offset) + unit * MemoryLayout<baton_unit_record>.stride
      bytes.withUnsafeMutableBytes {
        var record = $0.loadUnaligned(fromByteOffset: offset, as: baton_unit_record.self)
        change(&record)
        $0.storeBytes(of: record, toByteOffset: offset, as: baton_unit_record.self)
      }
      seal(&bytes)
    }
  }

  /// Makes the checksum right.
  private func seal(_ bytes: inout [UInt8]) {
    let place = MemoryLayout<baton_region_header>.offset(of: \.checksum)!
    var covered = Array(bytes[..<place])
    for unit in 0..<2 {
      let offset = Int(fixed.units_offset) + unit * MemoryLayout<baton_unit_record>.stride
      covered += bytes[offset..<offset + MemoryLayout<baton_unit_record>.offset(of: \.state)!]
    }
    covered += bytes[Int(fixed.strings_offset)..<Int(fixed.strings_offset + fixed.strings_count)]
    let hash = covered.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    bytes.withUnsafeMutableBytes { $0.storeBytes(of: hash, toByteOffset: place, as: UInt64.self) }
  }

  @Test("A field of a unit's record that makes no sense, though the checksum is right")
  func senselessRecords() throws {
    // So that what follows fails for what is changed.
    #expect(try errorWithRecord(ofUnit: 0) { $0.delay_nanoseconds = 5 } == nil)
    typealias Change = (inout baton_unit_record) -> Void
    let changes: [(String, Change)] = [
      ("size", { $0.size = 0 }), ("size", { $0.size += 1 }), ("size", { $0.size = 1 << 63 }),
      ("size", { $0.size = UInt64.max & ~4095 }), ("size", { $0.size = 1 << 60 + 65536 }),
      ("block size", { $0.block_size = 0 }), ("block size", { $0.block_size = 511 }),
      ("block size", { $0.block_size = 256 }), ("block size", { $0.block_size = 768 }),
      ("block size", { $0.block_size = 131_072 }), ("block size", { $0.block_size = 1 << 31 }),
      ("kind", { $0.kind = 0 }), ("kind", { $0.kind = 5 }), ("kind", { $0.kind = 255 }),
      ("direct", { $0.is_direct = 2 }), ("path", { $0.path_count = 0 }), ("path", { $0.path_offset = 1 }),
      ("path", { $0.path_offset = .max }), ("path", { $0.path_count = .max }), ("path", { $0.kind = 3 }),
      ("path", { $0.kind = 4 }), ("name", { $0.name_offset = .max }), ("name", { $0.name_count = .max }),
      ("transfers", { $0.short_transfer_bytes = 100 }), ("inode", { $0.inode = 0 }), ("device", { $0.device = 0 }),
      ("inode", { $0.kind = 2 }),
    ]
    for (word, change) in changes {
      let error = try #require(try errorWithRecord(ofUnit: 0, change), "\(word) is taken as it is")
      #expect(error.code == .damaged)
      #expect(error.problem.contains("unit 0 has") && error.description.contains(path), "\(word): \(error)")
    }
    for change in [{ $0.is_direct = 1 }, { $0.path_count = 1 }, { $0.inode = 1 }, { $0.device = 1 }] as [Change] {
      #expect(try errorWithRecord(ofUnit: 1, change)?.code == .damaged)
    }
  }

  @Test("A field of the header that makes no sense, though the checksum is right")
  func senselessHeader() throws {
    let first = MemoryLayout<baton_region_header>.offset(of: \.membership_offset)!
    let last = MemoryLayout<baton_region_header>.offset(of: \.strings_count)!
    let size = MemoryLayout<baton_region_header>.offset(of: \.size)!
    for offset in [size] + Array(stride(from: first, through: last, by: 8)) {
      for value in [0, 8, UInt64(sound.count) + 8, 1 << 32, 1 << 63, .max, .max - 4095] as [UInt64] {
        let error = try errorWith { bytes in
          bytes.withUnsafeMutableBytes { $0.storeBytes(of: value, toByteOffset: offset, as: UInt64.self) }
          if offset < last { seal(&bytes) }
        }
        #expect(error.map { [.damaged, .truncated].contains($0.code) } == true, "\(value) at \(offset)")
      }
    }
  }

  @Test("Every byte of the strings")
  func strings() throws {
    #expect(Int(fixed.strings_count) == folder("a-unit").utf8.count)
    for index in 0..<Int(fixed.strings_count) {
      try expectDamage([.damaged], "byte \(index)") { $0[Int(fixed.strings_offset) + index] ^= 1 }
    }
  }

  @Test("An ownership word that no transition can have written, for each function")
  func ownershipWords() throws {
    for function in 0..<3 {
      let offset = Int(fixed.functions_offset) + function * MemoryLayout<baton_function_record>.stride
      for low in [UInt8](0...255) where !OwnershipWord(rawValue: UInt64(low)).isValid {
        try expectDamage([.damaged], "function \(function), \(low)") { $0[offset] = low }
      }
      let error = try errorWith { $0[offset + 1] = 0x80 }
      #expect(error?.code == .damaged)
      #expect(error?.problem.contains("\(Function(index: function))") == true)
    }
  }

  @Test("A unit's state that is none")
  func unitStates() throws {
    for unit in 0..<2 {
      let offset =
        Int(fixed.units_offset) + unit * MemoryLayout<baton_unit_record>.stride
        + MemoryLayout<baton_unit_record>.offset(of: \.state)!
      // The bytes above say how often it was set.
      for value in [3, 0x80, 0xff] as [UInt8] {
        try expectDamage([.damaged], "unit \(unit)") { $0[offset] = value }
      }
    }
  }

  @Test("A membership word that makes no sense")
  func membership() throws {
    for half in 0..<2 {
      for value in [4, 7, 0xff] as [UInt8] {
        try expectDamage([.damaged], "membership") { $0[Int(fixed.membership_offset) + half * 4] = value }
      }
    }
  }

  @Test("Words that change are no damage: owners, states, counters, the link")
  func changingWords() throws {
    do {
      let region = try Region(opening: subsystem.location)
      _ = Arbiter<SharedWord>(for: .b).request(region.ownership.word(1))
      region.unitStates.word(1).storeRelaxed(UnitState.offline.rawValue)
      region.controller(.b).setPhase(.serving, incarnation: 9)
      region.controller(.b).counters[.answered].storeRelaxed(.max)
      var link = region.link(of: .b)
      let isSent = link.hint(.management)
      #expect(isSent)
    }
    let again = try Region(opening: subsystem.location, writable: false)
    let word = OwnershipWord(rawValue: again.ownership.word(1).loadRelaxed())
    let phase = again.controller(.b).phase
    #expect(word.isOwned(by: .b))
    #expect(phase == (.serving, 9))
  }

  @Test("A damaged subsystem can be destroyed and created again: the fix that its error names")
  func recreated() throws {
    try writeBytes(Array(sound.prefix(100)), to: path)
    try subsystem.destroy()
    _ = try Subsystem.create(folder("subsystem"), units: [UnitSpecification(.null, size: 4096)])
    try open()
  }
}
