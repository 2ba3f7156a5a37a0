/// Whether spinning for a moment before a rest pays, learned from the last ones: apart for rests in which the storage
/// is to answer and for those in which only clients are.
struct RestSpins {
  private var scores: (clients: Int8, storage: Int8) = (0, 0)
  private var rests: UInt32 = 0

  /// About what a sleep and its wake-up take: who waits longer is better off asleep.
  static var nanosecondsMax: UInt64 { 20_000 }
  static var looksPerClock: Int { 32 }
  /// How much the last spins count at the most.
  private static var scoreMax: Int8 { 8 }
  /// Rests between two attempts where it has not paid.
  private static var restsPerAttempt: UInt32 { 32 }

  mutating func isWorthwhile(whileStoring isStoring: Bool) -> Bool {
    rests &+= 1
    return (isStoring ? scores.storage : scores.clients) >= 0 || rests % Self.restsPerAttempt == 0
  }

  mutating func ended(whileStoring isStoring: Bool, hasPaid: Bool) {
    let change: Int8 = hasPaid ? 1 : -1
    if isStoring {
      scores.storage = max(min(scores.storage + change, Self.scoreMax), -Self.scoreMax)
    } else {
      scores.clients = max(min(scores.clients + change, Self.scoreMax), -Self.scoreMax)
    }
  }
}
