import Glibc

// Requests: taken from staging one after the other, and handed out as operations.
extension NBDConnection {
  /// The next operation for the storage; nil if there is none at present. Each must come back by `finish`.
  ///
  /// Call it while there is room for an operation: what is not taken stays where it is. Cost: of a write that came
  /// through staging one copy of its payload.
  public mutating func next() -> NBDOperation? {
    let piece = continuing.removeFirst(slots)
    if piece >= 0 { return operation(piece) }
    while phase == .transmission {
      if incoming >= 0 {
        guard slots[incoming].received == slots[incoming].piece else { return nil }
        return received()
      }
      // More of a payload is to come, for which there is no room yet.
      if unfinished >= 0 { return nil }
      if skipping > 0 {
        skip()
        guard skipping == 0 else { return nil }
        messages += 1
        answerRefused()
      }
      guard stagingEnd - stagingBegin >= WireLength.request else { return nil }
      switch takeHeader() {
      case .execute(let slot): return operation(slot)
      case .nothingToExecute: break
      case .nothingTaken: return nil
      }
    }
    return nil
  }

  /// A piece of a write's payload has arrived.
  private mutating func received() -> NBDOperation {
    let slot = incoming
    incoming = -1
    if slots[slot].remaining > UInt64(slots[slot].piece) { unfinished = slot } else { messages += 1 }
    return operation(slot)
  }

  /// The next piece of a write is to be received: what staging holds of it is copied.
  mutating func receivePiece(_ index: Int) {
    let slot = slots + index
    slot.pointee.state = .receiving
    slot.pointee.piece = UInt32(truncatingIfNeeded: min(slot.pointee.remaining, UInt64(limits.transferMax)))
    let part = min(Int(slot.pointee.piece), stagingEnd - stagingBegin)
    memcpy(address(slot), memory + stagingBegin, part)
    stagingBegin += part
    slot.pointee.received = UInt32(truncatingIfNeeded: part)
    incoming = index
    // All of it has been read: the rest of the payload, and what follows it, is received into empty staging.
    if stagingBegin == stagingEnd { (stagingBegin, stagingEnd) = (0, 0) }
  }

  /// The result for the request at the beginning of staging.
  private enum Taken {
    /// It must be executed.
    case execute(Int)
    /// It was refused, or its payload is still to come.
    case nothingToExecute
    /// It stays where it is until there is room, or the connection ends with it.
    case nothingTaken
  }

  private mutating func takeHeader() -> Taken {
    let header = UnsafeRawPointer(memory + stagingBegin)
    guard header.big(0) == Magic.request else {
      // The start of the next request is unknown.
      hangUp()
      return .nothingTaken
    }
    let flags: UInt16 = header.big(4)
    let number: UInt16 = header.big(6)
    let offset: UInt64 = header.big(16)
    let length: UInt32 = header.big(24)
    let command = Command(rawValue: number)
    if command == .disconnect {
      messages += 1
      hangUp()
      return .nothingTaken
    }
    // Every request is answered, so every one needs a slot.
    guard freeSlots.first >= 0 else { return .nothingTaken }
    let slot = slots + Int(freeSlots.first)
    let refusal = Self.refusal(
      command, flags, offset: offset, length: length, size: size, blockMask: UInt64(blockSize) &- 1,
      payloadMax: limits.payloadMax, isReadOnly: isReadOnly, hasStructuredReplies: hasStructuredReplies,
      hasContext: contextUnit == unit)
    guard let command, refusal == nil else {
      let refusal = refusal ?? Refusal(.invalid, "no such command")
      if command == .write, length > NBDLimits.payloadSkipMax {
        hangUp()
        return .nothingTaken
      }
      let index = takeSlot()
      slot.pointee.cookie = header.big(8)
      // The kind of its reply.
      slot.pointee.command = command ?? .disconnect
      stagingBegin += WireLength.request
      if command == .write, length > 0 {
        // Answered when all of it has come: some clients look for no answer before they have sent everything.
        skipping = length
        slot.pointee.state = .receiving
        refused = index
        self.refusal = refusal
        return .nothingToExecute
      }
      messages += 1
      answer(index, refusal)
      return .nothingToExecute
    }
    let pageCount = Self.pageCount(command, flags, min(length, limits.transferMax))
    if pageCount > 0 {
      let page = pool.take(pageCount, alignment: max(Int(blockSize) / PagePool.pageSize, 1))
      // There is room when some of the requests before have been answered.
      guard page >= 0 else { return .nothingTaken }
      slot.pointee.page = Int32(truncatingIfNeeded: page)
      slot.pointee.pageCount = Int32(truncatingIfNeeded: pageCount)
    }
    let index = takeSlot()
    slot.pointee.cookie = header.big(8)
    slot.pointee.command = command
    slot.pointee.flags = flags
    slot.pointee.offset = offset
    slot.pointee.length = length
    slot.pointee.remaining = UInt64(length)
    slot.pointee.extentCount = 0
    stagingBegin += WireLength.request
    expectsLarge = command == .write && isLarge(length)
    guard command == .write else {
      messages += 1
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

  /// Answers the write whose payload has been skipped, or will not come.
  mutating func answerRefused() {
    let index = refused
    refused = -1
    answer(index, refusal)
  }

  /// Marks a read that was handed out: its data stays in the unit and is sent from there (`NBDOutput`), and nothing is
  /// read into its buffer.
  public mutating func readsInPlace(_ index: Int) {
    precondition(
      index >= 0 && index < limits.requestsMax && slots[index].state == .executing && slots[index].command == .read,
      "no read that was handed out")
    slots[index].isInPlace = true
  }

  /// Hands a slot's next piece out.
  private mutating func operation(_ index: Int) -> NBDOperation {
    let slot = slots + index
    slot.pointee.state = .executing
    executing += 1
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
      kind: kind, slot: index, unit: unit, offset: slot.pointee.offset, length: length,
      buffer: slot.pointee.page < 0 ? 0 : limits.stagingSize + Int(slot.pointee.page) * PagePool.pageSize,
      isDurable: isDurable, keepsAllocation: flags & CommandFlag.noHole != 0,
      mustBeFast: flags & CommandFlag.fastZero != 0)
  }

  // MARK: Checks

  /// Whether a request can be executed at all: nil if so.
  private static func refusal(
    _ command: Command?, _ flags: UInt16, offset: UInt64, length: UInt32, size: UInt64, blockMask: UInt64,
    payloadMax: UInt32, isReadOnly: Bool, hasStructuredReplies: Bool, hasContext: Bool
  ) -> Refusal? {
    guard let command else { return Refusal(.invalid, "no such command") }
    if flags & ~CommandFlag.valid(for: command, hasStructuredReplies: hasStructuredReplies) != 0 {
      return Refusal(.invalid, "a flag that the command does not have")
    }
    if command == .flush {
      return offset == 0 && length == 0 ? nil : Refusal(.invalid, "a flush has no offset and no length")
    }
    let changes = command == .write || command == .writeZeroes || command == .trim
    if changes, isReadOnly { return Refusal(.notPermitted, "the export is read-only") }
    if command == .blockStatus, !hasContext { return Refusal(.invalid, "no metadata context was selected") }
    if length == 0 { return Refusal(.invalid, "the length is zero") }
    if offset > size || UInt64(length) > size - offset {
      return Refusal(
        command == .write || command == .writeZeroes ? .noSpace : .invalid, "past the end of the export")
    }
    if (offset | UInt64(length)) & blockMask != 0 {
      return Refusal(.invalid, "offset or length is not a multiple of the smallest block")
    }
    if command == .read || command == .write, length > payloadMax {
      return Refusal(
        command == .read && hasStructuredReplies ? .overflow : .invalid, "longer than the largest payload")
    }
    return nil
  }
}

/// The reason why a request is not executed.
struct Refusal {
  let error: NBDError
  let message: StaticString

  init(_ error: NBDError, _ message: StaticString) {
    self.error = error
    self.message = message
  }
}
