import Glibc

/// A file that processes log to.
package enum LogFile {
  /// Its last line, for messages; empty if it has none or cannot be read.
  package static func lastLine(of path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    var last = ""
    var buffer = [CChar](repeating: 0, count: 4096)
    while fgets(&buffer, CInt(buffer.count), file) != nil {
      last = String(decoding: buffer.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
    return last
  }
}
