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
