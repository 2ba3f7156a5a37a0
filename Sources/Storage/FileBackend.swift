import BatonSystem
import CBatonShims
import Glibc

/// A regular file: the kernel does the work, through the ring (`Storage+Ring.swift`). Where the file lies in memory,
/// this thread copies short transfers itself.
enum FileBackend: BackendKind {
  static var fileKind: FileFacts.Kind? { .regular }
  static var hasPath: Bool { true }
  static var knowsHoles: Bool { true }
  static var descriptorsNeeded: Int { 1 }

  static func open(_ unit: UnitToOpen) throws(BatonError) -> Backend {
    let file = try NamedFile.open(unit)
    try OwnedDescriptor.checkSizeLimit(unit.geometry.size, subject: unit.path)
    try UnitLock.hold(file, unit)
    let isInMemory = shim_is_tmpfs(file.number) == 1
    // tmpfs has no way to make zeroes that leaves no hole (shmem_fallocate, mm/shmem.c): it need not be asked.
    return Backend(
      unit, work: .ring, isStorage: true, descriptor: file.release(), copiesAtOnce: isInMemory,
      refusesZeroRange: isInMemory)
  }

  @inline(__always)
  static func doAtOnce(_ backend: Backend, _ transfer: Transfer) -> Bool {
    backend.copiesAtOnce && !transfer.isDurable && transfer.length <= copyAtOnceMax && copy(backend, transfer)
  }

  /// Bytes that are copied where a transfer is started. Twice what clients copy disks in: a thread of the ring, which
  /// copies longer ones outside the loop, takes about as long to be woken as copying so much takes.
  private static var copyAtOnceMax: UInt64 { 262_144 }

  /// Reads or writes a file that lies in memory, in this thread.
  ///
  /// Not a write while the ring discards or zeroes. tmpfs takes the file's lock for each change (inode_lock in
  /// shmem_file_write_iter and shmem_fallocate, mm/shmem.c), and holds it for as long as the change takes: milliseconds
  /// at most for a transfer, some 60 ms for a discarded gigabyte. The whole loop would wait for it, and the peer would
  /// take this controller for dead. A read takes no such lock (shmem_file_read_iter).
  ///
  /// Why nothing of it lands late, whichever process is killed or frozen in the middle of it: docs/takeover.md, "I/O in
  /// the controller's own thread".
  ///
  /// - Returns: false if it is something else, or not all of it was done: the ring then does all of it, and finds out
  ///   why.
  private static func copy(_ backend: Backend, _ transfer: Transfer) -> Bool {
    let (count, offset) = (Int(transfer.length), off_t(transfer.offset))
    switch transfer.operation {
    case .read: return pread(backend.descriptor, transfer.address, count, offset) == count
    case .write:
      return backend.lengthy == 0 && pwrite(backend.descriptor, transfer.address, count, offset) == count
    case .discard, .writeZeroes, .fillZeroes, .flush, .readInPlace: return false
    }
  }

  /// An eighth of what the kernel moves: it copies elsewhere, but finds and pins the pages in the call that submits.
  @inline(__always)
  static func bytesMoved(_ operation: Storage.Operation, _ length: Int, isStarted: Bool) -> Int {
    switch operation {
    case .read, .write: isStarted ? length / 8 : length
    case .flush, .readInPlace, .discard, .writeZeroes, .fillZeroes: 0
    }
  }
}
