import BatonSubsystem

/// What a controller does in the other one's place, and how far it is.
struct Takeover {
  private(set) var stage = TakeoverStage.none

  /// Places of hosts whose channel to the other one is still to be looked through, from here on.
  var placeCursor = Journal.hostPlaces
  /// Functions whose word is still to be looked at.
  var sweepLeft = 0
  /// Entries of the other one's journal that are still to be looked at: from the cursor to the top.
  var journalCursor = 0
  var journalTop = 0
  /// The place here of each host place of the other one's journal, or -1.
  var places = [Int16](repeating: -1, count: Journal.hostPlaces)

  /// Requests that are being recovered, a list through `next`; -1: none.
  var recoveringHead: Int32 = -1
  /// How many of the list are neither over nor given up.
  var standingCount = 0
  /// Whether some of the list are over and wait to be taken out.
  var hasDone = false
  /// Requests that wait because they collide with one of them, a list in arrival order.
  var heldHead: Int32 = -1
  var heldTail: Int32 = -1
  /// When the kernel was last asked whether it has let go.
  var drainLookedAt: UInt64 = 0
  /// When the recovery began, for hosts that do not come back.
  var beganAt: UInt64 = 0

  /// A new life of the other one waits to join: nothing new is taken in its place.
  var isReleasing = false

  /// Whether the loop has anything to do here.
  var isUnderWay: Bool {
    @inline(__always) get {
      placeCursor < Journal.hostPlaces || sweepLeft > 0 || journalCursor < journalTop || recoveringHead >= 0
        || heldHead >= 0
    }
  }

  mutating func setStage(_ stage: TakeoverStage, _ record: ControllerRecord) {
    if stage == self.stage { return }
    self.stage = stage
    record.takeover.storeRelaxed(stage.rawValue)
  }
}
