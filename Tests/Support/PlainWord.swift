import BatonSharedMemory

/// A word of a test's own memory: what the protocol runs on where a test wants to look on or to interfere.
package final class PlainWord: AtomicWord {
  /// What it holds.
  package var value: UInt64
  /// Called before the step of that number, counted over all steps, with whether it is a compare-and-swap: the
  /// place for somebody else's step.
  package var before: (Step, Int) -> Void = { _, _ in }
  /// Steps so far.
  package private(set) var steps = 0

  /// What can be done to a word.
  package enum Step: Equatable { case load, store, compareExchange, exchange }

  /// A word that begins with this.
  package init(_ value: UInt64 = 0) { self.value = value }

  private func step(_ step: Step) {
    steps += 1
    before(step, steps)
  }

  package func loadRelaxed() -> UInt64 {
    step(.load)
    return value
  }

  package func loadAcquiring() -> UInt64 {
    step(.load)
    return value
  }

  package func storeRelaxed(_ value: UInt64) {
    step(.store)
    self.value = value
  }

  package func storeReleasing(_ value: UInt64) {
    step(.store)
    self.value = value
  }

  package func compareExchange(expected: UInt64, desired: UInt64) -> (exchanged: Bool, original: UInt64) {
    step(.compareExchange)
    let original = value
    if original == expected { value = desired }
    return (original == expected, original)
  }

  package func exchange(_ value: UInt64) -> UInt64 {
    step(.exchange)
    let original = self.value
    self.value = value
    return original
  }

  package func fence() {}
}

/// A row of such words.
package final class PlainMemory: AtomicMemory {
  /// The words.
  package let words: [PlainWord]

  /// That many words, all zero.
  package init(count: Int) { words = (0..<count).map { _ in PlainWord() } }

  package func word(_ index: Int) -> PlainWord { words[index] }
}
