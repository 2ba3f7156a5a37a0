import Glibc

/// Replies that wait to be sent, in the order in which their operations have ended, and what has gone of the first.
///
/// Invariants: at most one send is in flight, and what it points at does not change before it has ended; the first
/// reply has not gone to its last byte; a read whose reply is one message in several pieces is sent to its end before
/// anything else is.
struct ReplyQueue: ~Copyable {
  /// One a slot, `headerStride` bytes each.
  private let headers: UnsafeMutableRawPointer
  private let vectors: UnsafeMutablePointer<iovec>
  private var answered = SlotList()
  /// Whether a send is in flight.
  private(set) var isSending = false
  /// Bytes of the first reply, or of the present piece of it, that have gone already.
  private var sentOfFirst = 0
  /// The read whose reply is one message in several pieces, of which some have gone: nothing else may be sent before
  /// its last one; -1: none.
  private var streaming = -1
  /// Bytes sent to this client, of replies and of the handshake's answers.
  private(set) var total: UInt64 = 0

  /// Room for a reply's header, in one place for each slot.
  private static var headerStride: Int { 32 }
  /// Replies that go out in one send: two vectors each, and the kernel takes 1,024.
  private static var repliesMax: Int { 128 }

  init(slots count: Int) {
    headers = .allocate(byteCount: count * Self.headerStride, alignment: Self.headerStride)
    vectors = .allocate(capacity: 2 * Self.repliesMax + 2)
  }

  deinit {
    headers.deallocate()
    vectors.deallocate()
  }

  /// Another client begins.
  mutating func clear() {
    precondition(!isSending, "a send of an earlier client is in flight")
    (answered, sentOfFirst, streaming, total) = (SlotList(), 0, -1, 0)
  }

  // MARK: Replies

  /// Whether no reply waits.
  var isEmpty: Bool {
    @inline(__always) get { answered.isEmpty }
  }

  /// The first reply, if nothing of it has gone.
  var firstWhole: Int? { answered.isEmpty || sentOfFirst > 0 ? nil : Int(answered.first) }

  /// Where the header of a slot's reply lies.
  @inline(__always)
  func header(_ index: Int) -> UnsafeMutableRawPointer { headers + index * Self.headerStride }

  /// Whether some pieces of a slot's reply have gone, and the rest must follow.
  @inline(__always)
  func isStreaming(_ index: Int) -> Bool { streaming == index }

  /// A slot's reply, or its next piece, waits from now on.
  @inline(__always)
  mutating func append(_ index: Int, _ requests: borrowing RequestSlots) {
    requests.slots[index].state = .answered
    if streaming == index { answered.prepend(index, requests.slots) } else { answered.append(index, requests.slots) }
  }

  /// The rest of a reply, which is one message, follows in pieces.
  mutating func beginStreaming(_ index: Int) {
    assert(streaming < 0 || streaming == index, "two messages at once")
    streaming = index
  }

  /// Its last piece has gone.
  mutating func endStreaming() { streaming = -1 }

  /// Nothing else goes out, except what a send in flight has already.
  ///
  /// - Returns: the requests whose replies are dropped.
  mutating func drop() -> SlotList {
    streaming = -1
    if isSending { return SlotList() }
    defer { answered = SlotList() }
    return answered
  }

  // MARK: Sending

  /// What is to be sent now: the handshake's answers, then replies. No send is in flight.
  @inline(__always)
  mutating func beginSend(
    after answers: UnsafeMutableRawBufferPointer?, _ requests: borrowing RequestSlots, hasStructuredReplies: Bool
  ) -> NBDOutput {
    precondition(!isSending, "a connection has one send at a time")
    var output = NBDOutput()
    var count = 0
    if let answers, let address = answers.baseAddress { add(address, answers.count, &count) }
    collect(requests, hasStructuredReplies: hasStructuredReplies, &output, &count)
    output.vectors = UnsafeMutableBufferPointer(start: vectors, count: count)
    isSending = !output.isEmpty
    return output
  }

  @inline(__always)
  private func collect(
    _ requests: borrowing RequestSlots, hasStructuredReplies: Bool, _ output: inout NBDOutput, _ count: inout Int
  ) {
    var index = answered.first
    var skip = sentOfFirst
    var replies = 0
    // In the middle of a message its next piece, and nothing else.
    if streaming >= 0, Int(index) != streaming { index = -1 }
    while index >= 0, replies < Self.repliesMax, output.count == 0 {
      let slot = requests.address(Int(index))
      let headerCount = Int(slot.pointee.headerCount)
      if skip < headerCount { add(header(Int(index)) + skip, headerCount - skip, &count) }
      let sent = max(skip - headerCount, 0)
      if slot.pointee.isInPlace {
        output.offset = slot.pointee.offset + UInt64(sent)
        output.count = Int(slot.pointee.payloadCount) - sent
        output.buffer = requests.data(of: slot)
      } else if let payload = slot.pointee.payload, Int(slot.pointee.payloadCount) > sent {
        add(UnsafeMutableRawPointer(mutating: payload) + sent, Int(slot.pointee.payloadCount) - sent, &count)
      }
      skip = 0
      replies += 1
      if slot.pointee.hasNextPiece, slot.pointee.isOneMessage(hasStructuredReplies: hasStructuredReplies) { break }
      index = slot.pointee.next
    }
  }

  @inline(__always)
  private func add(_ address: UnsafeMutableRawPointer, _ bytes: Int, _ count: inout Int) {
    vectors[count] = iovec(iov_base: address, iov_len: bytes)
    count += 1
  }

  /// The send has ended.
  mutating func endSend() {
    precondition(isSending, "an end of a send that was not begun")
    isSending = false
  }

  /// So many bytes have gone, of which the first ones were answers of the handshake.
  @inline(__always)
  mutating func add(_ count: Int, ofAnswers part: Int) {
    total += UInt64(count)
    sentOfFirst += count - part
  }

  /// Takes the first reply, or its piece, if it has gone to its last byte.
  @inline(__always)
  mutating func takeSent(_ requests: borrowing RequestSlots) -> Int? {
    guard answered.first >= 0 else {
      precondition(sentOfFirst == 0, "more was sent than there was")
      return nil
    }
    let slot = requests.address(Int(answered.first))
    let count = Int(slot.pointee.headerCount) + Int(slot.pointee.payloadCount)
    if sentOfFirst < count { return nil }
    sentOfFirst -= count
    return answered.removeFirst(requests.slots)
  }
}
