import Glibc

// What arrays do by themselves, in one call: in a debug build theirs goes byte by byte, through several calls each.

/// Whether two arrays hold the same.
package func areSame(_ one: [UInt8], _ other: [UInt8]) -> Bool { areSame(one[...], other[...]) }

/// Whether two stretches of arrays hold the same.
package func areSame(_ one: ArraySlice<UInt8>, _ other: ArraySlice<UInt8>) -> Bool {
  one.withUnsafeBytes { one in
    other.withUnsafeBytes { other in
      guard let first = one.baseAddress, let second = other.baseAddress else { return one.count == other.count }
      return one.count == other.count && memcmp(first, second, one.count) == 0
    }
  }
}

extension [UInt8] {
  /// Overwrites the bytes from `place` on.
  package mutating func put(_ bytes: [UInt8], at place: Int) {
    bytes.withUnsafeBytes { put($0, at: place) }
  }

  /// Overwrites the bytes from `place` on.
  package mutating func put(_ bytes: UnsafeRawBufferPointer, at place: Int) {
    precondition(place >= 0 && bytes.count <= count - place, "behind the end")
    withUnsafeMutableBytes { UnsafeMutableRawBufferPointer(rebasing: $0[place...]).copyMemory(from: bytes) }
  }

  /// Makes a stretch of it zero.
  package mutating func clear(_ range: Range<Int>) {
    withUnsafeMutableBytes {
      _ = UnsafeMutableRawBufferPointer(rebasing: $0[range]).initializeMemory(as: UInt8.self, repeating: 0)
    }
  }
}

extension SeededRandom {
  /// So many bytes that look random.
  package mutating func bytes(_ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: (count + 7) & ~7)
    for place in stride(from: 0, to: bytes.count, by: 8) {
      let word = next()
      bytes.withUnsafeMutableBytes { $0.storeBytes(of: word, toByteOffset: place, as: UInt64.self) }
    }
    bytes.removeLast(bytes.count - count)
    return bytes
  }
}
