import BatonChannel
import BatonSharedMemory

/// One attached host, as its controller keeps it.
///
/// Plain addresses into the host's memory, which the controller keeps mapped beside this (`hostMemories`).
struct ChannelState {
  /// Free places of the table are `vacant`; a host that broke the protocol is `expelled` until the end of the turn;
  /// a host that went is `closing` until its last request has ended.
  enum Phase { case vacant, attached, expelled, closing }

  var phase = Phase.vacant
  /// Whether an answer went out in this turn of the loop, so that the host may have to be woken.
  var isTouched = false
  /// Turns without a request: a channel that is idle for long is looked at less often.
  var idleTurns: UInt32 = 0
  /// The line where the next request will be.
  var next: Int = 0
  /// The sequence number that it will carry.
  var sequence: UInt64 = 1
  /// Lines less one.
  var lineMask: Int = 0
  var lines: UnsafeMutableRawPointer
  var arena: UnsafeMutableRawPointer
  var hostParked: SharedFutexWord
  var arenaSize: UInt64 = 0
  /// Requests taken and not answered.
  var outstanding = 0
  /// The control connection it came by.
  var connection = 0

  /// A vacant place. Its addresses lead nowhere: nothing looks at them before a host attaches.
  init() {
    lines = UnsafeMutableRawPointer(bitPattern: 64)!
    arena = lines
    hostParked = SharedFutexWord(lines)
  }

  /// A host whose memory has passed every check.
  init(_ memory: borrowing HostMemory, lines: UnsafeMutableRawPointer, connection: Int) {
    phase = .attached
    lineMask = memory.linesPerChannel - 1
    self.lines = lines
    arena = memory.arena.baseAddress!
    arenaSize = UInt64(memory.arena.count)
    hostParked = memory.hostParked
    self.connection = connection
  }

  @inline(__always)
  func line(_ slot: Int) -> RequestLine { RequestLine(lines + slot &* 64) }
}
