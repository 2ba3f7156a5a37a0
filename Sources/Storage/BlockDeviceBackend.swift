import BatonSystem
import CBatonShims

/// A block device: the kernel does all the work, through the ring (`Storage+Ring.swift`). `BlockDeviceLock` keeps it
/// apart from other users of its blocks.
enum BlockDeviceBackend: BackendKind {
  static var fileKind: FileFacts.Kind? { .blockDevice }
  static var hasPath: Bool { true }
  /// The device, and the lock on its file in sysfs.
  static var descriptorsNeeded: Int { 2 }
  static var noun: String { "device" }
  static var fullNoun: String { "block device" }

  static func open(_ unit: UnitToOpen) throws(BatonError) -> Backend {
    // The limit on the size of files does not apply to a device's blocks.
    let device = try NamedFile.open(unit)
    // Closed again if the rest fails.
    let hold = OwnedDescriptor(try BlockDeviceLock.hold(device, unit))
    try UnitLock.hold(device, unit)
    // A device that cannot zero a range has the kernel write zeroes instead; and one that cannot make a hole has lost
    // what the page cache held of it, and was not written yet, when it says so (blkdev_fallocate, block/fops.c). Where
    // nothing need be fast that costs nothing: the stretch is zeroed another way.
    return Backend(
      unit, work: .ring, isStorage: true, descriptor: device.release(), deviceHold: hold.release(),
      mayZeroQuickly: false)
  }

  @inline(__always)
  static func doAtOnce() -> Bool { false }

  @inline(__always)
  static func bytesMoved(_ operation: Storage.Operation, _ length: Int, isStarted: Bool) -> Int {
    FileBackend.bytesMoved(operation, length, isStarted: isStarted)
  }

  static func size(_ file: borrowing OwnedDescriptor, _ facts: FileFacts, _ path: String) throws(BatonError) -> UInt64 {
    // fstat(2) says 0.
    var size: UInt64 = 0
    try check(shim_block_device_size(file.number, &size), path, doing: "asking for its size")
    return size
  }

  static func sectorSize(_ file: borrowing OwnedDescriptor, _ path: String) throws(BatonError) -> UInt32 {
    var sector = UnitGeometry.blockSizeMin
    try check(shim_block_device_sector(file.number, &sector), path, doing: "asking for its sector size")
    try BlockDeviceLock.checkUnclaimed(path)
    return sector
  }

  /// The links to a device stay: `/dev/disk/by-id/...` still names it when the next boot has given it another number.
  static func absolute(_ path: String) -> String { path.hasPrefix("/") ? path : NamedFile.resolved(path) }

  /// The disk of a partition, the partitions of a disk.
  static func overlapping(_ identity: FileFacts.Identity) -> [FileFacts.Identity] {
    BlockDeviceLock.overlapping(identity.device)
  }
}
