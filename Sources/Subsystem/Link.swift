import BatonSharedMemory

/// The link between the controllers: two rings of hints. The ownership word decides; a hint says where to look.
@frozen
public struct Link {
  @usableFromInline var outgoing: HintRing<SharedWords>
  @usableFromInline var incoming: HintRing<SharedWords>
  @usableFromInline let peerParked: SharedWord

  init(outgoing: HintRing<SharedWords>, incoming: HintRing<SharedWords>, peerParked: SharedWord) {
    self.outgoing = outgoing
    self.incoming = incoming
    self.peerParked = peerParked
  }

  /// Says that a function's word has changed in a way that concerns the other. False when the hint is lost.
  @inlinable
  public mutating func hint(_ function: Function) -> Bool {
    outgoing.send(UInt64(truncatingIfNeeded: function.index) &+ 1)
  }

  /// Whether there is a hint. One load.
  @inlinable @inline(__always)
  public var hasHint: Bool { incoming.hasMessage }

  /// The function of the next hint, if there is one.
  @inlinable @inline(__always)
  public mutating func next() -> Function? {
    let message = incoming.receive()
    return message == 0 ? nil : Function(index: Int(truncatingIfNeeded: message &- 1))
  }

  /// See `HintRing.resynchronize`.
  public mutating func resynchronize(_ body: (Function) -> Void) {
    incoming.resynchronize { body(Function(index: Int(truncatingIfNeeded: $0 &- 1))) }
  }

  /// Whether the other controller sleeps and must be rung: true at most once a sleep. Call after a full fence
  /// that follows the change of the word (every compare-and-swap is one).
  @inlinable @inline(__always)
  public func takePeerSleep() -> Bool {
    peerParked.loadRelaxed() != 0 && peerParked.exchange(0) != 0
  }
}
