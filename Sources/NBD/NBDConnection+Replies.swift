import Glibc

// Replies: in the order in which operations end, several in one send.
extension NBDConnection {
  // MARK: Results in

  /// An operation has ended. Its reply waits to be sent; or, of a long trim, its next piece waits for `next`; or, of a
  /// long write, its next piece is received.
  public mutating func finish(_ index: Int, _ outcome: NBDOutcome) {
    precondition(
      index >= 0 && index < limits.requestsMax && slots[index].state == .executing,
      "an operation that was not handed out")
    executing -= 1
    let slot = slots + index
    let hasMoreToCome = unfinished == index
    if hasMoreToCome { unfinished = -1 }
    if phase == .broken { return release(index) }
    // A write whose end will not come gets no answer.
    if hasMoreToCome, phase == .draining { return release(index) }
    switch outcome {
    case .withdrawn:
      // In the middle of a message nothing else can be said.
      let isMidReply = streaming == index
      release(index)
      if isMidReply { abandon() } else { hangUp() }
    case .failed(let error) where hasMoreToCome:
      // Answered when the rest has come and has been skipped, like every refused write.
      refused = index
      refusal = refusal(error, slot.pointee.flags)
      skipping = UInt32(truncatingIfNeeded: slot.pointee.remaining - UInt64(slot.pointee.piece))
      slot.pointee.state = .receiving
    case .failed where streaming == index:
      release(index)
      abandon()
    case .failed(let error):
      answer(index, refusal(error, slot.pointee.flags))
    case .done where hasMoreToCome:
      slot.pointee.offset += UInt64(slot.pointee.piece)
      slot.pointee.remaining -= UInt64(slot.pointee.piece)
      receivePiece(index)
    case .done:
      if slot.pointee.remaining > limits.extentMax, isInPieces(slot.pointee.command) {
        slot.pointee.offset += limits.extentMax
        slot.pointee.remaining -= limits.extentMax
        slot.pointee.state = .continuing
        continuing.append(index, slots)
      } else {
        answer(index)
      }
    }
  }

  private func isInPieces(_ command: Command) -> Bool { command == .trim || command == .writeZeroes }

  /// Adds an extent to a block status operation: the state of its next bytes, from its offset on. Bytes without an
  /// extent are reported as allocated.
  ///
  /// - Returns: false if no more is wanted: the requested extent is covered, or there is no room for another.
  @discardableResult
  public mutating func addExtent(_ index: Int, length: UInt64, isHole: Bool, readsZero: Bool) -> Bool {
    precondition(
      index >= 0 && index < limits.requestsMax && slots[index].state == .executing
        && slots[index].command == .blockStatus, "an extent of no block status")
    let slot = slots + index
    let part = UInt32(truncatingIfNeeded: min(length, slot.pointee.remaining))
    let status = (isHole ? AllocationContext.hole : 0) | (readsZero ? AllocationContext.zero : 0)
    if part > 0 {
      if slot.pointee.extentCount > 0 {
        let last = extent(slot, index, Int(slot.pointee.extentCount) - 1)
        if UnsafeRawPointer(last).big(4) == status {
          last.setBig(UnsafeRawPointer(last).big(0, as: UInt32.self) + part, at: 0)
          slot.pointee.remaining -= UInt64(part)
          return slot.pointee.remaining > 0
        }
      }
      // One that the reply has no room for ends it: the client asks again from there on.
      guard slot.pointee.extentCount < extentsMax(slot) else { return false }
      let next = extent(slot, index, Int(slot.pointee.extentCount))
      next.setBig(part, at: 0)
      next.setBig(status, at: 4)
      slot.pointee.extentCount += 1
      slot.pointee.remaining -= UInt64(part)
    }
    return slot.pointee.remaining > 0
  }

  /// The place of an extent of a block status: the first in the reply's header, the others in the slot's page.
  private func extent(
    _ slot: UnsafeMutablePointer<RequestSlot>, _ index: Int, _ number: Int
  ) -> UnsafeMutableRawPointer {
    number == 0
      ? header(index) + WireLength.statusChunk : address(slot) + (number - 1) * WireLength.extent
  }

  /// Extents that the reply has room for: one in its header, a page full of others.
  private func extentsMax(_ slot: UnsafeMutablePointer<RequestSlot>) -> UInt16 {
    slot.pointee.page < 0 ? 1 : UInt16(1 + PagePool.pageSize / WireLength.extent)
  }

  // MARK: Replies

  private func header(_ index: Int) -> UnsafeMutableRawPointer { headers + index * Self.headerStride }

  /// Answers a request that was executed.
  private mutating func answer(_ index: Int) {
    let slot = slots + index
    let header = header(index)
    slot.pointee.payloadCount = 0
    switch slot.pointee.command {
    case .read:
      slot.pointee.payload = slot.pointee.isInPlace ? nil : UnsafeRawPointer(address(slot))
      slot.pointee.payloadCount = slot.pointee.piece
      if streaming == index {
        // The header has gone, with the first piece.
        slot.pointee.headerCount = 0
      } else if hasStructuredReplies {
        // A read that must not be fragmented (DF) has one chunk; any other has a chunk for each piece.
        let isOnly = isOneMessage(slot)
        chunk(
          index, Chunk.offsetData, 8 + (isOnly ? slot.pointee.length : slot.pointee.piece),
          isLast: isOnly || !hasNextPiece(slot))
        header.setBig(slot.pointee.offset, at: WireLength.chunkHeader)
        slot.pointee.headerCount = UInt8(WireLength.dataChunk)
      } else {
        simple(index, 0)
      }
    case .blockStatus:
      if slot.pointee.extentCount == 0 {
        let all = extent(slot, index, 0)
        all.setBig(slot.pointee.length, at: 0)
        all.setBig(UInt32(0), at: 4)
        slot.pointee.extentCount = 1
      }
      let following = (Int(slot.pointee.extentCount) - 1) * WireLength.extent
      chunk(index, Chunk.blockStatus, UInt32(4 + WireLength.extent + following))
      header.setBig(AllocationContext.identifier, at: WireLength.chunkHeader)
      slot.pointee.headerCount = UInt8(WireLength.statusChunk + WireLength.extent)
      if following > 0 {
        slot.pointee.payload = UnsafeRawPointer(address(slot))
        slot.pointee.payloadCount = UInt32(following)
      }
    // The shorter of the two replies that the protocol allows here.
    case .write, .flush, .trim, .cache, .writeZeroes, .disconnect: simple(index, 0)
    }
    enqueue(index)
  }

  /// Answers a request with an error.
  mutating func answer(_ index: Int, _ refusal: Refusal) {
    let slot = slots + index
    slot.pointee.payloadCount = 0
    slot.pointee.isInPlace = false
    // Nothing follows it.
    slot.pointee.remaining = 0
    if hasStructuredReplies {
      let count = refusal.message.utf8CodeUnitCount
      chunk(index, Chunk.error, UInt32(6 + count))
      header(index).setBig(refusal.error.rawValue, at: WireLength.chunkHeader)
      header(index).setBig(UInt16(truncatingIfNeeded: count), at: WireLength.chunkHeader + 4)
      slot.pointee.headerCount = UInt8(WireLength.errorChunk)
      slot.pointee.payload = refusal.message.bytes.baseAddress
      slot.pointee.payloadCount = UInt32(truncatingIfNeeded: count)
    } else {
      simple(index, refusal.error.rawValue)
    }
    enqueue(index)
  }

  private mutating func enqueue(_ index: Int) {
    slots[index].state = .answered
    if streaming == index { answered.prepend(index, slots) } else { answered.append(index, slots) }
  }

  /// Whether a read's reply is one message, whose pieces nothing else may come between.
  private func isOneMessage(_ slot: UnsafeMutablePointer<RequestSlot>) -> Bool {
    !hasStructuredReplies || slot.pointee.flags & CommandFlag.df != 0
  }

  /// Whether a read has more to read behind its present piece.
  private func hasNextPiece(_ slot: UnsafeMutablePointer<RequestSlot>) -> Bool {
    slot.pointee.command == .read && slot.pointee.remaining > UInt64(slot.pointee.piece)
  }

  private func simple(_ index: Int, _ error: UInt32) {
    let header = header(index)
    header.setBig(Magic.simpleReply, at: 0)
    header.setBig(error, at: 4)
    header.setBig(slots[index].cookie, at: 8)
    slots[index].headerCount = UInt8(WireLength.simpleReply)
  }

  /// A chunk of a reply, the only one or the last one unless another one follows.
  private func chunk(_ index: Int, _ type: UInt16, _ count: UInt32, isLast: Bool = true) {
    let header = header(index)
    header.setBig(Magic.structuredReply, at: 0)
    header.setBig(isLast ? Chunk.flagDone : 0, at: 4)
    header.setBig(type, at: 6)
    header.setBig(slots[index].cookie, at: 8)
    header.setBig(count, at: 16)
  }

  /// The storage's reason, in words. "The server SHOULD NOT return `NBD_ENOTSUP` except as documented in
  /// response to `NBD_CMD_WRITE_ZEROES` when `NBD_CMD_FLAG_FAST_ZERO` is supported."
  private func refusal(_ error: NBDError, _ flags: UInt16) -> Refusal {
    switch error {
    case .notPermitted: Refusal(error, "the unit is read-only")
    case .inputOutput: Refusal(error, "the storage failed")
    case .noSpace: Refusal(error, "no space is left on the storage")
    case .shutDown: Refusal(error, "the server shuts down")
    case .overflow: Refusal(error, "longer than the storage takes")
    case .notSupported where flags & CommandFlag.fastZero != 0: Refusal(error, "there is no fast way")
    case .invalid, .notSupported: Refusal(.invalid, "the storage cannot do this")
    }
  }

  // MARK: Bytes out

  /// The bytes to send now, for one sendmsg(2), and one sendfile(2) if bytes of the unit follow; empty if there is
  /// nothing, or a send is in flight. The memory that it points at, and the vectors themselves, stay as they are
  /// until `endSend`.
  public mutating func beginSend() -> NBDOutput {
    var output = NBDOutput()
    var count = 0
    if !isSending, phase != .broken {
      if outBegin < outEnd {
        add(pages + outPage * PagePool.pageSize + outBegin, outEnd - outBegin, &count)
      }
      var index = answered.first
      var skip = sentOfFirst
      var replies = 0
      // In the middle of a message its next piece, and nothing else.
      if streaming >= 0, Int(index) != streaming { index = -1 }
      while index >= 0, replies < Self.sendRepliesMax, output.count == 0 {
        let slot = slots + Int(index)
        let headerCount = Int(slot.pointee.headerCount)
        if skip < headerCount { add(header(Int(index)) + skip, headerCount - skip, &count) }
        let sent = max(skip - headerCount, 0)
        if slot.pointee.isInPlace {
          output.offset = slot.pointee.offset + UInt64(sent)
          output.count = Int(slot.pointee.payloadCount) - sent
          output.buffer = address(slot)
        } else if let payload = slot.pointee.payload, Int(slot.pointee.payloadCount) > sent {
          add(UnsafeMutableRawPointer(mutating: payload) + sent, Int(slot.pointee.payloadCount) - sent, &count)
        }
        skip = 0
        replies += 1
        if hasNextPiece(slot), isOneMessage(slot) { break }
        index = slot.pointee.next
      }
    }
    output.vectors = UnsafeMutableBufferPointer(start: sendVectors, count: count)
    isSending = isSending || !output.isEmpty
    return output
  }

  private func add(_ address: UnsafeMutableRawPointer, _ bytes: Int, _ count: inout Int) {
    sendVectors[count] = iovec(iov_base: address, iov_len: bytes)
    count += 1
  }

  /// The send has ended with so many bytes, which may be fewer than there were; less than 0: the connection is broken.
  ///
  /// The caller tries again after EINTR and EAGAIN, without ending it here.
  public mutating func endSend(_ result: Int) {
    precondition(isSending, "an end of a send that was not begun")
    isSending = false
    if phase == .broken { return dropReplies() }
    if result < 0 { return abandon() }
    bytesSent += UInt64(result)
    var rest = result
    let part = min(rest, outEnd - outBegin)
    outBegin += part
    rest -= part
    freeOut()
    rest += sentOfFirst
    while answered.first >= 0 {
      let slot = slots + Int(answered.first)
      let count = Int(slot.pointee.headerCount) + Int(slot.pointee.payloadCount)
      if rest < count { break }
      rest -= count
      sent(answered.removeFirst(slots))
    }
    precondition(answered.first >= 0 || rest == 0, "more was sent than there was")
    sentOfFirst = rest
  }

  /// A reply, or a piece of it, has gone to its last byte: the request is complete, or continues with its next piece.
  private mutating func sent(_ index: Int) {
    let slot = slots + index
    guard hasNextPiece(slot) else {
      if streaming == index { streaming = -1 }
      return release(index)
    }
    if isOneMessage(slot) { streaming = index }
    slot.pointee.offset += UInt64(slot.pointee.piece)
    slot.pointee.remaining -= UInt64(slot.pointee.piece)
    slot.pointee.state = .continuing
    continuing.append(index, slots)
  }
}
