import BatonSubsystem

/// The entries of a controller's journal, by their numbers. An address and nothing more.
struct JournalEntries {
  private let base: UnsafeMutablePointer<AcceptedRequest>

  init(_ journal: Journal) { base = journal.entries }

  /// The entry with that index.
  @inline(__always)
  subscript(_ index: Int32) -> UnsafeMutablePointer<AcceptedRequest> {
    assert(index >= 0 && index < Journal.capacity, "an entry outside of the journal")
    return base + Int(index)
  }

  /// The index of an entry.
  @inline(__always)
  func index(of entry: UnsafeMutablePointer<AcceptedRequest>) -> Int32 {
    assert(entry >= base && entry < base + Journal.capacity, "an entry outside of the journal")
    return Int32(truncatingIfNeeded: entry - base)
  }

  /// The entries that are linked through `next`, starting at that index; -1: none.
  func list(from index: Int32) -> RequestList { RequestList(self, from: index) }
}

/// Requests that are linked through `next`, starting at a given one. The list is an address and a number: a request
/// that ends or changes meanwhile does not disturb an iteration.
struct RequestList: Sequence, IteratorProtocol {
  private let entries: JournalEntries
  private var index: Int32

  init(_ entries: JournalEntries, from index: Int32) {
    self.entries = entries
    self.index = index
  }

  @inline(__always)
  mutating func next() -> UnsafeMutablePointer<AcceptedRequest>? {
    if index < 0 { return nil }
    let request = entries[index]
    index = request.pointee.next
    return request
  }
}

/// A queue of requests in arrival order, linked through `next`.
///
/// Invariant: the last request's `next` is -1, and an empty queue has neither a first nor a last one.
struct RequestChain {
  private(set) var first: Int32 = -1
  private var last: Int32 = -1

  var isEmpty: Bool {
    @inline(__always) get { first < 0 }
  }

  /// Appends a request, which is in no other queue or list.
  @inline(__always)
  mutating func append(_ index: Int32, _ entries: JournalEntries) {
    assert(entries[index].pointee.next == -1, "a request that stands in a queue already")
    if last >= 0 { entries[last].pointee.next = index } else { first = index }
    last = index
  }

  /// Removes the first request; nil: the queue is empty.
  @inline(__always)
  mutating func removeFirst(_ entries: JournalEntries) -> Int32? {
    if first < 0 { return nil }
    let index = first
    first = entries[index].pointee.next
    if first < 0 { last = -1 }
    entries[index].pointee.next = -1
    return index
  }
}
