import BatonSystem

/// The order in which a controller polls channels: hot ones in every turn, cold ones in rotation.
///
/// Invariants: a channel is listed at most once; the first `hotCount` entries are the hot ones. With 64 hosts attached
/// and one active, a turn polls two lines.
struct PollingOrder: ~Copyable {
  private let channels: Table<Int32>
  /// Channels in the order.
  private(set) var count = 0
  /// The number of hot channels.
  private(set) var hotCount = 0
  private var coldCursor = 0

  /// Channels polled in every turn whatever they do: polling a few costs nothing.
  private static var hotMin: Int { 2 }

  init(channels: Int) { self.channels = Table(repeating: 0, count: channels) }

  /// The channel at that position.
  @inline(__always)
  subscript(_ position: Int) -> ChannelIndex {
    assert(position < count, "a position outside of the polling order")
    return ChannelIndex(Int(channels[position]))
  }

  /// Whether a channel is listed.
  func contains(_ channel: ChannelIndex) -> Bool { (0..<count).contains { channels[$0] == Int32(channel.number) } }

  /// Adds a channel: hot, until it has shown itself idle.
  mutating func add(_ channel: ChannelIndex) {
    assert(!contains(channel), "a channel stands in the polling order twice")
    channels[count] = channels[hotCount]
    channels[hotCount] = Int32(channel.number)
    count += 1
    hotCount += 1
  }

  /// Removes a channel. Not while iterating over the order.
  mutating func remove(_ channel: ChannelIndex) {
    for position in 0..<count where channels[position] == Int32(channel.number) {
      if position < hotCount {
        hotCount -= 1
        channels[position] = channels[hotCount]
        channels[hotCount] = channels[count - 1]
      } else {
        channels[position] = channels[count - 1]
      }
      count -= 1
      return
    }
  }

  /// The channel at a hot position has long been idle: it becomes cold, and another one takes its position.
  ///
  /// - Returns: false where it stays, because so few are hot.
  mutating func cool(position: Int) -> Bool {
    assert(position < hotCount, "a channel that is cold already")
    if hotCount <= Self.hotMin { return false }
    hotCount -= 1
    (channels[position], channels[hotCount]) = (channels[hotCount], channels[position])
    return true
  }

  /// The channel at a cold position has a request: it becomes hot.
  mutating func heat(position: Int) {
    assert(position >= hotCount && position < count, "a channel that is hot already")
    (channels[position], channels[hotCount]) = (channels[hotCount], channels[position])
    hotCount += 1
  }

  /// The position of the cold channel whose turn it is; nil: none is cold.
  @inline(__always)
  mutating func nextCold() -> Int? {
    if count == hotCount { return nil }
    coldCursor = coldCursor + 1 < count ? max(coldCursor + 1, hotCount) : hotCount
    return coldCursor
  }
}
