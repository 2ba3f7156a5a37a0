import BatonSubsystem

/// The entries of a controller's journal, by their numbers. An address and nothing more.
struct JournalEntries {
  private let base: UnsafeMutablePointer<AcceptedRequest>

  init(_ journal: Journal) { base = journal.entries }

  /// The entry with that index.
  @inline(__always)
  subscript(_ index: RequestIndex) -> UnsafeMutablePointer<AcceptedRequest> { base + Int(index.number) }

  /// The index of an entry.
  @inline(__always)
  func index(of entry: UnsafeMutablePointer<AcceptedRequest>) -> RequestIndex {
    RequestIndex(Int32(truncatingIfNeeded: entry - base))
  }

  /// The entries that are linked through `following`, starting at that one.
  func list(from first: RequestLink) -> RequestList { RequestList(self, from: first) }
}

/// Requests that are linked through `following`, starting at a given one. The list is an address and a number: a
/// request that ends or changes meanwhile does not disturb an iteration.
struct RequestList: Sequence, IteratorProtocol {
  private let entries: JournalEntries
  private var current: RequestLink

  init(_ entries: JournalEntries, from first: RequestLink) {
    self.entries = entries
    current = first
  }

  @inline(__always)
  mutating func next() -> UnsafeMutablePointer<AcceptedRequest>? {
    guard let index = current.index else { return nil }
    let request = entries[index]
    current = request.pointee.following
    return request
  }
}

/// A queue of requests in arrival order, linked through `following`.
///
/// Invariant: the last request links to none, and an empty queue has neither a first nor a last one.
struct RequestChain {
  private(set) var first = RequestLink.none
  private var last = RequestLink.none

  var isEmpty: Bool {
    @inline(__always) get { first.index == nil }
  }

  /// Appends a request, which is in no other queue or list.
  @inline(__always)
  mutating func append(_ index: RequestIndex, _ entries: JournalEntries) {
    assert(entries[index].pointee.following == .none, "a request that stands in a queue already")
    let link = RequestLink(index)
    if let last = last.index { entries[last].pointee.following = link } else { first = link }
    last = link
  }

  /// Removes the first request; nil: the queue is empty.
  @inline(__always)
  mutating func removeFirst(_ entries: JournalEntries) -> RequestIndex? {
    guard let index = first.index else { return nil }
    first = entries[index].pointee.following
    if first == .none { last = .none }
    entries[index].pointee.following = .none
    return index
  }
}
