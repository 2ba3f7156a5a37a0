/// The rule by which a controller takes its peer for silent: the peer left a doorbell unanswered for the whole deadline
/// while this controller listened.
///
/// A loop that turns answers by turning: its beat grows, within a turn that moves blocks as well. A loop that sleeps is
/// rung in good time. If this controller's own loop stood still meanwhile, it has not listened, and the deadline begins
/// again. The rule reads no clock and rings nothing itself, so that a test can give it any course of events.
package struct Silence: Equatable {
  /// What the rule says of one look.
  package enum Verdict: Equatable {
    /// The peer has answered, or has time left.
    case patient
    /// The peer must be rung now: half of the deadline is over.
    case ring
    /// The deadline is over, and the peer was rung half a deadline ago.
    case silent
  }

  /// The last beat that was seen, and since when it is the last.
  private var beat: UInt64
  package private(set) var since: UInt64
  /// When the doorbell was rung in this silence; nil: it was not.
  private var rungAt: UInt64?
  /// When this controller's own loop will have looked again, if it does not stand still.
  private var lookDue: UInt64

  /// Nothing is known: the deadline begins at `now`, with that beat.
  package init(beat: UInt64 = 0, at now: UInt64 = 0) {
    self.beat = beat
    since = now
    lookDue = now
  }

  /// Whether the doorbell was rung in this silence.
  package var hasRung: Bool { rungAt != nil }

  /// One look at the peer's beat. The next one comes within `nextLook` nanoseconds, or this loop stands still.
  package mutating func look(beat now: UInt64, at time: UInt64, nextLook: UInt64, deadline: UInt64) -> Verdict {
    let stoodStill = time > lookDue &+ deadline / 4
    lookDue = time &+ nextLook
    if now != beat || stoodStill {
      beat = now
      since = time
      rungAt = nil
      return .patient
    }
    let silence = time &- since
    if silence < deadline / 2 { return .patient }
    guard let rungAt else {
      self.rungAt = time
      // A look that comes so late rings first: the peer has half a deadline from the doorbell on.
      return .ring
    }
    return silence >= deadline && time &- rungAt >= deadline / 2 ? .silent : .patient
  }
}
