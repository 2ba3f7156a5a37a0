import Baton
import Glibc

/// A file that the user has named for a report. `-` is standard output.
enum OutputFile {
  /// Finds out whether it can be written, before something takes minutes whose result would have nowhere to go.
  static func check(_ path: String) throws(BatonError) {
    if path == "-" { return }
    fclose(try open(path, "a"))
  }

  /// The whole text, in place of what was there.
  static func write(_ text: String, to path: String) throws(BatonError) {
    if path == "-" {
      Console.print(String(text.hasSuffix("\n") ? text.dropLast() : text[...]))
      return try Console.checkOutput()
    }
    let file = try open(path, "w")
    defer { fclose(file) }
    guard fputs(text, file) >= 0, fflush(file) == 0 else {
      throw BatonError(
        .exhausted, path, "cannot be written: \(String(cString: strerror(errno)))", mend: "make room for it")
    }
  }

  private static func open(_ path: String, _ mode: String) throws(BatonError) -> UnsafeMutablePointer<FILE> {
    guard let file = fopen(path, mode) else {
      throw BatonError(
        .permission, path, "cannot be written: \(String(cString: strerror(errno)))", mend: "name another file")
    }
    return file
  }
}
