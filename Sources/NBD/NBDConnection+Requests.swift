import Glibc

// Requests: taken from staging one after the other, and handed out as operations.
extension NBDConnection {
  /// The next operation for the storage; nil if there is none at present. Each must come back by `finish`.
  ///
  /// Call it while there is room for an operation: what is not taken stays where it is. Cost: of a write that came
  /// through staging one copy of its payload.
  public mutating func next() -> NBDOperation? {
    if let index = requests.takeContinuing() { return operation(index) }
    while phase == .transmission {
      if let index = write.receiving {
        let slot = requests.address(index)
        guard slot.pointee.received == slot.pointee.piece else { return nil }
        endPiece(index)
        return operation(index)
      }
      // More of a payload is to come, for which there is no room yet.
      if write.isUnfinished { return nil }
      if received.skipping > 0 {
        guard received.skip() else { return nil }
        received.endMessage()
        answerRefused()
      }
      guard received.count >= WireLength.request else { return nil }
      switch takeHeader() {
      case .execute(let index): return operation(index)
      case .nothingToExecute: break
      case .nothingTaken: return nil
      }
    }
    return nil
  }

  /// The next piece of a write is to be received: what has come of it is copied.
  mutating func receivePiece(_ index: Int) {
    let slot = requests.address(index)
    slot.pointee.state = .receiving
    slot.pointee.piece = UInt32(truncatingIfNeeded: min(slot.pointee.remaining, UInt64(limits.transferMax)))
    let part = received.move(to: requests.data(of: slot), most: Int(slot.pointee.piece))
    slot.pointee.received = UInt32(truncatingIfNeeded: part)
    write = .receiving(slot: index)
  }

  /// A piece of a write's payload has arrived.
  @inline(__always)
  private mutating func endPiece(_ index: Int) {
    let slot = requests.address(index)
    if slot.pointee.remaining > UInt64(slot.pointee.piece) {
      write = .unfinished(slot: index)
    } else {
      write = .none
      received.endMessage()
    }
  }

  /// The result for the request at the beginning of what has come.
  private enum Taken {
    /// It must be executed.
    case execute(Int)
    /// It was refused, or its payload is still to come.
    case nothingToExecute
    /// It stays where it is until there is room, or the connection ends with it.
    case nothingTaken
  }

  private mutating func takeHeader() -> Taken {
    // The start of the request after one without the magic number is unknown.
    guard let header = RequestHeader(received.first) else {
      hangUp()
      return .nothingTaken
    }
    if header.command == .disconnect {
      received.endMessage()
      hangUp()
      return .nothingTaken
    }
    // Every request is answered, so every one needs a slot.
    guard requests.hasFree else { return .nothingTaken }
    guard let command = header.command else { return refuse(header, Refusal(.invalid, "no such command")) }
    if let refusal = refusal(of: command, header) { return refuse(header, refusal) }
    return accept(command, header)
  }

  /// Refuses the request at the beginning of what has come.
  private mutating func refuse(_ header: RequestHeader, _ refusal: Refusal) -> Taken {
    let hasPayload = header.command == .write && header.length > 0
    if hasPayload, header.length > NBDLimits.payloadSkipMax {
      hangUp()
      return .nothingTaken
    }
    guard let index = requests.take(pageCount: 0) else { return .nothingTaken }
    let slot = requests.address(index)
    slot.pointee.cookie = header.cookie
    // The kind of its reply.
    slot.pointee.command = header.command ?? .disconnect
    received.drop(WireLength.request)
    if hasPayload {
      // Answered when all of it has come: some clients look for no answer before they have sent everything.
      received.beginSkipping(header.length)
      slot.pointee.state = .receiving
      write = .refused(slot: index, refusal)
    } else {
      received.endMessage()
      answer(index, refusal)
    }
    return .nothingToExecute
  }

  /// Takes the request at the beginning of what has come, if there are pages for it.
  @inline(__always)
  private mutating func accept(_ command: Command, _ header: RequestHeader) -> Taken {
    let pageCount = Self.pageCount(command, header.flags, min(header.length, limits.transferMax))
    let alignment = max(Int(agreed.blockSize) / PagePool.pageSize, 1)
    // There is room when some of the requests before have been answered.
    guard let index = requests.take(pageCount: pageCount, alignment: alignment) else { return .nothingTaken }
    let slot = requests.address(index)
    slot.pointee.cookie = header.cookie
    slot.pointee.command = command
    slot.pointee.flags = header.flags
    slot.pointee.offset = header.offset
    slot.pointee.length = header.length
    slot.pointee.remaining = UInt64(header.length)
    slot.pointee.extentCount = 0
    received.drop(WireLength.request)
    received.expectHeaderAlone(command == .write && isLarge(header.length))
    guard command == .write else {
      received.endMessage()
      return .execute(index)
    }
    // The caller finds the part of it that has arrived, and hands it out if that is enough.
    receivePiece(index)
    return .nothingToExecute
  }

  /// Pages that a request needs before it can be executed.
  private static func pageCount(_ command: Command, _ flags: UInt16, _ length: UInt32) -> Int {
    switch command {
    case .read, .write: (Int(length) + PagePool.pageSize - 1) / PagePool.pageSize
    // The first extent lies in the reply's header.
    case .blockStatus: flags & CommandFlag.requestOne != 0 ? 0 : 1
    case .disconnect, .flush, .trim, .cache, .writeZeroes: 0
    }
  }

  /// Answers the write whose payload has been skipped, or will not come, if there is one.
  mutating func answerRefused() {
    guard case .refused(let index, let refusal) = write else { return }
    write = .none
    answer(index, refusal)
  }

  /// Marks a read that was handed out: its data stays in the unit and is sent from there (`NBDOutput`), and nothing is
  /// read into its buffer.
  public mutating func readsInPlace(_ index: Int) {
    precondition(
      requests.isExecuting(index) && requests.address(index).pointee.command == .read, "no read that was handed out")
    requests.address(index).pointee.isInPlace = true
  }

  /// Hands a slot's next piece out.
  private mutating func operation(_ index: Int) -> NBDOperation {
    let slot = requests.address(index)
    requests.beginExecuting(index)
    slot.pointee.isInPlace = false
    let flags = slot.pointee.flags
    let kind: NBDOperation.Kind
    var length = slot.pointee.remaining
    var isDurable = false
    switch slot.pointee.command {
    case .read:
      kind = .read
      length = min(length, UInt64(limits.transferMax))
      slot.pointee.piece = UInt32(truncatingIfNeeded: length)
    case .write:
      kind = .write
      isDurable = flags & CommandFlag.fua != 0
      length = UInt64(slot.pointee.piece)
    case .trim:
      kind = .trim
      isDurable = flags & CommandFlag.fua != 0
      length = min(length, limits.extentMax)
    case .writeZeroes:
      kind = .writeZeroes
      isDurable = flags & CommandFlag.fua != 0
      length = min(length, limits.extentMax)
    case .cache: kind = .cache
    case .blockStatus: kind = .blockStatus
    case .flush: kind = .flush
    case .disconnect: preconditionFailure("a disconnection is no operation")
    }
    return NBDOperation(
      kind: kind, slot: index, unit: agreed.unit, offset: slot.pointee.offset, length: length,
      buffer: slot.pointee.page < 0 ? 0 : limits.stagingSize + Int(slot.pointee.page) * PagePool.pageSize,
      isDurable: isDurable, keepsAllocation: flags & CommandFlag.noHole != 0,
      mustBeFast: flags & CommandFlag.fastZero != 0)
  }

  // MARK: Checks

  /// Whether a request can be executed at all: nil if so.
  @inline(__always)
  private func refusal(of command: Command, _ header: RequestHeader) -> Refusal? {
    let (offset, length) = (header.offset, header.length)
    if header.flags & ~CommandFlag.valid(for: command, hasStructuredReplies: agreed.hasStructuredReplies) != 0 {
      return Refusal(.invalid, "a flag that the command does not have")
    }
    if command == .flush {
      return offset == 0 && length == 0 ? nil : Refusal(.invalid, "a flush has no offset and no length")
    }
    let changes = command == .write || command == .writeZeroes || command == .trim
    if changes, agreed.isReadOnly { return Refusal(.notPermitted, "the export is read-only") }
    if command == .blockStatus, !agreed.hasContext {
      return Refusal(.invalid, "no metadata context was selected")
    }
    if length == 0 { return Refusal(.invalid, "the length is zero") }
    if offset > agreed.size || UInt64(length) > agreed.size - offset {
      return Refusal(
        command == .write || command == .writeZeroes ? .noSpace : .invalid, "past the end of the export")
    }
    if (offset | UInt64(length)) & (UInt64(agreed.blockSize) &- 1) != 0 {
      return Refusal(.invalid, "offset or length is not a multiple of the smallest block")
    }
    if command == .read || command == .write, length > limits.payloadMax {
      return Refusal(
        command == .read && agreed.hasStructuredReplies ? .overflow : .invalid, "longer than the largest payload")
    }
    return nil
  }
}

/// A request as it has come: not checked yet.
private struct RequestHeader {
  let flags: UInt16
  /// Nil: there is no such command.
  let command: Command?
  let cookie: UInt64
  let offset: UInt64
  let length: UInt32

  /// Nil without the magic number.
  @inline(__always)
  init?(_ bytes: UnsafeRawPointer) {
    guard bytes.big(0) == Magic.request else { return nil }
    flags = bytes.big(4)
    command = Command(rawValue: bytes.big(6))
    cookie = bytes.big(8)
    offset = bytes.big(16)
    length = bytes.big(24)
  }
}
