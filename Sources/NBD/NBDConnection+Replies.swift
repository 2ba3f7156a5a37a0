import Glibc

// Replies: in the order in which operations end, several in one send.
extension NBDConnection {
  // MARK: Results in

  /// An operation has ended. Its reply waits to be sent; or, of a long trim, its next piece waits for `next`; or, of a
  /// long write, its next piece is received.
  public mutating func finish(_ index: Int, _ outcome: NBDOutcome) {
    precondition(requests.isExecuting(index), "an operation that was not handed out")
    requests.endExecuting(index)
    let hasMoreToCome = write.isUnfinished(index)
    if hasMoreToCome { write = .none }
    if phase == .broken { return requests.release(index) }
    // A write whose end will not come gets no answer.
    if hasMoreToCome, phase == .draining { return requests.release(index) }
    let slot = requests.address(index)
    switch outcome {
    case .withdrawn:
      // In the middle of a message nothing else can be said.
      let isMidReply = replies.isStreaming(index)
      requests.release(index)
      if isMidReply { abandon() } else { hangUp() }
    case .failed(let error) where hasMoreToCome:
      // Answered when the rest has come and has been skipped, like every refused write.
      write = .refused(slot: index, Refusal(error, flags: slot.pointee.flags))
      received.beginSkipping(UInt32(truncatingIfNeeded: slot.pointee.remaining - UInt64(slot.pointee.piece)))
      slot.pointee.state = .receiving
    case .failed where replies.isStreaming(index):
      requests.release(index)
      abandon()
    case .failed(let error):
      answer(index, Refusal(error, flags: slot.pointee.flags))
    case .done where hasMoreToCome:
      slot.pointee.offset += UInt64(slot.pointee.piece)
      slot.pointee.remaining -= UInt64(slot.pointee.piece)
      receivePiece(index)
    case .done:
      if slot.pointee.remaining > limits.extentMax, isInPieces(slot.pointee.command) {
        requests.continueLater(index, behind: limits.extentMax)
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
      requests.isExecuting(index) && requests.address(index).pointee.command == .blockStatus,
      "an extent of no block status")
    let slot = requests.address(index)
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
      ? replies.header(index) + WireLength.statusChunk : requests.data(of: slot) + (number - 1) * WireLength.extent
  }

  /// Extents that the reply has room for: one in its header, a page full of others.
  private func extentsMax(_ slot: UnsafeMutablePointer<RequestSlot>) -> UInt16 {
    slot.pointee.page < 0 ? 1 : UInt16(1 + PagePool.pageSize / WireLength.extent)
  }

  // MARK: Replies

  /// Answers a request that was executed.
  private mutating func answer(_ index: Int) {
    let slot = requests.address(index)
    let header = replies.header(index)
    slot.pointee.payloadCount = 0
    switch slot.pointee.command {
    case .read:
      slot.pointee.payload = slot.pointee.isInPlace ? nil : UnsafeRawPointer(requests.data(of: slot))
      slot.pointee.payloadCount = slot.pointee.piece
      if replies.isStreaming(index) {
        // The header has gone, with the first piece.
        slot.pointee.headerCount = 0
      } else if agreed.hasStructuredReplies {
        // A read that must not be fragmented (DF) has one chunk; any other has a chunk for each piece.
        let isOnly = isOneMessage(slot)
        chunk(
          index, Chunk.offsetData, 8 + (isOnly ? slot.pointee.length : slot.pointee.piece),
          isLast: isOnly || !slot.pointee.hasNextPiece)
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
        slot.pointee.payload = UnsafeRawPointer(requests.data(of: slot))
        slot.pointee.payloadCount = UInt32(following)
      }
    // The shorter of the two replies that the protocol allows here.
    case .write, .flush, .trim, .cache, .writeZeroes, .disconnect: simple(index, 0)
    }
    replies.append(index, requests)
  }

  /// Answers a request with an error.
  mutating func answer(_ index: Int, _ refusal: Refusal) {
    let slot = requests.address(index)
    slot.pointee.payloadCount = 0
    slot.pointee.isInPlace = false
    // Nothing follows it.
    slot.pointee.remaining = 0
    if agreed.hasStructuredReplies {
      let count = refusal.message.utf8CodeUnitCount
      chunk(index, Chunk.error, UInt32(6 + count))
      replies.header(index).setBig(refusal.error.rawValue, at: WireLength.chunkHeader)
      replies.header(index).setBig(UInt16(truncatingIfNeeded: count), at: WireLength.chunkHeader + 4)
      slot.pointee.headerCount = UInt8(WireLength.errorChunk)
      slot.pointee.payload = refusal.message.bytes.baseAddress
      slot.pointee.payloadCount = UInt32(truncatingIfNeeded: count)
    } else {
      simple(index, refusal.error.rawValue)
    }
    replies.append(index, requests)
  }

  private func isOneMessage(_ slot: UnsafeMutablePointer<RequestSlot>) -> Bool {
    slot.pointee.isOneMessage(hasStructuredReplies: agreed.hasStructuredReplies)
  }

  private func simple(_ index: Int, _ error: UInt32) {
    let header = replies.header(index)
    header.setBig(Magic.simpleReply, at: 0)
    header.setBig(error, at: 4)
    header.setBig(requests.address(index).pointee.cookie, at: 8)
    requests.address(index).pointee.headerCount = UInt8(WireLength.simpleReply)
  }

  /// A chunk of a reply, the only one or the last one unless another one follows.
  private func chunk(_ index: Int, _ type: UInt16, _ count: UInt32, isLast: Bool = true) {
    let header = replies.header(index)
    header.setBig(Magic.structuredReply, at: 0)
    header.setBig(isLast ? Chunk.flagDone : 0, at: 4)
    header.setBig(type, at: 6)
    header.setBig(requests.address(index).pointee.cookie, at: 8)
    header.setBig(count, at: 16)
  }

  // MARK: Bytes out

  /// The bytes to send now, for one sendmsg(2), and one sendfile(2) if bytes of the unit follow; empty if there is
  /// nothing, or a send is in flight. The memory that it points at, and the vectors themselves, stay as they are
  /// until `endSend`.
  public mutating func beginSend() -> NBDOutput {
    if phase == .broken || replies.isSending || replies.isEmpty && answers.isEmpty { return NBDOutput() }
    return replies.beginSend(
      after: answers.unsent, requests, hasStructuredReplies: agreed.hasStructuredReplies)
  }

  /// The send has ended with so many bytes, which may be fewer than there were; less than 0: the connection is broken.
  ///
  /// The caller tries again after EINTR and EAGAIN, without ending it here.
  public mutating func endSend(_ result: Int) {
    replies.endSend()
    if phase == .broken { return dropReplies() }
    if result < 0 { return abandon() }
    replies.add(result, ofAnswers: answers.endSend(result))
    if answers.hasPage { freeAnswers() }
    while let index = replies.takeSent(requests) { sent(index) }
  }

  /// A reply, or a piece of it, has gone to its last byte: the request is complete, or continues with its next piece.
  @inline(__always)
  private mutating func sent(_ index: Int) {
    let slot = requests.address(index)
    guard slot.pointee.hasNextPiece else {
      if replies.isStreaming(index) { replies.endStreaming() }
      return requests.release(index)
    }
    if isOneMessage(slot) { replies.beginStreaming(index) }
    requests.continueLater(index, behind: UInt64(slot.pointee.piece))
  }
}
