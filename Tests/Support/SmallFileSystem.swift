import Glibc

/// A file system of a test's own, mounted on a folder of its own: tmpfs of 1 MiB that a test may fill, or another kind.
///
/// Mounting takes root. A file size limit would do without, but it fails with EFBIG and a signal, not with
/// ENOSPC. By mount(2), because a command would be a child, and children hold on to what other tests close meanwhile.
package final class SmallFileSystem {
  /// Where it is mounted.
  package let folder: ScratchFolder

  /// Mounts it, or nil where that is not allowed.
  package init?(_ kind: String = "tmpfs", options: String = "size=1M,mode=0700") {
    guard geteuid() == 0, let folder = try? ScratchFolder(),
      mount("baton-test", folder.path, kind, 0, options) == 0
    else { return nil }
    self.folder = folder
  }

  deinit { umount2(folder.path, CInt(MNT_DETACH)) }

  /// Whether this process may mount one.
  package static let isPossible = SmallFileSystem() != nil
  /// Whether one that can neither make a hole nor zero a range can be mounted: ramfs has no fallocate(2).
  package static let canBePlain = SmallFileSystem("ramfs", options: "mode=0700") != nil
  /// Why not, for a test that is skipped.
  package static let reason = "a full disk needs a small file system, and mounting one needs root"
}
