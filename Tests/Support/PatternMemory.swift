import BatonSystem
import CBatonShims
import Glibc
import Synchronization

/// Memory that holds one byte all over when it is made. It costs what is touched of it and not what it has: every one
/// is a private mapping of one file.
package final class PatternMemory {
  /// The byte.
  package static let byte: UInt8 = 0xa5
  /// The first one, at a multiple of the alignment.
  package let base: UnsafeMutableRawPointer
  private let mapped: UnsafeMutableRawPointer
  private let mappedCount: Int

  /// Files by their size: a few, as many as there are sizes, for as long as the process lives.
  private static let files = Mutex<[Int: CInt]>([:])

  /// So many bytes, at a multiple of `alignment`.
  package init(count: Int, alignment: Int) throws {
    mappedCount = count + alignment
    let file = try Self.file(mappedCount)
    guard let mapped = mmap(nil, mappedCount, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0), mapped != MAP_FAILED else {
      throw BatonError(.system, "memory of \(count) bytes", "mmap failed with errno \(errno)")
    }
    self.mapped = mapped
    base = mapped.alignedUp(toMultipleOf: alignment)
  }

  deinit { munmap(mapped, mappedCount) }

  private static func file(_ count: Int) throws -> CInt {
    try files.withLock { files in
      if let file = files[count] { return file }
      let file = OwnedDescriptor(try check(shim_memfd_create("pattern"), "memory", doing: "memfd_create"))
      let bytes = [UInt8](repeating: byte, count: 1 << 20)
      for offset in stride(from: 0, to: count, by: bytes.count) {
        let part = min(bytes.count, count - offset)
        guard pwrite(file.number, bytes, part, off_t(offset)) == part else {
          throw BatonError(.system, "memory of \(count) bytes", "writing ended at \(offset)")
        }
      }
      let number = file.release()
      files[count] = number
      return number
    }
  }

  /// Whether a part of it is as it was made.
  package func isUntouched(_ range: Range<Int>) -> Bool {
    // The first byte is right, and each of the others is the same as the one before it.
    range.isEmpty
      || base.load(fromByteOffset: range.lowerBound, as: UInt8.self) == Self.byte
        && memcmp(base + range.lowerBound, base + range.lowerBound + 1, range.count - 1) == 0
  }
}
