import BatonChannel
import BatonSharedMemory
import BatonSubsystem
import CBatonShims

/// A request that a controller has taken from a channel and not answered: pending, held, or in flight on the storage.
///
/// Lies in the controller's journal. Host, channel, slot and sequence identify the request; the rest is its checked
/// copy.
typealias AcceptedRequest = baton_accepted_request

extension baton_accepted_request {
  /// The bits of `flags`.
  enum Flag {
    /// The answer waits for stable storage.
    static let durable: UInt8 = 1
    /// It waited for a change of owner.
    static let transferred: UInt8 = 2
    /// It was in flight when its controller died: a survivor, or a new life, executes it again.
    static let recovered: UInt8 = 4
    /// Recovered, and given to the storage again.
    static let replaying: UInt8 = 8
    /// Recovered, and answered or dropped: the entry only waits for its removal from its list.
    static let done: UInt8 = 16
    /// Recovered, and its host did not come back in time: no controller executes it again.
    static let orphaned: UInt8 = 32
    /// The flags that an entry keeps when another controller recovers it.
    static let lasting = durable | fast | transferred | orphaned
    /// The planted defect `replayTwice` executes it again at present.
    static let twice: UInt8 = 64
    /// The controller refuses it where it would take as long as a write.
    static let fast: UInt8 = 128
  }

  /// The requested operation. Entries are written from checked requests, and checked again when they are recovered.
  @inline(__always)
  var kind: Operation { Operation(rawValue: operation).unsafelyUnwrapped }

  @inline(__always)
  var isDurable: Bool { flags & Flag.durable != 0 }

  @inline(__always)
  var mustBeFast: Bool { flags & Flag.fast != 0 }

  @inline(__always)
  var isTransferred: Bool { flags & Flag.transferred != 0 }

  @inline(__always)
  var isRecovered: Bool { flags & Flag.recovered != 0 }

  /// Whether it goes to the management function: the number alone says so (`Operation.isManagement`).
  @inline(__always)
  var isManagement: Bool { operation >= Operation.identify.rawValue }

  /// The function that it goes to.
  @inline(__always)
  var function: Function { isManagement ? .management : Function(unit: Int(unit)) }

  /// Whether it changes blocks of its unit.
  @inline(__always)
  var changesUnit: Bool { Operation.changesUnit(operation) }

  /// Recovered, and given to the storage again.
  var isReplaying: Bool { flags & Flag.replaying != 0 }

  /// Recovered, and over.
  var isDone: Bool { flags & Flag.done != 0 }

  /// Recovered, over, and on the storage once more, by the planted defect.
  var isRepeating: Bool { flags & Flag.twice != 0 }

  /// Recovered, and something that overlaps it must still wait.
  var isStanding: Bool { flags & (Flag.done | Flag.orphaned) == 0 }

  /// Recovered and given up, and not over.
  var isOrphan: Bool { flags & (Flag.done | Flag.orphaned) == Flag.orphaned }

  /// Whether two requests overlap: the execution of either could be visible in the other's, or undo it.
  func overlaps(_ other: baton_accepted_request) -> Bool {
    offset < other.offset &+ other.length && other.offset < offset &+ length
  }
}

extension UnsafeMutablePointer<AcceptedRequest> {
  /// Copies another entry into this one, which is not in flight, for another controller to recover. Everything else is
  /// written before the state says that the entry is in flight, see `Journal`.
  func enter(_ other: AcceptedRequest, channel: UInt32) {
    var entry = other
    entry.state = 0
    entry.next = -1
    entry.channel = channel
    entry.flags &= AcceptedRequest.Flag.lasting
    pointee = entry
    inFlight.storeReleasing(1)
  }
}

extension UnsafeMutablePointer<AcceptedRequest> {
  /// Operation, flags, line and unit in one store, see `RequestCopy.identified`.
  @inline(__always)
  func enter(identified: UInt64) {
    UnsafeMutableRawPointer(self).storeBytes(of: identified, toByteOffset: 16, as: UInt64.self)
  }
}

/// Requests that are linked through `next`, starting at a given one. The list is an address and a number: a request
/// that ends or changes meanwhile does not disturb an iteration.
struct RequestList: Sequence, IteratorProtocol {
  private let base: UnsafeMutablePointer<AcceptedRequest>
  private var index: Int32

  init(_ base: UnsafeMutablePointer<AcceptedRequest>, from index: Int32) {
    self.base = base
    self.index = index
  }

  @inline(__always)
  mutating func next() -> UnsafeMutablePointer<AcceptedRequest>? {
    if index < 0 { return nil }
    let request = base + Int(index)
    index = request.pointee.next
    return request
  }
}

/// A controller's accepted requests: its journal's entries with a free list. No allocation after `init`.
struct AcceptedRequests: ~Copyable {
  private let base: UnsafeMutablePointer<AcceptedRequest>
  private let top: SharedWord
  private var topSeen: Int32
  private var firstFree: Int32 = -1
  /// The entry that `take` would return: a place to fill in before it is known whether it is needed. It lies below the
  /// top, so a survivor inspects it from now on. Where no entry is free, this is the last one, and must not be filled
  /// in.
  private(set) var candidate: UnsafeMutablePointer<AcceptedRequest>
  private(set) var free = 0

  /// The entries of a journal. None can be taken before `adopt`.
  init(_ journal: Journal) {
    base = journal.entries
    candidate = base
    top = journal.top
    topSeen = 0
  }

  /// Takes the journal over from an earlier life. Entries in flight stay where they are, and `body` gets their indices;
  /// the other entries are free. Call it only when no other process writes the journal any more.
  mutating func adopt(_ body: (Int32) -> Void) {
    topSeen = Int32(truncatingIfNeeded: min(top.loadRelaxed(), UInt64(Journal.capacity)))
    firstFree = -1
    free = 0
    for index in stride(from: Int32(Journal.capacity) - 1, through: 0, by: -1) {
      let entry = base + Int(index)
      if index < topSeen, entry.inFlight.loadRelaxed() != 0 { continue }
      entry.inFlight.storeRelaxed(0)
      entry.pointee.next = firstFree
      firstFree = index
      free += 1
    }
    chooseCandidate()
    for index in 0..<topSeen where (base + Int(index)).inFlight.loadRelaxed() != 0 { body(index) }
  }

  /// The entry with that index.
  @inline(__always)
  func entry(_ index: Int32) -> UnsafeMutablePointer<AcceptedRequest> {
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
  func list(from index: Int32) -> RequestList { RequestList(base, from: index) }

  /// Requests taken and not answered.
  var count: Int { Journal.capacity - free }

  /// Sets the channel of the request that is about to be filled into the candidate.
  @inline(__always)
  func nameCandidate(channel: Int) {
    assert(free > 0, "no entry is free: the candidate may be in flight")
    candidate.pointee.channel = UInt32(truncatingIfNeeded: channel)
  }

  /// Fills a request into the rest of the candidate. It is part of the journal as soon as its state says so.
  @inline(__always)
  func fillCandidate(
    _ copy: RequestCopy, slot: Int, sequence: UInt64, hasExtent: Bool
  ) -> UnsafeMutablePointer<AcceptedRequest> {
    let request = candidate
    request.enter(identified: copy.identified(slot: slot))
    request.pointee.sequence = sequence
    request.pointee.offset = hasExtent ? copy.offset : 0
    request.pointee.length = hasExtent ? copy.length : 0
    request.pointee.buffer = hasExtent ? copy.buffer : 0
    return request
  }

  /// Takes the candidate. The caller has seen that `free` is not 0.
  @inline(__always)
  mutating func take() -> Int32 {
    let index = firstFree
    precondition(index >= 0, "more requests were accepted than there is room for")
    firstFree = base[Int(index)].next
    base[Int(index)].next = -1
    free -= 1
    chooseCandidate()
    return index
  }

  @inline(__always)
  private mutating func chooseCandidate() {
    if firstFree < 0 { return }
    candidate = base + Int(firstFree)
    if firstFree >= topSeen { raiseTop(firstFree) }
  }

  @inline(never)
  private mutating func raiseTop(_ index: Int32) {
    topSeen = index + 1
    top.storeReleasing(UInt64(topSeen))
  }

  /// The entry has left the journal: its state is 0.
  @inline(__always)
  mutating func giveBack(_ index: Int32) {
    base[Int(index)].next = firstFree
    firstFree = index
    free += 1
    chooseCandidate()
  }
}
