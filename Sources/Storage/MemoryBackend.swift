import BatonSharedMemory
import BatonSystem
import CBatonShims
import Glibc

/// Shared memory: a file in the subsystem's folder, which every controller maps. The controller's own thread moves the
/// bytes: short operations at once, longer ones in pieces (`Storage.nextPiece`).
enum MemoryBackend: BackendKind {
  static var fileKind: FileFacts.Kind? { .regular }
  static var isMadeBySubsystem: Bool { true }
  static var descriptorsNeeded: Int { 0 }
  /// Without it what is read is copied once more, see `Backend.pages`.
  static var descriptorsUseful: Int { 1 }

  static func prepare(_ specification: UnitSpecification, _ path: String) throws(BatonError) -> UnitGeometry {
    var geometry = try UnitGeometry.checked(.memory, size: specification.size ?? 0)
    let file = OwnedDescriptor(try check(shim_open(path, true, false, true), path, doing: "making"))
    try file.reserve(geometry.size, subject: path)
    geometry.identity = try FileFacts(of: file, subject: path).identity
    return geometry
  }

  static func open(_ unit: UnitToOpen) throws(BatonError) -> Backend {
    let file = try openFile(unit.path)
    try NamedFile.checkUnchanged(file, unit)
    // The mapping keeps the description, and with it the lock, also where the descriptor is closed.
    try UnitLock.hold(file, unit)
    let mapping = try Mapping(of: file, count: Int(unit.geometry.size), subject: unit.path)
    return Backend(
      unit, work: .thread, isStorage: false, memory: mapping.release(),
      memoryFile: unit.keepsUsefulDescriptors ? file.release() : -1)
  }

  private static func openFile(_ path: String) throws(BatonError) -> OwnedDescriptor {
    // The subsystem made it, in a folder of its own: a link in its place is not the subsystem's.
    let number = shim_open_in(AT_FDCWD, path, true, false)
    if number == -ELOOP {
      throw BatonError(
        .foreign, path, "is a symbolic link, not the memory unit that the subsystem made",
        fix: "make the subsystem again with 'baton destroy' and 'baton create'")
    }
    return OwnedDescriptor(
      try check(
        number, path, doing: "opening the memory unit",
        fix: "make the subsystem again with 'baton destroy' and 'baton create'"))
  }

  @inline(__always)
  static func doAtOnce(_ backend: Backend, _ transfer: Transfer, mustEnd: Bool) -> Bool {
    guard transfer.length <= Storage.pieceSize || mustEnd else { return false }
    move(backend, transfer)
    return true
  }

  /// Moves or zeroes bytes, in this thread.
  static func move(_ backend: Backend, _ transfer: Transfer) {
    precondition(backend.contains(transfer.offset, transfer.length), "a transfer outside of its unit")
    let (start, count) = (backend.base! + Int(transfer.offset), Int(transfer.length))
    switch transfer.operation {
    case .read: memcpy(transfer.address!, start, count)
    case .write: memcpy(start, transfer.address!, count)
    case .discard, .writeZeroes, .fillZeroes: memset(start, 0, count)
    case .flush, .readInPlace: break
    }
  }

  /// All of it, in this thread. Pieces are counted when they are done.
  @inline(__always)
  static func bytesMoved(_ operation: Storage.Operation, _ length: Int, isStarted: Bool) -> Int {
    switch operation {
    case .flush, .readInPlace: 0
    case .read, .write, .discard, .writeZeroes, .fillZeroes: isStarted ? 0 : length
    }
  }
}
