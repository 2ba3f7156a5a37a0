/// The owner of a function: one 64-bit word, and its legal transitions.
///
/// Invariants:
/// - a function has at most one owner, and only the owner submits work for it;
/// - every change of owner, and every vacating, is a new term; terms grow, and wrap around after 2^48: with a change of
///   owner every 50 ns and nothing else that takes 163 days, and no controller holds a word for that long between its
///   load and its compare-and-swap;
/// - only the owner grants; nobody takes a function that is owned, except a peer that holds the fence over the owner
///   and has seen its exit (`MembershipWord`);
/// - a request stands until it is granted or withdrawn: an owner that grants may ask for the function back in the
///   same step, so that two controllers that both want it pass it with one line moved per turn;
/// - one transition is one compare-and-swap, so a controller may die between any two of its instructions and the
///   word still names the owner.
///
///      63                                            16 15       3   2      1     0
///     +-----------------------------------------------+----------+-----+-------+-----+
///     |                    term (48)                  |    0     | req | owner | own |
///     +-----------------------------------------------+----------+-----+-------+-----+
///     own    1: somebody owns it; 0: vacant, and owner and req are 0 too
///     owner  0: a, 1: b
///     req    1: the controller that is not the owner requests it
///
/// The state machine, whole (`x` and `y` are the two controllers, `n` the term):
///
///     from                          step            by   to
///     vacant(n)                     claim           x    owned(x, n + 1)
///     owned(x, n)                   request         y    owned(x, n), requested by y
///     owned(x, n), requested by y   withdraw        y    owned(x, n)
///     owned(x, n), requested by y   grant           x    owned(y, n + 1)
///     owned(x, n), requested by y   grant and ask   x    owned(y, n + 1), requested by x
///     owned(x, n)                   vacate          x    vacant(n + 1)
///     owned(x, n), requested or not take over       y    owned(y, n + 1); y holds the fence over x
///     owned(y, n), requested by x   dismiss         y    owned(y, n);     y holds the fence over x
///
/// Anything else is refused. In the claim's words: *request* asks the arbiter for a transfer; seeing the req bit is
/// being asked to relinquish; *grant* is the owner's acknowledgement and the arbiter's to the requester in one.
@frozen
public struct OwnershipWord: Equatable {
  /// The word as it lies in the region.
  public let rawValue: UInt64

  /// A word as it was found: not checked, see `isValid`.
  @inlinable @inline(__always)
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  @inlinable @inline(__always)
  init(owner: ControllerIdentity?, requested: Bool, term: UInt64) {
    assert(owner != nil || !requested, "nobody requests a vacant function")
    let owned: UInt64 = owner == nil ? 0 : 1 | UInt64(owner!.rawValue) << 1
    // A term past the last one shifts out, and leaves term 0.
    rawValue = term << 16 | owned | (requested ? 4 : 0)
  }

  /// The initial state of a function: vacant, term 0.
  public static let initial = OwnershipWord(rawValue: 0)
  /// The term before term 0.
  public static let termMax: UInt64 = 1 << 48 - 1

  /// The owner, or nil if the function is vacant.
  @inlinable @inline(__always)
  public var owner: ControllerIdentity? {
    rawValue & 1 == 0 ? nil : (rawValue & 2 == 0 ? .a : .b)
  }

  /// Whether the controller that is not the owner asks for it.
  @inlinable @inline(__always)
  public var isRequested: Bool { rawValue & 4 != 0 }

  /// Counts changes of owner.
  @inlinable @inline(__always)
  public var term: UInt64 { rawValue >> 16 }

  /// Whether `controller` owns it. One mask and one comparison: this is the determination on every request.
  @inlinable @inline(__always)
  public func isOwned(by controller: ControllerIdentity) -> Bool {
    rawValue & 3 == 1 | UInt64(controller.rawValue) << 1
  }

  /// Whether this can have been written by these transitions at all.
  public var isValid: Bool {
    rawValue & 0xfff8 == 0 && (owner != nil || rawValue & 6 == 0)
  }

  /// vacant → owned by `controller`, next term. Nil if that is no legal step.
  @inlinable @inline(__always)
  public func claimed(by controller: ControllerIdentity) -> OwnershipWord? {
    guard owner == nil else { return nil }
    return OwnershipWord(owner: controller, requested: false, term: term &+ 1)
  }

  /// owned by the peer → the same, requested by `controller`. Nil if that is no legal step.
  @inlinable @inline(__always)
  public func requested(by controller: ControllerIdentity) -> OwnershipWord? {
    guard isOwned(by: controller.peer), !isRequested else { return nil }
    return OwnershipWord(rawValue: rawValue | 4)
  }

  /// The reverse of `requested`. Nil if `controller` has no request standing.
  @inlinable @inline(__always)
  public func withdrawn(by controller: ControllerIdentity) -> OwnershipWord? {
    guard isOwned(by: controller.peer), isRequested else { return nil }
    return OwnershipWord(rawValue: rawValue & ~4)
  }

  /// owned by `controller` and requested → owned by the peer, next term; requested back at once if `asking`.
  @inlinable @inline(__always)
  public func granted(by controller: ControllerIdentity, asking: Bool) -> OwnershipWord? {
    guard isOwned(by: controller), isRequested else { return nil }
    return OwnershipWord(owner: controller.peer, requested: asking, term: term &+ 1)
  }

  /// owned by the peer → owned by `controller`, next term, requested or not. Legal for the holder of the fence over
  /// the peer that has seen its exit. Nil if the peer does not own the function.
  @inlinable @inline(__always)
  public func takenOver(by controller: ControllerIdentity) -> OwnershipWord? {
    guard isOwned(by: controller.peer) else { return nil }
    return OwnershipWord(owner: controller, requested: false, term: term &+ 1)
  }

  /// owned by `controller`, requested by the peer → the same, not requested. Legal for the holder of the fence over
  /// the peer. Nil if the peer does not request the function.
  @inlinable @inline(__always)
  public func dismissed(by controller: ControllerIdentity) -> OwnershipWord? {
    guard isOwned(by: controller), isRequested else { return nil }
    return OwnershipWord(rawValue: rawValue & ~4)
  }

  /// owned by `controller`, nobody asking → vacant, next term.
  @inlinable @inline(__always)
  public func vacated(by controller: ControllerIdentity) -> OwnershipWord? {
    guard isOwned(by: controller), !isRequested else { return nil }
    return OwnershipWord(owner: nil, requested: false, term: term &+ 1)
  }
}

extension OwnershipWord: CustomStringConvertible {
  /// For people: `owned by a, requested by b, term 7`.
  public var description: String {
    guard let owner else { return "vacant, term \(term)" }
    return "owned by \(owner)\(isRequested ? ", requested by \(owner.peer)" : ""), term \(term)"
  }
}
