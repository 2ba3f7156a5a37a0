import BatonChannel
import BatonOwnership
import BatonSharedMemory

/// Where a host stands with a controller.
enum HostPhase {
  /// A free place.
  case vacant
  /// Not attached, and a request of it waits to be recovered: the place is kept for it.
  case expected
  /// Attached.
  case attached
  /// The host broke the protocol; the controller disconnects it at the end of the turn.
  case expelled
  /// Gone: the place is kept until its last request has ended.
  case closing
}

/// One host, as its controller keeps it. Two channels belong to it, see `ChannelState`.
struct HostState {
  var phase = HostPhase.vacant
  /// The identity of its memory.
  var identity: UInt64 = 0
  /// When its connection ended, in monotonic nanoseconds; 0: it has not been attached to this life of the controller.
  var awaySince: UInt64 = 0
  /// The control connection it came by.
  var connection = 0
  /// Memory for which it had no pages when it attached; 0 where it is of this very process.
  var bytesWithoutPages: UInt64 = 0

  /// Whether its memory is mapped.
  var hasMemory: Bool {
    switch phase {
    case .vacant, .expected: false
    case .attached, .expelled, .closing: true
    }
  }
}

/// One channel of a host: the one to this controller, or the one to the peer, which this controller serves while it
/// stands in.
///
/// The channel of host place p to a is number 2p, to b 2p + 1. The addresses are plain ones into the host's memory,
/// which `HostTable` keeps mapped.
///
/// Invariant: the lines that it names are lines of the channel; wherever their numbers come from, that is checked.
struct ChannelState {
  /// The host's phase.
  private(set) var phase = HostPhase.vacant
  /// Whether the channel's position is known, so that the controller can take requests from it.
  private(set) var isPositioned = false
  /// Whether the controller takes requests from it: it is in the polling order.
  private(set) var isPolled = false
  /// Whether the controller answered on it in this turn of the loop, so that it may have to wake the host.
  private(set) var isTouched = false
  /// Turns without a request: the controller polls a long idle channel less often.
  private var idleTurns: UInt32 = 0
  /// What the flag of the next request will be: it carries the channel's next number.
  private(set) var due = RequestFlag.submitted(1)
  let lines: UnsafeMutableRawPointer
  let arena: UnsafeMutableRawPointer
  /// Whether the host sleeps.
  let hostParked: SharedSleepWord
  /// Whether this controller sleeps, for the host to see.
  let controllerParked: SharedSleepWord
  let arenaSize: UInt64
  // Small, so that the whole is one cache line.
  private var outstandingCount: UInt16 = 0
  private var nextLine: UInt16 = 0
  private var stayingLine: UInt16 = 0
  private let lastLine: UInt16

  /// Turns without a request after which the controller polls a channel in rotation only.
  private static var turnsUntilCold: UInt32 { 2048 }

  /// A vacant place. Its addresses lead nowhere: nothing looks at them before a host attaches.
  init() {
    lines = UnsafeMutableRawPointer(bitPattern: 64)!
    arena = lines
    hostParked = SharedSleepWord(SharedWord(lines))
    controllerParked = hostParked
    arenaSize = 0
    lastLine = 0
  }

  /// A channel of a host whose memory has passed every check. `isTouched` is that of the place's earlier channel, which
  /// may be in this turn's list of answered channels: it must not be listed twice.
  init(_ memory: borrowing HostMemory, to controller: ControllerIdentity, isTouched: Bool) {
    phase = .attached
    self.isTouched = isTouched
    lastLine = UInt16(memory.linesPerChannel - 1)
    lines = memory.lines(to: controller)
    arena = memory.arena.baseAddress!
    arenaSize = UInt64(memory.arena.count)
    hostParked = memory.hostParked
    controllerParked = memory.controllerParked(controller)
  }

  // MARK: Lines

  /// Lines less one.
  var lineMask: Int {
    @inline(__always) get { Int(lastLine) }
  }

  @inline(__always)
  func line(_ line: LineIndex) -> RequestLine { RequestLine(lines + line.number &* RequestLine.stride) }

  /// The number of a line of this channel.
  @inline(__always)
  func index(of line: RequestLine) -> LineIndex {
    // Not negative: a shift, where a division of a signed number is four instructions.
    LineIndex(Int(bitPattern: UInt(bitPattern: line.flag.address - lines) / UInt(RequestLine.stride)))
  }

  // MARK: Position

  /// The line where the next request will be, unless it is in `staying`.
  var next: LineIndex {
    @inline(__always) get { LineIndex(Int(nextLine)) }
  }

  /// The line of the last request, if the next one may be in it again; else the same as `next`.
  var staying: LineIndex {
    @inline(__always) get { LineIndex(Int(stayingLine)) }
  }

  /// Requests have been taken: the next one has the number of `due`.
  @inline(__always)
  mutating func advance(to next: LineIndex, staying: LineIndex, due: RequestFlag) {
    nextLine = UInt16(truncatingIfNeeded: next.number)
    stayingLine = UInt16(truncatingIfNeeded: staying.number)
    self.due = due
    idleTurns = 0
  }

  /// The channel's position has been found in its lines.
  mutating func setPosition(_ position: ChannelPosition) {
    advance(to: position.next, staying: position.staying, due: .submitted(position.newest &+ 1))
    isPositioned = true
  }

  /// Another controller takes requests from the channel: its position is not known from now on.
  mutating func forgetPosition() { isPositioned = false }

  // MARK: Requests

  /// Requests taken and not answered.
  var outstanding: Int {
    @inline(__always) get { Int(outstandingCount) }
  }

  /// A request has been taken.
  @inline(__always)
  mutating func beginRequest() { outstandingCount += 1 }

  /// A request has been answered, or dropped.
  @inline(__always)
  mutating func endRequest() { outstandingCount -= 1 }

  // MARK: Polling

  /// It is in the polling order from now on. False if it was before.
  mutating func beginPolling() -> Bool {
    if isPolled { return false }
    isPolled = true
    idleTurns = 0
    return true
  }

  /// It is not from now on. False if it was not before.
  mutating func endPolling() -> Bool {
    if !isPolled { return false }
    isPolled = false
    return true
  }

  /// There was no request in this turn. True if there has been none for long.
  @inline(__always)
  mutating func hasBeenIdle() -> Bool {
    idleTurns &+= 1
    return idleTurns > Self.turnsUntilCold
  }

  /// There was a request.
  mutating func endIdling() { idleTurns = 0 }

  // MARK: The host

  /// The host's phase has changed.
  mutating func setPhase(_ phase: HostPhase) { self.phase = phase }

  /// Whether the controller has answered on the channel in this turn (`AnsweredChannels`).
  @inline(__always)
  mutating func setTouched(_ isTouched: Bool) { self.isTouched = isTouched }
}

/// What bounds a request of one channel, as constants of a loop: a compiler cannot know that no store of the loop
/// changes them where they lie.
struct ChannelBounds {
  let lineMask: UInt64
  let arenaSize: UInt64
  private let lines: UnsafeMutableRawPointer

  @inline(__always)
  init(_ channel: ChannelState) {
    lineMask = UInt64(truncatingIfNeeded: channel.lineMask)
    arenaSize = channel.arenaSize
    lines = channel.lines
  }

  /// A line of the channel.
  @inline(__always)
  func line(_ line: LineIndex) -> RequestLine {
    assert(line.number <= lineMask, "a line that the channel does not have")
    return RequestLine(lines + line.number &* RequestLine.stride)
  }
}
