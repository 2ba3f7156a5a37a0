import BatonChannel
import BatonSharedMemory
import BatonSubsystem

/// A controller's accepted requests: its journal's entries with a free list. No allocation after `init`.
struct AcceptedRequests: ~Copyable {
  /// Where they lie.
  let entries: JournalEntries
  private let top: SharedWord
  private var topSeen: Int32
  private var firstFree = RequestLink.none
  /// The entry that `take` would return: a place to fill in before it is known whether it is needed. It lies below the
  /// top, so a survivor inspects it from now on. Where no entry is free, this is the last one, and must not be filled
  /// in.
  private(set) var candidate: UnsafeMutablePointer<AcceptedRequest>
  private(set) var free = 0

  /// The entries of a journal. None can be taken before `adopt`.
  init(_ journal: Journal) {
    entries = JournalEntries(journal)
    candidate = journal.entries
    top = journal.top
    topSeen = 0
  }

  /// Takes the journal over from an earlier life. Entries in flight stay where they are, and `body` gets their indices;
  /// the other entries are free. Call it only when no other process writes the journal any more.
  mutating func adopt(_ body: (RequestIndex) -> Void) {
    topSeen = Int32(truncatingIfNeeded: min(top.loadRelaxed(), UInt64(Journal.capacity)))
    firstFree = .none
    free = 0
    for number in stride(from: Int32(Journal.capacity) - 1, through: 0, by: -1) {
      let index = RequestIndex(number)
      let entry = entries[index]
      if number < topSeen, entry.inFlight.loadRelaxed() != 0 { continue }
      entry.inFlight.storeRelaxed(0)
      entry.pointee.following = firstFree
      firstFree = RequestLink(index)
      free += 1
    }
    chooseCandidate()
    for index in (0..<topSeen).lazy.map({ RequestIndex($0) }) where entries[index].inFlight.loadRelaxed() != 0 {
      body(index)
    }
  }

  /// The entry with that index.
  @inline(__always)
  func entry(_ index: RequestIndex) -> UnsafeMutablePointer<AcceptedRequest> { entries[index] }

  /// Requests taken and not answered.
  var count: Int { Journal.capacity - free }

  /// Sets the channel of the request that is about to be filled into the candidate.
  @inline(__always)
  func nameCandidate(channel: ChannelIndex) {
    assert(free > 0, "no entry is free: the candidate may be in flight")
    candidate.pointee.channel = UInt32(truncatingIfNeeded: channel.number)
  }

  /// Fills a request into the rest of the candidate. It is part of the journal as soon as its state says so.
  @inline(__always)
  func fillCandidate(
    _ copy: RequestCopy, line: LineIndex, sequence: UInt64, hasExtent: Bool
  ) -> UnsafeMutablePointer<AcceptedRequest> {
    let request = candidate
    request.enter(identified: copy.identified(line: line))
    request.pointee.sequence = sequence
    request.pointee.offset = hasExtent ? copy.offset : 0
    request.pointee.length = hasExtent ? copy.length : 0
    request.pointee.buffer = hasExtent ? copy.buffer : 0
    return request
  }

  /// Takes the candidate. The caller has seen that `free` is not 0.
  @inline(__always)
  mutating func take() -> RequestIndex {
    guard let index = firstFree.index else {
      preconditionFailure("more requests were accepted than there is room for")
    }
    let taken = entries[index]
    firstFree = taken.pointee.following
    taken.pointee.following = .none
    free -= 1
    chooseCandidate()
    return index
  }

  @inline(__always)
  private mutating func chooseCandidate() {
    guard let index = firstFree.index else { return }
    candidate = entries[index]
    if index.number >= topSeen { raiseTop(index) }
  }

  @inline(never)
  private mutating func raiseTop(_ index: RequestIndex) {
    topSeen = index.number + 1
    top.storeReleasing(UInt64(topSeen))
  }

  /// The entry has left the journal: its state is 0.
  @inline(__always)
  mutating func giveBack(_ index: RequestIndex) {
    entries[index].pointee.following = firstFree
    firstFree = RequestLink(index)
    free += 1
    chooseCandidate()
  }
}
