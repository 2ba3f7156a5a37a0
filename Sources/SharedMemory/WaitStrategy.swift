import BatonSystem
import CBatonShims
import Glibc

/// The way in which a process waits when it has nothing to do.
public enum WaitStrategy: Sendable, Equatable {
  /// Look again at once, for ever. Fastest if every spinning process has a core of its own, and only then.
  case spin
  /// Look again for a bounded time, then park.
  case adaptive(spinNanoseconds: UInt64)
  /// Park at once. One system call; the wake-up costs 1 to 50 microseconds, depending on the machine.
  case park

  /// Adaptive with the spin that pays for itself: about the cost of a park and its wake-up.
  public static let standard = WaitStrategy.adaptive(spinNanoseconds: 50_000)

  /// From a command line's word: `spin`, `adaptive` or `park`.
  public init?(_ word: String) {
    switch word {
    case "spin": self = .spin
    case "adaptive": self = .standard
    case "park": self = .park
    default: return nil
    }
  }

  /// The command line's word.
  public var name: String {
    switch self {
    case .spin: "spin"
    case .adaptive: "adaptive"
    case .park: "park"
    }
  }
}

/// The next step of an idle loop: the wait strategy, applied.
///
/// The clock is read every `looksPerClock` idle looks and never while there is work, so that waiting costs the hot
/// path nothing.
///
/// An adaptive loop learns whether its spins pay. They never do if it spins on the core that the awaited process needs,
/// and seldom if a disk takes longer than the longest spin. Such a loop spins for a moment only, and now and then for
/// the whole time, to see whether that has changed. It must be kept from wait to wait.
public struct Waiter {
  /// The next step of an idle loop.
  public enum Step { case lookAgain, park }

  private let strategy: WaitStrategy
  private var idleLooks: UInt32 = 0
  private var idleSince: UInt64 = 0
  /// The spin has ended, and an answer is expected: look, let others run, look.
  private var isYielding = false
  /// The success of the last full-length spins: one up for work that came, one down for a spin that ended in vain.
  private var credit: UInt8
  /// Idle times that began without credit.
  private var idleTimesWithoutCredit: UInt8 = 0
  /// Whether this spin lasts only a moment.
  private var isShort = false
  private static var creditMax: UInt8 { 8 }
  /// Every Nth idle period that begins without credit spins for its full length.
  private static var idleTimesPerAttempt: UInt8 { 16 }
  /// A moment: longer than two processes with a core each need for an answer without storage.
  private static var shortSpinNanoseconds: UInt64 { 2_000 }
  /// How long to look for an expected answer before parking: about the time that a slow disk takes.
  private static let yieldNanosecondsMax: UInt64 = 1_000_000
  private static let looksPerClock: UInt32 = 64
  /// From this many idle looks on, a spinning loop lets others run: a machine may have fewer cores than spinners.
  private static let looksBeforeYield: UInt32 = 4096

  /// A loop that waits this way. With `spinsPay` false it begins as if its spins had been in vain.
  public init(_ strategy: WaitStrategy, spinsPay: Bool = true) {
    self.strategy = strategy
    credit = spinsPay ? Self.creditMax : 0
  }

  /// There was work: the spin starts again.
  public mutating func worked() {
    if idleLooks == 0 { return }
    if !isYielding, credit < Self.creditMax { credit += 1 }
    idleLooks = 0
    isYielding = false
  }

  /// There was no work: whether to look again or to park.
  ///
  /// `expecting` says that an answer is expected. An adaptive loop then looks for it a while longer, and yields the
  /// core between two looks: a park and its wake-up in each of three processes in a row would cost a disk
  /// a good part of its rate.
  public mutating func idle(expecting: Bool = false) -> Step {
    switch strategy {
    case .park: return .park
    case .spin:
      idleLooks &+= 1
      if idleLooks >= Self.looksBeforeYield {
        idleLooks = 0
        sched_yield()
      }
      return .lookAgain
    case .adaptive(let spinNanoseconds):
      if idleLooks == 0 {
        idleSince = monotonicNanoseconds()
        isShort = credit == 0
        if isShort {
          idleTimesWithoutCredit &+= 1
          if idleTimesWithoutCredit % Self.idleTimesPerAttempt == 0 { isShort = false }
        }
      }
      idleLooks &+= 1
      if isYielding {
        sched_yield()
      } else if idleLooks % Self.looksPerClock != 0 {
        return .lookAgain
      }
      let idle = monotonicNanoseconds() &- idleSince
      if idle < (isShort ? min(Self.shortSpinNanoseconds, spinNanoseconds) : spinNanoseconds) { return .lookAgain }
      if !isYielding, !isShort, credit > 0 { credit -= 1 }
      isYielding = expecting && idle < Self.yieldNanosecondsMax
      if isYielding { return .lookAgain }
      idleLooks = 0
      return .park
    }
  }
}
