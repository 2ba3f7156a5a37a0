import BatonSharedMemory

/// A host's sleep, as it announces it to the controllers (see `SleepWord`).
struct HostSleep {
  private let word: SharedSleepWord
  /// Whether controllers are known to fence before they look whether this host sleeps.
  private var isHeeded = false
  private var tendsSinceSleep: UInt32 = 0

  /// Looks at the control sockets since the last sleep from which on this host is busy. Its next sleep costs a
  /// membarrier, which is little compared with so many polls.
  private static let tendsUntilAwake: UInt32 = 16

  init(_ word: SharedSleepWord) { self.word = word }

  /// Announces a sleep: on the word, or on something else. The caller looks once more whether there is anything to do,
  /// then sleeps or withdraws.
  ///
  /// Sync point "sleep": controllers answer before they look whether this host sleeps.
  mutating func announce(as state: SharedSleepWord.State = .listening) {
    if !isHeeded {
      word.say(.drowsy)
      isHeeded = AsymmetricFence.heavy()
    }
    tendsSinceSleep = 0
    word.say(state)
    word.fence()
  }

  /// Sleeps as announced. Returns whether the caller that rang has written the word already: to write it again would
  /// fetch a line while an answer waits.
  func sleep(nanoseconds: Int64) -> Bool {
    word.wait(nanoseconds: isHeeded ? nanoseconds : min(nanoseconds, AsymmetricFence.sleepNanosecondsMax))
  }

  /// The sleep is over, or does not come about.
  func withdraw() { word.say(.drowsy) }

  /// The control sockets were tended. After a host has been busy for a while, controllers need no longer fence for it.
  mutating func tended() {
    tendsSinceSleep &+= 1
    if !isHeeded || tendsSinceSleep < Self.tendsUntilAwake { return }
    isHeeded = false
    word.say(.awake)
  }
}
