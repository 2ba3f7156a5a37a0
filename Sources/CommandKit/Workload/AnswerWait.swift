import Baton
import BatonSystem

/// Whether there is still a controller to wait for.
struct AnswerWait {
  /// The time of the last answer.
  var answeredAt = monotonicNanoseconds()
  /// The time since which this host is attached to neither controller; 0: it is attached.
  private var desertedAt: UInt64 = 0

  /// Longer than the restart of a controller on a busy machine.
  static let desertedNanosecondsMax: UInt64 = 5_000_000_000
  /// Longer than the slowest disks take, a takeover included.
  static let silentNanosecondsMax: UInt64 = 30_000_000_000

  /// The error when there is no controller to wait for any more. If a host `isFinishing`, its time is over, and it
  /// waits only for the last answers.
  mutating func exhaustion(_ host: borrowing Host, at now: UInt64, isFinishing: Bool) -> BatonError? {
    if let loss = host.subsystemLoss { return loss }
    if host.isAttached(to: .a) || host.isAttached(to: .b) {
      desertedAt = 0
    } else if desertedAt == 0 {
      desertedAt = now
    } else if now &- desertedAt >= Self.desertedNanosecondsMax {
      return BatonError(
        .missing, "controllers", "neither has served this host for \(Figure.duration(Self.desertedNanosecondsMax))",
        fix: "start them again")
    }
    if isFinishing, now &- max(answeredAt, 1) >= Self.silentNanosecondsMax {
      return BatonError(
        .missing, "controllers",
        "have not answered \(host.outstanding) requests for \(Figure.duration(Self.silentNanosecondsMax))",
        fix: "see what they wait for ('baton status')")
    }
    return nil
  }
}
