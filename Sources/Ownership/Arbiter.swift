import BatonSharedMemory

/// The ownership arbiter, as one controller sees it: the legal transitions of a function's word, each one CAS.
///
/// It is not a process and holds no state; it survives either controller because it is nothing but the word. Every
/// method loads, decides by `OwnershipWord`, and swaps. A swap fails only because the peer made a step of its own;
/// after that step the method decides again. With two controllers at most two steps of the peer can come between (a
/// request and its withdrawal), so the retries are bounded by `attemptsMax`.
///
/// Memory order, sync point "grant": the grant is a release of everything that the old owner did in its term, and
/// the load that sees it acquires it. All compare-and-swaps are sequentially consistent; loads are acquiring.
@frozen
public struct Arbiter<Word: AtomicWord> {
  @usableFromInline let me: ControllerIdentity

  /// The arbiter, for `controller`'s use.
  @inlinable
  public init(for controller: ControllerIdentity) { me = controller }

  /// A swap that failed so many times did not lose to the peer's legal steps: the word is damaged.
  @usableFromInline static var attemptsMax: Int { 1000 }

  /// The result of a request.
  @frozen
  public enum Outcome: Equatable {
    /// This controller owns the function, in this term.
    case owned(term: UInt64)
    /// The request stands; `asked` is false when it stood already.
    case waiting(asked: Bool)
  }

  /// Asks for the function: claims it if it is vacant, else requests it from its owner.
  @inlinable
  public func request(_ word: Word) -> Outcome {
    var current = OwnershipWord(rawValue: word.loadAcquiring())
    for _ in 0..<Self.attemptsMax {
      if current.isOwned(by: me) { return .owned(term: current.term) }
      if let claimed = current.claimed(by: me) {
        let swap = word.compareExchange(expected: current.rawValue, desired: claimed.rawValue)
        if swap.exchanged { return .owned(term: claimed.term) }
        current = OwnershipWord(rawValue: swap.original)
      } else if let requested = current.requested(by: me) {
        let swap = word.compareExchange(expected: current.rawValue, desired: requested.rawValue)
        if swap.exchanged { return .waiting(asked: true) }
        current = OwnershipWord(rawValue: swap.original)
      } else {
        return .waiting(asked: false)
      }
    }
    preconditionFailure("ownership word \(current) changes for ever")
  }

  /// The present word. One load: the determination of the owner.
  @inlinable @inline(__always)
  public func look(_ word: Word) -> OwnershipWord { OwnershipWord(rawValue: word.loadAcquiring()) }

  /// Relinquishes: the acknowledgement and the grant, in one CAS. With `asking`, requests the function back in the
  /// same step.
  ///
  /// The caller has stopped admitting requests for the function and has none in flight.
  ///
  /// - Returns: false if there is nothing to grant: this controller is not the owner, or the peer does not ask.
  @inlinable @inline(__always)
  public func grant(_ word: Word, asking: Bool) -> Bool {
    transition(word) { $0.granted(by: me, asking: asking) }
  }

  /// Withdraws a standing request.
  ///
  /// - Returns: false if none stands: it has been granted meanwhile, or was never made.
  @inlinable
  public func withdraw(_ word: Word) -> Bool {
    transition(word) { $0.withdrawn(by: me) }
  }

  /// Vacates the function if the peer does not ask for it.
  ///
  /// - Returns: false if the peer asks (grant it), or if this controller is not the owner.
  @inlinable
  public func vacate(_ word: Word) -> Bool {
    transition(word) { $0.vacated(by: me) }
  }

  /// Takes over a function that the peer owns. The caller holds the fence over the peer and has seen its exit.
  ///
  /// - Returns: false if the peer owns nothing here.
  @inlinable
  public func takeOver(_ word: Word) -> Bool {
    transition(word) { $0.takenOver(by: me) }
  }

  /// Dismisses a request of the peer. The caller holds the fence over the peer and has seen its exit.
  ///
  /// - Returns: false if it asked for nothing here.
  @inlinable
  public func dismiss(_ word: Word) -> Bool {
    transition(word) { $0.dismissed(by: me) }
  }

  @inlinable @inline(__always)
  func transition(_ word: Word, _ step: (OwnershipWord) -> OwnershipWord?) -> Bool {
    var current = OwnershipWord(rawValue: word.loadAcquiring())
    for _ in 0..<Self.attemptsMax {
      guard let next = step(current) else { return false }
      assert(next.isValid, "a step leads to a state")
      assert(
        next.owner == current.owner || next.term == (current.term &+ 1) & OwnershipWord.termMax,
        "each change of owner is a new term")
      let swap = word.compareExchange(expected: current.rawValue, desired: next.rawValue)
      if swap.exchanged { return true }
      current = OwnershipWord(rawValue: swap.original)
    }
    preconditionFailure("ownership word \(current) changes for ever")
  }
}
