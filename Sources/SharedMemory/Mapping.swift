import BatonSystem
import CBatonShims
import Glibc

/// Pages shared with other processes, unmapped when their owner goes.
public struct Mapping: ~Copyable {
  /// The start of the pages in this process. Page aligned.
  public let base: UnsafeMutableRawPointer
  /// Bytes mapped.
  public let count: Int

  /// Maps the first `count` bytes of `descriptor`. Cost: one system call; pages come on first touch, or at once where
  /// they are `populated`: then no first touch comes in a moment that counts.
  public init(
    of descriptor: borrowing OwnedDescriptor, count: Int, writable: Bool = true, populated: Bool = false,
    subject: String
  ) throws(BatonError) {
    let protection = writable ? PROT_READ | PROT_WRITE : PROT_READ
    let flags = populated ? MAP_SHARED | MAP_POPULATE : MAP_SHARED
    guard let base = mmap(nil, count, protection, flags, descriptor.number, 0), base != MAP_FAILED else {
      throw BatonError(result: -Int(errno), subject, doing: "mapping \(count) bytes")
    }
    self.base = base
    self.count = count
  }

  /// Takes over pages that `release` gave away.
  public init(adopting base: UnsafeMutableRawPointer, count: Int) {
    self.base = base
    self.count = count
  }

  deinit { munmap(base, count) }

  /// Gives the pages away, for a table that cannot hold this type; `init(adopting:count:)` takes them back.
  public consuming func release() -> UnsafeMutableRawPointer {
    let base = self.base
    discard self
    return base
  }

  /// The word at a byte offset. Traps when it would lie outside of the mapping or across a word boundary.
  public func word(at offset: Int) -> SharedWord {
    precondition(offset >= 0 && offset + 8 <= count && offset & 7 == 0, "a word outside of its mapping")
    return SharedWord(base + offset)
  }
}
