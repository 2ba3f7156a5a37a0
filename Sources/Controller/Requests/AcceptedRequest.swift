import BatonChannel
import BatonSharedMemory
import BatonSubsystem
import CBatonShims

/// A request that a controller has taken from a channel and not answered: pending, held, or in flight on the storage.
///
/// Lies in the controller's journal. Host, channel, line and sequence identify the request; the rest is its checked
/// copy.
typealias AcceptedRequest = baton_accepted_request

extension baton_accepted_request {
  /// The bits of `flags`.
  enum Flag {
    /// The answer waits for stable storage.
    static let durable: UInt8 = 1
    /// It waited for a change of owner.
    static let transferred: UInt8 = 2
    /// It was in flight when its controller died: a survivor, or a new life, executes it again.
    static let recovered: UInt8 = 4
    /// Recovered, and given to the storage again.
    static let replaying: UInt8 = 8
    /// Recovered, and answered or dropped: the entry only waits for its removal from its list.
    static let done: UInt8 = 16
    /// Recovered, and its host did not come back in time: no controller executes it again.
    static let orphaned: UInt8 = 32
    /// The flags that an entry keeps when another controller recovers it.
    static let lasting = durable | fast | transferred | orphaned
    /// The planted defect `replayTwice` executes it again at present.
    static let twice: UInt8 = 64
    /// The controller refuses it where it would take as long as a write.
    static let fast: UInt8 = 128
  }

  /// The channel that it came by.
  @inline(__always)
  var origin: ChannelIndex { ChannelIndex(Int(channel)) }

  /// The line of that channel.
  @inline(__always)
  var line: LineIndex { LineIndex(Int(slot)) }

  /// The requested operation. Entries are written from checked requests, and checked again when they are recovered.
  @inline(__always)
  var kind: Operation { Operation(rawValue: operation).unsafelyUnwrapped }

  @inline(__always)
  var isDurable: Bool { flags & Flag.durable != 0 }

  @inline(__always)
  var mustBeFast: Bool { flags & Flag.fast != 0 }

  @inline(__always)
  var isTransferred: Bool { flags & Flag.transferred != 0 }

  @inline(__always)
  var isRecovered: Bool { flags & Flag.recovered != 0 }

  /// Whether it goes to the management function: the number alone says so (`Operation.isManagement`).
  @inline(__always)
  var isManagement: Bool { operation >= Operation.identify.rawValue }

  /// The function that it goes to.
  @inline(__always)
  var function: Function { isManagement ? .management : Function(unit: Int(unit)) }

  /// Whether it changes blocks of its unit.
  @inline(__always)
  var changesUnit: Bool { Operation.changesUnit(operation) }

  /// Recovered, and given to the storage again.
  var isReplaying: Bool { flags & Flag.replaying != 0 }

  /// Recovered, and over.
  var isDone: Bool { flags & Flag.done != 0 }

  /// Recovered, over, and on the storage once more, by the planted defect.
  var isRepeating: Bool { flags & Flag.twice != 0 }

  /// Recovered, and something that overlaps it must still wait.
  var isStanding: Bool { flags & (Flag.done | Flag.orphaned) == 0 }

  /// Recovered and given up, and not over.
  var isOrphan: Bool { flags & (Flag.done | Flag.orphaned) == Flag.orphaned }

  /// Whether two requests overlap: the execution of either could be visible in the other's, or undo it.
  func overlaps(_ other: baton_accepted_request) -> Bool {
    offset < other.offset &+ other.length && other.offset < offset &+ length
  }
}

extension UnsafeMutablePointer<AcceptedRequest> {
  /// Copies another entry into this one, which is not in flight, for another controller to recover. Everything else is
  /// written before the state says that the entry is in flight, see `Journal`.
  func enter(_ other: AcceptedRequest, channel: ChannelIndex) {
    var entry = other
    entry.state = 0
    entry.following = .none
    entry.channel = UInt32(truncatingIfNeeded: channel.number)
    entry.flags &= AcceptedRequest.Flag.lasting
    pointee = entry
    inFlight.storeReleasing(1)
  }
}

extension UnsafeMutablePointer<AcceptedRequest> {
  /// Operation, flags, line and unit in one store, see `RequestCopy.identified`.
  @inline(__always)
  func enter(identified: UInt64) {
    UnsafeMutableRawPointer(self).storeBytes(of: identified, toByteOffset: 16, as: UInt64.self)
  }
}
