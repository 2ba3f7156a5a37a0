/// When a server does the work that is not needed in every turn.
struct Tending {
  /// Whether some of it is due at once.
  private(set) var isDue = true
  private var turns: UInt64 = 0
  private var tendedAt: UInt64 = 0
  /// Whether the controller stood in for its peer, and served, when it was last done.
  private var stoodIn = false
  private var hasServed = false

  /// Nanoseconds between two times.
  private static var nanoseconds: UInt64 { 100_000_000 }
  /// Turns between two looks at the clock while there is always something to do.
  private static var turnsPerLook: UInt64 { 64 }

  /// Some of it is due at once.
  mutating func setDue() { isDue = true }

  /// A turn begins.
  mutating func beginTurn() { turns &+= 1 }

  /// Whether the clock is to be read in this turn.
  func isLookDue(hasWorked: Bool) -> Bool { !hasWorked || turns % Self.turnsPerLook == 0 || isDue }

  /// Whether the work is due at that time.
  mutating func isDue(at now: UInt64, standsIn: Bool, serves: Bool) -> Bool {
    if standsIn != stoodIn || serves != hasServed { isDue = true }
    return isDue || now &- tendedAt >= Self.nanoseconds
  }

  /// It is done now. What becomes due meanwhile is done in the next turn.
  mutating func begin(at now: UInt64, standsIn: Bool, serves: Bool) {
    tendedAt = now
    isDue = false
    stoodIn = standsIn
    hasServed = serves
  }
}
