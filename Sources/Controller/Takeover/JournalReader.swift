import BatonSubsystem

/// How far a controller has read its peer's journal, and which host places here those of the journal are.
///
/// Invariants: what lies below the cursor has been moved or ignored; a place here is named by at most one place there.
struct JournalReader: ~Copyable {
  /// The peer's journal.
  let journal: Journal
  /// Entries that are still to be read: from the cursor to the top.
  private var cursor: Int32 = 0
  private var top: Int32 = 0
  /// Whether the journal cannot be read on at present, because this controller's own is full.
  private(set) var isBlocked = false
  /// Whether entries may stand in this controller's own journal already, because an earlier life of it has moved some.
  private(set) var mayBeMoved = false
  /// The place here of each host place of the peer's journal, or -1.
  private var places = [Int16](repeating: -1, count: Journal.hostPlaces)

  init(_ journal: Journal) { self.journal = journal }

  /// Whether the journal has been read to its end: only then is it known what collides.
  var isAtEnd: Bool {
    @inline(__always) get { cursor == top }
  }

  /// Reading begins, after the peer's end. Sync point "death": the top was raised before the entry was used.
  mutating func begin(mayBeMoved: Bool) {
    self.mayBeMoved = mayBeMoved
    cursor = 0
    top = Int32(min(journal.top.loadAcquiring(), UInt64(Journal.capacity)))
    places = [Int16](repeating: -1, count: Journal.hostPlaces)
  }

  /// The planted defect: forgets what the journal holds.
  mutating func discard() {
    for index in 0..<top { JournalEntries(journal)[RequestIndex(index)].inFlight.storeReleasing(0) }
    top = 0
  }

  /// The entry to be read next; nil: the journal has been read to its end.
  var entry: UnsafeMutablePointer<AcceptedRequest>? {
    cursor < top ? JournalEntries(journal)[RequestIndex(cursor)] : nil
  }

  /// That entry has been moved, or is ignored.
  mutating func advance() {
    assert(cursor < top, "reads on after the journal's end")
    cursor += 1
  }

  /// Whether there is no room for that entry at present.
  mutating func setBlocked(_ isBlocked: Bool) { self.isBlocked = isBlocked }

  // MARK: Host places

  /// The place here of a host place of the peer's journal, if it is known.
  func place(of theirs: HostPlace) -> HostPlace? {
    places[theirs.number] < 0 ? nil : HostPlace(Int(places[theirs.number]))
  }

  /// That is known from now on.
  mutating func setPlace(of theirs: HostPlace, to ours: HostPlace) { places[theirs.number] = Int16(ours.number) }

  /// The place here is free: it may mean another host in the next journal that is read.
  mutating func forget(_ ours: HostPlace) {
    for theirs in places.indices where places[theirs] == Int16(ours.number) { places[theirs] = -1 }
  }
}
