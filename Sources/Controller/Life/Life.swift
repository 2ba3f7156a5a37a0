import BatonOwnership
import BatonSharedMemory

/// Where the life of a controller stands, and its half of the membership word.
///
///     joining ──► serving ──► leaving ──► left
///        │           │           │
///        │           └───────────┴──────► fenced
///        └─────► withdrawing ──► left
///
/// A life that has displaced its peer, and still waits for the peer's exit, can be fenced too while it is joining.
///
/// Invariant: only a life that is serving or leaving, and that the membership word still names as a member, touches
/// ownership words, journals, units and hosts.
struct Life: ~Copyable {
  private enum Phase: UInt8 { case joining, withdrawing, serving, leaving, left, fenced }

  private var phase = Phase.joining
  /// Whether it has become a member, at some time. `isNamed` says whether it still is one.
  private(set) var hasJoined = false
  /// Whether it left with work unfinished. Its seat is free at once; the locks on its units end with that work.
  private(set) var hasGivenUp = false
  /// When it was told to stop, in monotonic nanoseconds.
  private var leavingSince: UInt64 = 0
  /// This controller's half of the membership word, and its value while this life is a member.
  private let half: SharedFutexWord
  private var halfDue: UInt32

  init(_ identity: ControllerIdentity, _ incarnation: UInt64, _ membership: Membership<SharedWord>) {
    half = membership.half(identity)
    halfDue = MembershipWord.memberHalf(incarnation)
  }

  // MARK: Where it stands

  /// Whether the membership word still names this life as a member. One load of a line that hardly ever changes. Sync
  /// point "membership".
  var isNamed: Bool {
    @inline(__always) get { half.loadRelaxed() == halfDue }
  }

  /// Whether it is a member and takes requests.
  var isServing: Bool {
    @inline(__always) get { phase == .serving }
  }

  /// Whether it has been told to stop, or has ended.
  var isStopping: Bool {
    @inline(__always) get { phase != .serving && phase != .joining }
  }

  /// Whether it was told to stop, and is not over.
  var isEnding: Bool { phase == .leaving || phase == .withdrawing }

  /// Whether it is over: it touches nothing any more.
  var isOver: Bool { phase == .left || phase == .fenced }

  /// Whether the peer has fenced it.
  var isFenced: Bool { phase == .fenced }

  /// Whether it has been leaving for longer than that.
  func hasLeftFor(_ nanoseconds: UInt64, at now: UInt64) -> Bool { now &- leavingSince > nanoseconds }

  // MARK: Its steps

  /// It has become a member.
  mutating func join() {
    precondition(phase == .joining, "a life joins once")
    phase = .serving
    hasJoined = true
  }

  /// It was told to stop.
  mutating func beginLeaving(at now: UInt64) {
    precondition(!isStopping, "a life leaves once")
    phase = phase == .joining ? .withdrawing : .leaving
    leavingSince = now
  }

  /// It leaves as one that has died: what is unfinished is recovered by others.
  mutating func giveUp() { hasGivenUp = true }

  /// It has left. Whatever the membership word says, it is no member any more.
  mutating func end() {
    precondition(isEnding, "a life that was not told to stop has ended")
    phase = .left
    halfDue = UInt32.max
  }

  /// The peer has fenced it.
  mutating func fence() {
    precondition(!isOver, "a life ends once")
    phase = .fenced
  }
}
