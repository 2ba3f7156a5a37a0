/// A ring of 64-bit messages from one writer to one reader, in shared memory.
///
/// The slot is the flag: a slot that holds zero is free, any other value is a message. So a message moves one cache
/// line, and in the steady state neither side reads the other side's position (a ring that shares its indices moves
/// two lines: 190 ns per round trip instead of 90).
///
/// Invariants:
/// - only the writer turns a slot from zero to a message, only the reader turns it back;
/// - each side walks the slots in order, and leaves its position in a word that only it writes;
/// - a full ring refuses, and a side that dies between a slot and its position may lose or double a message: what
///   is sent through the ring must be a hint;
/// - the ring repairs itself: a reader that finds its slot empty while the writer stands elsewhere reads every slot
///   once and continues where the writer is (`resynchronize`).
@frozen
public struct HintRing<Memory: AtomicMemory> {
  @usableFromInline let slots: Memory
  @usableFromInline let mine: Memory.Word
  @usableFromInline let theirs: Memory.Word
  @usableFromInline let mask: Int
  @usableFromInline var position: Int
  /// The slot there.
  @usableFromInline var slot: Memory.Word

  /// One side of a ring of `capacity` slots, a power of two.
  ///
  /// `mine` holds this side's position and is written by it alone; `theirs` is the other side's. A side that
  /// starts again continues where it left off.
  @inlinable
  public init(slots: Memory, capacity: Int, mine: Memory.Word, theirs: Memory.Word) {
    precondition(capacity > 0 && capacity & (capacity - 1) == 0, "a ring's capacity is a power of two")
    self.slots = slots
    self.mine = mine
    self.theirs = theirs
    mask = capacity - 1
    position = Int(truncatingIfNeeded: mine.loadRelaxed()) & mask
    slot = slots.word(position)
  }

  /// Sends a hint. Cost: one line moved.
  ///
  /// - Returns: false if the ring is full: the hint is lost.
  @inlinable @inline(__always)
  public mutating func send(_ message: UInt64) -> Bool {
    precondition(message != 0, "zero means an empty slot")
    slot.prefetchForWriting()
    // Acquire: the reader's clearing of the slot came before; sync point "slot", the reader's release below.
    if slot.loadAcquiring() != 0 { return false }
    slot.storeReleasing(message)
    move(to: position &+ 1)
    return true
  }

  /// The next hint, or 0 when there is none.
  @inlinable @inline(__always)
  public mutating func receive() -> UInt64 {
    let message = slot.loadAcquiring()
    if message == 0 { return 0 }
    let taken = slot
    move(to: position &+ 1)
    taken.storeReleasing(0)
    return message
  }

  /// The reader: whether there is a hint.
  @inlinable @inline(__always)
  public var hasMessage: Bool {
    // The slot is cleared as soon as something is in it.
    slot.prefetchForWriting()
    return slot.loadAcquiring() != 0
  }

  @inlinable @inline(__always)
  mutating func move(to position: Int) {
    self.position = position & mask
    slot = slots.word(self.position)
    // Sync point "position": a load in `resynchronize` that sees it also sees the slots before it.
    mine.storeReleasing(UInt64(truncatingIfNeeded: self.position))
  }

  /// The reader's look after its footing, now and then when the ring is quiet: where the two positions differ
  /// though the slot here is empty, somebody died half way. Hands every message there is to `body`, and goes on
  /// where the writer stands. Cost: one line when all is well, else the whole ring.
  public mutating func resynchronize(_ body: (UInt64) -> Void) {
    // Sync point "position": what was sent before that is found below.
    let writer = Int(truncatingIfNeeded: theirs.loadAcquiring()) & mask
    if writer == position || hasMessage { return }
    for index in 0...mask {
      let slot = slots.word(index)
      let message = slot.loadAcquiring()
      if message != 0 {
        slot.storeReleasing(0)
        body(message)
      }
    }
    move(to: writer)
  }
}
