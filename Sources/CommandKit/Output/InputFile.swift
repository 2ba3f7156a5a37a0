import Baton
import Glibc

/// A file that is read as a whole.
package enum InputFile {
  /// All of it, at most `bytesMax`.
  package static func read(_ path: String, bytesMax: Int, fix: String = "") throws(BatonError) -> [UInt8] {
    guard let file = fopen(path, "r") else {
      throw BatonError(result: -Int(errno), path, doing: "opening it", fix: fix)
    }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = fread(&buffer, 1, buffer.count, file)
      bytes += buffer[..<count]
      if bytes.count > bytesMax { throw BatonError(.invalid, path, "has more than \(bytesMax) bytes", fix: fix) }
      if count < buffer.count { break }
    }
    if ferror(file) != 0 { throw BatonError(result: -Int(errno), path, doing: "reading it") }
    return bytes
  }
}
