import BatonOwnership
import BatonSubsystem

/// Serving in place of the peer: since when, how far, and until when. `Recovery` has the requests that the peer had in
/// flight.
///
/// Invariants: nothing of the peer's is served before its journal has been read to its end (`mayTakeOver`); a
/// controller that lets its peer's new life join takes nothing new in its place.
struct Takeover: ~Copyable {
  /// Which controller serves the peer's functions and channels: the peer, this one, or this one until nothing is left
  /// to do in the peer's place.
  private enum Duty: UInt8 { case peers, own, releasing }

  /// Why the peer does not serve itself.
  enum Absence: Equatable { case neverStarted, left, died, silent }

  private var duty = Duty.peers
  private(set) var stage = TakeoverStage.none
  /// Where the stage is published.
  private let record: ControllerRecord
  /// The peer's journal.
  var journal: JournalReader

  /// Places of hosts whose channels are still to be searched, from here on.
  private var placeCursor = Journal.hostPlaces
  /// Whether there was no room for the requests of some channel: it is searched again.
  private var hasSkipped = false
  /// Functions whose word is still to be checked.
  private var functionsLeft = 0

  private(set) var absence = Absence.neverStarted
  /// Whether this controller fenced the peer because it did not answer.
  private var wasSilent = false
  /// Whether the peer's process has ended, or is about to: not only its controller in it.
  private(set) var hasSeenProcessEnd = false
  /// When a new life was let go, in monotonic nanoseconds.
  private var releasedAt: UInt64 = 0
  /// That life's beat when it had not joined in time: the beat must have advanced before the life is let go again.
  private var keptAtBeat: UInt64?

  init(_ record: ControllerRecord, reading journal: Journal) {
    self.record = record
    self.journal = JournalReader(journal)
  }

  // MARK: What holds at present

  /// Whether the peer is gone for certain, and this controller serves in its place.
  var standsIn: Bool {
    @inline(__always) get { duty != .peers }
  }

  /// Whether it lets a new life of the peer join, as soon as nothing is left to do in its place.
  var isReleasing: Bool {
    @inline(__always) get { duty == .releasing }
  }

  /// Whether it may take the peer's functions over: what the peer had in flight is known, and held off.
  var mayTakeOver: Bool {
    @inline(__always) get { RequestRules.mayTakeOver(standsIn: standsIn, hasReadJournal: journal.isAtEnd) }
  }

  /// Whether anything is still to be found: entries, positions of channels, owners of functions.
  var isSearching: Bool {
    @inline(__always) get { placeCursor < Journal.hostPlaces || functionsLeft > 0 || !journal.isAtEnd }
  }

  /// Whether the next turn has anything to find, whatever ends meanwhile.
  var canSearch: Bool {
    @inline(__always) get {
      journal.isAtEnd ? placeCursor < Journal.hostPlaces || functionsLeft > 0 : !journal.isBlocked
    }
  }

  /// Publishes the stage.
  mutating func setStage(_ stage: TakeoverStage) {
    if stage == self.stage { return }
    self.stage = stage
    record.takeover.storeRelaxed(stage.rawValue)
  }

  // MARK: Standing in

  /// This controller has fenced its peer.
  mutating func noteFence(isSilent: Bool) { wasSilent = isSilent }

  /// The peer is gone for certain: it has left, was never started, or its exit has been seen.
  ///
  /// What it had in flight, and this controller's earlier life had moved already, is under recovery: `mayBeMoved`.
  mutating func begin(
    functions: Int, peer: MembershipWord.Standing, hasLived: Bool, hasSeenProcessEnd: Bool, mayBeMoved: Bool
  ) {
    duty = .own
    functionsLeft = functions
    placeCursor = 0
    absence =
      peer == .fenced ? (wasSilent ? .silent : .died) : hasLived ? .left : .neverStarted
    wasSilent = false
    self.hasSeenProcessEnd = hasSeenProcessEnd
    journal.begin(mayBeMoved: mayBeMoved)
  }

  /// The next part of the functions whose word is still to be checked.
  mutating func takeFunctions(most: Int) -> Range<Int> {
    let end = functionsLeft
    functionsLeft = max(end - most, 0)
    return functionsLeft..<end
  }

  /// The next host place whose channels are to be searched; nil: all have been.
  mutating func takePlace() -> HostPlace? {
    if placeCursor == Journal.hostPlaces { return nil }
    defer { placeCursor += 1 }
    return HostPlace(placeCursor)
  }

  /// When all places have been searched, and there was no room for some channel's requests: all are searched again.
  mutating func endSearch() {
    guard placeCursor == Journal.hostPlaces, hasSkipped else { return }
    hasSkipped = false
    placeCursor = 0
  }

  /// There was no room for the requests of some channel: the next search finds it (`endSearch`), not this one, which
  /// must come to its end.
  mutating func skip() {
    hasSkipped = true
  }

  // MARK: Letting go

  /// A new life of the peer waits to join: this controller takes nothing more in its place.
  mutating func beginReleasing() {
    precondition(standsIn, "releases what it does not hold")
    duty = .releasing
  }

  /// That life is gone again: this controller takes in its place as before. The channels' positions are unchanged.
  mutating func stopReleasing() {
    duty = .own
    placeCursor = 0
  }

  /// That life may join: it serves from then on.
  mutating func endReleasing(at now: UInt64) {
    duty = .peers
    releasedAt = now
    setStage(.none)
  }

  /// Whether the life that was let go should have joined by now.
  func isLate(at now: UInt64, deadline: UInt64) -> Bool { now &- releasedAt > deadline }

  /// It has not joined, and is not waited for before its beat changes.
  mutating func keep(atBeat beat: UInt64) { keptAtBeat = beat }

  /// Whether a life that waits to join has been let go before, and has stood still since.
  func standsStill(atBeat beat: UInt64) -> Bool { keptAtBeat == beat }

  /// The peer is a member: it serves.
  mutating func end() {
    setStage(.none)
    keptAtBeat = nil
  }
}
