import Glibc

/// The bytes that have come from a client and have not been read: in `staging`, the first part of the connection's
/// memory. Messages are read from its beginning. The rest of a large payload does not come here, but goes straight to
/// the pages of its request.
///
/// Invariant: at most one receive is in flight, and what it points at does not move before it has ended.
struct ReceivedBytes: ~Copyable {
  private let staging: UnsafeMutableRawPointer
  private let capacity: Int
  private let vectors: UnsafeMutablePointer<iovec>
  private var begin = 0
  private var end = 0
  /// Whether a receive is in flight.
  private(set) var isReceiving = false
  /// Bytes that it may bring.
  private var receivable = 0
  /// Bytes that are being skipped.
  private(set) var skipping: UInt32 = 0
  /// Whether the next header is to come alone: behind it comes a payload, most likely, that is not worth copying.
  private var expectsHeaderAlone = false
  /// Bytes received from this client.
  private(set) var total: UInt64 = 0
  /// Whole messages received from it.
  private(set) var messages: UInt64 = 0

  init(staging: UnsafeMutableRawPointer, capacity: Int) {
    self.staging = staging
    self.capacity = capacity
    vectors = .allocate(capacity: 2)
  }

  deinit { vectors.deallocate() }

  /// Another client begins.
  mutating func clear() {
    precondition(!isReceiving, "a receive of an earlier client is in flight")
    (begin, end, skipping, expectsHeaderAlone) = (0, 0, 0, false)
    (total, messages) = (0, 0)
  }

  // MARK: Reading

  /// Bytes that have not been read.
  var count: Int { end - begin }

  /// The first of them.
  var first: UnsafeRawPointer { UnsafeRawPointer(staging + begin) }

  /// So many bytes have been read.
  mutating func drop(_ count: Int) {
    assert(count <= self.count, "reads more than has come")
    begin += count
  }

  /// A message has come to its end.
  mutating func endMessage() { messages += 1 }

  /// Moves bytes to where they belong, as many as there are, up to `most`.
  ///
  /// - Returns: how many.
  mutating func move(to address: UnsafeMutableRawPointer, most: Int) -> Int {
    let part = min(most, count)
    memcpy(address, staging + begin, part)
    begin += part
    // All of it has been read: the rest of the payload, and what follows it, is received into empty staging.
    if begin == end { (begin, end) = (0, 0) }
    return part
  }

  /// So many bytes are skipped from now on.
  mutating func beginSkipping(_ count: UInt32) {
    assert(skipping == 0, "something else is being skipped")
    skipping = count
  }

  /// Skips what has come, as far as it must be skipped.
  ///
  /// - Returns: whether nothing is left to be skipped.
  mutating func skip() -> Bool {
    let part = min(Int(skipping), count)
    begin += part
    skipping -= UInt32(truncatingIfNeeded: part)
    return skipping == 0
  }

  // MARK: Receiving

  /// Nothing is to be received.
  var nothing: UnsafeMutableBufferPointer<iovec> { UnsafeMutableBufferPointer(start: vectors, count: 0) }

  /// The last request says whether the next header is to come alone.
  mutating func expectHeaderAlone(_ isAlone: Bool) { expectsHeaderAlone = isAlone }

  /// Where the next messages go.
  @inline(__always)
  mutating func beginReceive() -> UnsafeMutableBufferPointer<iovec> {
    if begin > 0 {
      // Less than a header, or than an option: what is whole has been taken.
      memmove(staging, staging + begin, end - begin)
      (begin, end) = (0, end - begin)
    }
    let room = expectsHeaderAlone && skipping == 0 ? WireLength.request : capacity
    vectors[0] = iovec(iov_base: staging + end, iov_len: room - end)
    return receive(vectors: 1, room - end)
  }

  /// Where the next bytes of a payload go, and behind its end up to `ahead` bytes of what follows.
  mutating func beginReceive(
    payload: UnsafeMutableRawPointer, _ count: Int, ahead: Int
  ) -> UnsafeMutableBufferPointer<iovec> {
    vectors[0] = iovec(iov_base: payload, iov_len: count)
    if ahead == 0 { return receive(vectors: 1, count) }
    assert(begin == 0 && end == 0, "staging is empty while a payload goes straight to its pages")
    vectors[1] = iovec(iov_base: staging, iov_len: ahead)
    return receive(vectors: 2, count + ahead)
  }

  @inline(__always)
  private mutating func receive(vectors count: Int, _ bytes: Int) -> UnsafeMutableBufferPointer<iovec> {
    isReceiving = true
    receivable = bytes
    return UnsafeMutableBufferPointer(start: vectors, count: count)
  }

  /// The receive has ended.
  mutating func endReceive(_ result: Int) {
    precondition(isReceiving && result <= receivable, "an end of a receive that was not begun")
    isReceiving = false
  }

  /// So many bytes have come, of which the first ones belong to a payload that they have gone straight to.
  mutating func add(_ count: Int, ofPayload part: Int) {
    total += UInt64(count)
    end += count - part
  }
}
