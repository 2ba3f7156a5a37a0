import BatonSharedMemory
import BatonSubsystem
import BatonSystem

/// What a controller knows of its own sleep: what it has announced to those who may have to wake it, and which of their
/// words its ring listens to. See `SleepWord`.
struct SleepState: ~Copyable {
  /// One word that may be listened to.
  enum Doorbell: UInt8 {
    /// The ring does not wait for it.
    case unarmed
    /// The ring waits for it, over as many sleeps as pass without its being rung.
    case armed
    /// The wait belongs to a channel that is gone, and its end has not been reported. Meanwhile the ring does not
    /// listen for this place, and a host that takes the place rings by its socket.
    case ending
  }

  /// Whether the words say that this controller is drowsy, when it is awake.
  var isDrowsy = false
  /// Whether everybody who reads the words is known to see that, or something newer.
  var isHeeded = false
  /// Whether every word at present says that the controller sleeps.
  var isLyingDown = false
  /// Whether the ring can wait for a word, as far as is known.
  var listens: Bool
  /// One per channel, and the last one for the word that the peer rings.
  let doorbells: Table<Doorbell>
  /// Requests taken until it last lay down.
  var requestsBefore: UInt64 = 0
  /// The number of the doorbell that the peer rings.
  static var own: Int { 2 * Journal.hostPlaces }

  init(listens: Bool) {
    self.listens = listens
    doorbells = Table(repeating: .unarmed, count: Self.own + 1)
  }

  /// What a word with this number says of a sleep.
  func state(_ doorbell: Int) -> SharedSleepWord.State {
    listens && doorbells[doorbell] != .ending ? .listening : .asleep
  }
}
