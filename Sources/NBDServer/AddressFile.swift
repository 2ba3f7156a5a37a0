import BatonSystem
import CBatonShims
import Glibc

/// The addresses at which a controller listens, in a file of the subsystem's folder, for as long as clients are to be
/// served there. The controllers hand the sockets themselves to each other while both live. When a controller has left
/// and its peer dies, nobody holds them any more, and the peer's next life learns of them only from this file.
struct AddressFile {
  let path: String

  /// More than the longest addresses, as many as there may be.
  private static let bytesMax = 8192

  /// Its addresses; empty if the file does not exist or makes no sense.
  func read() -> [NBDAddress] {
    let file = OwnedDescriptor(shim_open(path, false, false, false))
    if file.number < 0 { return [] }
    var text = [UInt8](repeating: 0, count: Self.bytesMax)
    let count = pread(file.number, &text, text.count, 0)
    return String(decoding: text.prefix(max(count, 0)), as: UTF8.self).split(separator: "\n").prefix(
      Int(BATON_LISTENERS_MAX)
    ).compactMap { line in
      do throws(BatonError) { return try NBDAddress(parsing: String(line)) } catch { return nil }
    }
  }

  /// Writes it, whole or not at all.
  func write(_ addresses: [NBDAddress]) throws(BatonError) {
    let unfinished = "\(path).new"
    unlink(unfinished)
    let file = OwnedDescriptor(try check(shim_open(unfinished, true, false, true), unfinished, doing: "making"))
    let text = Array(addresses.map { "\($0)\n" }.joined().utf8)
    let written = Glibc.write(file.number, text, text.count)
    guard written == text.count, rename(unfinished, path) == 0 else {
      let reason = written < 0 || written == text.count ? errno : ENOSPC
      unlink(unfinished)
      throw BatonError(result: -Int(reason), path, doing: "writing it")
    }
  }

  /// Removes it: nobody is to listen there any more.
  func remove() { unlink(path) }
}
