import BatonSystem
import Glibc

/// One client's connection: the NBD protocol as a state machine that does no I/O, reads no clock and, after `init`,
/// allocates nothing. The holder of the socket drives it:
///
///     bytes in     beginReceive: where the next bytes go · endReceive: how many came
///     what to do   negotiate, while isNegotiating · next: one operation at a time, while there is room for one
///     results in   finish
///     bytes out    beginSend: which bytes go next · endSend: how many went
///
/// and closes the socket when `isFinished` is true. A place for a client is made once and used for one client after
/// another (`begin`).
///
///     memory: staging | pages
///
/// Its parts own their state: `ReceivedBytes`, `RequestSlots`, `ReplyQueue`, `HandshakeAnswers`, `Agreement`.
///
/// Invariants:
/// - at most one receive and one send are in flight; what they point at neither moves nor gets another meaning before
///   they have ended;
/// - a slot is free, or in one of the states of `RequestSlot.State` and in the list that belongs to it; its pages are
///   its own from the moment its header is taken until the last byte of its reply has gone;
/// - a header is taken only when there are a slot and pages for it, an option only when the answer to the one before
///   has gone; until then it stays in staging, nothing more is received, and the client's socket fills: so no client
///   uses more than its memory, and nobody else notices;
/// - a read or write that is longer than one operation holds the pages of one piece: the next piece of a write is
///   received when the one before has been executed, that of a read is executed when the one before has gone;
/// - nothing that a client says is an index, a length or an address before it has been checked;
/// - each request that `next` has handed out comes back by `finish`, whatever happens to the client meanwhile.
public struct NBDConnection: ~Copyable {
  private let place = HeldInPlace()

  enum Phase: UInt8 {
    /// No client.
    case vacant
    /// The greeting is out; the client's flags are due.
    case greeting
    /// Options.
    case options
    /// Requests.
    case transmission
    /// Nothing is taken any more; what was taken is answered.
    case draining
    /// Nothing is taken and nothing answered any more; what is in flight ends.
    case broken
  }

  let limits: NBDLimits
  var phase = Phase.vacant
  var received: ReceivedBytes
  /// The write whose payload has not come to its end.
  var write = IncomingWrite.none
  var requests: RequestSlots
  /// The handshake's answers, and the option that takes more than one step.
  var answers = HandshakeAnswers()
  var option = OptionUnderWay.none
  var agreed = Agreement()
  var replies: ReplyQueue

  /// A place for a client.
  ///
  /// - Parameter memory: `limits.memorySize` bytes, at a multiple of `NBDLimits.memoryAlignment` in their arena, which
  ///   outlive this value. Pages of it that are not used are not touched.
  public init(memory: UnsafeMutableRawPointer, limits: NBDLimits = NBDLimits()) {
    precondition(limits.isSound, "limits of NBD that contradict each other")
    self.limits = limits
    received = ReceivedBytes(staging: memory, capacity: limits.stagingSize)
    requests = RequestSlots(
      count: limits.requestsMax, pages: memory + limits.stagingSize, poolSize: limits.poolSize)
    replies = ReplyQueue(slots: limits.requestsMax)
  }

  /// A client has connected: the greeting waits to be sent.
  public mutating func begin() {
    precondition(phase == .vacant, "a place that another client has")
    phase = .greeting
    requests.clear()
    received.clear()
    replies.clear()
    (write, option, agreed) = (.none, .none, Agreement())
    let page = requests.takePage()
    answers.begin(page: page, at: requests.page(page))
    greet()
  }

  /// The client is gone and everything about it has ended: the place is free.
  public mutating func end() {
    precondition(isFinished, "a connection that has not ended")
    phase = .vacant
  }

  // MARK: State

  /// Whether a receive is in flight.
  public var isReceiving: Bool { received.isReceiving }

  /// Whether a send is in flight.
  public var isSending: Bool { replies.isSending }

  /// Operations handed out and not finished.
  public var executing: Int { requests.executing }

  /// The unit that the client has chosen; -1: none yet.
  public var unit: Int { agreed.unit }

  /// Bytes received from this client.
  public var bytesReceived: UInt64 { received.total }

  /// Bytes sent to it.
  public var bytesSent: UInt64 { replies.total }

  /// Whole messages received from it: flags, options, requests with their payload.
  public var messages: UInt64 { received.messages }

  /// Whether more is taken from the client: no longer once either side has ended the connection.
  public var takesMore: Bool { isNegotiating || phase == .transmission }

  /// Whether nothing is answered any more: what is in flight is to be ended.
  public var isBroken: Bool { phase == .broken }

  /// Whether the handshake lasts: `negotiate` takes what came.
  public var isNegotiating: Bool { phase == .greeting || phase == .options }

  /// Whether the storage has something to do for the client: then the client does not keep others waiting.
  public var isWorking: Bool { executing > 0 || requests.hasContinuing }

  /// Whether everything has ended: the socket is to be closed, and `end` called.
  public var isFinished: Bool {
    switch phase {
    case .vacant, .greeting, .options, .transmission: false
    case .draining: !isWorking && !isReceiving && !isSending && replies.isEmpty && answers.isEmpty
    case .broken: executing == 0 && !isReceiving && !isSending
    }
  }

  /// Whether the client has begun a message and not ended it: it owes bytes. With `messages`, which then stands still,
  /// this serves to end connections that leave half a message.
  public var isMidMessage: Bool {
    switch phase {
    case .greeting: true
    case .options: received.skipping > 0 || received.count > 0 && isShortOfBytes
    case .transmission: (write.receiving != nil || received.skipping > 0 || received.count > 0) && isShortOfBytes
    case .vacant, .draining, .broken: false
    }
  }

  /// Bytes of the pool that requests hold, and the handshake's answers.
  public var memoryInUse: Int { requests.bytesInUse }

  /// Whether something waits that `next` or `negotiate` may take now: bytes that came and have not been read, or the
  /// next piece of a request.
  public var hasUntaken: Bool { received.count > 0 || requests.hasContinuing }

  /// Whether every request has been answered to the last byte, and nothing else has come.
  public var isIdle: Bool {
    requests.outstanding == 0 && write.receiving == nil && received.count == 0 && received.skipping == 0
  }

  /// Whether one request is being executed or answered and nothing else has come. This is the state of a client that
  /// asks one thing at a time and sends nothing before it has read the reply.
  public var awaitsReply: Bool { requests.outstanding == 1 && write.isNone && received.count == 0 }

  /// Whether the send in flight is short and the last thing that the client waits for. It has read all replies before,
  /// or it would not have asked again: its socket has room.
  public var sendsLast: Bool {
    guard isSending, awaitsReply, phase == .transmission, let first = replies.firstWhole else { return false }
    return requests.address(first).pointee.payloadCount <= Self.lastPayloadMax
  }

  /// Room that every empty socket has: TCP begins with at least 46 KB (tcp_init_buffer_space).
  private static var lastPayloadMax: UInt32 { 16384 }

  /// Whether too little has come to continue.
  var isShortOfBytes: Bool {
    switch phase {
    case .greeting: return received.count < WireLength.clientFlags
    case .options:
      // The answer to the option before must have gone: see `negotiate`.
      if !answers.isEmpty { return false }
      if case .listing = option { return false }
      return received.count < (received.skipping > 0 ? 1 : optionCount)
    case .transmission:
      if let index = write.receiving {
        let slot = requests.address(index)
        return slot.pointee.received < slot.pointee.piece
      }
      if write.isUnfinished { return false }
      return received.count < (received.skipping > 0 ? 1 : WireLength.request)
    case .vacant, .draining, .broken: return false
    }
  }

  // MARK: Bytes in

  /// Where the next bytes are to go: one or two pieces of memory, in order, for one receive of as many bytes as there
  /// are at once. Empty when nothing is wanted at present: look again after `next`, `negotiate` or `endSend`.
  ///
  /// The rest of a large payload goes straight to where the storage takes it from.
  public mutating func beginReceive() -> UnsafeMutableBufferPointer<iovec> {
    guard !isReceiving, isShortOfBytes else { return received.nothing }
    guard let index = write.receiving else { return received.beginReceive() }
    let slot = requests.address(index)
    let next = requests.data(of: slot) + Int(slot.pointee.received)
    let left = Int(slot.pointee.piece - slot.pointee.received)
    // Behind a piece that is not the last one comes more of the payload, which is to go straight to its place.
    guard slot.pointee.remaining == UInt64(slot.pointee.piece) else {
      return received.beginReceive(payload: next, left, ahead: 0)
    }
    // After a large payload comes another one, most likely: its header and no more.
    let ahead = isLarge(slot.pointee.length) ? WireLength.request : limits.stagingSize
    return received.beginReceive(payload: next, left, ahead: ahead)
  }

  /// The receive has ended with so many bytes; 0: the client sends nothing more; less: the connection is broken.
  ///
  /// The caller tries again after EINTR and EAGAIN, without ending it here.
  public mutating func endReceive(_ result: Int) {
    received.endReceive(result)
    guard phase != .draining, phase != .broken else { return dropIncoming() }
    if result == 0 { return hangUp() }
    if result < 0 { return abandon() }
    var part = 0
    if let index = write.receiving {
      let slot = requests.address(index)
      part = min(result, Int(slot.pointee.piece - slot.pointee.received))
      slot.pointee.received += UInt32(truncatingIfNeeded: part)
    }
    received.add(result, ofPayload: part)
  }

  /// Whether so long a payload goes straight to its place rather than through staging.
  func isLarge(_ length: UInt32) -> Bool { Int(length) > limits.stagingSize / 4 }

  // MARK: Ends

  /// Takes nothing more from the client; answers what was taken. The connection ends so when the client says so or
  /// breaks the protocol, and when the server leaves: the client submits elsewhere what is still in its socket.
  ///
  /// A receive that is in flight must still be ended: shutdown(2) ends it.
  public mutating func hangUp() {
    guard phase == .greeting || phase == .options || phase == .transmission else { return }
    phase = .draining
    answerRefused()
    dropIncoming()
    freeAnswers()
  }

  /// Takes nothing more and answers nothing more. A receive and a send that are in flight must still be ended.
  public mutating func abandon() {
    if phase == .vacant || phase == .broken { return }
    phase = .broken
    dropIncoming()
    dropReplies()
  }

  /// A payload that will not come. Its pages stay as long as a receive may write to them.
  private mutating func dropIncoming() {
    guard !isReceiving, let index = write.receiving else { return }
    write = .none
    requests.release(index)
  }

  /// Drops pieces that are not to be executed and replies that are not to go out. Those of a send in flight stay
  /// until it has ended.
  mutating func dropReplies() {
    requests.dropContinuing()
    if case .refused(let index, _) = write {
      write = .none
      requests.release(index)
    }
    var dropped = replies.drop()
    requests.release(all: &dropped)
    if isSending { return }
    answers.drop()
    freeAnswers()
  }

  /// The handshake is over and its last answer has gone: its page is a request's now.
  mutating func freeAnswers() {
    if isNegotiating { return }
    if let page = answers.takePage() { requests.giveBack(page: page) }
  }
}
