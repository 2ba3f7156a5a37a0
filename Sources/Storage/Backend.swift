import BatonSharedMemory
import BatonSystem
import CBatonShims
import Glibc

/// The properties of a unit, found once, when its subsystem was created. Both controllers rely on them.
public struct UnitGeometry: Equatable {
  /// The storage that holds the blocks.
  @frozen
  public enum Kind: UInt8 {
    case file = 1, blockDevice = 2, memory = 3, null = 4

    /// Whether the kernel does the work, through an open file description.
    @inlinable @inline(__always)
    public var isFile: Bool { self == .file || self == .blockDevice }
  }

  /// The storage that holds the blocks.
  public var kind: Kind
  /// Size in bytes, a multiple of `blockSize`.
  public var size: UInt64
  /// Offsets, lengths and arena offsets are multiples of this: what O_DIRECT requires, or 512.
  public var blockSize: UInt32
  /// Whether the page cache is bypassed.
  public var isDirect: Bool
  /// The identity of the file or device. A unit that is opened must still be the same one: two controllers on two files
  /// that had the same path one after the other would each serve data of its own. Nil for a null unit, and if nothing
  /// was noted.
  public var identity: FileFacts.Identity?

  /// A geometry of these parts, unchecked: `Backend.prepare` checks.
  public init(
    kind: Kind, size: UInt64, blockSize: UInt32, isDirect: Bool, identity: FileFacts.Identity? = nil
  ) {
    self.kind = kind
    self.size = size
    self.blockSize = blockSize
    self.isDirect = isDirect
    self.identity = identity
  }

  /// The smallest block there is.
  public static let blockSizeMin: UInt32 = 512
  /// The largest block that a file system may ask for here.
  public static let blockSizeMax: UInt32 = 65536
  /// The block size if O_DIRECT works and the file system does not report its alignment (kernels before 6.1).
  static let blockSizeAssumed: UInt32 = 4096
  /// Whether a unit can have this block size.
  public static func isBlockSize(_ bytes: UInt32) -> Bool {
    bytes >= blockSizeMin && bytes <= blockSizeMax && bytes & (bytes - 1) == 0
  }
  /// A unit's size ends where the locks of the drain proof begin.
  public static let sizeMax: UInt64 = 1 << 60
}

/// A controller's means for a unit's storage work: an open file, a stretch of memory, or nothing.
///
/// A plain record without ownership of its own, so that a table of them costs no reference counting on the hot
/// path; `Storage` opens and closes them.
@frozen
public struct Backend {
  /// The unit's properties, found when its subsystem was created.
  public let geometry: UnitGeometry
  /// The open file description that every operation of this controller on the unit goes through, or -1.
  @usableFromInline let descriptor: CInt
  /// The first byte, for memory.
  @usableFromInline let base: UnsafeMutableRawPointer?
  @usableFromInline let faults: FaultPlan
  @usableFromInline let hasFaults: Bool
  /// Whether short transfers are done where they are started, by pread(2) and pwrite(2). Files on tmpfs: the ring hands
  /// each of their transfers to a thread of its own, which takes ten times as long as the copy.
  @usableFromInline let copiesAtOnce: Bool
  /// The file behind a memory unit; -1: it is not kept, or the unit is another one.
  private let memoryFile: CInt
  /// Operations of the ring that have not ended and may hold the file's lock for long, see `Storage.copy`.
  @usableFromInline var lengthy: Int32 = 0
  /// The lock that keeps a block device apart from its partitions and other names, see `BlockDevice`; -1: none.
  private let deviceHold: CInt
  @usableFromInline var operations: UInt64 = 0
  /// Whether the file system or device has refused to make a hole, or to zero a range that stays allocated.
  @usableFromInline var refusesHoles = false
  @usableFromInline var refusesZeroRange = false

  /// Ways to make a stretch of a file zero. A hole frees the storage, so it comes first where it may, and a thin image
  /// stays thin. A zeroed range stays allocated; what can do neither is written.
  @frozen @usableFromInline
  enum ZeroingMethod: UInt8 {
    case punchHole, zeroRange, writeZeroes
  }

  /// The best way that has not been refused, of those that leave no hole where the stretch `staysAllocated`.
  @usableFromInline
  func zeroing(staysAllocated: Bool) -> ZeroingMethod {
    if !staysAllocated, !refusesHoles { return .punchHole }
    return refusesZeroRange ? .writeZeroes : .zeroRange
  }

  /// A way was refused: it is not tried again.
  @usableFromInline
  mutating func refuses(_ method: ZeroingMethod) {
    switch method {
    case .punchHole: refusesHoles = true
    case .zeroRange: refusesZeroRange = true
    case .writeZeroes: break
    }
  }
}

extension Backend {
  /// The geometry for a specification: checks the file or device, creates a wanted file that does not exist, and checks
  /// that it can be written and how it can be read directly.
  ///
  /// - Parameter memoryPath: where a memory unit's file is to be made.
  public static func prepare(
    _ specification: UnitSpecification, memoryPath: @autoclosure () -> String
  ) throws(BatonError) -> UnitGeometry {
    switch specification.backing {
    case .null:
      return try geometry(.null, specification, size: specification.size ?? 0, blockSize: 512, isDirect: false)
    case .memory:
      var geometry = try geometry(
        .memory, specification, size: specification.size ?? 0, blockSize: 512, isDirect: false)
      let path = memoryPath()
      let file = OwnedDescriptor(try check(baton_open(path, true, false, true), path, doing: "making"))
      try file.reserve(geometry.size, subject: path)
      geometry.identity = try FileFacts(of: file, subject: path).identity
      return geometry
    case .path(let path):
      if let size = specification.size, FileFacts(path: path) == nil {
        // Before the file is made: its size is a signed number, and nothing of a unit that cannot be remains.
        try checkSize(size, path)
        let file = OwnedDescriptor(
          try check(
            baton_open(path, true, false, true), path, doing: "making the unit's file",
            fix: "make sure that its folder exists and is writable"))
        try file.setSize(size, subject: path)
      }
      return try examine(path, specification)
    }
  }

  private static func examine(
    _ path: String, _ specification: UnitSpecification
  ) throws(BatonError) -> UnitGeometry {
    // Before it is opened: a folder cannot be opened for writing, and opening a device can do something to it.
    if let facts = FileFacts(path: path) { try checkKind(facts, path) }
    let file = try openFile(path, direct: false)
    let facts = try FileFacts(of: file, subject: path)
    try checkKind(facts, path)
    try checkUnused(file, path)
    var size = facts.size
    var sector: UInt32 = 512
    let kind: UnitGeometry.Kind = facts.kind == .blockDevice ? .blockDevice : .file
    if kind == .blockDevice {
      try check(baton_block_device_size(file.number, &size), path, doing: "asking for its size")
      try check(baton_block_device_sector(file.number, &sector), path, doing: "asking for its sector size")
      try BlockDevice.checkUnclaimed(path)
    }
    if let wanted = specification.size, size < wanted {
      throw BatonError(
        .truncated, path, "is too small: it has \(size) bytes and \(wanted) are asked for",
        fix: "enlarge it (truncate -s \(wanted)) or ask for less")
    }
    var isDirect = false
    var blockSize = sector
    // On tmpfs the page cache is all there is, though it takes O_DIRECT (Linux 6.6) and has no alignment to tell.
    if !specification.isBuffered, baton_is_tmpfs(file.number) != 1 {
      let direct = baton_open(path, true, true, false)
      if direct >= 0 {
        let opened = OwnedDescriptor(direct)
        var memoryAlignment: UInt32 = 0
        var offsetAlignment: UInt32 = 0
        _ = baton_direct_io_alignment(opened.number, &memoryAlignment, &offsetAlignment)
        let alignment = max(memoryAlignment, offsetAlignment)
        isDirect = true
        blockSize = alignment == 0 ? max(sector, UnitGeometry.blockSizeAssumed) : max(alignment, sector)
      }
    }
    var geometry = try geometry(
      kind, specification, size: specification.size ?? size, blockSize: blockSize, isDirect: isDirect, path)
    geometry.identity = facts.identity
    return geometry
  }

  private static func checkKind(_ facts: FileFacts, _ path: String) throws(BatonError) {
    guard facts.kind == .regular || facts.kind == .blockDevice else {
      throw BatonError(.invalid, path, "is neither a file nor a block device", fix: "name one that is")
    }
  }

  private static func geometry(
    _ kind: UnitGeometry.Kind, _ specification: UnitSpecification, size: UInt64, blockSize: UInt32, isDirect: Bool,
    _ path: String = ""
  ) throws(BatonError) -> UnitGeometry {
    let subject = path.isEmpty ? "unit of \(size) bytes" : path
    guard UnitGeometry.isBlockSize(blockSize) else {
      throw BatonError(
        .unsupported, subject, "requires direct I/O in blocks of \(blockSize) bytes",
        fix: "create the unit with --buffered")
    }
    let whole = size & ~(UInt64(blockSize) - 1)
    guard whole > 0 else {
      throw BatonError(
        .truncated, subject, "is too small: it has \(size) bytes and a block has \(blockSize)",
        fix: "enlarge it, or name a SIZE behind it")
    }
    try checkSize(whole, subject)
    return UnitGeometry(kind: kind, size: whole, blockSize: blockSize, isDirect: isDirect)
  }

  private static func checkSize(_ size: UInt64, _ subject: String) throws(BatonError) {
    guard size <= UnitGeometry.sizeMax else {
      throw BatonError(
        .invalid, subject, "would be larger than \(ByteCount.describe(UnitGeometry.sizeMax))",
        fix: "ask for less")
    }
  }

  private static func openFile(_ path: String, direct: Bool) throws(BatonError) -> OwnedDescriptor {
    let file = OwnedDescriptor(
      try check(
        baton_open(path, true, direct, false), path, doing: "opening the unit for reading and writing",
        fix: "make sure that it exists and that you may write it"))
    // Root opens a file that nobody may write. A file without any write permission is meant to stay as it is.
    let facts = try FileFacts(of: file, subject: path)
    if facts.kind == .regular, !facts.hasWritePermission {
      throw BatonError(.permission, path, "is read-only: nobody has write permission", fix: "chmod u+w it")
    }
    return file
  }

  /// Opens the file or device of a unit of an existing subsystem: the one that it was created with, and no other.
  private static func open(_ geometry: UnitGeometry, _ path: String) throws(BatonError) -> OwnedDescriptor {
    let file: OwnedDescriptor
    if geometry.kind == .memory {
      // The subsystem made it, in a folder of its own: a link in its place is not the subsystem's.
      let number = baton_open_in(AT_FDCWD, path, true, false)
      if number == -ELOOP {
        throw BatonError(
          .foreign, path, "is a symbolic link, not the memory unit that the subsystem made",
          fix: "make the subsystem again with 'baton destroy' and 'baton create'")
      }
      file = OwnedDescriptor(
        try check(
          number, path, doing: "opening the memory unit",
          fix: "make the subsystem again with 'baton destroy' and 'baton create'"))
    } else {
      // Before it is opened: opening a device can do something to it.
      if let facts = FileFacts(path: path) { try checkKind(facts, geometry, path) }
      file = try openFile(path, direct: geometry.isDirect)
    }
    let facts = try FileFacts(of: file, subject: path)
    try checkKind(facts, geometry, path)
    if geometry.kind == .memory { try facts.checkTrust(path) }
    if let noted = geometry.identity, !noted.agrees(with: facts.identity) {
      throw BatonError(
        .foreign, path,
        "is another \(geometry.kind == .blockDevice ? "device" : "file") than the subsystem was created with: "
          + "\(Self.describe(facts.identity)), not \(Self.describe(noted))",
        fix: "put the first one back, or use this one: 'baton destroy' and 'baton create'")
    }
    var size = facts.size
    if geometry.kind == .blockDevice {
      try check(baton_block_device_size(file.number, &size), path, doing: "asking for its size")
    }
    guard size >= geometry.size else {
      throw BatonError(
        .truncated, path, "is too small: it has \(size) bytes and the unit \(geometry.size)",
        fix: "enlarge it again, or make the subsystem again with 'baton destroy' and 'baton create'")
    }
    return file
  }

  private static func checkKind(
    _ facts: FileFacts, _ geometry: UnitGeometry, _ path: String
  ) throws(BatonError) {
    guard facts.kind == (geometry.kind == .blockDevice ? .blockDevice : .regular) else {
      throw BatonError(
        .foreign, path, "is not a \(geometry.kind == .blockDevice ? "block device" : "regular file") any more",
        fix: "put back what the subsystem was created with")
    }
  }

  /// Other devices on which the same blocks lie: the disk of a partition, the partitions of a disk.
  public static func overlapping(_ geometry: UnitGeometry) -> [FileFacts.Identity] {
    guard geometry.kind == .blockDevice, let identity = geometry.identity else { return [] }
    return BlockDevice.overlapping(identity.device)
  }

  private static func describe(_ identity: FileFacts.Identity) -> String {
    identity.inode == 0 ? "device \(identity.device)" : "inode \(identity.inode) on device \(identity.device)"
  }

  /// Opens a unit for one life of a controller, unless another subsystem uses the file (see `UnitLock`). What a dead
  /// controller of another subsystem had in flight is waited for.
  static func open(
    _ geometry: UnitGeometry, path: String, faults: FaultPlan, life: StorageLife, lockMillisecondsMax: Int,
    keepsMemory: Bool = false
  ) throws(BatonError) -> Backend {
    switch geometry.kind {
    case .null:
      return Backend(
        geometry: geometry, descriptor: -1, base: nil, faults: faults, hasFaults: !faults.isEmpty, copiesAtOnce: false,
        memoryFile: -1, deviceHold: -1)
    case .memory:
      let file = try open(geometry, path)
      // The mapping keeps the description, and with it the lock, also where the descriptor is closed.
      try hold(file, path, for: life, millisecondsMax: lockMillisecondsMax)
      let mapping = try Mapping(of: file, count: Int(geometry.size), subject: path)
      return Backend(
        geometry: geometry, descriptor: -1, base: mapping.release(), faults: faults, hasFaults: !faults.isEmpty,
        copiesAtOnce: false, memoryFile: keepsMemory ? file.release() : -1, deviceHold: -1)
    case .file, .blockDevice:
      let file = try open(geometry, path)
      // The limit does not apply to a device's blocks.
      if geometry.kind == .file { try OwnedDescriptor.checkSizeLimit(geometry.size, subject: path) }
      let deviceHold =
        geometry.kind == .blockDevice ? try BlockDevice.hold(file, path, for: life, lockMillisecondsMax) : -1
      // Closed again if the rest fails.
      let heldDevice = OwnedDescriptor(deviceHold)
      try hold(file, path, for: life, millisecondsMax: lockMillisecondsMax)
      // Faults are the ring's: they delay and shorten its calls.
      let copiesAtOnce = geometry.kind == .file && faults.isEmpty && baton_is_tmpfs(file.number) == 1
      // tmpfs has no way to make zeroes that leaves no hole (shmem_fallocate, mm/shmem.c): it need not be asked.
      let refusesZeroRange = baton_is_tmpfs(file.number) == 1
      return Backend(
        geometry: geometry, descriptor: file.release(), base: nil, faults: faults, hasFaults: !faults.isEmpty,
        copiesAtOnce: copiesAtOnce, memoryFile: -1, deviceHold: heldDevice.release(), refusesZeroRange: refusesZeroRange
      )
    }
  }

  /// How long one of two subsystems that start at the same moment waits for the other to give in.
  private static let contentionMillisecondsMax = 100

  /// Takes a unit for one life of a controller (see `UnitLock`). What a dead controller of another subsystem had in
  /// flight is waited for; a living one is a refusal at once.
  private static func hold(
    _ file: borrowing OwnedDescriptor, _ path: String, for life: StorageLife, millisecondsMax: Int
  ) throws(BatonError) {
    try hold(path, for: life, millisecondsMax) { UnitLock.take(file.number, for: life) }
  }

  /// The same for any kind of lock.
  static func hold(
    _ path: String, for life: StorageLife, _ millisecondsMax: Int, _ take: () -> UnitLock.Outcome
  ) throws(BatonError) {
    var attempts = 0
    while true {
      let attemptsMax: Int
      switch take() {
      case .taken: return
      case .failed(-EBUSY): attemptsMax = millisecondsMax
      case .failed(let result): throw BatonError(result: Int(result), path, doing: "locking the unit")
      case .heldElsewhere(let subsystem, isAlive: true):
        // Both may have come at once and have seen each other: then the one with the larger number gives in.
        let mayGiveIn = UnitLock.subsystem(life) < subsystem
        attemptsMax = mayGiveIn ? min(contentionMillisecondsMax, millisecondsMax) : 0
      case .heldElsewhere(_, isAlive: false): attemptsMax = millisecondsMax
      }
      guard attempts < attemptsMax else {
        throw BatonError(
          .busy, path, "is in use by another subsystem",
          fix: "stop that subsystem's controllers, or name another file")
      }
      attempts += 1
      usleep(1000)
    }
  }

  /// Refuses a file that a subsystem uses at present, for one that is about to be created.
  private static func checkUnused(_ file: borrowing OwnedDescriptor, _ path: String) throws(BatonError) {
    let nobody = StorageLife(controllerIndex: 0, incarnation: 0, subsystem: 0)
    try hold(path, for: nobody, Storage.lockMillisecondsMax) { UnitLock.look(file.number, for: nobody) }
  }

  /// The file whose pages can be sent as they are (sendfile(2)), because they are where its blocks lie; -1: there is
  /// none. Through O_DIRECT, which a subsystem of an earlier version may have of tmpfs, they would be copied.
  var pages: CInt {
    if hasFaults { return -1 }
    return copiesAtOnce && !geometry.isDirect ? descriptor : memoryFile
  }

  /// Closes what `open` opened.
  func close() {
    for number in [descriptor, memoryFile, deviceHold] where number >= 0 { _ = OwnedDescriptor(number) }
    if let base { _ = Mapping(adopting: base, count: Int(geometry.size)) }
  }
}
