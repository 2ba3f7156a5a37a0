import BatonSharedMemory
import BatonSystem
import CBatonShims
import Glibc

/// A robust lock that the thread of a controller's loop holds while it runs: the earliest sign of its death.
///
/// When a thread dies the kernel marks the locks that it holds, and wakes their waiters, at the beginning of its exit
/// (futex_exit_release, kernel/exit.c): no instruction of it follows, but its memory and its files are still to be
/// taken apart, which takes milliseconds with thousands of units. A pidfd tells only after that.
///
/// Held by `Controller.run` alone: an embedder may turn the loop from one thread after another, and the end of one
/// of them would look like a death.
public struct LifeLock {
  private let base: UnsafeMutableRawPointer
  /// futex(2): somebody waits; the owner has died.
  private static let waiters: UInt32 = 0x8000_0000
  private static let ownerDied: UInt32 = 0x4000_0000

  /// 64 bytes of shared memory, zeroed before the first use.
  public init(base: UnsafeMutableRawPointer) { self.base = base }

  /// The word that the kernel marks.
  public var word: SharedFutexWord { SharedFutexWord(base) }

  /// A new life begins, and has not taken the lock.
  public func clear() { memset(base, 0, 64) }

  /// Takes it, for this thread.
  public func begin() throws(BatonError) {
    try check(shim_life_begin(base), "life lock", doing: "taking it")
  }

  /// Gives it up, in the same thread.
  public func end() { shim_life_end(base) }

  /// Whether the thread that held it has died.
  ///
  /// Sync point "death": the kernel's mark, and this acquire, by which everything that the thread wrote is seen.
  public var isMarkedDead: Bool { word.loadAcquiring() & Self.ownerDied != 0 }

  /// Says that somebody waits, so that the kernel wakes. Returns the value to wait on; nil if nobody holds it, or it
  /// is marked already.
  public func announceWaiter() -> UInt32? {
    let value = word.loadRelaxed()
    if value & ~Self.waiters == 0 || value & Self.ownerDied != 0 { return nil }
    let announced = value | Self.waiters
    return value == announced || word.compareExchange(expected: value, desired: announced) ? announced : nil
  }
}
