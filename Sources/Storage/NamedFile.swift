import BatonSystem
import CBatonShims
import Glibc

/// What the kinds have in common whose blocks lie in a file or a device: how it is found, checked and opened.
enum NamedFile {
  /// The geometry of a new unit on what lies at a path; a file that does not exist is made where its size is given.
  static func prepare(_ specification: UnitSpecification, _ path: String) throws(BatonError) -> UnitGeometry {
    if let size = specification.size, FileFacts(path: path) == nil {
      // Before the file is made: its size is a signed number, and nothing of a unit that cannot be remains.
      try UnitGeometry.checkSize(size, path)
      let file = OwnedDescriptor(
        try check(
          shim_open(path, true, false, true), path, doing: "making the unit's file",
          fix: "make sure that its folder exists and is writable"))
      try file.setSize(size, subject: path)
    }
    return try examine(path, specification)
  }

  private static func examine(_ path: String, _ specification: UnitSpecification) throws(BatonError) -> UnitGeometry {
    // Before it is opened: a folder cannot be opened for writing, and opening a device can do something to it.
    if let facts = FileFacts(path: path) { _ = try kind(facts, path) }
    let file = try openFile(path, direct: false)
    let facts = try FileFacts(of: file, subject: path)
    let kind = try kind(facts, path)
    try UnitLock.checkUnused(file, path)
    let size = try kind.type.size(file, facts, path)
    let sector = try kind.type.sectorSize(file, path)
    if let wanted = specification.size, size < wanted {
      throw BatonError(
        .truncated, path, "is too small: it has \(size) bytes and \(wanted) are asked for",
        fix: "enlarge it (truncate -s \(wanted)) or ask for less")
    }
    let directBlockSize = specification.isBuffered ? nil : directBlockSize(file, path, sector: sector)
    return try .checked(
      kind, size: specification.size ?? size, blockSize: directBlockSize ?? sector, isDirect: directBlockSize != nil,
      identity: facts.identity, path: path)
  }

  /// The smallest block of direct I/O on a file; nil: there is none.
  private static func directBlockSize(_ file: borrowing OwnedDescriptor, _ path: String, sector: UInt32) -> UInt32? {
    // On tmpfs the page cache is all there is, though it takes O_DIRECT (Linux 6.6) and has no alignment to tell.
    if shim_is_tmpfs(file.number) == 1 { return nil }
    let direct = OwnedDescriptor(shim_open(path, true, true, false))
    if direct.number < 0 { return nil }
    var memoryAlignment: UInt32 = 0
    var offsetAlignment: UInt32 = 0
    _ = shim_direct_io_alignment(direct.number, &memoryAlignment, &offsetAlignment)
    let alignment = max(memoryAlignment, offsetAlignment)
    return max(alignment == 0 ? UnitGeometry.blockSizeAssumed : alignment, sector)
  }

  private static func kind(_ facts: FileFacts, _ path: String) throws(BatonError) -> UnitGeometry.Kind {
    guard let kind = UnitGeometry.Kind(at: facts) else {
      throw BatonError(.invalid, path, "is neither a file nor a block device", fix: "name one that is")
    }
    return kind
  }

  private static func openFile(_ path: String, direct: Bool) throws(BatonError) -> OwnedDescriptor {
    let file = OwnedDescriptor(
      try check(
        shim_open(path, true, direct, false), path, doing: "opening the unit for reading and writing",
        fix: "make sure that it exists and that you may write it"))
    // Root opens a file that nobody may write. A file without any write permission is meant to stay as it is.
    let facts = try FileFacts(of: file, subject: path)
    if facts.kind == .regular, !facts.hasWritePermission {
      throw BatonError(.permission, path, "is read-only: nobody has write permission", fix: "chmod u+w it")
    }
    return file
  }

  /// Opens the file or device of a unit of an existing subsystem: the one that it was created with, and no other.
  static func open(_ unit: UnitToOpen) throws(BatonError) -> OwnedDescriptor {
    // Before it is opened: opening a device can do something to it.
    if let facts = FileFacts(path: unit.path) { try checkKind(facts, unit) }
    let file = try openFile(unit.path, direct: unit.geometry.isDirect)
    try checkUnchanged(file, unit)
    return file
  }

  /// Refuses an open file that is another one than the subsystem was created with, or has become too small.
  static func checkUnchanged(_ file: borrowing OwnedDescriptor, _ unit: UnitToOpen) throws(BatonError) {
    let (geometry, path) = (unit.geometry, unit.path)
    let facts = try FileFacts(of: file, subject: path)
    try checkKind(facts, unit)
    if geometry.kind.isMadeBySubsystem { try facts.checkTrust(path) }
    if let noted = geometry.identity, !noted.agrees(with: facts.identity) {
      throw BatonError(
        .foreign, path,
        "is another \(geometry.kind.type.noun) than the subsystem was created with: "
          + "\(describe(facts.identity)), not \(describe(noted))",
        fix: "put the first one back, or use this one: 'baton destroy' and 'baton create'")
    }
    let size = try geometry.kind.type.size(file, facts, path)
    guard size >= geometry.size else {
      throw BatonError(
        .truncated, path, "is too small: it has \(size) bytes and the unit \(geometry.size)",
        fix: "enlarge it again, or make the subsystem again with 'baton destroy' and 'baton create'")
    }
  }

  private static func checkKind(_ facts: FileFacts, _ unit: UnitToOpen) throws(BatonError) {
    let type = unit.geometry.kind.type
    guard facts.kind == type.fileKind else {
      throw BatonError(
        .foreign, unit.path, "is not a \(type.fullNoun) any more",
        fix: "put back what the subsystem was created with")
    }
  }

  private static func describe(_ identity: FileFacts.Identity) -> String {
    identity.inode == 0 ? "device \(identity.device)" : "inode \(identity.inode) on device \(identity.device)"
  }

  /// The path without links, from the root on.
  static func resolved(_ path: String) -> String {
    guard let resolved = realpath(path, nil) else { return path }
    defer { free(resolved) }
    return String(cString: resolved)
  }
}
