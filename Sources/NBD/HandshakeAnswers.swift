import Glibc

/// The handshake's answers that wait to be sent, in a page of their own. They go before any reply.
struct HandshakeAnswers {
  /// The page; nil: the handshake is over, and its last answer has gone.
  private var page: Int?
  /// Where it lies.
  private var memory: UnsafeMutableRawPointer?
  private var begin = 0
  private var end = 0

  /// Bytes of the page.
  private static var capacity: Int { PagePool.pageSize }

  /// Another client begins, with a page that is its own until `takePage`.
  mutating func begin(page: Int, at memory: UnsafeMutableRawPointer) {
    (self.page, self.memory) = (page, memory)
    (begin, end) = (0, 0)
  }

  /// Whether its page is its own.
  var hasPage: Bool {
    @inline(__always) get { page != nil }
  }

  // MARK: Sending

  /// Whether all have gone.
  var isEmpty: Bool {
    @inline(__always) get { begin == end }
  }

  /// The bytes to be sent; nil: there are none.
  var unsent: UnsafeMutableRawBufferPointer? {
    @inline(__always) get {
      guard let memory, begin < end else { return nil }
      return UnsafeMutableRawBufferPointer(start: memory + begin, count: end - begin)
    }
  }

  /// So many bytes have been sent, of these and then of others.
  ///
  /// - Returns: how many of these.
  @inline(__always)
  mutating func endSend(_ count: Int) -> Int {
    let part = min(count, end - begin)
    begin += part
    return part
  }

  /// They are not to be sent any more.
  mutating func drop() { begin = end }

  /// Gives the page back, once everything has gone.
  @inline(__always)
  mutating func takePage() -> Int? {
    guard let page, begin == end else { return nil }
    (self.page, memory) = (nil, nil)
    return page
  }

  // MARK: Writing

  /// Whether so many more bytes find room.
  func hasRoom(for count: Int) -> Bool { isEmpty || end + count <= Self.capacity }

  mutating func put<Number: FixedWidthInteger>(_ value: Number) {
    prepare(MemoryLayout<Number>.size).setBig(value, at: 0)
  }

  mutating func put(_ text: StaticString) {
    prepare(text.utf8CodeUnitCount).copyMemory(from: text.bytes.baseAddress!, byteCount: text.utf8CodeUnitCount)
  }

  mutating func put(_ text: String) {
    let room = prepare(text.utf8.count)
    UnsafeMutableRawBufferPointer(start: room, count: text.utf8.count).copyBytes(from: text.utf8)
  }

  mutating func putZeroes(_ count: Int) { memset(prepare(count), 0, count) }

  /// The head of an answer to an option, of so many bytes.
  mutating func reply(_ option: UInt32, _ type: UInt32, _ count: Int) {
    put(Magic.optionReply)
    put(option)
    put(type)
    put(UInt32(truncatingIfNeeded: count))
  }

  mutating func acknowledge(_ option: UInt32) { reply(option, OptionReply.acknowledge, 0) }

  /// An error with its reason, which clients show to people.
  mutating func refuse(_ option: UInt32, _ type: UInt32, _ reason: StaticString) {
    reply(option, type, reason.utf8CodeUnitCount)
    put(reason)
  }

  /// Room for so many bytes at the end of the answers. What has gone makes room when all of it has.
  private mutating func prepare(_ count: Int) -> UnsafeMutableRawPointer {
    if begin == end { (begin, end) = (0, 0) }
    guard let memory, end + count <= Self.capacity else {
      preconditionFailure("an answer outside of the handshake, or one that is longer than `answerMax`")
    }
    defer { end += count }
    return memory + end
  }
}
