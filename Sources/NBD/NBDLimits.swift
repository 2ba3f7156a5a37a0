/// The limits of one client. They fix the memory of a connection, which never grows.
public struct NBDLimits: Sendable {
  /// Requests taken and not answered to the last byte. More requests stay in the client's socket.
  public var requestsMax = 256
  /// Bytes of one read or write; told to clients as the largest payload. It is what a client may assume that is told
  /// nothing (the protocol's "maximum payload").
  public var payloadMax: UInt32 = 32 << 20
  /// Bytes that one operation moves: a longer read or write is served in pieces, one after the other, in the memory of
  /// one piece.
  public var transferMax: UInt32 = 4 << 20
  /// Bytes that one operation covers which moves no data: longer trims and write zeroes are served in pieces.
  public var extentMax: UInt64 = 1 << 30
  /// Bytes received before they are read. A payload of more than a quarter of this goes straight to its place.
  public var stagingSize = 128 << 10
  /// Bytes for the data of all requests of one connection: a multiple of `PagePool.pageSize`.
  public var poolSize = 8 << 20

  /// The defaults.
  public init() {}

  /// Bytes of an option's data that are read: an export name and some queries of the longest that the protocol
  /// allows (4,096 bytes).
  public static let optionMax = 16 << 10
  /// Bytes of an option's data that are skipped, to answer that it is too big. More than that ends the connection.
  public static let optionSkipMax: UInt32 = 1 << 20
  /// Bytes of a write that are skipped, to answer that it is too long. Below 32 MiB a client means no harm (the
  /// protocol), and libnbd sends up to 64 MiB. A client that sends more is disconnected.
  public static let payloadSkipMax: UInt32 = 64 << 20
  /// The memory of a connection begins at a multiple of this in its arena: the largest block of a unit.
  public static let memoryAlignment = 65536

  /// Bytes of memory that a connection needs, a multiple of `memoryAlignment`.
  public var memorySize: Int {
    (stagingSize + poolSize + Self.memoryAlignment - 1) & ~(Self.memoryAlignment - 1)
  }

  /// Whether they are consistent.
  var isSound: Bool {
    (1...Self.requestsPossible).contains(requestsMax) && stagingSize >= 2 * Self.optionMax
      && stagingSize % Self.memoryAlignment == 0 && poolSize % PagePool.pageSize == 0
      && poolSize >= Int(transferMax) + Self.memoryAlignment && Int(transferMax) >= Self.memoryAlignment
      && Int(transferMax) % Self.memoryAlignment == 0 && payloadMax >= transferMax
      && extentMax >= UInt64(Self.memoryAlignment) && extentMax % UInt64(Self.memoryAlignment) == 0
  }

  /// Requests of a connection are numbered with 16 bits.
  private static let requestsPossible = 1 << 15
}
