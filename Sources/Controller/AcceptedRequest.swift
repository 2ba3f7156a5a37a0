import BatonChannel

/// A request that a controller has taken from a channel and not answered: pending, or in flight on the storage.
///
/// Lives in a fixed table. The identity is host, slot and sequence; the rest is the checked copy.
struct AcceptedRequest {
  /// The next in the same queue (free, or pending of a function), or -1.
  var next: Int32 = -1
  /// Which host's channel it came by.
  var channel: Int32 = 0
  /// Which line of the channel.
  var slot: UInt32 = 0
  /// Where the request goes; an index of `Function`.
  var function: Int32 = 0
  var sequence: UInt64 = 0
  var operation: Operation = .read
  var isDurable = false
  /// Whether it waited for a change of owner.
  var isTransferred = false
  var unit: UInt32 = 0
  var offset: UInt64 = 0
  var length: UInt64 = 0
  var buffer: UInt64 = 0
}

/// A fixed table of accepted requests with a free list. No allocation after `init`.
struct AcceptedRequests: ~Copyable {
  let base: UnsafeMutablePointer<AcceptedRequest>
  private let capacity: Int
  private var firstFree: Int32 = 0
  private(set) var free: Int

  init(capacity: Int) {
    self.capacity = capacity
    base = .allocate(capacity: capacity)
    base.initialize(repeating: AcceptedRequest(), count: capacity)
    for index in 0..<capacity - 1 { base[index].next = Int32(index + 1) }
    free = capacity
  }

  deinit { base.deallocate() }

  /// Requests taken and not answered.
  var count: Int { capacity - free }

  /// The one that `take` would give: a place to fill in before it is known whether it is needed.
  @inline(__always)
  var candidate: Int32 { firstFree }

  /// Takes the candidate. The caller has seen that `free` is not 0.
  @inline(__always)
  mutating func take() -> Int32 {
    let index = firstFree
    precondition(index >= 0, "more requests were accepted than there is room for")
    firstFree = base[Int(index)].next
    base[Int(index)].next = -1
    free -= 1
    return index
  }

  @inline(__always)
  mutating func giveBack(_ index: Int32) {
    base[Int(index)].next = firstFree
    firstFree = index
    free += 1
  }
}
