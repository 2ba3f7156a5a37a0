import BatonSystem

/// A client's request, from its header to the last byte of its reply.
struct RequestSlot {
  enum State: UInt8 {
    case free
    /// A write whose payload is being received, or skipped.
    case receiving
    /// Handed out by `next`, until `finish`.
    case executing
    /// Its next piece waits for `next`; a write whose next piece is still to come is `receiving` again.
    case continuing
    /// Its reply waits to be sent, or is.
    case answered
  }

  var state = State.free
  /// Whether a read's data is sent from where it lies in the unit, and not from its pages here.
  var isInPlace = false
  /// How long the reply's header is.
  var headerCount: UInt8 = 0
  var command = Command.read
  var flags: UInt16 = 0
  /// Extents of a block status, the first of them in the reply's header.
  var extentCount: UInt16 = 0
  /// The next in whichever list the slot is in; -1: none.
  var next: Int32 = -1
  /// Its pages; -1: none.
  var page: Int32 = -1
  var pageCount: Int32 = 0
  /// The client's request.
  var length: UInt32 = 0
  /// Of the present piece of a write's payload.
  var received: UInt32 = 0
  /// Bytes of the piece of a read or write that is in flight.
  var piece: UInt32 = 0
  /// Bytes that follow the reply's header, from `payload` on, or those of the unit.
  var payloadCount: UInt32 = 0
  var cookie: UInt64 = 0
  /// The start of the piece that is in flight, and what is left from there on.
  var offset: UInt64 = 0
  var remaining: UInt64 = 0
  var payload: UnsafeRawPointer?

  /// Whether a read has more to read behind its present piece.
  var hasNextPiece: Bool { command == .read && remaining > UInt64(piece) }

  /// Whether a read's reply is one message, whose pieces nothing else may come between.
  func isOneMessage(hasStructuredReplies: Bool) -> Bool { !hasStructuredReplies || flags & CommandFlag.df != 0 }
}

/// A list of slots, first in first out, through `RequestSlot.next`.
struct SlotList {
  private(set) var first: Int32 = -1
  private var last: Int32 = -1

  var isEmpty: Bool { first < 0 }

  @inline(__always)
  mutating func append(_ slot: Int, _ slots: borrowing Table<RequestSlot>) {
    let index = Int32(truncatingIfNeeded: slot)
    slots[slot].next = -1
    if last >= 0 { slots[Int(last)].next = index } else { first = index }
    last = index
  }

  /// Puts one before all others.
  @inline(__always)
  mutating func prepend(_ slot: Int, _ slots: borrowing Table<RequestSlot>) {
    slots[slot].next = first
    first = Int32(truncatingIfNeeded: slot)
    if last < 0 { last = first }
  }

  /// Removes and returns the first one, or returns -1.
  @inline(__always)
  mutating func removeFirst(_ slots: borrowing Table<RequestSlot>) -> Int {
    if first < 0 { return -1 }
    let slot = Int(first)
    first = slots[slot].next
    if first < 0 { last = -1 }
    slots[slot].next = -1
    return slot
  }
}

/// The requests of a connection, and the pages that they hold.
///
/// Invariants: a slot that is neither free nor in a list here belongs to the storage (`executing`), to the write that
/// is being received, or to `ReplyQueue`; `outstanding` counts the slots that are not free; a free slot has no pages.
struct RequestSlots: ~Copyable {
  /// Each slot, where it lies. It is changed by whichever step its request has reached.
  let slots: Table<RequestSlot>
  /// The first page.
  private let pages: UnsafeMutableRawPointer
  private var pool: PagePool
  private var free = SlotList()
  private var continuing = SlotList()
  /// Requests taken whose reply has not gone to the last byte: slots that are not free.
  private(set) var outstanding = 0
  /// Operations handed out and not finished.
  private(set) var executing = 0

  init(count: Int, pages: UnsafeMutableRawPointer, poolSize: Int) {
    slots = Table(repeating: RequestSlot(), count: count)
    self.pages = pages
    pool = PagePool(count: poolSize / PagePool.pageSize)
  }

  /// Frees everything.
  mutating func clear() {
    precondition(executing == 0, "the storage works on requests of an earlier client")
    pool.clear()
    (free, continuing) = (SlotList(), SlotList())
    for slot in slots.indices {
      slots[slot] = RequestSlot()
      free.append(slot, slots)
    }
    outstanding = 0
  }

  /// The slot of a request.
  @inline(__always)
  func address(_ index: Int) -> UnsafeMutablePointer<RequestSlot> { slots.address(index) }

  // MARK: Memory

  /// A page that requests hold.
  func page(_ page: Int) -> UnsafeMutableRawPointer { pages + page * PagePool.pageSize }

  /// The memory of a slot's data.
  @inline(__always)
  func data(of slot: UnsafeMutablePointer<RequestSlot>) -> UnsafeMutableRawPointer { page(Int(slot.pointee.page)) }

  /// Bytes of all pages in use.
  var bytesInUse: Int { (pool.count - pool.free) * PagePool.pageSize }

  /// Takes a page for something else than a request; -1: none is free.
  mutating func takePage() -> Int { pool.take(1) }

  /// That page is free again.
  mutating func giveBack(page: Int) { pool.giveBack(page, 1) }

  // MARK: Taking and releasing

  /// Whether a slot is free.
  var hasFree: Bool { !free.isEmpty }

  /// Takes a slot and so many pages, whose first one is a multiple of `alignment`.
  ///
  /// - Returns: nil if there are not so many pages at present.
  @inline(__always)
  mutating func take(pageCount: Int, alignment: Int = 1) -> Int? {
    assert(hasFree, "the caller looks for a free slot first")
    let page = pageCount > 0 ? pool.take(pageCount, alignment: alignment) : -1
    if pageCount > 0, page < 0 { return nil }
    let index = free.removeFirst(slots)
    outstanding += 1
    if page >= 0 {
      slots[index].page = Int32(truncatingIfNeeded: page)
      slots[index].pageCount = Int32(truncatingIfNeeded: pageCount)
    }
    return index
  }

  /// A request is over: its slot and pages are free.
  @inline(__always)
  mutating func release(_ index: Int) {
    let slot = slots.address(index)
    if slot.pointee.page >= 0 { pool.giveBack(Int(slot.pointee.page), Int(slot.pointee.pageCount)) }
    slot.pointee.page = -1
    slot.pointee.state = .free
    outstanding -= 1
    free.append(index, slots)
  }

  /// Releases every slot of a list, and leaves the list empty.
  mutating func release(all list: inout SlotList) {
    while !list.isEmpty { release(list.removeFirst(slots)) }
  }

  // MARK: Execution

  /// Whether a request is with the storage. Any number may be asked for.
  @inline(__always)
  func isExecuting(_ index: Int) -> Bool { slots.indices.contains(index) && slots[index].state == .executing }

  /// A request is handed to the storage.
  @inline(__always)
  mutating func beginExecuting(_ index: Int) {
    slots[index].state = .executing
    executing += 1
  }

  /// It comes back from there.
  @inline(__always)
  mutating func endExecuting(_ index: Int) {
    assert(isExecuting(index), "an operation that was not handed out")
    executing -= 1
  }

  // MARK: Requests in pieces

  /// Whether a request has a next piece that the storage could take.
  var hasContinuing: Bool { !continuing.isEmpty }

  /// A request's piece of so many bytes is over, and its next piece waits for the storage.
  @inline(__always)
  mutating func continueLater(_ index: Int, behind count: UInt64) {
    slots[index].offset += count
    slots[index].remaining -= count
    slots[index].state = .continuing
    continuing.append(index, slots)
  }

  /// The request that has waited longest with its next piece; nil: none waits.
  @inline(__always)
  mutating func takeContinuing() -> Int? {
    continuing.isEmpty ? nil : continuing.removeFirst(slots)
  }

  /// No next piece is executed any more.
  mutating func dropContinuing() {
    var dropped = continuing
    continuing = SlotList()
    release(all: &dropped)
  }
}
