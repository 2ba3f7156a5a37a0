import Baton
import BatonSystem
import Glibc

/// A folder for files that last as long as a command, removed when it ends, however it ends.
package struct ScratchDirectory: ~Copyable {
  package let path: String
  /// Whether it stays.
  package var isKept = false

  /// In `parent`, which should lie on a real file system: O_DIRECT and late I/O need one.
  package init(in parent: String, name: String) throws(BatonError) {
    var template = Array("\(parent)/baton-\(name)-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw BatonError(
        result: -Int(errno), parent, doing: "making a scratch folder", fix: "name another with --directory")
    }
    let made = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    // Absolute if possible: the process that removes it later may run in another folder.
    if let resolved = realpath(made, nil) {
      path = String(cString: resolved)
      free(resolved)
    } else {
      path = made
    }
  }

  /// The default place of such files: TMPDIR, else /var/tmp, which lies on a disk where /tmp may not.
  package static var parent: String {
    if let named = getenv("TMPDIR"), named.pointee != 0 { return String(cString: named) }
    return "/var/tmp"
  }

  deinit { if !isKept { Self.remove(path) } }

  /// Removes one with its files. If it has folders in it, which nothing here makes, they stay, and it stays with them.
  package static func remove(_ path: String) {
    if let directory = opendir(path) {
      while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) {
          String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != ".", name != ".." { unlink("\(path)/\(name)") }
      }
      closedir(directory)
    }
    rmdir(path)
  }

  /// Removes one that a process has left behind: a folder of this user's own, by the name that such folders have.
  package static func removeLeftOver(_ path: String) {
    var facts = stat()
    let name = path.split(separator: "/").last ?? ""
    guard path.hasPrefix("/"), name.hasPrefix("baton-"), lstat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFDIR,
      facts.st_uid == getuid()
    else { return }
    remove(path)
  }
}
