import BatonSubsystem

/// What a controller does in the other one's place, and how far it is.
struct Takeover {
  private(set) var stage = TakeoverStage.none

  /// Places of hosts whose channels are still to be looked through, from here on.
  var placeCursor = Journal.hostPlaces
  /// Whether there was no room for what some channel holds: it is looked through again.
  var hasSkipped = false
  /// Functions whose word is still to be looked at.
  var sweepLeft = 0
  /// Entries of the other one's journal that are still to be looked at: from the cursor to the top.
  var journalCursor = 0
  var journalTop = 0
  /// Whether the journal of an earlier life of this controller had requests in flight.
  var hasEarlierLifes = false
  /// The place here of each host place of the other one's journal, or -1.
  var places = [Int16](repeating: -1, count: Journal.hostPlaces)

  /// Requests that are being recovered, a list through `next`; -1: none.
  var recoveringHead: Int32 = -1
  /// How many of the list are neither over nor given up.
  var standingCount = 0
  /// Whether some of the list are over and wait to be taken out.
  var hasDone = false
  /// Whether orphans have been found whose hosts are attached: they are to be answered.
  var mustBind = false
  /// Whether the peer's journal cannot be read on at present, because this controller's own is full.
  var isJournalBlocked = false
  /// Whether something has ended since held requests were looked at last.
  var mayRelease = false
  /// Requests that wait because they collide with one of them, a list in arrival order.
  var heldHead: Int32 = -1
  var heldTail: Int32 = -1
  /// When the kernel was last asked whether it has let go, and how often so far.
  var drainLookedAt: UInt64 = 0
  var drainLooks: UInt32 = 0
  /// When the recovery began, for hosts that do not come back.
  var beganAt: UInt64 = 0

  /// Whether the other one's process has ended, or is about to: not only its controller in it.
  var hasSeenProcessEnd = false
  /// Whether the other one has ever been started, and whether it left in good order or was never there, when this
  /// controller began to serve in its place.
  var peerHasLived = false
  var peerHasLeft = false
  /// Whether the other one was fenced because it did not answer.
  var wasSilent = false
  /// A new life of the other one waits to join: nothing new is taken in its place.
  var isReleasing = false
  /// When it was let go, and what its beat was when it had not joined in time: it must have gone on before it is let
  /// go again.
  var releasedAt: UInt64 = 0
  var keptAtBeat: UInt64?

  /// Whether the other one's journal has been read to its end: only then is it known what collides.
  var hasReadJournal: Bool {
    @inline(__always) get { journalCursor == journalTop }
  }

  /// Whether something of the other one's is still to be done.
  ///
  /// Held requests do not count: they may wait for a write of this very controller, and what was taken in the other
  /// one's place is counted by its channels.
  var isUnderWay: Bool {
    @inline(__always) get {
      placeCursor < Journal.hostPlaces || sweepLeft > 0 || hasDone || mustBind || standingCount > 0
        || !hasReadJournal
    }
  }

  /// Whether held requests are to be looked at.
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
