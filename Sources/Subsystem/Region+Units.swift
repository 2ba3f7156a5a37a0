import BatonStorage
import BatonSystem
import CBatonShims

// The units, as they were created.
extension Region {
  /// A unit as it was created.
  public func unit(_ unit: Int) -> (geometry: UnitGeometry, path: String, faults: FaultPlan) {
    let record = record(ofUnit: unit)
    let geometry = geometry(ofUnit: unit)
    // The folder's present location, not the one at which the subsystem was created.
    let path =
      geometry.kind.isMadeBySubsystem
      ? location.memory(unit: unit) : string(at: record.path_offset, count: record.path_count)
    return (geometry, path, Self.faults(record))
  }

  /// The geometry of a unit as it was created.
  public func geometry(ofUnit unit: Int) -> UnitGeometry {
    let record = record(ofUnit: unit)
    guard let kind = UnitGeometry.Kind(rawValue: record.kind) else {
      preconditionFailure("a record that was checked has a kind")
    }
    var geometry = UnitGeometry(
      kind: kind, size: record.size, blockSize: record.block_size, isDirect: record.is_direct != 0)
    if kind.hasIdentity {
      // Another boot may have given the same device another number; inodes stay.
      let isThisBoot = header.boot != 0 && header.boot == ProcessIdentity.boot
      geometry.identity = FileFacts.Identity(device: isThisBoot ? record.device : 0, inode: record.inode)
    }
    return geometry
  }

  static func faults(_ record: baton_unit_record) -> FaultPlan {
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

  /// The pair of words in a unit's record that names the request which set its state, 0 or 1: `UnitStateWord.pair`
  /// says which of the two is valid.
  public func unitStateSetter(_ unit: Int, pair: Int) -> UnitStateSetter {
    precondition(unit >= 0 && unit < unitCount && pair & ~1 == 0, "no such unit")
    return UnitStateSetter(
      base: mapping.base + Int(header.units_offset) + unit * MemoryLayout<baton_unit_record>.stride
        + MemoryLayout<baton_unit_record>.offset(of: \baton_unit_record.set_by)! + pair * 16)
  }
}
