import BatonSubsystem

/// What a controller does in place of its peer, and its progress.
struct Takeover {
  private(set) var stage = TakeoverStage.none

  /// Places of hosts whose channels are still to be searched, from here on.
  var placeCursor = Journal.hostPlaces
  /// Whether there was no room for the requests of some channel: it is searched again.
  var hasSkipped = false
  /// Functions whose word is still to be checked.
  var sweepLeft = 0
  /// Entries of the peer's journal that are still to be read: from the cursor to the top.
  var journalCursor = 0
  var journalTop = 0
  /// Whether the journal of an earlier life of this controller had requests in flight.
  var hasEarlierLifes = false
  /// The place here of each host place of the peer's journal, or -1.
  var places = [Int16](repeating: -1, count: Journal.hostPlaces)

  /// Requests under recovery, a list through `next`; -1: none.
  var recoveringHead: Int32 = -1
  /// How many the list has.
  var recoveringCount = 0
  /// How many of the list are neither over nor given up.
  var standingCount = 0
  /// Whether some of the list are over and wait for their removal.
  var hasDone = false
  /// Whether orphans have been found whose hosts are attached: they must be answered.
  var mustBind = false
  /// Whether the peer's journal cannot be read on at present, because this controller's own is full.
  var isJournalBlocked = false
  /// Whether something has ended since the last check of the held requests.
  var mayRelease = false
  /// Requests that wait because they collide with one under recovery, a list in arrival order.
  var heldHead: Int32 = -1
  var heldTail: Int32 = -1
  /// When the controller last asked the kernel whether it has let go, and how often so far.
  var drainLookedAt: UInt64 = 0
  var drainLooks: UInt32 = 0
  /// When the recovery began, for hosts that do not come back.
  var beganAt: UInt64 = 0

  /// Whether the peer's process has ended, or is about to: not only its controller in it.
  var hasSeenProcessEnd = false
  /// Whether the peer had ever been started, and whether it had left in good order or had never run, when this
  /// controller began to serve in its place.
  var peerHasLived = false
  var peerHasLeft = false
  /// Whether the peer was fenced because it did not answer.
  var wasSilent = false
  /// A new life of the peer waits to join: nothing new is taken in its place.
  var isReleasing = false
  /// When that life was let go, and its beat when it had not joined in time: the beat must have advanced before the
  /// life is let go again.
  var releasedAt: UInt64 = 0
  var keptAtBeat: UInt64?

  /// Whether the peer's journal has been read to its end: only then is it known what collides.
  var hasReadJournal: Bool {
    @inline(__always) get { journalCursor == journalTop }
  }

  /// Whether any work of the peer's is still to be done.
  ///
  /// Held requests do not count: they may wait for a write of this very controller, and the requests that were taken in
  /// the peer's place are counted by its channels.
  var isUnderWay: Bool {
    @inline(__always) get {
      placeCursor < Journal.hostPlaces || sweepLeft > 0 || hasDone || mustBind || standingCount > 0
        || !hasReadJournal
    }
  }

  /// Whether held requests must be checked.
  var hasReleases: Bool {
    @inline(__always) get { heldHead >= 0 && mayRelease }
  }

  /// Whether the next turn has anything to do here, whatever ends meanwhile.
  var hasSteps: Bool {
    @inline(__always) get {
      if !hasReadJournal { return !isJournalBlocked || hasReleases }
      return placeCursor < Journal.hostPlaces || sweepLeft > 0 || hasDone || mustBind || hasReleases
    }
  }

  mutating func setStage(_ stage: TakeoverStage, _ record: ControllerRecord) {
    if stage == self.stage { return }
    self.stage = stage
    record.takeover.storeRelaxed(stage.rawValue)
  }
}
