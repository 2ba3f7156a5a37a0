import BatonSharedMemory
import BatonStorage
import BatonSystem
import CBatonShims
import Glibc

// How a region comes into being.
extension Region {
  /// Creates the region of a new subsystem.
  static func create(
    _ units: [(geometry: UnitGeometry, path: String, faults: FaultPlan)], names: [String] = [],
    at location: SubsystemLocation, in folder: borrowing SubsystemFolder
  ) throws(BatonError) {
    precondition(!units.isEmpty && units.count <= unitsMax, "a subsystem has 1 to \(unitsMax) units")
    var strings: [UInt8] = []
    var records: [baton_unit_record] = []
    for (number, unit) in units.enumerated() {
      guard unit.faults.isSound else {
        throw BatonError(
          .invalid, "unit \(number)", "has faults that storage cannot do",
          fix: "use a delay of at most 10 s and pieces of whole sectors")
      }
      records.append(record(unit, name: number < names.count ? names[number] : "", &strings))
    }
    var header = baton_region_header()
    header.magic = baton_region_magic
    header.layout_version = UInt32(BATON_LAYOUT_VERSION)
    header.generation = monotonicNanoseconds() << 16 | UInt64(getpid() & 0xffff)
    RegionLayout(unitCount: units.count).describe(in: &header)
    header.strings_count = UInt64(strings.count)
    header.boot = ProcessIdentity.boot
    header.size = (header.strings_offset + header.strings_count + 4095) & ~4095
    try put(header, records, strings, at: location, in: folder)
  }

  private static func record(
    _ unit: (geometry: UnitGeometry, path: String, faults: FaultPlan), name: String, _ strings: inout [UInt8]
  ) -> baton_unit_record {
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
    record.name_offset = UInt32(strings.count)
    record.name_count = UInt32(name.utf8.count)
    strings += name.utf8
    return record
  }

  /// Makes the file under another name, and links it to its own.
  private static func put(
    _ header: baton_region_header, _ records: [baton_unit_record], _ strings: [UInt8], at location: SubsystemLocation,
    in folder: borrowing SubsystemFolder
  ) throws(BatonError) {
    var header = header
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
}
