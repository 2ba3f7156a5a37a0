import BatonSharedMemory

/// The link between the controllers: two rings of hints. The ownership word decides; a hint says where to look.
@frozen
public struct Link {
  @usableFromInline var outgoing: HintRing<SharedWords>
  @usableFromInline var incoming: HintRing<SharedWords>
  @usableFromInline let peerParked: SharedSleepWord

  init(outgoing: HintRing<SharedWords>, incoming: HintRing<SharedWords>, peerParked: SharedSleepWord) {
    self.outgoing = outgoing
    self.incoming = incoming
    self.peerParked = peerParked
  }

  /// Says that a function's word has changed in a way that concerns the other. False when the hint is lost.
  @inlinable
  public mutating func hint(_ function: Function) -> Bool {
    assert(function.index >= 0, "no such function")
    return outgoing.send(UInt64(truncatingIfNeeded: function.index) &+ 1)
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

  /// Whether the other controller sleeps and this one must ring it: at most once a sleep. Sync point "sleep": call
  /// after the words and the hints are published, and `AsymmetricFence.light`.
  @inlinable @inline(__always)
  public func takePeerSleep() -> SharedSleepWord.Bell? {
    peerParked.isAwake ? nil : peerParked.takeSleep()
  }

  /// Wakes the other controller, which listens. False when it did not.
  public func ringPeer() -> Bool { peerParked.ring() }
}
