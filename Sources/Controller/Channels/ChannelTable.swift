import BatonChannel
import BatonSystem
import CBatonShims

/// The channels of a controller, two for each host place: in which order they are polled, and which have been answered
/// on in this turn.
struct ChannelTable: ~Copyable {
  private let states: Table<ChannelState>
  /// The channels that the controller takes requests from.
  private(set) var polling: PollingOrder
  /// The channels that it has answered on in this turn.
  private(set) var answered: AnsweredChannels
  /// Room for the sequence numbers and lines of one channel, see `findPosition`.
  private let unanswered: Table<UInt64>

  init() {
    let count = ChannelIndex.count
    states = Table(repeating: ChannelState(), count: count)
    polling = PollingOrder(channels: count)
    answered = AnsweredChannels(channels: count)
    unanswered = Table(repeating: 0, count: Int(BATON_LINES_MAX))
  }

  /// A channel, where it lies.
  @inline(__always)
  func address(_ channel: ChannelIndex) -> UnsafeMutablePointer<ChannelState> { states.address(channel.number) }

  /// A channel.
  subscript(_ channel: ChannelIndex) -> ChannelState {
    @inline(__always) unsafeAddress { UnsafePointer(states.address(channel.number)) }
  }

  // MARK: The polling order

  /// Takes requests from this channel from now on.
  ///
  /// - Returns: false if it is polled already.
  mutating func poll(_ channel: ChannelIndex) -> Bool {
    guard states[channel.number].beginPolling() else { return false }
    polling.add(channel)
    return true
  }

  /// The reverse. Not while iterating over the order.
  ///
  /// - Returns: false if it is not polled.
  mutating func stopPolling(_ channel: ChannelIndex) -> Bool {
    guard states[channel.number].endPolling() else { return false }
    polling.remove(channel)
    return true
  }

  /// A channel at a hot position had no request in this turn.
  ///
  /// - Returns: whether it is cold from now on, and another channel stands at its position.
  @inline(__always)
  mutating func noteIdle(at position: Int) -> Bool {
    states.address(polling[position].number).pointee.hasBeenIdle() && polling.cool(position: position)
  }

  /// A channel at a cold position had a request: it is polled in every turn from now on.
  mutating func heat(position: Int) {
    states[polling[position].number].endIdling()
    polling.heat(position: position)
  }

  /// The position of the cold channel whose turn it is; nil: none is cold.
  @inline(__always)
  mutating func nextCold() -> Int? { polling.nextCold() }

  // MARK: Positions

  /// Searches a channel's lines for its position, and for the requests in them that were neither answered nor are under
  /// recovery.
  func findPosition(
    of channel: ChannelIndex, isRecovering: (_ line: LineIndex, _ sequence: UInt64) -> Bool
  ) -> ChannelPosition.Outcome {
    let state = states.address(channel.number)
    return ChannelPosition.find(
      in: SharedLines(base: state.pointee.lines), count: state.pointee.lineMask + 1, table: unanswered.address(0),
      isKnown: isRecovering)
  }

  /// The number of a line, and the sequence number of the request in it, that the last search found there.
  func request(found entry: Int, at position: ChannelPosition) -> (line: LineIndex, sequence: UInt64) {
    position.request(ofEntry: unanswered[entry])
  }

  // MARK: Answers

  /// The controller has answered on a channel in this turn, and may have to wake its host.
  @inline(__always)
  mutating func noteAnswer(_ channel: ChannelIndex, _ state: UnsafeMutablePointer<ChannelState>) {
    answered.add(channel, state)
  }

  /// The hosts have been woken where needed.
  mutating func clearAnswered() { answered.clear() }
}
