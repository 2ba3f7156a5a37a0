import BatonSystem

/// How long an owner keeps a function, at least, when its peer wants it too.
public enum ResidencyPolicy: Sendable, Equatable {
  /// Until what was pending at the grant is served, and no longer.
  case pendingOnly
  /// For that many nanoseconds.
  case fixed(nanoseconds: UInt64)
  /// For `factor` times the cost of a change of owner, up to a bound: so the changes cost at most 1 / (1 + factor) of
  /// the time, whatever the storage and the waiting strategy are.
  case adaptive(factor: UInt64, nanosecondsMax: UInt64)

  /// Four times the cost of a change of owner, at most 2 ms.
  public static let standard = ResidencyPolicy.adaptive(factor: 4, nanosecondsMax: 2_000_000)
}

/// The residency of one function, as its controller keeps it.
///
/// Only a contended term has a residency: one that began with the peer's next request already standing. When the
/// peer asks later, the function is granted as soon as nothing is in flight: a lone host that goes from one
/// controller to the other pays no wait. The clock is read in contended terms only.
public struct Residency {
  /// When the present term began here, in monotonic nanoseconds; 0 in a term that is not contended.
  private var since: UInt64 = 0
  /// When the owner stopped admitting, with something still in flight; 0 when there was nothing.
  private var drainingSince: UInt64 = 0
  /// How long the present term took to arrive: granted, but not noticed yet.
  private var arrivingNanoseconds: UInt64 = 0
  /// The cost of a change of owner and back: a moving average over the last ones, in nanoseconds.
  public private(set) var handoffNanoseconds: UInt64 = 0

  /// No change of owner is cheaper than its lines moved and a turn of both loops.
  private static var handoffNanosecondsMin: UInt64 { 500 }

  /// The residency of a function that has not moved yet.
  public init() {}

  /// Whether the peer wanted the function too when the term began.
  public var isContended: Bool { since != 0 }

  /// A term begins here. `grantedAt` is when the peer granted it, in monotonic nanoseconds, or 0 if that is not
  /// known: until now nobody could serve. Where both controllers run on cores of their own that is a fraction of a
  /// microsecond; where this one had to be woken, or waited for a core, it is what the change of owner costs.
  public mutating func began(contended: Bool, grantedAt: UInt64) {
    since = contended ? max(monotonicNanoseconds(), 1) : 0
    arrivingNanoseconds = grantedAt != 0 && since > grantedAt ? since - grantedAt : 0
  }

  /// Whether the owner has kept the function long enough.
  public func isOver(policy: ResidencyPolicy) -> Bool {
    if since == 0 { return true }
    switch policy {
    case .pendingOnly: return true
    case .fixed(let nanoseconds): return monotonicNanoseconds() &- since >= nanoseconds
    case .adaptive(let factor, let most):
      let wanted = min(max(handoffNanoseconds, Self.handoffNanosecondsMin) &* factor, most)
      return monotonicNanoseconds() &- since >= wanted
    }
  }

  /// The owner stops admitting; `isBusy` says whether something is in flight that it must wait for.
  public mutating func draining(_ isBusy: Bool) { drainingSince = isBusy ? monotonicNanoseconds() : 0 }

  /// The function has been granted away. Arriving and draining will cost the peer as much as this side, so the change
  /// of owner and back costs twice that. The average takes one quarter of the newest cost and three of the past: it
  /// follows the load in a few turns.
  public mutating func ended() {
    let drained = drainingSince == 0 ? 0 : monotonicNanoseconds() &- drainingSince
    handoffNanoseconds = (handoffNanoseconds &* 3 &+ (drained &+ arrivingNanoseconds) &* 2) / 4
  }
}
