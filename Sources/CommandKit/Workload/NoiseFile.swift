import Baton
import BatonSystem
import Glibc

/// A file of noise: no storage makes it smaller, and no two stretches of it are alike.
package enum NoiseFile {
  /// Creates it at `path`, or overwrites an existing file. The noise follows from the seed.
  package static func make(at path: String, count: UInt64, seed: UInt64) throws(BatonError) {
    guard let file = fopen(path, "wb") else {
      throw BatonError(result: -Int(errno), path, doing: "making the scratch image")
    }
    var random = SplitMix64(seed: seed)
    var words = [UInt64](repeating: 0, count: 8192)
    var failure: CInt = 0
    for _ in 0..<count / 65536 where failure == 0 {
      for index in words.indices { words[index] = random.next() }
      if fwrite(words, 8, words.count, file) != words.count { failure = errno }
    }
    if fclose(file) != 0, failure == 0 { failure = errno }
    if failure != 0 {
      throw BatonError(
        .exhausted, path, "cannot be written: \(String(cString: strerror(failure)))",
        fix: failure == EFBIG
          ? "raise the limit on the size of files (ulimit -f)" : "make room for \(ByteCount.describe(count))")
    }
  }
}
