import BatonRing
import BatonSharedMemory
import BatonTestSupport
import Glibc
import Testing

@Suite("Ring: what is left when it goes")
struct RingTests {
  /// A word of this process's own.
  private final class Word {
    private let base = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64)
    var futex: SharedFutexWord { SharedFutexWord(base) }

    init() { base.initializeMemory(as: UInt64.self, repeating: 0, count: 8) }
    deinit { base.deallocate() }
  }

  /// Waits for the word in a ring, which has gone when this returns.
  ///
  /// - Returns: false where the kernel cannot do that (before 6.7).
  private static func waitAndGo(_ word: Word) throws -> Bool {
    let ring = try Ring()
    guard ring.watchFutex(word.futex.address, while: 0, for: .doorbell, index: 0), ring.submit() == 1 else {
      return false
    }
    return ring.next() == nil
  }

  private static let canWait = (try? waitAndGo(Word())) ?? false

  /// Left to the kernel's own time it is more often there than not. What holds for this wait holds for an accept, where
  /// it can be seen less certainly: other tests fork children, which have a copy of the socket for a while.
  @Test("Nothing waits in a ring that has gone", .enabled(if: canWait))
  func endsWaits() throws {
    let word = Word()
    for _ in 0..<200 {
      #expect(try Self.waitAndGo(word))
      #expect(word.futex.wake() == 0)
    }
  }
}
