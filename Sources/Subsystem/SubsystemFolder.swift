import BatonSystem
import CBatonShims
import Glibc

/// The opened folder of a subsystem, and its contents.
///
/// A region names files that a controller opens, and processes that it may kill: a user that can put a region there has
/// the controller's rights. So, for everything that is opened here:
/// - it belongs to this process's user or to root, and nobody else can change it. This is checked on the opened file,
///   not before: the path may lead to another file a moment later;
/// - it is not reached through a symbolic link. Only `BATON_HOME`, and the part of a path before the subsystem's own
///   folder, may be one: that is the user's choice;
/// - it is a regular file. A FIFO in the place of one keeps nobody waiting.
struct SubsystemFolder: ~Copyable {
  /// The folder itself: for openat(2), and for flock(2).
  let descriptor: OwnedDescriptor
  private let location: SubsystemLocation

  /// Opens the folder of a subsystem.
  ///
  /// - Throws: `.missing` where none exists, `.permission` where it is another user's, or can be changed by one.
  init(opening location: SubsystemLocation) throws(BatonError) {
    self.location = location
    guard let home = location.home else {
      // With a slash at the end a link would be followed.
      var path = location.directory[...]
      while path.count > 1, path.hasSuffix("/") { path = path.dropLast() }
      descriptor = try Self.open(AT_FDCWD, String(path), String(path), of: location)
      return
    }
    let folder = try Self.open(
      AT_FDCWD, home.path, home.path, of: location, followsLink: home.isChosen, isSharedFolder: home.isChosen)
    descriptor = try Self.open(folder.number, location.name, location.directory, of: location)
  }

  private static func open(
    _ parent: CInt, _ name: String, _ path: String, of location: SubsystemLocation, followsLink: Bool = false,
    isSharedFolder: Bool = false
  ) throws(BatonError) -> OwnedDescriptor {
    let number = shim_open_folder(parent, name, followsLink)
    if number == -ENOTDIR, !followsLink, isLink(parent, name) { throw link(path) }
    if number == -ENOENT || number == -ENOTDIR { throw location.missing }
    let folder = OwnedDescriptor(try check(number, path, doing: "opening the subsystem's folder"))
    try FileFacts(of: folder, subject: path).checkTrust(path, isSharedFolder: isSharedFolder)
    return folder
  }

  private static func isLink(_ parent: CInt, _ name: String) -> Bool {
    var facts = stat()
    return fstatat(parent, name, &facts, AT_SYMLINK_NOFOLLOW) == 0 && facts.st_mode & S_IFMT == S_IFLNK
  }

  private static func link(_ path: String) -> BatonError {
    BatonError(.foreign, path, "is a symbolic link, which nothing of a subsystem is", fix: "remove it")
  }

  /// Opens a file in it.
  ///
  /// - Returns: nothing (-1) where none exists.
  func open(_ name: String, writable: Bool) throws(BatonError) -> OwnedDescriptor {
    let path = "\(location.directory)/\(name)"
    let number = shim_open_in(descriptor.number, name, writable, false)
    if number == -ENOENT { return OwnedDescriptor(-1) }
    if number == -ELOOP { throw Self.link(path) }
    let file = OwnedDescriptor(
      try check(number, path, doing: "opening it", fix: "it belongs to the user who created the subsystem"))
    let facts = try FileFacts(of: file, subject: path)
    guard facts.kind == .regular else {
      throw BatonError(.foreign, path, "is not a regular file", fix: "remove it")
    }
    try facts.checkTrust(path)
    return file
  }

  /// Makes a file in it that does not exist yet.
  func create(_ name: String) throws(BatonError) -> OwnedDescriptor {
    OwnedDescriptor(
      try check(
        shim_open_in(descriptor.number, name, true, true), "\(location.directory)/\(name)", doing: "creating it"))
  }

  /// Whether something of that name exists; a link that leads nowhere is something, and somebody's.
  func has(_ name: String) -> Bool {
    var facts = stat()
    return fstatat(descriptor.number, name, &facts, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT
  }

  /// Whether that very file is the one of that name.
  func has(_ name: String, as file: borrowing OwnedDescriptor) -> Bool {
    var (named, own) = (stat(), stat())
    return fstatat(descriptor.number, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(file.number, &own) == 0
      && named.st_ino == own.st_ino && named.st_dev == own.st_dev
  }

  /// Removes a file from it, if it exists.
  func remove(_ name: String) { unlinkat(descriptor.number, name, 0) }

  /// Locks it, flock(2): of two that create a subsystem of one name the second one waits until the first one has it,
  /// and takes nothing of it away.
  func lock() throws(BatonError) {
    let directory = location.directory
    while flock(descriptor.number, LOCK_EX) != 0 {
      if errno != EINTR { throw BatonError(result: -Int(errno), directory, doing: "locking the subsystem's folder") }
    }
    // Its maker may have failed, and have removed the folder.
    let identity = try FileFacts(of: descriptor, subject: directory).identity
    guard FileFacts(path: directory)?.identity == identity else {
      throw BatonError(.busy, directory, "was removed by another process at the same time", fix: "try again")
    }
  }

  /// Ends that before the folder is closed.
  func unlock() { flock(descriptor.number, LOCK_UN) }
}
