/// A row of atomic words, numbered from zero.
///
/// In shared memory it is an array with a stride; in a test it is whatever the test needs.
public protocol AtomicMemory {
  /// The type of the row's words.
  associatedtype Word: AtomicWord
  /// The word with that number.
  func word(_ index: Int) -> Word
}

/// Words in shared memory, `stride` bytes apart. An address and nothing more.
@frozen
public struct SharedWords: AtomicMemory {
  @usableFromInline let base: UnsafeMutableRawPointer
  @usableFromInline let stride: Int
  @usableFromInline let count: Int

  /// `count` words from `base`, 8-byte aligned, `stride` bytes apart (a multiple of 8).
  @inlinable
  public init(base: UnsafeMutableRawPointer, stride: Int, count: Int) {
    precondition(UInt(bitPattern: base) & 7 == 0 && stride & 7 == 0, "words lie on 8-byte boundaries")
    self.base = base
    self.stride = stride
    self.count = count
  }

  /// The word with that number. Traps outside of the row.
  @inlinable @inline(__always)
  public func word(_ index: Int) -> SharedWord {
    precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "a word outside of its row")
    return SharedWord(base + index &* stride)
  }
}
