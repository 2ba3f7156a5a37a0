import BatonSystem

/// The turns of a controller's loop, and the time as it was last read.
///
/// The beat grows by one with each turn, and within a turn by `housekeepingTurns` after work that may take its time:
/// otherwise the peer would take a turn full of large transfers for silence. Such a jump does not shift periodic work.
struct LoopClock {
  /// The number that the record shows to the peer.
  private(set) var beat: UInt64 = 0
  private var jumps: UInt64 = 0
  /// The time of the last read of the clock, in monotonic nanoseconds: every `lookTurns` turns, and after each sleep.
  private(set) var time: UInt64 = 0

  /// Turns between two checks of everything, and of the clock for the peer's sake. A power of two.
  static var lookTurns: UInt64 { 64 }
  /// Turns between two checks for what no hint signals. A multiple of `lookTurns`.
  static var housekeepingTurns: UInt64 { 1024 }

  /// The number of turns, each counted once: for infrequent uses.
  var turn: UInt64 { beat &- jumps &* Self.housekeepingTurns }

  /// Whether this turn checks everything.
  @inline(__always)
  var isLookDue: Bool { beat & (Self.lookTurns - 1) == 0 }

  /// Whether this turn checks for what no hint signals.
  var isHousekeepingDue: Bool { beat & (Self.housekeepingTurns - 1) == 0 }

  /// A turn begins: the new beat.
  @inline(__always)
  mutating func begin() -> UInt64 {
    beat &+= 1
    return beat
  }

  /// The loop makes progress within a turn: the new beat.
  @inline(__always)
  mutating func jump() -> UInt64 {
    beat &+= Self.housekeepingTurns
    jumps &+= 1
    return beat
  }

  /// Reads the clock.
  mutating func read() -> UInt64 {
    time = monotonicNanoseconds()
    return time
  }
}
