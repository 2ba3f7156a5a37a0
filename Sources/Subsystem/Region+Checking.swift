import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSystem
import CBatonShims
import Glibc

// What a file must hold to be opened as a region.
extension Region {
  /// Copies the header of a region's file of that size, and checks it.
  static func checkedHeader(
    _ mapping: borrowing Mapping, at location: SubsystemLocation
  ) throws(BatonError) -> baton_region_header {
    let path = location.region
    let count = UInt64(mapping.count)
    let header = mapping.base.load(as: baton_region_header.self)
    guard header.magic == baton_region_magic else {
      throw foreign(location)
    }
    guard header.layout_version == UInt32(BATON_LAYOUT_VERSION) else {
      throw BatonError(
        .wrongVersion, path,
        "has layout version \(header.layout_version), and this program works with \(BATON_LAYOUT_VERSION)",
        fix: "use the program that made it, or \(recreating(location))")
    }
    guard header.size <= count else {
      throw BatonError(
        .truncated, path, "is truncated: it has \(count) bytes of \(header.size)", fix: recreating(location))
    }
    guard header.size == count else {
      throw BatonError(
        .damaged, path, "is damaged: it has \(count) bytes and should have \(header.size)",
        fix: recreating(location))
    }
    guard RegionLayout.isSound(header), header.checksum == checksum(header, mapping) else {
      throw BatonError(.damaged, path, "is damaged: its checksum does not match", fix: recreating(location))
    }
    return header
  }

  /// Checks everything else that lies in a region, whose header is sound.
  static func checkContents(
    _ mapping: borrowing Mapping, _ header: baton_region_header, _ ownership: SharedWords, _ unitStates: SharedWords,
    _ membership: SharedWord, at location: SubsystemLocation
  ) throws(BatonError) {
    let path = location.region
    let strings = UnsafeRawBufferPointer(
      start: mapping.base + Int(header.strings_offset), count: Int(header.strings_count))
    for unit in 0..<Int(header.unit_count) {
      let record = (mapping.base + Int(header.units_offset) + unit * MemoryLayout<baton_unit_record>.stride)
        .load(as: baton_unit_record.self)
      if let flaw = flaw(of: record, strings) {
        throw BatonError(
          .damaged, path, "is damaged: unit \(unit) has \(flaw), which makes no sense", fix: recreating(location))
      }
    }
    for index in 0..<Int(header.unit_count) + 1 {
      guard OwnershipWord(rawValue: ownership.word(index).loadRelaxed()).isValid else {
        throw BatonError(
          .damaged, path, "is damaged: the ownership word of \(Function(index: index)) makes no sense",
          fix: recreating(location))
      }
    }
    for unit in 0..<Int(header.unit_count) {
      guard UnitStateWord(rawValue: unitStates.word(unit).loadRelaxed()).isValid else {
        throw BatonError(
          .damaged, path, "is damaged: the state of unit \(unit) makes no sense", fix: recreating(location))
      }
    }
    guard MembershipWord(rawValue: membership.loadRelaxed()).isValid else {
      throw BatonError(.damaged, path, "is damaged: the membership word makes no sense", fix: recreating(location))
    }
  }

  /// Checks that a file begins like a region, whatever may be wrong with the rest of it.
  static func recognize(_ file: borrowing OwnedDescriptor, at location: SubsystemLocation) throws(BatonError) {
    var magic: UInt64 = 0
    let count = pread(file.number, &magic, MemoryLayout<UInt64>.size, 0)
    if count < 0 { throw BatonError(result: -Int(errno), location.region, doing: "reading it") }
    guard count == MemoryLayout<UInt64>.size, magic == baton_region_magic else { throw foreign(location) }
  }

  static func foreign(_ location: SubsystemLocation) -> BatonError {
    // A folder that is given by its path may hold anything; the folder of named subsystems holds nothing else.
    BatonError(
      .foreign, location.region, "is not the region of a subsystem",
      fix: location.home == nil
        ? "name another subsystem; if this was one and is damaged, remove it with 'rm -r \(location.directory)'"
        : recreating(location))
  }

  static func recreating(_ location: SubsystemLocation) -> String {
    "remove it with 'baton destroy \(location.name)', and create it again"
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

  /// FNV-1a, 64 bits: finds damage, not malice.
  static func checksum(_ header: baton_region_header, _ mapping: borrowing Mapping) -> UInt64 {
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
