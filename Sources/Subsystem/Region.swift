import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSystem
import CBatonShims
import Glibc

/// The controllers' region, which the two controllers share and no host sees.
///
///     header | membership | controller records | journal of a | journal of b | link a to b | link b to a |
///     ownership words | units | strings
///
/// Invariants:
/// - it comes into being whole: made under another name, then linked to its own (link(2) takes no running one away);
/// - everything but words is written before that and never again, and is covered by the checksum;
/// - each word is written by the controller whose record holds it, except ownership words (the arbiter), the membership
///   word (a controller that may take the step) and unit states (the owner of management); a controller that stands in
///   for a dead peer writes the peer's journal.
public struct Region: ~Copyable {
  private let mapping: Mapping
  /// The file, for the controllers' locks.
  public let file: OwnedDescriptor
  /// The fixed part, copied and checked once.
  public let header: baton_region_header
  /// One ownership word per function.
  public let ownership: SharedWords
  /// The time of each function's last grant, if both controllers wanted it then, in monotonic nanoseconds; 0 if not.
  /// Written by the owner before its grant, cleared by the next one. It lies in the line of the ownership word and goes
  /// over with it. It decides only how long a function is kept: a wrong one costs time and nothing else.
  public let grantTimes: SharedWords
  /// The members.
  public let membership: Membership<SharedWord>
  /// One state per unit, see `UnitStateWord`.
  public let unitStates: SharedWords
  /// Its location.
  public let location: SubsystemLocation

  /// Units that one subsystem can have.
  public static let unitsMax = 65_536

  /// Units in this one.
  public var unitCount: Int { Int(header.unit_count) }
  /// Functions in this one: the units and management.
  public var functionCount: Int { unitCount + 1 }
}

extension Region {
  /// Creates the region of a new subsystem.
  static func create(
    _ units: [(geometry: UnitGeometry, path: String, faults: FaultPlan)], names: [String] = [],
    at location: SubsystemLocation, in folder: borrowing SubsystemFolder
  ) throws(BatonError) {
    var strings: [UInt8] = []
    var records: [baton_unit_record] = []
    for (number, unit) in units.enumerated() {
      guard unit.faults.isSound else {
        throw BatonError(
          .invalid, "unit \(number)", "has faults that storage cannot do",
          fix: "use a delay of at most 10 s and pieces of whole sectors")
      }
      var record = baton_unit_record()
      record.size = unit.geometry.size
      record.block_size = unit.geometry.blockSize
      record.kind = unit.geometry.kind.rawValue
      record.is_direct = unit.geometry.isDirect ? 1 : 0
      record.path_offset = UInt32(strings.count)
      record.path_count = UInt32(unit.path.utf8.count)
      record.delay_nanoseconds = unit.faults.delayNanoseconds
      record.error_after = unit.faults.errorAfter
      record.error_every = unit.faults.errorEvery
      record.short_transfer_bytes = unit.faults.shortTransferBytes
      record.device = unit.geometry.identity?.device ?? 0
      record.inode = unit.geometry.identity?.inode ?? 0
      record.state = UnitState.online.rawValue
      strings += unit.path.utf8
      if number < names.count {
        record.name_offset = UInt32(strings.count)
        record.name_count = UInt32(names[number].utf8.count)
        strings += names[number].utf8
      }
      records.append(record)
    }
    var header = baton_region_header()
    header.magic = baton_region_magic
    header.layout_version = UInt32(BATON_LAYOUT_VERSION)
    header.unit_count = UInt32(units.count)
    header.generation = monotonicNanoseconds() << 16 | UInt64(getpid() & 0xffff)
    header.membership_offset = Self.membershipOffset
    header.controllers_offset = Self.controllersOffset
    header.journals_offset = Self.journalsOffset
    header.links_offset = Self.linksOffset
    header.functions_offset = header.links_offset + 2 * Self.linkBytes
    header.units_offset =
      header.functions_offset + UInt64(units.count + 1) * UInt64(MemoryLayout<baton_function_record>.stride)
    header.strings_offset = header.units_offset + UInt64(units.count * MemoryLayout<baton_unit_record>.stride)
    header.strings_count = UInt64(strings.count)
    header.boot = ProcessIdentity.boot
    header.size = (header.strings_offset + header.strings_count + 4095) & ~4095

    // The caller has the folder locked: an existing file was left by another process.
    let temporary = SubsystemLocation.unfinishedRegionName
    folder.remove(temporary)
    let file = try folder.create(temporary)
    do throws(BatonError) {
      try file.reserve(header.size, subject: location.region)
      let mapping = try Mapping(of: file, count: Int(header.size), subject: location.region)
      (mapping.base + Int(header.units_offset)).withMemoryRebound(to: baton_unit_record.self, capacity: records.count) {
        $0.initialize(from: records, count: records.count)
      }
      (mapping.base + Int(header.strings_offset)).copyMemory(from: strings, byteCount: strings.count)
      header.checksum = Self.checksum(header, mapping)
      mapping.base.storeBytes(of: header, as: baton_region_header.self)
    } catch {
      folder.remove(temporary)
      throw error
    }
    // link(2), not rename(2): it fails where a region exists, and so never takes a running one away.
    let number = folder.descriptor.number
    let result = linkat(number, temporary, number, SubsystemLocation.regionName, 0)
    let failure = errno
    folder.remove(temporary)
    if result != 0 {
      throw BatonError(result: -Int(failure), location.region, doing: "putting the region into place")
    }
  }

  /// Opens a region and checks it from end to end.
  public init(opening location: SubsystemLocation, writable: Bool = true) throws(BatonError) {
    let path = location.region
    let file = try SubsystemFolder(opening: location).open(SubsystemLocation.regionName, writable: writable)
    if file.number < 0 { throw location.missing }
    let count = try FileFacts(of: file, subject: path).size
    guard count >= UInt64(MemoryLayout<baton_region_header>.size) else {
      throw BatonError(
        .truncated, path, "is truncated: \(count) bytes do not hold a header",
        fix: Self.recreating(location))
    }
    let mapping = try Mapping(
      of: file, count: Int(count), writable: writable, populated: writable, subject: path)
    let header = mapping.base.load(as: baton_region_header.self)
    guard header.magic == baton_region_magic else {
      throw Self.foreign(location)
    }
    guard header.layout_version == UInt32(BATON_LAYOUT_VERSION) else {
      throw BatonError(
        .wrongVersion, path,
        "has layout version \(header.layout_version), and this program works with \(BATON_LAYOUT_VERSION)",
        fix: "use the program that made it, or \(Self.recreating(location))")
    }
    guard header.size <= count else {
      throw BatonError(
        .truncated, path, "is truncated: it has \(count) bytes of \(header.size)", fix: Self.recreating(location))
    }
    guard header.size == count else {
      throw BatonError(
        .damaged, path, "is damaged: it has \(count) bytes and should have \(header.size)",
        fix: Self.recreating(location))
    }
    guard Self.isSound(header), header.checksum == Self.checksum(header, mapping) else {
      throw BatonError(.damaged, path, "is damaged: its checksum does not match", fix: Self.recreating(location))
    }
    let ownership = SharedWords(
      base: mapping.base + Int(header.functions_offset), stride: MemoryLayout<baton_function_record>.stride,
      count: Int(header.unit_count) + 1)
    let grantTimes = SharedWords(
      base: mapping.base + Int(header.functions_offset)
        + MemoryLayout<baton_function_record>.offset(of: \baton_function_record.granted_at)!,
      stride: MemoryLayout<baton_function_record>.stride, count: Int(header.unit_count) + 1)
    let unitStates = SharedWords(
      base: mapping.base + Int(header.units_offset)
        + MemoryLayout<baton_unit_record>.offset(of: \baton_unit_record.state)!,
      stride: MemoryLayout<baton_unit_record>.stride, count: Int(header.unit_count))
    let strings = UnsafeRawBufferPointer(
      start: mapping.base + Int(header.strings_offset), count: Int(header.strings_count))
    for unit in 0..<Int(header.unit_count) {
      let record = (mapping.base + Int(header.units_offset) + unit * MemoryLayout<baton_unit_record>.stride)
        .load(as: baton_unit_record.self)
      if let flaw = Self.flaw(of: record, strings) {
        throw BatonError(
          .damaged, path, "is damaged: unit \(unit) has \(flaw), which makes no sense", fix: Self.recreating(location))
      }
    }
    for index in 0..<Int(header.unit_count) + 1 {
      guard OwnershipWord(rawValue: ownership.word(index).loadRelaxed()).isValid else {
        throw BatonError(
          .damaged, path, "is damaged: the ownership word of \(Function(index: index)) makes no sense",
          fix: Self.recreating(location))
      }
    }
    for unit in 0..<Int(header.unit_count) {
      guard UnitStateWord(rawValue: unitStates.word(unit).loadRelaxed()).isValid else {
        throw BatonError(
          .damaged, path, "is damaged: the state of unit \(unit) makes no sense", fix: Self.recreating(location))
      }
    }
    let membership = mapping.word(at: Int(header.membership_offset))
    guard MembershipWord(rawValue: membership.loadRelaxed()).isValid else {
      throw BatonError(.damaged, path, "is damaged: the membership word makes no sense", fix: Self.recreating(location))
    }
    self.mapping = mapping
    self.membership = Membership(membership)
    self.file = file
    self.header = header
    self.location = location
    self.ownership = ownership
    self.grantTimes = grantTimes
    self.unitStates = unitStates
  }

  /// The generation of the subsystem whose region lies there, which tells it from others of its name. Nil: no region
  /// can be read.
  /// Cost: three system calls.
  public static func generation(at location: SubsystemLocation) -> UInt64? {
    let file = OwnedDescriptor(baton_open_in(AT_FDCWD, location.region, false, false))
    var header = baton_region_header()
    let size = MemoryLayout<baton_region_header>.size
    guard file.number >= 0, pread(file.number, &header, size, 0) == size, header.magic == baton_region_magic else {
      return nil
    }
    return header.generation
  }

  /// Checks that a file begins like a region, whatever may be wrong with the rest of it.
  static func recognize(_ file: borrowing OwnedDescriptor, at location: SubsystemLocation) throws(BatonError) {
    var magic: UInt64 = 0
    let count = pread(file.number, &magic, MemoryLayout<UInt64>.size, 0)
    if count < 0 { throw BatonError(result: -Int(errno), location.region, doing: "reading it") }
    guard count == MemoryLayout<UInt64>.size, magic == baton_region_magic else { throw foreign(location) }
  }

  private static func foreign(_ location: SubsystemLocation) -> BatonError {
    // A folder that is given by its path may hold anything; the folder of named subsystems holds nothing else.
    BatonError(
      .foreign, location.region, "is not the region of a subsystem",
      fix: location.home == nil
        ? "name another subsystem; if this was one and is damaged, remove it with 'rm -r \(location.directory)'"
        : recreating(location))
  }

  private static func recreating(_ location: SubsystemLocation) -> String {
    "remove it with 'baton destroy \(location.name)', and create it again"
  }

  /// Whether the parts lie where `create` puts them. Nothing is reached through an offset before this.
  private static func isSound(_ header: baton_region_header) -> Bool {
    let units = UInt64(header.unit_count)
    return units > 0 && units <= UInt64(unitsMax) && header.membership_offset == membershipOffset
      && header.controllers_offset == controllersOffset && header.journals_offset == journalsOffset
      && header.links_offset == linksOffset && header.functions_offset == header.links_offset + 2 * linkBytes
      && header.units_offset
        == header.functions_offset + (units + 1) * UInt64(MemoryLayout<baton_function_record>.stride)
      && header.strings_offset == header.units_offset + units * UInt64(MemoryLayout<baton_unit_record>.stride)
      && header.strings_count <= header.size && header.strings_offset + header.strings_count <= header.size
  }

  /// A flaw of a unit's record that `create` cannot have written, though the checksum may be right. Nothing of it is
  /// checked again later.
  private static func flaw(of record: baton_unit_record, _ strings: UnsafeRawBufferPointer) -> String? {
    func string(_ offset: UInt32, _ count: UInt32) -> UnsafeRawBufferPointer? {
      guard UInt64(offset) + UInt64(count) <= UInt64(strings.count) else { return nil }
      return UnsafeRawBufferPointer(rebasing: strings[Int(offset)..<Int(offset) + Int(count)])
    }
    guard let kind = UnitGeometry.Kind(rawValue: record.kind) else { return "kind \(record.kind)" }
    guard UnitGeometry.isBlockSize(record.block_size) else { return "a block size of \(record.block_size)" }
    guard record.size > 0, record.size <= UnitGeometry.sizeMax, record.size % UInt64(record.block_size) == 0 else {
      return "a size of \(record.size) bytes in blocks of \(record.block_size)"
    }
    guard record.is_direct <= (kind.hasPath ? 1 : 0) else { return "\(record.is_direct) for direct I/O" }
    guard let path = string(record.path_offset, record.path_count), path.isEmpty != kind.hasPath,
      !kind.hasPath || path.first == UInt8(ascii: "/") && !path.contains(0)
    else { return "a path of \(record.path_count) bytes at \(record.path_offset)" }
    guard let name = string(record.name_offset, record.name_count),
      name.isEmpty || UnitSpecification.isName(String(decoding: name, as: UTF8.self))
    else { return "a name of \(record.name_count) bytes at \(record.name_offset)" }
    guard faults(record).isSound else {
      return "transfers of \(record.short_transfer_bytes) bytes after \(record.delay_nanoseconds) ns"
    }
    guard (record.inode != 0) == kind.hasInode, (record.device != 0) == kind.hasIdentity else {
      return "inode \(record.inode) on device \(record.device)"
    }
    return nil
  }

  private static var membershipOffset: UInt64 { 4096 }
  private static var controllersOffset: UInt64 {
    membershipOffset + UInt64(MemoryLayout<baton_membership_record>.stride)
  }
  private static var journalsOffset: UInt64 {
    controllersOffset + 2 * UInt64(MemoryLayout<baton_controller_record>.stride)
  }
  private static var linksOffset: UInt64 { journalsOffset + 2 * UInt64(Journal.byteCount) }
  private static var linkBytes: UInt64 { UInt64(BATON_LINK_CAPACITY) * 8 }

  /// FNV-1a, 64 bits: finds damage, not malice.
  private static func checksum(_ header: baton_region_header, _ mapping: borrowing Mapping) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    func add(_ bytes: UnsafeRawBufferPointer) {
      for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }
    withUnsafeBytes(of: header) {
      add(UnsafeRawBufferPointer(rebasing: $0[..<MemoryLayout<baton_region_header>.offset(of: \.checksum)!]))
    }
    for unit in 0..<Int(header.unit_count) {
      add(
        UnsafeRawBufferPointer(
          start: mapping.base + Int(header.units_offset) + unit * MemoryLayout<baton_unit_record>.stride,
          count: MemoryLayout<baton_unit_record>.offset(of: \.state)!))
    }
    add(
      UnsafeRawBufferPointer(start: mapping.base + Int(header.strings_offset), count: Int(header.strings_count)))
    return hash
  }
}

extension Region {
  /// A unit as it was created.
  public func unit(_ unit: Int) -> (geometry: UnitGeometry, path: String, faults: FaultPlan) {
    let record = record(ofUnit: unit)
    let kind = UnitGeometry.Kind(rawValue: record.kind)!
    var geometry = UnitGeometry(
      kind: kind, size: record.size, blockSize: record.block_size, isDirect: record.is_direct != 0)
    if kind.hasIdentity {
      // Another boot may have given the same device another number; inodes stay.
      let isThisBoot = header.boot != 0 && header.boot == ProcessIdentity.boot
      geometry.identity = FileFacts.Identity(device: isThisBoot ? record.device : 0, inode: record.inode)
    }
    // The folder's present location, not the one at which the subsystem was created.
    let path =
      kind.isMadeBySubsystem ? location.memory(unit: unit) : string(at: record.path_offset, count: record.path_count)
    return (geometry, path, Self.faults(record))
  }

  private static func faults(_ record: baton_unit_record) -> FaultPlan {
    var faults = FaultPlan()
    faults.delayNanoseconds = record.delay_nanoseconds
    faults.errorAfter = record.error_after
    faults.errorEvery = record.error_every
    faults.shortTransferBytes = record.short_transfer_bytes
    return faults
  }

  /// The given name of a unit; empty: none.
  public func name(ofUnit unit: Int) -> String {
    let record = record(ofUnit: unit)
    return string(at: record.name_offset, count: record.name_count)
  }

  private func record(ofUnit unit: Int) -> baton_unit_record {
    precondition(unit >= 0 && unit < unitCount, "no such unit")
    return (mapping.base + Int(header.units_offset) + unit * MemoryLayout<baton_unit_record>.stride)
      .load(as: baton_unit_record.self)
  }

  private func string(at offset: UInt32, count: UInt32) -> String {
    String(
      decoding: UnsafeRawBufferPointer(
        start: mapping.base + Int(header.strings_offset) + Int(offset), count: Int(count)), as: UTF8.self)
  }

  /// A controller's record.
  public func controller(_ controller: ControllerIdentity) -> ControllerRecord {
    ControllerRecord(
      base: mapping.base + Int(header.controllers_offset)
        + controller.index * MemoryLayout<baton_controller_record>.stride)
  }

  /// A controller's in-flight journal.
  public func journal(of controller: ControllerIdentity) -> Journal {
    Journal(
      base: mapping.base + Int(header.journals_offset) + controller.index * Journal.byteCount,
      top: self.controller(controller).journalTop)
  }

  /// The pair of words in a unit's record that names the request which set its state, 0 or 1: `UnitStateWord.pair`
  /// says which of the two is valid.
  public func unitStateSetter(_ unit: Int, pair: Int) -> UnitStateSetter {
    precondition(unit >= 0 && unit < unitCount && pair & ~1 == 0, "no such unit")
    return UnitStateSetter(
      base: mapping.base + Int(header.units_offset) + unit * MemoryLayout<baton_unit_record>.stride
        + MemoryLayout<baton_unit_record>.offset(of: \baton_unit_record.set_by)! + pair * 16)
  }

  /// The link as `controller` sees it: the ring it writes and the ring it reads.
  public func link(of controller: ControllerIdentity) -> Link {
    func ring(from writer: ControllerIdentity) -> SharedWords {
      SharedWords(
        base: mapping.base + Int(header.links_offset) + writer.index * Int(Self.linkBytes), stride: 8,
        count: Int(BATON_LINK_CAPACITY))
    }
    let mine = self.controller(controller)
    let peers = self.controller(controller.peer)
    return Link(
      outgoing: HintRing(
        slots: ring(from: controller), capacity: Int(BATON_LINK_CAPACITY), mine: mine.linkSent,
        theirs: peers.linkReceived),
      incoming: HintRing(
        slots: ring(from: controller.peer), capacity: Int(BATON_LINK_CAPACITY), mine: mine.linkReceived,
        theirs: peers.linkSent),
      peerParked: peers.parked)
  }

  /// Takes the seat of a controller: an OFD lock on the region's file, which the kernel gives up at death.
  ///
  /// A child that the last holder has just forked holds on to the file until it executes its program, so a seat that is
  /// taken is asked for again for a moment.
  ///
  /// - Returns: false if a living process has it.
  /// - Throws: `.missing` if the subsystem has been destroyed since the region was opened.
  public func takeSeat(of controller: ControllerIdentity) throws(BatonError) -> Bool {
    guard try Self.takeSeat(of: controller, in: file, at: location) else { return false }
    // A process that destroys it holds both seats until the region's file is gone.
    let present = FileFacts(path: location.region)?.identity
    guard try present == FileFacts(of: file, subject: location.region).identity else {
      throw BatonError(
        .missing, "subsystem '\(location.name)'", "was destroyed", fix: "create it again with 'baton create'")
    }
    return true
  }

  /// The same in a region's file, for callers that cannot or need not open the region.
  static func takeSeat(
    of controller: ControllerIdentity, in file: borrowing OwnedDescriptor, at location: SubsystemLocation
  ) throws(BatonError) -> Bool {
    for attempt in 0...seatAttemptsMax {
      let result = baton_ofd_try_lock(file.number, Int64(controller.index))
      if result >= 0 { return true }
      if result != -EAGAIN && result != -EACCES {
        try check(result, location.region, doing: "locking the seat of controller \(controller)")
      }
      if attempt < seatAttemptsMax { usleep(1000) }
    }
    return false
  }

  /// Attempts to take a seat, a millisecond apart.
  private static let seatAttemptsMax = 50

  /// Whether the seat is free: the life that held it last has ended. False also if the kernel does not say.
  public func isSeatFree(of controller: ControllerIdentity) -> Bool {
    baton_ofd_is_locked_by_other(file.number, Int64(controller.index), 1) == 0
  }

  /// Whether a process other than this description's holder has the seat.
  public func isSeatTaken(of controller: ControllerIdentity) -> Bool {
    baton_ofd_is_locked_by_other(file.number, Int64(controller.index), 1) == 1
  }
}
