import Baton
import BatonSystem
import Glibc

/// Writes what a workload submits as fio's iolog, version 3, which fio and `run --read_iolog` replay. Buffered: a write
/// every few thousand requests, which the host waits for.
package final class IologWriter {
  private let path: String
  private let file: UnsafeMutablePointer<FILE>
  private let names: [String]
  private let start: UInt64
  private var failure: CInt = 0

  /// `names` are the files of the targets, as the log has them.
  package init(_ path: String, names: [String], start: UInt64) throws(BatonError) {
    guard let file = fopen(path, "we") else {
      throw BatonError(result: -Int(errno), path, doing: "making the log", fix: "name another file with --write_iolog")
    }
    self.path = path
    self.file = file
    self.names = names
    self.start = start
    line("fio version 3 iolog\n")
    for action in ["add", "open"] { for name in names { line("0 \(name) \(action)\n") } }
  }

  private func line(_ text: String) {
    if fputs(text, file) < 0, failure == 0 { failure = errno }
  }

  /// A request that is submitted at that time.
  package func append(at now: UInt64, isRead: Bool, target: Int, offset: UInt64, length: Int) {
    line("\((now &- start) / 1000) \(names[target]) \(isRead ? "read" : "write") \(offset) \(length)\n")
  }

  /// Ends the log.
  ///
  /// - Throws: an error if part of it could not be written.
  package func finish(at now: UInt64) throws(BatonError) {
    for name in names { line("\((now &- start) / 1000) \(name) close\n") }
    if fflush(file) != 0, failure == 0 { failure = errno }
    if failure != 0 { throw BatonError(result: -Int(failure), path, doing: "writing the log", fix: "make room for it") }
  }

  deinit { fclose(file) }
}
