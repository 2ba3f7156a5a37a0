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
struct ChannelState {
  /// The host's phase.
  var phase = HostPhase.vacant
  /// Whether the channel's position is known, so that the controller can take requests from it.
  var isPositioned = false
  /// Whether the controller takes requests from it: it is in the polling order.
  var isPolled = false
  /// Whether the controller answered on it in this turn of the loop, so that it may have to wake the host.
  var isTouched = false
  /// Turns without a request: the controller polls a long idle channel less often.
  var idleTurns: UInt32 = 0
  /// What the flag of the next request will be: it carries the channel's next number.
  var due = RequestFlag.submitted(1)
  var lines: UnsafeMutableRawPointer
  var arena: UnsafeMutableRawPointer
  /// Whether the host sleeps.
  var hostParked: SharedSleepWord
  /// Whether this controller sleeps, for the host to see.
  var controllerParked: SharedSleepWord
  var arenaSize: UInt64 = 0
  // Small, so that the whole is one cache line.
  private var outstandingCount: UInt16 = 0
  private var nextLine: UInt16 = 0
  private var stayingLine: UInt16 = 0
  private var lastLine: UInt16 = 0

  /// Requests taken and not answered.
  var outstanding: Int {
    @inline(__always) get { Int(outstandingCount) }
    set { outstandingCount = UInt16(newValue) }
  }

  // Both are at most `lineMask` wherever they come from, which is checked there.

  /// The line where the next request will be, unless it is in `staying`.
  var next: Int {
    @inline(__always) get { Int(nextLine) }
    set { nextLine = UInt16(truncatingIfNeeded: newValue) }
  }

  /// The line of the last request, if the next one may be in it again; else the same as `next`.
  var staying: Int {
    @inline(__always) get { Int(stayingLine) }
    set { stayingLine = UInt16(truncatingIfNeeded: newValue) }
  }

  /// Lines less one.
  var lineMask: Int {
    @inline(__always) get { Int(lastLine) }
  }

  /// A vacant place. Its addresses lead nowhere: nothing looks at them before a host attaches.
  init() {
    lines = UnsafeMutableRawPointer(bitPattern: 64)!
    arena = lines
    hostParked = SharedSleepWord(SharedWord(lines))
    controllerParked = hostParked
  }

  /// A channel of a host whose memory has passed every check.
  init(_ memory: borrowing HostMemory, to controller: ControllerIdentity) {
    phase = .attached
    lastLine = UInt16(memory.linesPerChannel - 1)
    lines = memory.lines(to: controller)
    arena = memory.arena.baseAddress!
    arenaSize = UInt64(memory.arena.count)
    hostParked = memory.hostParked
    controllerParked = memory.controllerParked(controller)
  }

  @inline(__always)
  func line(_ slot: Int) -> RequestLine { RequestLine(lines + slot &* RequestLine.stride) }

  /// The number of a line of this channel.
  @inline(__always)
  func slot(of line: RequestLine) -> Int {
    // Not negative: a shift, where a division of a signed number is four instructions.
    Int(bitPattern: UInt(bitPattern: line.flag.address - lines) / UInt(RequestLine.stride))
  }
}
