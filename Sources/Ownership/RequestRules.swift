/// The protocol's choices about requests and functions, once a peer has failed. Each is pure: the controller asks them,
/// and the explorer of takeovers drives this very text.
public enum RequestRules {
  /// Whether a request must wait for another one that was found in a dead controller's journal and is neither over nor
  /// given up, and that touches the same blocks: its effect may come at any time until its recovery is over, and the
  /// request would see it, or be undone by it.
  @inlinable @inline(__always)
  public static func waits(forRecovered changesUnit: Bool) -> Bool { changesUnit }

  /// Whether a request must wait for another one that this controller has given to the storage, and that touches the
  /// same blocks: two writes go one after the other. Otherwise a survivor could execute the older one again after the
  /// newer one has been answered, and undo it, although a reader had seen the older one's data before the newer one
  /// began.
  @inlinable @inline(__always)
  public static func waits(_ changesUnit: Bool, forWrite otherChangesUnit: Bool) -> Bool {
    changesUnit && otherChangesUnit
  }

  /// Whether a controller may take over the functions that its peer owned: it serves in the peer's place, and knows
  /// from the peer's journal what may collide.
  @inlinable @inline(__always)
  public static func mayTakeOver(standsIn: Bool, hasReadJournal: Bool) -> Bool { standsIn && hasReadJournal }

  /// Whether a recovered request may be executed again: nothing that a dead life has given to the kernel can reach the
  /// unit any more (the drain proof), neither of the peer's nor of this controller's own, and this controller owns the
  /// function.
  @inlinable @inline(__always)
  public static func mayExecuteAgain(isOwner: Bool, isDrained: Bool) -> Bool { isOwner && isDrained }

  /// Whether a controller that serves in the peer's place may let a new life of the peer join: nothing is left to be
  /// recovered or taken over, and nothing that came by the peer's channels is under way.
  @inlinable @inline(__always)
  public static func mayRelease(isTakingOver: Bool, hasPeersRequests: Bool) -> Bool {
    !isTakingOver && !hasPeersRequests
  }
}
