/// How many log lines hosts can cause: of each kind a few at once, and after that a few per second. People read a log,
/// and a disk full of lines is an outage.
///
/// The time is the loop's own, which the loop reads now and then and never for a line.
struct LineLimits {
  /// Kinds of lines, each with an allowance of its own: a flood of one kind hides no other.
  enum Kind: Int, CaseIterable {
    case connection, refusal, offence, arrival, departure, unitState
  }

  private struct Allowance {
    var lines = LineLimits.burst
    var refilledAt: UInt64 = 0
    var withheld: UInt64 = 0
  }

  private var allowances = [Allowance](repeating: Allowance(), count: Kind.allCases.count)

  /// Lines at once: as a rule, as many as hosts that come together.
  static let burst: UInt64 = 64
  /// Nanoseconds for one line more.
  static let lineNanoseconds: UInt64 = 250_000_000

  /// Asks for a line of that kind.
  ///
  /// - Returns: how many lines of its kind were withheld since the last one, or nil: withhold this one too.
  mutating func admit(_ kind: Kind, at now: UInt64) -> UInt64? {
    let due = (now &- min(allowances[kind.rawValue].refilledAt, now)) / Self.lineNanoseconds
    if due > 0 {
      allowances[kind.rawValue].lines = min(allowances[kind.rawValue].lines &+ min(due, Self.burst), Self.burst)
      allowances[kind.rawValue].refilledAt = now
    }
    guard allowances[kind.rawValue].lines > 0 else {
      allowances[kind.rawValue].withheld += 1
      return nil
    }
    allowances[kind.rawValue].lines -= 1
    defer { allowances[kind.rawValue].withheld = 0 }
    return allowances[kind.rawValue].withheld
  }
}
