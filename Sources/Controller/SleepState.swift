import BatonSharedMemory
import BatonSubsystem
import BatonSystem

/// What a controller knows of its own sleep: what it has said to those who may have to wake it, and which of their
/// words its ring listens to. See `SleepWord`.
struct SleepState: ~Copyable {
  /// One word that may be listened to.
  enum Doorbell: UInt8 {
    /// The ring does not wait for it.
    case unarmed
    /// The ring waits for it, over as many sleeps as pass without its being rung.
    case armed
    /// The wait belongs to a channel that is gone, and its end has not been heard of. The place is not listened to
    /// meanwhile, and who comes into it rings by its socket.
    case ending
  }

  /// Whether the words say that this controller is drowsy, when it is awake.
  var isDrowsy = false
  /// Whether everybody who looks at the words is known to see that, or something newer.
  var isHeeded = false
  /// Whether every word says at present that it sleeps.
  var isLyingDown = false
  /// Whether the ring can wait for a word, as far as is known.
  var listens: Bool
  /// One a channel, and the last one for the word that the other controller rings.
  let doorbells: Table<Doorbell>
  /// Requests taken until it last lay down.
  var requestsBefore: UInt64 = 0
  /// The number of the doorbell that the other controller rings.
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
