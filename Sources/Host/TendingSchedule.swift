/// When a host tends its control sockets, and when it tries again to reach a controller that does not run. Both cost
/// system calls, so neither comes more often than needed.
struct TendingSchedule {
  private var looks: UInt32 = 0
  private var tendedAt: UInt64 = 0
  private var reconnectAt: UInt64 = 0

  /// Looks around between two looks at the clock.
  private static let looksPerTend: UInt32 = 64
  /// Nanoseconds between two looks at the control sockets while requests are outstanding.
  private static let nanoseconds: UInt64 = 10_000_000
  /// The same while a controller has still to say whether it takes this host.
  private static let nanosecondsAttaching: UInt64 = 100_000
  /// Nanoseconds between two attempts to reach a controller that is not running.
  private static let nanosecondsReconnecting: UInt64 = 50_000_000

  /// The host looks around: whether the clock is to be read.
  mutating func beginLook() -> Bool {
    looks &+= 1
    return looks % Self.looksPerTend == 0
  }

  /// Whether the control sockets are to be tended at that time.
  func isDue(at now: UInt64, isAttaching: Bool) -> Bool {
    now &- tendedAt > (isAttaching ? Self.nanosecondsAttaching : Self.nanoseconds)
  }

  /// They are tended at that time.
  mutating func begin(at now: UInt64) { tendedAt = now }

  /// Whether controllers that do not run are to be tried again now. If so, they are.
  mutating func beginReconnecting() -> Bool {
    if tendedAt < reconnectAt { return false }
    reconnectAt = tendedAt + Self.nanosecondsReconnecting
    return true
  }
}
