import BatonSystem

/// What one kind of backend is and does. Each kind is a type in a file of its own: `NullBackend`, `MemoryBackend`,
/// `FileBackend`, `BlockDeviceBackend`.
///
/// Types without values. The switches over the kind stand in this file and nowhere else: a type as a value where it
/// does not matter how long it takes, a switch with direct calls where a request passes.
protocol BackendKind {
  /// The kind of file that the blocks lie in; nil: they lie in none.
  static var fileKind: FileFacts.Kind? { get }
  /// Whether its creator names the file by a path.
  static var hasPath: Bool { get }
  /// Whether the file lies in the subsystem's folder, and is made and removed with the subsystem.
  static var isMadeBySubsystem: Bool { get }
  /// Whether the file system can say which parts are holes.
  static var knowsHoles: Bool { get }
  /// Descriptors that a controller needs for a unit, and how many it would keep.
  static var descriptorsNeeded: Int { get }
  static var descriptorsUseful: Int { get }
  /// The word for the file in messages: short, and in full.
  static var noun: String { get }
  static var fullNoun: String { get }

  /// Opens a unit for one life of a controller, unless another subsystem uses the file (see `UnitLock`). What a dead
  /// controller of another subsystem had in flight is waited for.
  static func open(_ unit: UnitToOpen) throws(BatonError) -> Backend
  /// Bytes of an open file.
  static func size(_ file: borrowing OwnedDescriptor, _ facts: FileFacts, _ path: String) throws(BatonError) -> UInt64
  /// The smallest block that an open file can transfer. Refuses a file that others have claimed.
  static func sectorSize(_ file: borrowing OwnedDescriptor, _ path: String) throws(BatonError) -> UInt32
  /// The path as it is kept, so that a controller with another working folder finds the file.
  static func absolute(_ path: String) -> String
  /// Others on which the same blocks lie.
  static func overlapping(_ identity: FileFacts.Identity) -> [FileFacts.Identity]
}

// What holds where a kind says nothing else.
extension BackendKind {
  static var hasPath: Bool { false }
  static var isMadeBySubsystem: Bool { false }
  static var knowsHoles: Bool { false }
  static var descriptorsUseful: Int { descriptorsNeeded }
  static var noun: String { "file" }
  static var fullNoun: String { "regular file" }

  static func size(_ file: borrowing OwnedDescriptor, _ facts: FileFacts, _ path: String) -> UInt64 { facts.size }
  static func sectorSize(_ file: borrowing OwnedDescriptor, _ path: String) -> UInt32 { UnitGeometry.blockSizeMin }
  static func absolute(_ path: String) -> String { NamedFile.resolved(path) }
  static func overlapping(_ identity: FileFacts.Identity) -> [FileFacts.Identity] { [] }
}

extension UnitGeometry.Kind {
  /// The type of this kind.
  var type: any BackendKind.Type {
    switch self {
    case .file: FileBackend.self
    case .blockDevice: BlockDeviceBackend.self
    case .memory: MemoryBackend.self
    case .null: NullBackend.self
    }
  }

  /// The kind of a unit that is named by a path, by what lies there. Nil: no unit can be.
  init?(at facts: FileFacts) {
    switch facts.kind {
    case .regular: self = .file
    case .blockDevice: self = .blockDevice
    case .directory, .other: return nil
    }
  }

  /// Whether its creator names a file by a path.
  public var hasPath: Bool { type.hasPath }
  /// Whether its blocks lie in a file or a device, which has an identity.
  public var hasIdentity: Bool { type.fileKind != nil }
  /// Whether that identity has an inode: it is a file.
  public var hasInode: Bool { type.fileKind == .regular }
  /// Whether its file lies in the subsystem's folder, and is made and removed with the subsystem.
  public var isMadeBySubsystem: Bool { type.isMadeBySubsystem }
}

extension UnitSpecification.Backing {
  /// Backings that are named by a word, with a colon and the size after it, in place of a path.
  static var named: [(word: String, backing: Self)] { [("mem", .memory), ("null", .null)] }

  /// Whether its file lies in the subsystem's folder, and is made and removed with the subsystem.
  package var isMadeBySubsystem: Bool {
    switch self {
    case .path: false
    case .memory: MemoryBackend.isMadeBySubsystem
    case .null: NullBackend.isMadeBySubsystem
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
    case .null: try NullBackend.prepare(specification)
    case .memory: try MemoryBackend.prepare(specification, memoryPath())
    case .path(let path): try NamedFile.prepare(specification, path)
    }
  }

  /// The path of a unit as the region keeps it; empty: none.
  public static func path(of specification: UnitSpecification, _ geometry: UnitGeometry) -> String {
    if case .path(let path) = specification.backing { geometry.kind.type.absolute(path) } else { "" }
  }

  /// Other devices on which the same blocks lie: the disk of a partition, the partitions of a disk.
  public static func overlapping(_ geometry: UnitGeometry) -> [FileFacts.Identity] {
    geometry.identity.map { geometry.kind.type.overlapping($0) } ?? []
  }

  /// Does an operation where it is started, if that is how its kind does it and it is short enough.
  ///
  /// - Parameter mustEnd: nothing can take it on: a kind whose work is this thread's does all of it.
  /// - Returns: false where it is to go on as `work` says.
  @inline(__always)
  func doAtOnce(_ transfer: Transfer, mustEnd: Bool) -> Bool {
    switch geometry.kind {
    case .null: NullBackend.doAtOnce()
    case .memory: MemoryBackend.doAtOnce(self, transfer, mustEnd: mustEnd)
    case .file: FileBackend.doAtOnce(self, transfer)
    case .blockDevice: BlockDeviceBackend.doAtOnce()
    }
  }

  /// The cost of an operation for the thread that begins it, see `Storage.bytesMoved`.
  @inline(__always)
  func bytesMoved(_ operation: Storage.Operation, _ length: Int, isStarted: Bool) -> Int {
    switch geometry.kind {
    case .null: NullBackend.bytesMoved()
    case .memory: MemoryBackend.bytesMoved(operation, length, isStarted: isStarted)
    case .file: FileBackend.bytesMoved(operation, length, isStarted: isStarted)
    case .blockDevice: BlockDeviceBackend.bytesMoved(operation, length, isStarted: isStarted)
    }
  }
}

/// A stretch of a unit, and what is to be done with it.
struct Transfer {
  let operation: Storage.Operation
  let offset: UInt64
  let length: UInt64
  let address: UnsafeMutableRawPointer?
  let isDurable: Bool
}
