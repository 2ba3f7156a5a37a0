import BatonSystem
import CBatonShims
import Glibc

/// Keeps the block devices of a subsystem apart from other users of the same blocks, as far as the kernel can tell.
///
/// A device has any number of nodes, and locks are on nodes; and its blocks are also those of its partitions. What all
/// names of a device have in common is its folder in sysfs, and a file there can be locked like any other: by shared
/// locks, because it can be opened for reading only, on the bytes that `UnitLock` would lock. A controller locks the
/// device's file first, and then looks at those of the disk that it is a partition of, or of its partitions: of two
/// that come at once at least one sees the other. Where sysfs is not mounted only the node is held.
///
/// The kernel's own users (file systems, swap, device mapper) claim a device for themselves alone, O_EXCL in open(2).
/// Controllers cannot, because there are two; they check whether another user has.
enum BlockDeviceLock {
  /// Attempts to find a device unclaimed, a millisecond apart: the peer may be looking at the same moment.
  private static let claimAttemptsMax = 50

  /// Refuses a device that a file system, or anybody else, has claimed for itself.
  static func checkUnclaimed(_ path: String) throws(BatonError) {
    var attempts = 0
    while true {
      let result = shim_block_device_is_free(path)
      if result != -EBUSY {
        try check(result, path, doing: "asking whether it is claimed")
        return
      }
      guard attempts < claimAttemptsMax else {
        throw BatonError(
          .busy, path, "is mounted, or used by swap, LVM or RAID",
          fix: "unmount it (findmnt, lsblk), or name another device")
      }
      attempts += 1
      usleep(1000)
    }
  }

  /// Holds an open device for one life of a controller: a descriptor to be kept, or -1 where sysfs does not know it.
  static func hold(_ device: borrowing OwnedDescriptor, _ unit: UnitToOpen) throws(BatonError) -> CInt {
    try checkUnclaimed(unit.path)
    let number = try FileFacts(of: device, subject: unit.path).identity.device
    let folder = folder(of: number)
    let file = OwnedDescriptor(shim_open("\(folder)/dev", false, false, false))
    if file.number < 0 { return -1 }
    let life = unit.life
    try UnitLock.hold(unit.path, for: life, unit.lockMillisecondsMax) {
      let result = UnitLock.takeShared(file.number, for: life)
      if result < 0 { return .failed(result) }
      // Those who hold it so are alive: no storage work goes through these descriptions.
      for other in [folder] + relatives(of: folder) {
        let file = OwnedDescriptor(shim_open("\(other)/dev", false, false, false))
        if file.number < 0 { continue }
        if case .heldElsewhere(let subsystem, _) = UnitLock.look(file.number, for: life) {
          return .heldElsewhere(subsystem: subsystem, isAlive: true)
        }
      }
      return .taken
    }
    return file.release()
  }

  /// The devices that have blocks in common with one.
  static func overlapping(_ device: UInt64) -> [FileFacts.Identity] {
    relatives(of: folder(of: device)).compactMap { folder in
      let file = OwnedDescriptor(shim_open("\(folder)/dev", false, false, false))
      var text = [UInt8](repeating: 0, count: 32)
      let count = file.number < 0 ? 0 : read(file.number, &text, text.count)
      let numbers = String(decoding: text.prefix(max(count, 0)), as: UTF8.self).split { $0 == ":" || $0 == "\n" }
        .compactMap { UInt64($0) }
      guard numbers.count == 2 else { return nil }
      return FileFacts.Identity(device: Self.device(major: numbers[0], minor: numbers[1]), inode: 0)
    }
  }

  /// As makedev(3) puts it together.
  private static func device(major: UInt64, minor: UInt64) -> UInt64 {
    (major & 0xfff) << 8 | (major & ~0xfff) << 32 | minor & 0xff | (minor & ~0xff) << 12
  }

  /// Where sysfs describes a device.
  static func folder(of device: UInt64) -> String {
    // As makedev(3) puts them together.
    let major = device >> 8 & 0xfff | device >> 32 & ~0xfff
    let minor = device & 0xff | device >> 12 & 0xffff_ff00
    return "/sys/dev/block/\(major):\(minor)"
  }

  /// The disk that a partition is of, or the partitions of a disk.
  static func relatives(of folder: String) -> [String] {
    if access("\(folder)/partition", F_OK) == 0 { return ["\(folder)/.."] }
    guard let entries = opendir(folder) else { return [] }
    defer { closedir(entries) }
    var partitions: [String] = []
    while let entry = readdir(entries) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if !name.hasPrefix("."), access("\(folder)/\(name)/partition", F_OK) == 0 {
        partitions.append("\(folder)/\(name)")
      }
    }
    return partitions
  }
}
