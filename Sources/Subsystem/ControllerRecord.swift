import BatonOwnership
import BatonSharedMemory
import CBatonShims

/// A controller's record of itself in the region. An address and nothing more.
public struct ControllerRecord {
  /// The phase of a controller's life.
  public enum Phase: UInt64, Sendable {
    /// It does not run.
    case absent
    /// It is a member, and takes requests.
    case serving
    /// It answers what it has taken, and hands over its functions.
    case leaving
    /// It has the seat, and is not a member yet.
    case starting
  }

  private let base: UnsafeMutableRawPointer

  init(base: UnsafeMutableRawPointer) { self.base = base }

  private func word(_ field: PartialKeyPath<baton_controller_record>) -> SharedWord {
    SharedWord(base + MemoryLayout<baton_controller_record>.offset(of: field)!)
  }

  private var phaseWord: SharedWord { word(\.phase) }

  /// The phase of the controller's life, and which life it is. Sync point "phase".
  public var phase: (phase: Phase, incarnation: UInt64) {
    let value = phaseWord.loadAcquiring()
    return (Phase(rawValue: value & 0xff) ?? .absent, value >> 8)
  }

  /// Says so. Sync point "phase": a reader that sees the phase sees everything written before it.
  public func setPhase(_ phase: Phase, incarnation: UInt64) {
    precondition(incarnation <= MembershipWord.incarnationMax, "an incarnation has 29 bits")
    phaseWord.storeReleasing(incarnation << 8 | phase.rawValue)
  }

  /// The process. Sync point "pid": written after the phase of its life and `startTime`.
  public var pid: SharedWord { word(\.pid) }
  /// When the process began: tells it from a later one with the same pid.
  public var startTime: SharedWord { word(\.start_time) }
  /// This controller's progress in standing in for its peer.
  public var takeover: SharedWord { word(\.takeover) }
  /// How its loop waits when it has nothing to do; nil: unknown.
  package var waiting: WaitStrategy? {
    let value = word(\.waiting).loadRelaxed()
    return switch value & 0xff {
    case UInt64(BATON_WAITING_SPIN): .spin
    case UInt64(BATON_WAITING_ADAPTIVE): .adaptive(spinNanoseconds: value >> 8)
    case UInt64(BATON_WAITING_PARK): .park
    default: nil
    }
  }

  /// Says so.
  package func setWaiting(_ strategy: WaitStrategy) {
    let value: UInt64 =
      switch strategy {
      case .spin: UInt64(BATON_WAITING_SPIN)
      case .adaptive(let nanoseconds): UInt64(BATON_WAITING_ADAPTIVE) | min(nanoseconds, 1 << 55) << 8
      case .park: UInt64(BATON_WAITING_PARK)
      }
    word(\.waiting).storeRelaxed(value)
  }

  /// See `Journal.top`.
  public var journalTop: SharedWord { word(\.journal_top) }
  /// Grows with the turns of the controller's loop: a peer that sees it change has been answered.
  public var beat: SharedWord { word(\.beat) }
  /// When the controller's loop last turned and looked at the clock, in monotonic nanoseconds. A loop that turns, or
  /// sleeps because there is nothing to do, writes this at least once a second.
  public var turnedAt: SharedWord { word(\.turned_at) }
  /// The lock that the thread of the controller's loop holds while it runs: see `LifeLock`.
  public var life: LifeLock {
    LifeLock(base: base + MemoryLayout<baton_controller_record>.offset(of: \baton_controller_record.life)!)
  }
  /// The number of the trace that is being recorded, 0: none. Written by its recorder. Sync point "trace".
  package var trace: SharedWord { word(\.trace) }
  /// Whether the controller sleeps. Sync point "sleep".
  public var parked: SharedSleepWord { SharedSleepWord(word(\.parked)) }
  /// The controller's position as writer of its link ring.
  public var linkSent: SharedWord { word(\.link_sent) }
  /// Its position as reader of its peer's.
  public var linkReceived: SharedWord { word(\.link_received) }

  /// What the controller has counted.
  public var counters: Counters {
    Counters(base: base + MemoryLayout<baton_controller_record>.offset(of: \baton_controller_record.counters)!)
  }
}
