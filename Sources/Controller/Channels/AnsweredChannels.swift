import BatonSystem

/// Channels on which the controller answered in this turn: it may have to wake their hosts at the end of the turn.
///
/// Invariant: a channel is listed at most once, as `ChannelState.isTouched` says.
struct AnsweredChannels: ~Copyable {
  private let channels: Table<Int32>
  private(set) var count = 0

  init(channels: Int) { self.channels = Table(repeating: 0, count: channels) }

  /// The channel at that position.
  @inline(__always)
  subscript(_ position: Int) -> ChannelIndex {
    assert(position < count, "a position outside of the answered channels")
    return ChannelIndex(Int(channels[position]))
  }

  /// Adds a channel, unless it is listed.
  @inline(__always)
  mutating func add(_ channel: ChannelIndex, _ state: UnsafeMutablePointer<ChannelState>) {
    if state.pointee.isTouched { return }
    state.pointee.setTouched(true)
    channels[count] = Int32(truncatingIfNeeded: channel.number)
    // Wrapping: each channel stands in it once.
    count &+= 1
  }

  /// The controller has woken the hosts of these channels where needed.
  mutating func clear() { count = 0 }
}
