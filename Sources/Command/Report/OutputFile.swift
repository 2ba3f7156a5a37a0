import Baton
import BatonSharedMemory
import Glibc

/// A file that the user has named for a report. `-` is standard output.
enum OutputFile {
  /// Finds out whether it can be written, before something takes minutes whose result would have nowhere to go. Opens
  /// nothing: a reader at the other end of a pipe would take that for the result.
  static func check(_ path: String) throws(BatonError) {
    if path == "-" { return }
    let facts = FileFacts(path: path)
    if facts?.kind == .directory { throw notWritable(path, EISDIR) }
    let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    let isWritable = facts == nil ? access(folder, W_OK | X_OK) == 0 : access(path, W_OK) == 0
    if !isWritable { throw notWritable(path, errno) }
  }

  /// The whole text, in place of what was there.
  static func write(_ text: String, to path: String) throws(BatonError) {
    if path == "-" {
      Console.print(String(text.hasSuffix("\n") ? text.dropLast() : text[...]))
      return try Console.checkOutput()
    }
    let file = try open(path)
    defer { fclose(file) }
    guard fputs(text, file) >= 0, fflush(file) == 0 else {
      throw BatonError(
        .exhausted, path, "cannot be written: \(String(cString: strerror(errno)))", mend: "make room for it")
    }
  }

  private static func open(_ path: String) throws(BatonError) -> UnsafeMutablePointer<FILE> {
    guard let file = fopen(path, "w") else { throw notWritable(path, errno) }
    return file
  }

  private static func notWritable(_ path: String, _ reason: CInt) -> BatonError {
    BatonError(.permission, path, "cannot be written: \(String(cString: strerror(reason)))", mend: "name another file")
  }
}
