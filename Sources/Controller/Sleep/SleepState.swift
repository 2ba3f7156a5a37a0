import BatonSharedMemory
import BatonSubsystem
import BatonSystem

/// What a controller knows of its own sleep: what it has announced to those who may have to wake it, and which of their
/// words its ring listens to. See `SleepWord`.
///
/// Invariant: a controller that is lying down has said so in every word. A channel that is added to the order ends
/// that.
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

  /// Whether others publish with a light fence, because this controller sends a membarrier before it sleeps.
  let usesMembarrier = AsymmetricFence.isSupported
  /// Whether the words say that this controller is drowsy, when it is awake.
  private var isDrowsy = false
  /// Whether everybody who reads the words is known to see that, or something newer.
  private(set) var isHeeded = false
  /// Whether every word at present says that the controller sleeps.
  private(set) var isLyingDown = false
  /// Whether the ring can wait for a word, as far as is known.
  private(set) var listens: Bool
  /// One per channel, and the last one for the word that the peer rings.
  private let doorbells: Table<Doorbell>
  /// Requests taken until it last lay down.
  private var requestsBefore: UInt64 = 0

  /// The number of the doorbell that the peer rings.
  static var own: Int { ChannelIndex.count }
  /// From this many requests since the last sleep on, this controller is busy. Hosts then need no fence for its sake,
  /// and its next sleep costs a membarrier, which is little compared with so many requests.
  private static var requestsUntilAwake: UInt64 { 256 }

  init(listens: Bool) {
    self.listens = listens
    doorbells = Table(repeating: .unarmed, count: Self.own + 1)
  }

  // MARK: What the words say

  /// The controller has said that it is drowsy, and whether everybody sees that.
  mutating func setHeeded(_ isHeeded: Bool) { self.isHeeded = isHeeded }

  /// The controller lies down, with so many requests taken until now.
  mutating func lieDown(requests: UInt64) {
    isDrowsy = true
    isLyingDown = true
    requestsBefore = requests
  }

  /// It gets up: it is awake, and drowsy.
  mutating func getUp() {
    isLyingDown = false
    isDrowsy = true
  }

  /// With so many requests taken until now: whether it is busy, and says that it is awake.
  mutating func rouse(requests: UInt64) -> Bool {
    if !isDrowsy || requests &- requestsBefore < Self.requestsUntilAwake { return false }
    isDrowsy = false
    isHeeded = false
    isLyingDown = false
    return true
  }

  /// A channel is polled from now on. A host that reads its word may have found another state there until now.
  ///
  /// - Returns: what the word says.
  mutating func addChannel() -> SharedSleepWord.State {
    isHeeded = false
    isLyingDown = false
    return isDrowsy ? .drowsy : .awake
  }

  /// What a word with this number says of a sleep.
  func state(_ doorbell: Int) -> SharedSleepWord.State {
    listens && doorbells[doorbell] != .ending ? .listening : .asleep
  }

  // MARK: Doorbells

  /// Whether the ring has to be given a wait for that word before a sleep.
  func isUnarmed(_ doorbell: Int) -> Bool { doorbells[doorbell] == .unarmed }

  /// The ring waits for that word.
  mutating func arm(_ doorbell: Int) { doorbells[doorbell] = .armed }

  /// The ring waits no more.
  mutating func disarm(_ doorbell: Int) { doorbells[doorbell] = .unarmed }

  /// The channel of that doorbell is gone.
  ///
  /// - Returns: whether its wait must be cancelled.
  mutating func end(_ doorbell: Int) -> Bool {
    if doorbells[doorbell] != .armed { return false }
    doorbells[doorbell] = .ending
    return true
  }

  /// The ring cannot wait for a word: everybody rings by the sockets from now on.
  ///
  /// - Returns: whether this is news.
  mutating func stopListening() -> Bool {
    defer { listens = false }
    return listens
  }
}
