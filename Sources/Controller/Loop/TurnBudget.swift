import BatonStorage
import BatonSystem

/// How many bytes a turn of the loop moves, and each channel's share of them.
///
/// A turn moves a bounded number of bytes, whatever hosts ask for, and for each channel its share of them (deficit
/// round robin, Shreedhar and Varghese 1995). A channel that has used up its share has no request taken before the
/// following turns have paid for it. Long transfers of memory units are moved piece by piece, with a lane for each
/// channel (`Storage.nextPiece`). Nothing of this is on the path of a request that moves nothing.
///
/// Invariants: a channel without debt is never held back; a debt falls by the channel's share with every turn.
struct TurnBudget: ~Copyable {
  // Not private: Swift 6.3 emits no metadata that the other files of a module could link for a private type in a
  // generic noncopyable one.
  struct Account {
    /// Bytes that were moved for the channel and that no turn has paid for.
    var debt = 0
    /// The last turn that has paid.
    var turn: UInt64 = 0
  }

  private let accounts: Table<Account>
  /// Bytes per turn for one channel.
  private var share = shareMax
  /// Channels that were held back in this turn.
  private var heldBack = 0
  /// Bytes moved in the turn `movedIn`.
  private var moved = 0
  private var movedIn: UInt64 = 0

  /// Bytes that the loop moves in a turn for one channel, where few compete, and for all of them together.
  private static var shareMax: Int { 262_144 }
  private static var turnMax: Int { 1 << 20 }
  /// A channel's share where many compete: a piece.
  private static var shareMin: Int { Int(Storage.pieceSize) }
  /// Turns after which every debt is paid, as far as the sum goes.
  private static var turnsPaidMax: UInt64 { 1 << 20 }

  init(channels: Int) { accounts = Table(repeating: Account(), count: channels) }

  /// Bytes have been moved for a channel in this turn.
  mutating func charge(_ channel: ChannelIndex, bytes: Int, in turn: UInt64) {
    assert(bytes >= 0, "bytes that were moved are not negative")
    if bytes == 0 { return }
    settle(channel, turn)
    accounts[channel.number].debt += bytes
    if movedIn != turn {
      movedIn = turn
      moved = 0
    }
    moved += bytes
  }

  /// The turns since have paid for a part of a channel's debt.
  private func settle(_ channel: ChannelIndex, _ turn: UInt64) {
    let turns = turn &- accounts[channel.number].turn
    if turns == 0 { return }
    accounts[channel.number].turn = turn
    let paid = min(turns, Self.turnsPaidMax) &* UInt64(share)
    accounts[channel.number].debt = max(accounts[channel.number].debt - Int(truncatingIfNeeded: paid), 0)
  }

  /// Whether a channel owes anything. Most never do: one load.
  @inline(__always)
  func owes(_ channel: ChannelIndex) -> Bool { accounts[channel.number].debt != 0 }

  /// Whether a channel has used up its share, so that nothing is taken from it in this turn.
  @inline(never)
  mutating func holdsBack(_ channel: ChannelIndex, in turn: UInt64) -> Bool {
    settle(channel, turn)
    if accounts[channel.number].debt < share { return false }
    heldBack += 1
    return true
  }

  /// Whether this turn has moved as many bytes as it may.
  @inline(__always)
  func isSpent(in turn: UInt64) -> Bool { moved >= Self.turnMax && movedIn == turn }

  /// The turn is over: the next one's shares depend on how many channels were held back.
  ///
  /// - Returns: how many were: there is work left.
  mutating func endTurn() -> Int {
    let held = heldBack
    heldBack = 0
    share = held <= 4 ? Self.shareMax : max(Self.turnMax / held, Self.shareMin)
    return held
  }
}
