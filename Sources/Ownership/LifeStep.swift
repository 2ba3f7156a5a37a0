/// What a controller knows of its peer when it looks at the membership word.
public struct PeerFacts: Equatable, Sendable {
  /// The life that the word speaks of has ended, for certain.
  public var hasEnded: Bool
  /// That life has left a doorbell unanswered for the whole deadline.
  public var isSilent: Bool
  /// This controller stands in for the peer already.
  public var isGone: Bool
  /// A new life of the peer has the seat and waits to join.
  public var isStarting: Bool

  /// These facts; what is not named is not known to be so.
  public init(hasEnded: Bool = false, isSilent: Bool = false, isGone: Bool = false, isStarting: Bool = false) {
    self.hasEnded = hasEnded
    self.isSilent = isSilent
    self.isGone = isGone
    self.isStarting = isStarting
  }
}

/// The next step of a controller's life.
public enum LifeStep: Equatable, Sendable, CaseIterable {
  /// There is nothing to do but to look again.
  case wait
  /// A new life joins a peer that is a member (`MembershipWord.joined`).
  case join
  /// A new life begins where the peer is no living member (`MembershipWord.resumed`).
  case resume
  /// A new life takes the place of a peer that is a member and does not answer (`MembershipWord.displaced`).
  case displace
  /// A member gets the fence over a peer that has ended or does not answer (`MembershipWord.fenced`).
  case fence
  /// The peer is fenced: its exit is awaited, and brought about. Nothing is served in its place before that.
  case awaitExit
  /// The peer has left: this controller stands in for it.
  case standIn
  /// This controller stands in, and lets a new life of the peer join as soon as nothing is left to do in its place
  /// (`MembershipWord.released`).
  case release
  /// The life that the peer's seat was released for has not joined: this controller stands in again
  /// (`MembershipWord.kept`).
  case keep
}

// The choice of the next step, from the word and from what is known of the peer. It is pure: the explorer of takeovers
// drives this very text.
extension MembershipWord {
  /// The next step of a life of `controller` that is no member yet.
  public func nextStep(ofStarting controller: ControllerIdentity, _ peer: PeerFacts) -> LifeStep {
    if standing(controller.peer) != .member || peer.hasEnded { return .resume }
    if standing(controller) == .vacant { return .join }
    // The peer stands in for this controller, or has still to notice that an earlier life has ended, and must let go.
    return peer.isSilent ? .displace : .wait
  }

  /// The next step of a life of `controller` that is a member.
  public func nextStep(ofMember controller: ControllerIdentity, _ peer: PeerFacts) -> LifeStep {
    switch standing(controller.peer) {
    case .member: peer.hasEnded || peer.isSilent ? .fence : .wait
    case .fenced: peer.isGone ? .release : .awaitExit
    case .left: peer.isGone ? .release : .standIn
    // It was released for a new life that was about to join.
    case .vacant: peer.isStarting ? .wait : .keep
    }
  }
}
