import BatonOwnership
import BatonSharedMemory
import CBatonShims

/// The flag of a request line: whose turn it is, the request's number, and its result.
///
/// Invariants:
/// - a line is free, submitted, or answered; only the host submits, only a controller answers;
/// - a submission carries the channel's next sequence number, an answer the number that it answers: so a request is
///   answered once, and a number is used once;
/// - everything else in the line is written before the flag that publishes it (sync points "submit" and "answer").
///
///      63                                           16 15       8 7        2 1   0
///     +-----------------------------------------------+----------+----------+-----+
///     |                 sequence (48)                 |  status  |    0     |state|
///     +-----------------------------------------------+----------+----------+-----+
///
/// Numbers wrap around after 2^48 requests, 65 days at 50 million per second. Two numbers of one channel are less than
/// `BATON_LINES_MAX` apart, so the newer of the two can always be told (`isNewer`).
@frozen
public struct RequestFlag: Equatable {
  /// The word as it lies in the line.
  public let rawValue: UInt64

  /// A flag as it was found in a line.
  @inlinable @inline(__always)
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Submitted by the host: the controller's turn.
  @inlinable @inline(__always)
  public static func submitted(_ sequence: UInt64) -> RequestFlag { RequestFlag(rawValue: sequence << 16 | 1) }

  /// Answered: the host's turn.
  @inlinable @inline(__always)
  public static func answered(_ sequence: UInt64, _ status: Status) -> RequestFlag {
    RequestFlag(rawValue: sequence << 16 | UInt64(status.rawValue) << 8 | 2)
  }

  /// Of a submission: that of the request after it in the channel.
  @inlinable @inline(__always)
  public var following: RequestFlag {
    assert(isSubmitted, "only submissions are numbered ahead")
    return RequestFlag(rawValue: rawValue &+ 1 << 16)
  }

  /// Of a submission: that of the request so many after it.
  @inlinable @inline(__always)
  public func advanced(by count: Int) -> RequestFlag {
    assert(isSubmitted, "only submissions are numbered ahead")
    return RequestFlag(rawValue: rawValue &+ UInt64(truncatingIfNeeded: count) << 16)
  }

  /// Of a submission: how many requests after an earlier one it is.
  @inlinable @inline(__always)
  public func distance(from earlier: RequestFlag) -> Int {
    assert(isSubmitted && earlier.isSubmitted, "only submissions are counted")
    return Int(truncatingIfNeeded: (rawValue &- earlier.rawValue) >> 16)
  }

  /// Of a submission: the answer to it.
  @inlinable @inline(__always)
  public func answered(_ status: Status) -> RequestFlag {
    assert(isSubmitted, "only submissions are answered")
    return RequestFlag(rawValue: rawValue &+ (UInt64(status.rawValue) << 8 | 1))
  }

  /// Whether it is the controller's turn.
  @inlinable @inline(__always)
  public var isSubmitted: Bool { rawValue & 3 == 1 }

  /// Whether it is the host's turn.
  @inlinable @inline(__always)
  public var isAnswered: Bool { rawValue & 3 == 2 }

  /// Counts the requests of a channel, from 1.
  @inlinable @inline(__always)
  public var sequence: UInt64 { rawValue >> 16 }

  /// The bits of a number.
  @inlinable
  public static var sequenceMask: UInt64 { @inline(__always) get { 1 << 48 - 1 } }

  /// Whether one number of a channel comes after another, in a round of 2^48: less than half a round ahead.
  @inlinable @inline(__always)
  public static func isNewer(_ sequence: UInt64, than other: UInt64) -> Bool {
    Int64(bitPattern: (sequence &- other) << 16) > 0
  }

  /// Of an answer.
  @inlinable @inline(__always)
  public var status: Status {
    Status(rawValue: UInt8(truncatingIfNeeded: rawValue >> 8)) ?? .inputOutputError
  }
}

/// What a controller says about an answer, apart from its status.
@frozen
public struct Service: Sendable, Equatable {
  /// As it lies in the line: the controller in bit 0, whether it waited in bit 8, the term from bit 16 on.
  public let rawValue: UInt64

  /// As it lies in the line.
  @inlinable @inline(__always)
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// The parts: the controller that served, its term, and whether the request waited for a change of owner.
  @inlinable @inline(__always)
  public init(controller: ControllerIdentity, isTransferred: Bool, term: UInt64) {
    rawValue = term << 16 | (isTransferred ? 0x100 : 0) | UInt64(controller.rawValue)
  }

  /// The controller that served.
  public var controller: ControllerIdentity { rawValue & 1 == 0 ? .a : .b }
  /// Whether the request waited in the pending queue for a change of owner.
  public var isTransferred: Bool { rawValue & 0x100 != 0 }
  /// The term of the function that it was served in.
  public var term: UInt64 { rawValue >> 16 }
}

extension Service: CustomStringConvertible {
  /// `by b in term 3`, `by b in term 4, after a change of owner`.
  public var description: String {
    "by \(controller) in term \(term)" + (isTransferred ? ", after a change of owner" : "")
  }
}

/// A request line in host memory: one cache line that goes to the controller with the request and comes back with
/// the answer. An address and nothing more.
@frozen
public struct RequestLine {
  @usableFromInline let base: UnsafeMutableRawPointer

  /// Bytes from one line to the next.
  @inlinable
  public static var stride: Int { @inline(__always) get { MemoryLayout<baton_request_line>.stride } }

  /// The line at this address, 64-byte aligned, which must stay mapped while this value is used.
  @inlinable @inline(__always)
  public init(_ base: UnsafeMutableRawPointer) {
    assert(UInt(bitPattern: base) % UInt(Self.stride) == 0, "a request line is one cache line")
    self.base = base
  }

  /// The word that says whose turn it is.
  @inlinable @inline(__always)
  public var flag: SharedWord { SharedWord(base) }

  /// Asks for this line for writing, before a look at it: a controller answers in the line that it has read. See
  /// `SharedWord.prefetchForWriting`.
  @inlinable @inline(__always)
  public func prefetch() { flag.prefetchForWriting() }

  /// The same for the line that lies so many after this one, which as a rule is that of the request so many after this
  /// one. Behind the last line it is something else, which then moves in vain.
  @inlinable @inline(__always)
  public func prefetch(linesAhead: Int) { SharedWord(base + linesAhead &* Self.stride).prefetchForWriting() }

  /// The bit in the request's first word which says that the next request may come in the same line.
  @inlinable
  public static var stayBit: UInt64 { @inline(__always) get { RequestCopy.stayBit } }

  @inlinable @inline(__always)
  var fields: UnsafeMutablePointer<baton_request_line> { base.assumingMemoryBound(to: baton_request_line.self) }

  /// Host: writes a request and submits it. The next one will be in line `next` or, if this one `mayStay` and has been
  /// answered by then, in this line again. Cost: one line moved. Sync point "submit": the release of the flag, and the
  /// acquire in the controller's look at it.
  @inlinable @inline(__always)
  public func submit(_ request: Request, _ submission: RequestFlag, next: LineIndex, mayStay: Bool = false) {
    submit(RequestCopy(request), submission, next: next, mayStay: mayStay)
  }

  /// Host: the same for a request as it lies in a line.
  @inlinable @inline(__always)
  public func submit(_ request: RequestCopy, _ submission: RequestFlag, next: LineIndex, mayStay: Bool) {
    fill(
      head: request.head | (mayStay ? RequestCopy.stayBit : 0) | UInt64(truncatingIfNeeded: next.number) << 16,
      offset: request.offset, length: request.length, buffer: request.buffer)
    submit(submission)
  }

  /// Host: writes a request that `submit(_:)` submits. `head` has the line of the next one in it. Each word is stored
  /// as soon as it is known, so that a caller which has it in memory needs one register.
  @inlinable @inline(__always)
  public func fill(
    head: @autoclosure () -> UInt64, offset: @autoclosure () -> UInt64, length: @autoclosure () -> UInt64,
    buffer: @autoclosure () -> UInt64
  ) {
    // Sync point "submit": a controller that reads this request's fields sees the request before it submitted, see
    // `ChannelPosition`. No instruction on x86.
    releaseFence()
    SharedWord(base + 8).storeRelaxed(head())
    SharedWord(base + 16).storeRelaxed(offset())
    SharedWord(base + 24).storeRelaxed(length())
    SharedWord(base + 32).storeRelaxed(buffer())
  }

  /// Host: submits the request that `fill` has written.
  @inlinable @inline(__always)
  public func submit(_ submission: RequestFlag) {
    assert(submission.isSubmitted, "a host submits")
    flag.storeReleasing(submission.rawValue)
  }

  /// Host: the request in this line. Nil if somebody has overwritten it with something else.
  public var request: Request? {
    guard let operation = Operation(rawValue: fields.pointee.operation) else { return nil }
    return Request(
      operation, unit: fields.pointee.unit, offset: fields.pointee.offset, length: fields.pointee.length,
      buffer: fields.pointee.buffer, isDurable: fields.pointee.flags & 1 != 0,
      mustBeFast: fields.pointee.flags & 0x80 != 0)
  }

  /// Controller: copies the request out, once; everything after that uses the copy, never the line, which a hostile
  /// host may change meanwhile.
  @inlinable @inline(__always)
  public func copy() -> RequestCopy {
    // Atomic loads, though relaxed: a compiler may fetch a plain field twice, and find two values.
    RequestCopy(
      head: SharedWord(base + 8).loadRelaxed(), offset: SharedWord(base + 16).loadRelaxed(),
      length: SharedWord(base + 24).loadRelaxed(), buffer: SharedWord(base + 32).loadRelaxed())
  }

  /// Controller: answers. Sync point "answer": the release of the flag, and the acquire in the host's poll; also
  /// publishes what the controller wrote into the arena.
  @inlinable @inline(__always)
  public func answer(_ answered: RequestFlag, value: UInt64, service: Service) {
    assert(answered.isAnswered, "a controller answers")
    let fields = self.fields
    fields.pointee.value = value
    fields.pointee.service = service.rawValue
    flag.storeReleasing(answered.rawValue)
  }

  /// Host: the values of the answer. Call it only after the flag said that it is answered.
  @inlinable @inline(__always)
  public var response: (value: UInt64, service: Service) {
    (fields.pointee.value, Service(rawValue: fields.pointee.service))
  }
}

/// A request as it was found in a line: not checked yet.
@frozen
public struct RequestCopy {
  /// Operation, flags, next line and unit, as they lie in the line.
  public let head: UInt64
  /// Bytes from the unit's start.
  public let offset: UInt64
  /// Bytes.
  public let length: UInt64
  /// Bytes from the arena's start.
  public let buffer: UInt64

  @inlinable @inline(__always)
  init(head: UInt64, offset: UInt64, length: UInt64, buffer: UInt64) {
    self.head = head
    self.offset = offset
    self.length = length
    self.buffer = buffer
  }

  /// A request as a host writes it, without the line of the next one.
  @inlinable @inline(__always)
  public init(_ request: Request) {
    self.init(
      head: UInt64(request.operation.rawValue) | (request.isDurable ? 0x100 : 0) | (request.mustBeFast ? 0x8000 : 0)
        | UInt64(request.unit) << 32,
      offset: request.offset, length: request.length, buffer: request.buffer)
  }

  /// A request that the C interface was given: operation, flags and unit lie in `head` as in a line, and nothing else.
  @inlinable @inline(__always)
  public init(checkedHead head: UInt64, offset: UInt64, length: UInt64, buffer: UInt64) {
    assert(head & ~0xffff_ffff_0000_81ff == 0, "the line of the next request is the host's to add")
    self.init(head: head, offset: offset, length: length, buffer: buffer)
  }

  /// The request; nil if its operation is unknown.
  public var request: Request? {
    guard let operation = Operation(rawValue: operation) else { return nil }
    return Request(
      operation, unit: unit, offset: offset, length: length, buffer: buffer, isDurable: head & 0x100 != 0,
      mustBeFast: head & 0x8000 != 0)
  }

  /// A request from elsewhere than a line, to be checked like one of a line.
  public init(operation: UInt8, unit: UInt32, offset: UInt64, length: UInt64, buffer: UInt64) {
    self.init(head: UInt64(operation) | UInt64(unit) << 32, offset: offset, length: length, buffer: buffer)
  }

  /// An `Operation`, or an unknown number.
  @inlinable @inline(__always)
  public var operation: UInt8 { UInt8(truncatingIfNeeded: head) }

  /// The bit of `mayStay` in `head`.
  @inlinable
  static var stayBit: UInt64 { @inline(__always) get { 0x200 } }

  /// Whether the host's next request may come in this request's line again, once it has been answered.
  @inlinable @inline(__always)
  public var mayStay: Bool { Self.mayStay(head) }

  /// The same, of a `likeness`.
  @inlinable @inline(__always)
  public static func mayStay(_ likeness: UInt64) -> Bool { likeness & stayBit != 0 }

  /// Operation, flags and unit: everything of the request's head but the next line.
  @inlinable
  public var likeness: UInt64 { @inline(__always) get { head & ~0xffff_0000 } }

  /// The line where the host's next request will be, as in `next`, if this request is like another one; otherwise a
  /// number that is greater than any line's. So one comparison checks the next line, operation, flags and unit.
  @inlinable @inline(__always)
  public func next(ifLike likeness: UInt64) -> UInt64 {
    let difference = head ^ likeness
    // The next line's 16 bits come lowest; a difference in any other bit lies above them.
    return difference >> 16 | difference << 48
  }

  /// The line where the host's next request will be, if not in this one; may lie outside of the channel.
  @inlinable @inline(__always)
  public var next: UInt16 { UInt16(truncatingIfNeeded: head >> 16) }

  /// The unit's number; such a unit may not exist.
  @inlinable @inline(__always)
  public var unit: UInt32 { UInt32(truncatingIfNeeded: head >> 32) }

  /// Operation, whether it is durable and must be fast, and unit, with the line that it came in between, as a journal's
  /// entry has them.
  @inlinable @inline(__always)
  public func identified(line: LineIndex) -> UInt64 {
    head & 0xffff_ffff_0000_81ff | UInt64(truncatingIfNeeded: line.number) << 16
  }
}
