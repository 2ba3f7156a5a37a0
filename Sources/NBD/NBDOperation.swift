import Glibc

/// A client's request to a unit: one operation for the storage, checked against the export.
public struct NBDOperation: Sendable, Equatable {
  /// The requested operation.
  public enum Kind: UInt8, Sendable {
    /// Moves blocks of the unit into the buffer.
    case read
    /// Moves blocks of the buffer to the unit.
    case write
    /// Moves everything answered before, through any connection, to stable storage.
    case flush
    /// The blocks' contents are no longer needed.
    case trim
    /// The blocks read as zeroes from now on.
    case writeZeroes
    /// The blocks will be wanted soon. A server that cannot do anything about it reports success.
    case cache
    /// The blocks that are allocated and those that are zero (`NBDConnection.addExtent`).
    case blockStatus
  }

  /// The requested operation.
  public let kind: Kind
  /// Names the request in its connection: what `NBDConnection.finish` is told.
  public let slot: Int
  /// The unit's number.
  public let unit: Int
  /// Bytes from the unit's start.
  public let offset: UInt64
  /// Bytes; 0 for a flush.
  public let length: UInt64
  /// Bytes from the start of the connection's memory, for reads and writes: a multiple of the unit's block size.
  public let buffer: Int
  /// Whether the answer waits for stable storage (FUA). Never for operations that change nothing.
  public let isDurable: Bool
  /// Write zeroes: the blocks must stay allocated (NO_HOLE).
  public let keepsAllocation: Bool
  /// Write zeroes: refuse with `.notSupported` if it would take as long as a write (FAST_ZERO).
  public let mustBeFast: Bool
}

/// The bytes to send next: those that the vectors point at, and then bytes of the unit, from where they lie.
public struct NBDOutput {
  /// Pieces of memory, in order; may be none. Where bytes of the unit follow there is room for one more vector.
  public var vectors: UnsafeMutableBufferPointer<iovec>
  /// The bytes of the unit that follow; a count of 0: none.
  public var offset: UInt64 = 0
  /// How many.
  public var count = 0
  /// Room for a copy of these bytes, for a caller that cannot send them from where they lie.
  public var buffer: UnsafeMutableRawPointer?

  /// Nothing.
  public init() { vectors = UnsafeMutableBufferPointer(start: nil, count: 0) }

  /// Whether there is nothing to be sent.
  public var isEmpty: Bool { vectors.isEmpty && count == 0 }
}

/// The result of an operation.
@frozen
public enum NBDOutcome: Sendable, Equatable {
  /// Done.
  case done
  /// Not done, or done in part.
  case failed(NBDError)
  /// Not done, and not to be answered: the server leaves, and the client must ask another. Ends the connection.
  case withdrawn
}

/// A client's request, from its header to the last byte of its reply.
struct RequestSlot {
  enum State: UInt8 {
    case free
    /// A write whose payload is being received, or skipped.
    case receiving
    /// Handed out by `next`, until `finish`.
    case executing
    /// Its next piece waits for `next`; a write whose next piece is still to come is `receiving` again.
    case continuing
    /// Its reply waits to be sent, or is.
    case answered
  }

  var state = State.free
  /// Whether a read's data is sent from where it lies in the unit, and not from its pages here.
  var isInPlace = false
  /// How long the reply's header is.
  var headerCount: UInt8 = 0
  var command = Command.read
  var flags: UInt16 = 0
  /// Extents of a block status, the first of them in the reply's header.
  var extentCount: UInt16 = 0
  /// The next in whichever list the slot is in; -1: none.
  var next: Int32 = -1
  /// Its pages; -1: none.
  var page: Int32 = -1
  var pageCount: Int32 = 0
  /// The client's request.
  var length: UInt32 = 0
  /// Of the present piece of a write's payload.
  var received: UInt32 = 0
  /// Bytes of the piece of a read or write that is in flight.
  var piece: UInt32 = 0
  /// Bytes that follow the reply's header, from `payload` on, or those of the unit.
  var payloadCount: UInt32 = 0
  var cookie: UInt64 = 0
  /// The start of the piece that is in flight, and what is left from there on.
  var offset: UInt64 = 0
  var remaining: UInt64 = 0
  var payload: UnsafeRawPointer?
}

/// A list of slots, first in first out, through `RequestSlot.next`.
struct SlotList {
  private(set) var first: Int32 = -1
  private var last: Int32 = -1

  var isEmpty: Bool { first < 0 }

  @inline(__always)
  mutating func append(_ slot: Int, _ slots: UnsafeMutablePointer<RequestSlot>) {
    let index = Int32(truncatingIfNeeded: slot)
    slots[slot].next = -1
    if last >= 0 { slots[Int(last)].next = index } else { first = index }
    last = index
  }

  /// Puts one before all others.
  @inline(__always)
  mutating func prepend(_ slot: Int, _ slots: UnsafeMutablePointer<RequestSlot>) {
    slots[slot].next = first
    first = Int32(truncatingIfNeeded: slot)
    if last < 0 { last = first }
  }

  /// Removes and returns the first one, or returns -1.
  @inline(__always)
  mutating func removeFirst(_ slots: UnsafeMutablePointer<RequestSlot>) -> Int {
    if first < 0 { return -1 }
    let slot = Int(first)
    first = slots[slot].next
    if first < 0 { last = -1 }
    slots[slot].next = -1
    return slot
  }
}
