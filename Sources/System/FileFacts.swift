import Glibc

/// The file, folder or device that a path leads to.
public struct FileFacts {
  /// The kinds of thing that a path can lead to, as far as Baton cares.
  public enum Kind { case regular, blockDevice, directory, other }
  /// The kind of thing that the path leads to.
  public let kind: Kind
  /// Bytes; 0 for anything but a regular file.
  public let size: UInt64
  /// Bytes that its file system has allocated for it.
  public let allocated: UInt64
  /// Whether anybody at all has write permission.
  public let hasWritePermission: Bool
  /// The identity of the file or device, whatever paths lead to it.
  public let identity: Identity
  /// The user it belongs to.
  public let owner: UInt32
  /// Its permission bits, the sticky bit (0o1000) among them.
  public let mode: UInt32

  /// Of a block device its number, with an inode of 0; of anything else its file system's device and its number there.
  public struct Identity: Hashable, Sendable {
    /// The device; 0 if it is not known.
    public var device: UInt64
    /// The inode; 0 for a block device.
    public var inode: UInt64

    /// From the parts.
    public init(device: UInt64, inode: UInt64) {
      self.device = device
      self.inode = inode
    }

    fileprivate init(_ facts: stat) {
      let isDevice = facts.st_mode & S_IFMT == S_IFBLK
      device = UInt64(isDevice ? facts.st_rdev : facts.st_dev)
      inode = isDevice ? 0 : UInt64(facts.st_ino)
    }

    /// Whether `found` can be what was noted here. A device that is not known agrees with every one.
    public func agrees(with found: Identity) -> Bool {
      (device == 0 || device == found.device) && inode == found.inode
    }
  }

  /// Of an open descriptor: fstat(2).
  public init(of descriptor: borrowing OwnedDescriptor, subject: String) throws(BatonError) {
    var facts = stat()
    if fstat(descriptor.number, &facts) != 0 { throw BatonError(result: -Int(errno), subject, doing: "fstat") }
    self.init(facts)
  }

  /// Of a path, or nil if there is nothing.
  public init?(path: String) {
    var facts = stat()
    if stat(path, &facts) != 0 { return nil }
    self.init(facts)
  }

  private init(_ facts: stat) {
    kind =
      switch facts.st_mode & S_IFMT {
      case S_IFREG: .regular
      case S_IFBLK: .blockDevice
      case S_IFDIR: .directory
      default: .other
      }
    size = kind == .regular ? UInt64(facts.st_size) : 0
    allocated = UInt64(facts.st_blocks) * 512
    hasWritePermission = facts.st_mode & 0o222 != 0
    identity = Identity(facts)
    owner = facts.st_uid
    mode = UInt32(facts.st_mode & 0o7777)
  }
}

extension FileFacts {
  /// Why another user could have put it there, or could change it; nil if only `user` and root can.
  ///
  /// - Parameter isSharedFolder: a folder that others may add to, as long as they cannot take away what is not theirs
  ///   (the sticky bit, and an owner that can be trusted: `/tmp`, `/dev/shm`).
  public func distrust(for user: UInt32, isSharedFolder: Bool = false) -> String? {
    if owner != user && owner != 0 { return "belongs to user \(owner), not to user \(user)" }
    let isSticky = kind == .directory && mode & 0o1000 != 0
    if mode & 0o022 != 0 && !(isSharedFolder && isSticky) {
      return "can be changed by other users (mode 0\(String(mode, radix: 8)))"
    }
    return nil
  }

  /// Throws `.permission` where another user than this process's, or root, could have put it there or could change it.
  public func checkTrust(_ subject: String, isSharedFolder: Bool = false) throws(BatonError) {
    guard let distrust = distrust(for: geteuid(), isSharedFolder: isSharedFolder) else { return }
    let isOthers = owner != geteuid() && owner != 0
    throw BatonError(
      .permission, subject, distrust,
      fix: isOthers
        ? "remove it if it should not exist, or set BATON_HOME to a folder of your own" : "chmod go-w \(subject)")
  }
}
