import Baton
import Glibc

extension InputFile {
  /// Calls `body` with every line, without its end, and the number of the line, from 1.
  package static func forEachLine(
    of path: String, fix: String = "", _ body: (_ line: String, _ number: Int) throws(BatonError) -> Void
  ) throws(BatonError) {
    guard let file = fopen(path, "r") else {
      throw BatonError(result: -Int(errno), path, doing: "opening it", fix: fix)
    }
    defer { fclose(file) }
    var buffer: UnsafeMutablePointer<CChar>?
    defer { free(buffer) }
    var capacity = 0
    var number = 0
    while true {
      errno = 0
      let count = getline(&buffer, &capacity, file)
      guard count >= 0, let buffer else { break }
      number += 1
      let bytes = UnsafeRawBufferPointer(start: buffer, count: count)
      var line = String(decoding: bytes, as: UTF8.self)
      while let last = line.unicodeScalars.last, last == "\n" || last == "\r" { line.unicodeScalars.removeLast() }
      try body(line, number)
    }
    if ferror(file) != 0 { throw BatonError(result: -Int(errno), path, doing: "reading it", fix: fix) }
  }
}
