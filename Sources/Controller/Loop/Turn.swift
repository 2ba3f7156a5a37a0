/// The present turn of a controller's loop: its number and time, what is left for it to do, and the bytes that it has
/// moved.
struct Turn: ~Copyable {
  var clock = LoopClock()
  /// What this turn, or the next one, has to do.
  var due: Due = .look
  /// The bytes that a turn moves, and each channel's share of them.
  private var budget: TurnBudget

  init(channels: Int) { budget = TurnBudget(channels: channels) }

  /// Bytes have been moved for a channel.
  mutating func charge(_ channel: ChannelIndex, bytes: Int) { budget.charge(channel, bytes: bytes, in: clock.turn) }

  /// Whether this turn has moved as many bytes as it may.
  var isSpent: Bool {
    @inline(__always) get { budget.isSpent(in: clock.turn) }
  }

  /// Whether a channel has used up its share, so that the controller takes no request that moves bytes from it in this
  /// turn.
  @inline(__always)
  mutating func holdsBack(_ channel: ChannelIndex) -> Bool {
    guard budget.owes(channel), budget.holdsBack(channel, in: clock.turn) else { return false }
    due.insert(.look)
    return true
  }

  /// The turn's bytes have been moved.
  ///
  /// - Returns: how many channels were held back: there is work left.
  mutating func endBudget() -> Int { budget.endTurn() }
}
