import BatonSystem

/// The turns of a controller's loop, and the time as it was last read.
///
/// The beat grows by one with each turn, and within a turn by `housekeepingTurns` after work that may take its time:
/// the peer would take a turn full of large transfers for silence. Such a jump shifts nothing that is done
/// every so many turns.
struct LoopClock {
  /// The number that the record shows to the peer.
  private(set) var beat: UInt64 = 0
  private var jumps: UInt64 = 0
  /// The time as of the last look at the clock, in monotonic nanoseconds: every `lookTurns` turns, and after each
  /// sleep.
  private(set) var time: UInt64 = 0

  /// Turns between two looks at everything, and at the clock for the peer's sake. A power of two.
  static var lookTurns: UInt64 { 64 }
  /// Turns between two looks at what no hint tells of. A multiple of `lookTurns`.
  static var housekeepingTurns: UInt64 { 1024 }

  /// Turns, each once: for what is asked seldom.
  var turn: UInt64 { beat &- jumps &* Self.housekeepingTurns }

  /// Whether this turn looks at everything.
  @inline(__always)
  var isLookDue: Bool { beat & (Self.lookTurns - 1) == 0 }

  /// Whether this turn looks after what no hint tells of.
  var isHousekeepingDue: Bool { beat & (Self.housekeepingTurns - 1) == 0 }

  /// A turn begins: the new beat.
  @inline(__always)
  mutating func begin() -> UInt64 {
    beat &+= 1
    return beat
  }

  /// The loop goes on within a turn: the new beat.
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
