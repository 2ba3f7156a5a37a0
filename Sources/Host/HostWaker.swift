import BatonSharedMemory
import Synchronization

/// Ends a host's wait from any thread.
///
/// A host belongs to the thread that uses it. A program that must call that thread away, for other work or for its end,
/// takes this from `Host.waker()`, and hands it out.
public final class HostWaker: Sendable {
  // Unchecked: an address in shared memory, which the host takes back before it unmaps it; the word is atomic.
  private struct Word: @unchecked Sendable {
    let word: SharedSleepWord
  }

  private let isCalled = Atomic(false)
  /// Nil: the host is gone.
  private let word: Mutex<Word?>

  init(_ word: SharedSleepWord) { self.word = Mutex(Word(word: word)) }

  /// Ends the wait that the host is in, or the next one if it waits for nothing now. Does nothing to a host that is
  /// gone. Cost: a lock, and a system call if the host sleeps.
  public func wake() {
    isCalled.store(true, ordering: .releasing)
    word.withLock { word in
      guard let word = word?.word else { return }
      // Sync point "sleep": the call is published before the look whether the host sleeps.
      AsymmetricFence.light(supported: AsymmetricFence.isSupported)
      if !word.isAwake, word.takeSleep() != nil { _ = word.ring() }
    }
  }

  /// Host: whether it was called since the last look.
  func take() -> Bool {
    isCalled.load(ordering: .relaxed) && isCalled.exchange(false, ordering: .acquiring)
  }

  /// The same for the C interface, whose host is turned by a loop of its own.
  package func takeCall() -> Bool { take() }

  /// Host: it goes, and its memory with it.
  func end() { word.withLock { $0 = nil } }
}

extension Host {
  /// What ends this host's `wait` from another thread; always the same.
  public mutating func waker() -> HostWaker {
    if let callers { return callers }
    let waker = HostWaker(memory.hostParked)
    callers = waker
    return waker
  }
}
