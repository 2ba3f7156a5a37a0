import Baton
import BatonSystem
import Glibc

/// A file that the user has named for a report. `-` is standard output.
package enum OutputFile {
  /// Finds out whether it can be written, before something takes minutes whose result would have nowhere to go. Opens
  /// nothing: a reader at the other end of a pipe would take that for the result.
  package static func check(_ path: String) throws(BatonError) {
    if path == "-" { return }
    let facts = FileFacts(path: path)
    if facts?.kind == .directory { throw notWritable(path, EISDIR) }
    let isWritable = facts == nil ? access(folder(of: path), W_OK | X_OK) == 0 : access(path, W_OK) == 0
    if !isWritable { throw notWritable(path, errno) }
  }

  /// Writes the whole text, in place of the old one.
  ///
  /// A file is replaced as a whole or not at all: the text goes to a file next to it, which then takes its name. A
  /// pipe, a terminal, or a file in a folder that may not be written, is written directly.
  package static func write(_ text: String, to path: String) throws(BatonError) {
    if path == "-" {
      Console.printAsItIs(String(text.hasSuffix("\n") ? text.dropLast() : text[...]))
      return try Console.checkOutput()
    }
    try write(Array(text.utf8), to: path)
  }

  /// The same for bytes that are no text. `-` is a file of that name here: nobody wants them on a terminal.
  package static func write(_ bytes: [UInt8], to path: String) throws(BatonError) {
    // Where a link leads to: the link stays.
    var target = path
    if let resolved = realpath(path, nil) {
      target = String(cString: resolved)
      free(resolved)
    }
    let facts = FileFacts(path: target)
    if facts != nil, facts?.kind != .regular || access(folder(of: target), W_OK | X_OK) != 0 {
      return try writeInPlace(bytes, target, named: path)
    }
    try replace(target, with: bytes, named: path)
  }

  private static func replace(_ target: String, with bytes: [UInt8], named path: String) throws(BatonError) {
    var template = Array("\(target).XXXXXX".utf8CString)
    let number = mkstemp(&template)
    if number < 0 { throw notWritable(path, errno) }
    let file = OwnedDescriptor(number)
    var present = stat()
    let hasOld = stat(target, &present) == 0
    // mkstemp(3) lets nobody else read it: a new one gets what any new file would get, one in an old one's place that
    // one's mode.
    let mask = umask(0)
    umask(mask)
    var failure = fchmod(file.number, hasOld ? present.st_mode & 0o7777 : 0o666 & ~mask) == 0 ? 0 : errno
    if failure == 0 { failure = Console.write(bytes, to: file.number) }
    // Some file systems say only now that there is no room.
    if failure == 0, fsync(file.number) != 0, errno != EINVAL { failure = errno }
    if failure == 0, rename(template, target) != 0 { failure = errno }
    if failure == 0 { return }
    unlink(template)
    throw notWritten(path, failure)
  }

  private static func writeInPlace(_ bytes: [UInt8], _ target: String, named path: String) throws(BatonError) {
    let number = open(target, O_WRONLY | O_TRUNC | O_CLOEXEC)
    if number < 0 { throw notWritable(path, errno) }
    let file = OwnedDescriptor(number)
    let failure = Console.write(bytes, to: file.number)
    if failure != 0 { throw notWritten(path, failure) }
  }

  private static func folder(of path: String) -> String {
    path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
  }

  private static func notWritable(_ path: String, _ reason: CInt) -> BatonError {
    BatonError(.permission, path, "cannot be written: \(String(cString: strerror(reason)))", fix: "name another file")
  }

  private static func notWritten(_ path: String, _ reason: CInt) -> BatonError {
    BatonError(
      .exhausted, path, "cannot be written: \(String(cString: strerror(reason)))",
      fix: reason == EFBIG ? "raise the limit on the size of files (ulimit -f)" : "make room for it")
  }
}
