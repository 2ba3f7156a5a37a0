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
/// Invariants:
/// - at most one receive and one send are in flight; what they point at neither moves nor gets another meaning before
///   they have ended;
/// - `staging` holds what was received and not yet read, from `stagingBegin` to `stagingEnd`, and nothing at all while
///   the rest of a payload goes straight to its pages;
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
  let memory: UnsafeMutableRawPointer
  /// The first page.
  let pages: UnsafeMutableRawPointer
  var pool: PagePool
  let slots: UnsafeMutablePointer<RequestSlot>
  /// One a slot, `headerStride` bytes each.
  let headers: UnsafeMutableRawPointer
  private let receiveVectors: UnsafeMutablePointer<iovec>
  let sendVectors: UnsafeMutablePointer<iovec>

  var phase = Phase.vacant

  // Bytes in.
  var stagingBegin = 0
  var stagingEnd = 0
  /// Whether a receive is in flight.
  public private(set) var isReceiving = false
  /// Bytes that the receive in flight may bring.
  private var receivable = 0
  /// The write whose payload is being received; -1: none.
  var incoming = -1
  /// The write that has a piece executed while more of its payload is to come: nothing is received and no request taken
  /// meanwhile; -1: none.
  var unfinished = -1
  /// Bytes that are being skipped.
  var skipping: UInt32 = 0
  /// Whether the last request was a write with a payload that is not worth copying.
  var expectsLarge = false

  // Requests.
  var freeSlots = SlotList()
  var continuing = SlotList()
  var answered = SlotList()
  /// Requests taken whose reply has not gone to the last byte: slots that are not free.
  private(set) var outstanding = 0
  /// The write whose payload is being skipped, and its answer after that; -1: there is none.
  var refused = -1
  var refusal = Refusal(.invalid, "")
  /// Operations handed out and not finished.
  public internal(set) var executing = 0

  // Bytes out.
  /// Whether a send is in flight.
  public internal(set) var isSending = false
  /// The bytes to send before any reply: the handshake's answers, in `outPage`.
  var outBegin = 0
  var outEnd = 0
  var outPage = -1
  /// Bytes of the first reply, or of the present piece of it, that have gone already.
  var sentOfFirst = 0
  /// The read whose reply is one message in several pieces, of which some have gone: nothing else may be sent before
  /// its last one; -1: none.
  var streaming = -1

  // What was agreed.
  var hasStructuredReplies = false
  var needsNoZeroes = false
  /// The unit whose `base:allocation` was selected; -1: none.
  var contextUnit = -1
  /// The unit that it has chosen; -1: none yet.
  public internal(set) var unit = -1
  var size: UInt64 = 0
  var blockSize: UInt32 = 0
  var isReadOnly = false
  /// The unit of the last option, an INFO, and whether it was reported as read-only; -1: it was another option.
  var informedUnit = -1
  var informedReadOnly = false
  /// The position in the list of exports that is being sent; -1: none is.
  var listed = -1
  /// The option that is being skipped, to be refused.
  var optionSkipped: UInt32 = 0

  /// Bytes received from this client.
  public private(set) var bytesReceived: UInt64 = 0
  /// Bytes sent to it.
  public internal(set) var bytesSent: UInt64 = 0
  /// Whole messages received from it: flags, options, requests with their payload.
  public internal(set) var messages: UInt64 = 0

  /// Room for a reply's header, in one place for each slot.
  static let headerStride = 32
  /// Replies that go out in one send: two vectors each, and the kernel takes 1,024.
  static let sendRepliesMax = 128

  /// A place for a client.
  ///
  /// - Parameter memory: `limits.memorySize` bytes, at a multiple of `NBDLimits.memoryAlignment` in their arena, which
  ///   outlive this value. Pages of it that are not used are not touched.
  public init(memory: UnsafeMutableRawPointer, limits: NBDLimits = NBDLimits()) {
    precondition(limits.isSound, "limits of NBD that contradict each other")
    self.limits = limits
    self.memory = memory
    pages = memory + limits.stagingSize
    pool = PagePool(count: limits.poolSize / PagePool.pageSize)
    slots = .allocate(capacity: limits.requestsMax)
    slots.initialize(repeating: RequestSlot(), count: limits.requestsMax)
    headers = .allocate(byteCount: limits.requestsMax * Self.headerStride, alignment: Self.headerStride)
    receiveVectors = .allocate(capacity: 2)
    sendVectors = .allocate(capacity: 2 * Self.sendRepliesMax + 2)
  }

  deinit {
    slots.deallocate()
    headers.deallocate()
    receiveVectors.deallocate()
    sendVectors.deallocate()
  }

  /// A client has connected: the greeting waits to be sent.
  public mutating func begin() {
    precondition(phase == .vacant, "a place that another client has")
    phase = .greeting
    pool.clear()
    freeSlots = SlotList()
    for slot in 0..<limits.requestsMax {
      slots[slot] = RequestSlot()
      freeSlots.append(slot, slots)
    }
    outstanding = 0
    (continuing, answered) = (SlotList(), SlotList())
    (refused, unfinished, streaming) = (-1, -1, -1)
    (stagingBegin, stagingEnd, incoming, skipping, expectsLarge) = (0, 0, -1, 0, false)
    (outBegin, outEnd, sentOfFirst) = (0, 0, 0)
    outPage = pool.take(1)
    (hasStructuredReplies, needsNoZeroes, contextUnit, unit) = (false, false, -1, -1)
    (listed, optionSkipped, informedUnit) = (-1, 0, -1)
    (bytesReceived, bytesSent, messages) = (0, 0, 0)
    greet()
  }

  /// The client is gone and everything about it has ended: the place is free.
  public mutating func end() {
    precondition(isFinished, "a connection that has not ended")
    phase = .vacant
  }

  // MARK: State

  /// Whether more is taken from the client: no longer once either side has ended the connection.
  public var takesMore: Bool { isNegotiating || phase == .transmission }

  /// Whether nothing is answered any more: what is in flight is to be ended.
  public var isBroken: Bool { phase == .broken }

  /// Whether the handshake lasts: `negotiate` takes what came.
  public var isNegotiating: Bool { phase == .greeting || phase == .options }

  /// Whether the storage has something to do for the client: then the client does not keep others waiting.
  public var isWorking: Bool { executing > 0 || !continuing.isEmpty }

  /// Whether everything has ended: the socket is to be closed, and `end` called.
  public var isFinished: Bool {
    switch phase {
    case .vacant, .greeting, .options, .transmission: false
    case .draining:
      !isWorking && !isReceiving && !isSending && answered.isEmpty && outBegin == outEnd
    case .broken: executing == 0 && !isReceiving && !isSending
    }
  }

  /// Whether the client has begun a message and not ended it: it owes bytes. With `messages`, which then stands still,
  /// this serves to end connections that leave half a message.
  public var isMidMessage: Bool {
    switch phase {
    case .greeting: true
    case .options: skipping > 0 || stagingEnd > stagingBegin && isShortOfBytes
    case .transmission: (incoming >= 0 || skipping > 0 || stagingEnd > stagingBegin) && isShortOfBytes
    case .vacant, .draining, .broken: false
    }
  }

  /// Bytes of the pool that requests hold, and the handshake's answers.
  public var memoryInUse: Int { (pool.count - pool.free) * PagePool.pageSize }

  /// Whether something waits that `next` or `negotiate` may take now: bytes that came and have not been read, or the
  /// next piece of a request.
  public var hasUntaken: Bool { stagingEnd > stagingBegin || !continuing.isEmpty }

  /// Whether every request has been answered to the last byte, and nothing else has come.
  public var isIdle: Bool { outstanding == 0 && incoming < 0 && stagingBegin == stagingEnd && skipping == 0 }

  /// Whether one request is being executed or answered and nothing else has come. This is the state of a client that
  /// asks one thing at a time and sends nothing before it has read the reply.
  public var awaitsReply: Bool {
    outstanding == 1 && incoming < 0 && unfinished < 0 && refused < 0 && stagingBegin == stagingEnd
  }

  /// Whether the send in flight is short and the last thing that the client waits for. It has read all replies before,
  /// or it would not have asked again: its socket has room.
  public var sendsLast: Bool {
    isSending && awaitsReply && phase == .transmission && answered.first >= 0 && sentOfFirst == 0
      && slots[Int(answered.first)].payloadCount <= Self.lastPayloadMax
  }

  /// Room that every empty socket has: TCP begins with at least 46 KB (tcp_init_buffer_space).
  private static var lastPayloadMax: UInt32 { 16384 }

  /// Whether staging holds too little to continue.
  var isShortOfBytes: Bool {
    let available = stagingEnd - stagingBegin
    switch phase {
    case .greeting: return available < WireLength.clientFlags
    case .options:
      // The answer to the option before must have gone: see `negotiate`.
      if outBegin < outEnd || listed >= 0 { return false }
      if skipping > 0 { return available == 0 }
      return available < optionCount
    case .transmission:
      if incoming >= 0 { return slots[incoming].received < slots[incoming].piece }
      if unfinished >= 0 { return false }
      if skipping > 0 { return available == 0 }
      return available < WireLength.request
    case .vacant, .draining, .broken: return false
    }
  }

  // MARK: Bytes in

  /// Where the next bytes are to go: one or two pieces of memory, in order, for one receive of as many bytes as there
  /// are at once. Empty when nothing is wanted at present: look again after `next`, `negotiate` or `endSend`.
  ///
  /// The rest of a large payload goes straight to where the storage takes it from.
  public mutating func beginReceive() -> UnsafeMutableBufferPointer<iovec> {
    guard !isReceiving, isShortOfBytes else { return UnsafeMutableBufferPointer(start: receiveVectors, count: 0) }
    isReceiving = true
    if incoming >= 0 {
      let slot = slots + incoming
      let left = Int(slot.pointee.piece - slot.pointee.received)
      // Behind a piece that is not the last one comes more of the payload, which is to go straight to its place.
      guard slot.pointee.remaining == UInt64(slot.pointee.piece) else {
        receivable = left
        receiveVectors[0] = iovec(iov_base: address(slot) + Int(slot.pointee.received), iov_len: left)
        return UnsafeMutableBufferPointer(start: receiveVectors, count: 1)
      }
      // Staging is empty. After a large payload comes another one, most likely: its header and no more.
      let ahead = isLarge(slot.pointee.length) ? WireLength.request : limits.stagingSize
      receiveVectors[0] = iovec(iov_base: address(slot) + Int(slot.pointee.received), iov_len: left)
      receiveVectors[1] = iovec(iov_base: memory, iov_len: ahead)
      receivable = left + ahead
      return UnsafeMutableBufferPointer(start: receiveVectors, count: 2)
    }
    if stagingBegin > 0 {
      // Less than a header, or than an option: what is whole has been taken.
      memmove(memory, memory + stagingBegin, stagingEnd - stagingBegin)
      stagingEnd -= stagingBegin
      stagingBegin = 0
    }
    let isAtHeader = phase == .transmission && expectsLarge && skipping == 0
    receivable = isAtHeader ? WireLength.request - stagingEnd : limits.stagingSize - stagingEnd
    receiveVectors[0] = iovec(iov_base: memory + stagingEnd, iov_len: receivable)
    return UnsafeMutableBufferPointer(start: receiveVectors, count: 1)
  }

  /// The receive has ended with so many bytes; 0: the client sends nothing more; less: the connection is broken.
  ///
  /// The caller tries again after EINTR and EAGAIN, without ending it here.
  public mutating func endReceive(_ result: Int) {
    precondition(isReceiving && result <= receivable, "an end of a receive that was not begun")
    isReceiving = false
    guard phase != .draining, phase != .broken else { return dropIncoming() }
    if result == 0 { return hangUp() }
    if result < 0 { return abandon() }
    bytesReceived += UInt64(result)
    var rest = result
    if incoming >= 0 {
      let part = min(rest, Int(slots[incoming].piece - slots[incoming].received))
      slots[incoming].received += UInt32(truncatingIfNeeded: part)
      rest -= part
    }
    stagingEnd += rest
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
    if refused >= 0 { answerRefused() }
    dropIncoming()
    freeOut()
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
    if isReceiving || incoming < 0 { return }
    release(incoming)
    incoming = -1
  }

  /// Drops pieces that are not to be executed and replies that are not to go out. Those of a send in flight stay
  /// until it has ended.
  mutating func dropReplies() {
    continuing = released(continuing)
    streaming = -1
    if refused >= 0 {
      release(refused)
      refused = -1
    }
    if isSending { return }
    answered = released(answered)
    outBegin = outEnd
    freeOut()
  }

  /// Releases every slot of a list, and leaves the list empty.
  private mutating func released(_ list: SlotList) -> SlotList {
    var list = list
    while !list.isEmpty { release(list.removeFirst(slots)) }
    return list
  }

  /// The handshake is over and its last answer has gone: its page is a request's now.
  mutating func freeOut() {
    if outPage < 0 || outBegin < outEnd || isNegotiating { return }
    pool.giveBack(outPage, 1)
    outPage = -1
  }

  // MARK: Slots

  /// The memory of a slot's data.
  func address(_ slot: UnsafeMutablePointer<RequestSlot>) -> UnsafeMutableRawPointer {
    pages + Int(slot.pointee.page) * PagePool.pageSize
  }

  /// A slot for a request; -1: none is free.
  mutating func takeSlot() -> Int {
    let slot = freeSlots.removeFirst(slots)
    if slot >= 0 { outstanding += 1 }
    return slot
  }

  /// A request is over: its slot and pages are free.
  mutating func release(_ slot: Int) {
    if slots[slot].page >= 0 {
      pool.giveBack(Int(slots[slot].page), Int(slots[slot].pageCount))
    }
    slots[slot].page = -1
    slots[slot].state = .free
    outstanding -= 1
    freeSlots.append(slot, slots)
  }
}
