import BatonSharedMemory
import CBatonShims
import Glibc

/// Where a controller listens, in a file of the subsystem's folder, for as long as clients are to be served there. The
/// sockets themselves are handed from one controller to the other while both live; when a controller has left and its
/// peer dies, nobody has them any more, and this file is what the peer's next life knows of them.
struct AddressFile {
  let path: String

  /// More than the longest addresses, as many as there may be.
  private static let bytesMax = 8192

  /// What it says; empty where there is none, or nothing in it makes sense.
  func read() -> [NBDAddress] {
    let file = OwnedDescriptor(baton_open(path, false, false, false))
    if file.number < 0 { return [] }
    var text = [UInt8](repeating: 0, count: Self.bytesMax)
    let count = pread(file.number, &text, text.count, 0)
    return String(decoding: text.prefix(max(count, 0)), as: UTF8.self).split(separator: "\n").prefix(
      Int(BATON_LISTENERS_MAX)
    ).compactMap { line in
      do throws(BatonError) { return try NBDAddress(parsing: String(line)) } catch { return nil }
    }
  }

  /// Says it, whole or not at all.
  func write(_ addresses: [NBDAddress]) throws(BatonError) {
    let unfinished = "\(path).new"
    unlink(unfinished)
    let file = OwnedDescriptor(try check(baton_open(unfinished, true, false, true), unfinished, doing: "making"))
    let text = Array(addresses.map { "\($0)\n" }.joined().utf8)
    let written = Glibc.write(file.number, text, text.count)
    guard written == text.count, rename(unfinished, path) == 0 else {
      let reason = written < 0 || written == text.count ? errno : ENOSPC
      unlink(unfinished)
      throw BatonError(result: -Int(reason), path, doing: "writing it")
    }
  }

  /// Nobody is to listen there any more.
  func remove() { unlink(path) }
}
