import BatonSharedMemory
import CBatonShims

/// The counters of one controller's record, a word each. An address and nothing more: each `Counter` has its word in
/// the record, so that no look-up needs a bounds check.
@frozen
public struct Counters {
  @usableFromInline let base: UnsafeMutableRawPointer

  @usableFromInline
  init(base: UnsafeMutableRawPointer) { self.base = base }

  /// Words in the record: those of `Counter`, and room for more.
  @inlinable
  public static var capacity: Int { Int(BATON_COUNTERS) }

  /// The word of a counter.
  @inlinable @inline(__always)
  public subscript(_ counter: Counter) -> SharedWord {
    assert(counter.rawValue < Self.capacity, "the record has no word for this counter")
    return SharedWord(base + counter.rawValue * 8)
  }

  /// The word that counts the bytes of a read or write: two counters, one after the other, for two operations, one
  /// after the other.
  @inlinable @inline(__always)
  public func bytesMoved(by operation: UInt8) -> SharedWord {
    SharedWord(base + (Counter.bytesRead.rawValue - 1) * 8 + Int(operation) &* 8)
  }

  /// All words as they stand, by `Counter.rawValue`.
  public var values: [UInt64] {
    (0..<Self.capacity).map { SharedWord(base + $0 * 8).loadRelaxed() }
  }
}

/// A counter of a controller. It lies in its record in the region; only the controller writes, anybody may read.
public enum Counter: Int, CaseIterable, Sendable {
  /// Requests taken from channels.
  case requests
  /// Of those, requests that found this controller the owner and were served at once.
  case direct
  /// Of those, requests that waited in the pending queue for a change of owner.
  case transferred
  /// Requests answered.
  case answered
  /// Of those, with a status that is an error.
  case errors
  /// Bytes read for hosts.
  case bytesRead
  /// Bytes written for hosts.
  case bytesWritten
  /// Terms begun here: functions claimed or granted to this controller.
  case terms
  /// Functions this controller granted to the other.
  case grants
  /// Ownership requests made.
  case ownershipRequests
  /// Hints sent on the link.
  case hintsSent
  /// Hints that found the link full and were lost.
  case hintsLost
  /// Requests of the other controller found by looking, not by a hint.
  case requestsSwept
  /// Times this controller went to sleep.
  case parks
  /// Doorbells rung at the other controller.
  case peerDoorbells
  /// Hosts woken.
  case hostWakes
  /// Hosts attached since the start.
  case hostsAttached
  /// Hosts attached now.
  case hosts
  /// Hosts refused, and hosts disconnected for breaking the protocol.
  case hostsRefused
  /// Operations begun on files and devices, and on units with faults: by the ring, or over at once.
  case storageOperations
  /// Times this controller fenced its peer.
  case fences
  /// Times it killed its peer.
  case kills
  /// Times it began to stand in for its peer.
  case takeovers
  /// Functions taken over.
  case functionsTakenOver
  /// Requests taken from the peer's channels.
  case adopted
  /// Requests found in flight in the journal of a dead controller.
  case recovered
  /// Of those, executed again.
  case replayed
  /// Requests that waited because they overlap one that is being recovered.
  case held
  /// Proofs that the kernel has let go of a unit's last operation of the dead.
  case drainProofs
  /// Doorbells heard: times that a word which this controller listens to was rung.
  case doorbells
  /// NBD clients connected now.
  case nbdConnections
  /// NBD clients accepted since the start.
  case nbdAccepted
  /// Requests of NBD clients given to this controller.
  case nbdRequests
  /// Entries of a journal that no controller can have written: ignored.
  case journalDamage
  /// Log lines withheld because hosts caused too many of their kind.
  case linesWithheld

  /// The counter's name on the command line and in JSON.
  public var name: String { "\(self)" }
}
