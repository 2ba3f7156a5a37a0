import BatonSystem
import Glibc

/// A folder of a test's own, removed with everything in it when the test lets go of it.
package final class ScratchFolder {
  /// Where it is. Short, because sockets' paths are.
  package let path: String

  /// Makes it in `/tmp`, or on tmpfs.
  package init(onTmpfs: Bool = false) throws {
    var template = Array((onTmpfs ? "/dev/shm/baton-test-XXXXXX" : "/tmp/baton-test-XXXXXX").utf8CString)
    guard mkdtemp(&template) != nil else { throw BatonError(.system, "mkdtemp", "failed with errno \(errno)") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { Self.remove(path) }

  /// The path of something in it.
  package func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

  /// What lies in it, in order of name.
  package var contents: [String] { Self.entries(of: path) }

  /// Makes a file of that many bytes, all zero.
  @discardableResult
  package func file(_ name: String, count: Int) throws -> String {
    try write([UInt8](repeating: 0, count: count), to: name)
  }

  /// Makes a file with these bytes.
  @discardableResult
  package func write(_ bytes: [UInt8], to name: String) throws -> String {
    let path = self(name)
    try writeBytes(bytes, to: path)
    return path
  }

  private static func entries(of path: String) -> [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  private static func remove(_ path: String) {
    var facts = stat()
    guard lstat(path, &facts) == 0 else { return }
    if facts.st_mode & S_IFMT == S_IFDIR {
      for entry in entries(of: path) { remove("\(path)/\(entry)") }
      rmdir(path)
    } else {
      unlink(path)
    }
  }
}

/// All of a file's bytes.
package func readBytes(of path: String) throws -> [UInt8] {
  let number = open(path, O_RDONLY | O_CLOEXEC)
  let file = OwnedDescriptor(try check(number < 0 ? -errno : number, path, doing: "opening"))
  var bytes = [UInt8](repeating: 0, count: Int(try FileFacts(of: file, subject: path).size))
  var done = 0
  while done < bytes.count {
    let count = bytes.withUnsafeMutableBytes {
      pread(file.number, $0.baseAddress! + done, $0.count - done, off_t(done))
    }
    guard count > 0 else { throw BatonError(.system, path, "reading ended at \(done) of \(bytes.count)") }
    done += count
  }
  return bytes
}

/// Writes a file again: if it exists, it keeps its inode.
package func writeBytes(_ bytes: [UInt8], to path: String) throws {
  try write(bytes, 0..<bytes.count, to: path, O_CREAT | O_TRUNC)
}

/// The same for a file that holds `old`: writes what has changed.
package func writeBytes(_ bytes: [UInt8], to path: String, over old: [UInt8]) throws {
  guard bytes.count == old.count else { return try writeBytes(bytes, to: path) }
  let pages = stride(from: 0, to: bytes.count, by: 4096).map { $0..<min($0 + 4096, bytes.count) }
  for page in pages where !areSame(bytes[page], old[page]) { try write(bytes, page, to: path, 0) }
}

private func write(_ bytes: [UInt8], _ range: Range<Int>, to path: String, _ flags: CInt) throws {
  let number = open(path, O_RDWR | O_CLOEXEC | flags, 0o600)
  let file = OwnedDescriptor(try check(number < 0 ? -errno : number, path, doing: "opening"))
  var done = range.lowerBound
  while done < range.upperBound {
    let count = bytes.withUnsafeBytes {
      pwrite(file.number, $0.baseAddress! + done, range.upperBound - done, off_t(done))
    }
    guard count > 0 else { throw BatonError(.system, path, "writing ended at \(done) of \(range.upperBound)") }
    done += count
  }
}
