// What this thread does itself and not at once: long operations on memory units, in pieces.
extension Storage {
  /// Bytes of a memory unit that are moved or made zero in one go. A controller's loop does nothing else meanwhile:
  /// some 10 microseconds, and ten times as long where the memory has never been touched.
  public static let pieceSize: UInt64 = 65_536

  /// Whether `nextPiece` has something to do.
  public var hasPieces: Bool {
    @inline(__always) get { !lanes.isEmpty }
  }

  /// Does one piece of the lane whose turn it is, which then goes behind all others. The operations of one lane are
  /// done one after the other. So every lane moves as many bytes as any other, however many operations it has and
  /// however long they are.
  ///
  /// - Returns: its result, and how many bytes were moved; nil if there is nothing to do.
  public mutating func nextPiece() -> (event: Event, bytes: Int)? {
    guard let index = lanes.front() else { return nil }
    let step = steps.address(index)
    assert(step.pointee.phase == .transfer, "only transfers are done in pieces")
    let count = min(step.pointee.remaining, Self.pieceSize)
    MemoryBackend.move(
      backends[Int(step.pointee.unit)],
      Transfer(
        operation: step.pointee.operation, offset: step.pointee.offset, length: count, address: step.pointee.address,
        isDurable: step.pointee.isDurable))
    step.pointee.move(by: count)
    let isOver = step.pointee.remaining == 0
    lanes.advance(steps.all, removing: isOver)
    return (isOver ? end(index, 0) : .progressed, Int(count))
  }
}
