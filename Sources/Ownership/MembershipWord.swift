import BatonSharedMemory

/// The members of a subsystem: one 64-bit word, and its legal transitions.
///
/// Each controller has a half: a standing and the incarnation that the standing is about. An incarnation is one life
/// of one controller process; it only grows. So no state of the word comes twice, except by *release* and *keep*, which
/// lead back and forth: between the two nobody has joined.
///
/// Invariants:
/// - only a member executes requests, takes requests from channels and changes ownership words;
/// - a member that is no longer one according to this word stops: it submits nothing more;
/// - one compare-and-swap decides which controller holds the fence over its peer: if both accuse each other, one wins,
///   and the loser is no longer a member and may neither kill nor take over;
/// - a fence is only a permission. Before the holder touches anything that its peer might touch, it sees the peer's
///   exit; the drain proof waits for what the kernel still does for the dead process;
/// - a member stands in for a peer that is neither a member nor vacant;
/// - no life joins while its peer stands in for it: the peer releases first (*release*).
///
///      63          35 34    32 31           3 2     0
///     +--------------+--------+--------------+-------+
///     | incarnation  |standing| incarnation  | stand |
///     |    of b      |  of b  |    of a      |  of a |
///     +--------------+--------+--------------+-------+
///
/// The state machine, whole (`x` and `y` are the two controllers, `i` and `j` their incarnations, `x'` the next life
/// of x; a standing that is not named stays):
///
///     from                                 step        by    to
///     x vacant(i), y member                join        x'    x member(i')
///     y no living member                   resume      x'    x member(i'), y fenced if it was member or fenced,
///                                                            else y left
///     x member(i), y member(j)             fence       y     x fenced(i)
///     y member(j), silent                  displace    x'    x member(i'), y fenced(j)
///     x member(i)                          leave       x     x left(i); y left if it was not a member, but for one
///                                                            that is fenced and not recovered yet
///     x fenced(i) or left(i), y member     release     y     x vacant(i)
///     x vacant(i), y member                keep        y     x left(i)
///
/// *Resume* requires that the life of y in the word has ended, *displace* that it has not answered within the deadline:
/// the caller has checked. *Release* requires that nothing is left to do for the peer.
@frozen
public struct MembershipWord: Equatable, Sendable {
  /// What a controller is to its peer.
  @frozen
  public enum Standing: UInt64, Sendable {
    /// Absent, and nobody stands in for it: it may join.
    case vacant = 0
    /// Takes part.
    case member = 1
    /// The peer holds the fence: it sees this controller's exit, recovers what it had in flight, and stands in.
    case fenced = 2
    /// Left in good order, or never started: the peer, if it is a member, stands in.
    case left = 3
  }

  /// The word as it lies in the region.
  public let rawValue: UInt64

  /// A word as it was found: not checked, see `isValid`.
  @inlinable @inline(__always)
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// The initial state of a subsystem: no controller has ever run.
  public static let initial = MembershipWord(rawValue: 0)
  /// The largest incarnation.
  public static let incarnationMax: UInt64 = 1 << 29 - 1

  @inlinable @inline(__always)
  func half(_ controller: ControllerIdentity) -> UInt64 {
    rawValue >> (controller == .a ? 0 : 32) & 0xffff_ffff
  }

  @inlinable
  func setting(_ controller: ControllerIdentity, _ standing: Standing, _ incarnation: UInt64) -> MembershipWord {
    assert(incarnation <= Self.incarnationMax, "an incarnation has 29 bits")
    let shift: UInt64 = controller == .a ? 0 : 32
    let half = incarnation << 3 | standing.rawValue
    return MembershipWord(rawValue: rawValue & ~(0xffff_ffff << shift) | half << shift)
  }

  /// The present standing of a controller.
  @inlinable @inline(__always)
  public func standing(_ controller: ControllerIdentity) -> Standing {
    Standing(rawValue: half(controller) & 7) ?? .vacant
  }

  /// The life of the controller that this standing is about.
  @inlinable @inline(__always)
  public func incarnation(_ controller: ControllerIdentity) -> UInt64 { half(controller) >> 3 }

  /// Whether that life of the controller is a member. A controller checks its half alone before each submission, see
  /// `memberHalf`.
  @inlinable @inline(__always)
  public func isMember(_ controller: ControllerIdentity, _ incarnation: UInt64) -> Bool {
    half(controller) == UInt64(Self.memberHalf(incarnation))
  }

  /// The half of a controller whose life of that number is a member.
  @inlinable
  public static func memberHalf(_ incarnation: UInt64) -> UInt32 {
    UInt32(truncatingIfNeeded: incarnation << 3 | Standing.member.rawValue)
  }

  /// Whether this can have been written by these transitions at all.
  public var isValid: Bool {
    Standing(rawValue: half(.a) & 7) != nil && Standing(rawValue: half(.b) & 7) != nil
  }

  private func mayBegin(_ controller: ControllerIdentity, _ incarnation: UInt64) -> Bool {
    incarnation > self.incarnation(controller) && incarnation <= Self.incarnationMax
  }

  /// A new life of `controller` joins a member. Nil if that is no legal step.
  public func joined(by controller: ControllerIdentity, _ incarnation: UInt64) -> MembershipWord? {
    guard standing(controller) == .vacant, standing(controller.peer) == .member, mayBegin(controller, incarnation)
    else { return nil }
    return setting(controller, .member, incarnation)
  }

  /// A new life of `controller` begins where the peer is no living member: it recovers what both have left.
  ///
  /// The caller has seen the end of the peer's life in the word, if it is a member there.
  public func resumed(by controller: ControllerIdentity, _ incarnation: UInt64) -> MembershipWord? {
    guard mayBegin(controller, incarnation) else { return nil }
    let peer = controller.peer
    let wasThere = standing(peer) == .member || standing(peer) == .fenced
    return setting(controller, .member, incarnation)
      .setting(peer, wasThere ? .fenced : .left, self.incarnation(peer))
  }

  /// `controller`, a member, gets the fence over the peer, a member. Nil if that is no legal step.
  public func fenced(by controller: ControllerIdentity) -> MembershipWord? {
    let peer = controller.peer
    guard standing(controller) == .member, standing(peer) == .member else { return nil }
    return setting(peer, .fenced, incarnation(peer))
  }

  /// A new life of `controller` takes the place of a peer that is a member and does not answer. Nil if that is no
  /// legal step.
  public func displaced(by controller: ControllerIdentity, _ incarnation: UInt64) -> MembershipWord? {
    let peer = controller.peer
    guard standing(peer) == .member, mayBegin(controller, incarnation) else { return nil }
    return setting(controller, .member, incarnation).setting(peer, .fenced, self.incarnation(peer))
  }

  /// `controller` leaves in good order. Nil if it is no member.
  ///
  /// `isSettled` says that it has recovered everything of a peer that it stands in for; where it has not, the peer
  /// stays fenced, and the next controller that starts recovers it.
  public func leaving(_ controller: ControllerIdentity, isSettled: Bool) -> MembershipWord? {
    guard standing(controller) == .member else { return nil }
    let peer = controller.peer
    let next = setting(controller, .left, incarnation(controller))
    let staysAsItIs = standing(peer) == .member || standing(peer) == .fenced && !isSettled
    return staysAsItIs ? next : next.setting(peer, .left, incarnation(peer))
  }

  /// `controller` no longer stands in for the peer, which may join. Nil if it does not.
  public func released(by controller: ControllerIdentity) -> MembershipWord? {
    let peer = controller.peer
    guard standing(controller) == .member, standing(peer) == .fenced || standing(peer) == .left else { return nil }
    return setting(peer, .vacant, incarnation(peer))
  }

  /// `controller` stands in for the peer again, which was to join and has not. Nil if that is no legal step.
  public func kept(by controller: ControllerIdentity) -> MembershipWord? {
    let peer = controller.peer
    guard standing(controller) == .member, standing(peer) == .vacant else { return nil }
    return setting(peer, .left, incarnation(peer))
  }
}

extension MembershipWord: CustomStringConvertible {
  /// For people: `a member (7), b fenced (3)`.
  public var description: String {
    "a \(standing(.a)) (\(incarnation(.a))), b \(standing(.b)) (\(incarnation(.b)))"
  }
}

/// The membership word in the region, as the controllers change it: one compare-and-swap per step.
///
/// Sync point "membership": the swap is a release of everything that the stepper did before, and the load that sees
/// it acquires that: a life that sees its seat released also sees everything that was done in its place.
@frozen
public struct Membership<Word: AtomicWord> {
  @usableFromInline let word: Word

  /// The word at its place.
  @inlinable
  public init(_ word: Word) { self.word = word }

  /// Its present value.
  @inlinable @inline(__always)
  public var current: MembershipWord { MembershipWord(rawValue: word.loadAcquiring()) }

  /// Takes a step from the state that was loaded. False if there is no such step, or if the word has changed:
  /// look again.
  public func step(from seen: MembershipWord, to next: MembershipWord?) -> Bool {
    guard let next else { return false }
    precondition(next.isValid, "a step leads to a state")
    precondition(
      next.incarnation(.a) >= seen.incarnation(.a) && next.incarnation(.b) >= seen.incarnation(.b),
      "incarnations only grow")
    return word.compareExchange(expected: seen.rawValue, desired: next.rawValue).exchanged
  }
}

extension Membership where Word == SharedWord {
  /// One controller's half of the word, for a look that costs one load and one comparison. Little-endian, like every
  /// machine that this runs on; the halves change only in compare-and-swaps of the whole word.
  public func half(_ controller: ControllerIdentity) -> SharedFutexWord {
    SharedFutexWord(word.address + (controller == .a ? 0 : 4))
  }
}
