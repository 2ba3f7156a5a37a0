/// Whether spinning for a moment before a rest pays, learned from the last ones.
///
/// Only for a client that asks one thing after the other: its answer is on its way, and it is awake. While the storage
/// works a spin saves nobody anything on most disks, and costs more than a sleep; and of a client with many requests
/// outstanding more of them come together while the loop sleeps.
struct RestSpins {
  private var score: Int8 = 0
  private var rests: UInt32 = 0
  /// Requests that had been taken at the last rest.
  private var requests: UInt64 = 0

  /// About what a sleep and its wake-up take: who waits longer is better off asleep.
  static var nanosecondsMax: UInt64 { 20_000 }
  static var looksPerClock: Int { 32 }
  /// How much the last spins count at the most.
  private static var scoreMax: Int8 { 8 }
  /// Rests between two attempts where it has not paid.
  private static var restsPerAttempt: UInt32 { 32 }
  /// Requests since the last rest from which on several are outstanding.
  private static var requestsMax: UInt64 { 2 }

  /// Asked before each rest. `requests`: taken so far.
  mutating func isWorthwhile(after requests: UInt64, whileStoring isStoring: Bool) -> Bool {
    let taken = requests &- self.requests
    self.requests = requests
    if isStoring || taken > Self.requestsMax { return false }
    rests &+= 1
    return score >= 0 || rests % Self.restsPerAttempt == 0
  }

  mutating func ended(hasPaid: Bool) { score = max(min(score + (hasPaid ? 1 : -1), Self.scoreMax), -Self.scoreMax) }
}
