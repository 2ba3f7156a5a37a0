/// The owner of an entry of the ring: the part of a controller that prepared it and receives its completion. This is
/// the registry of all owners.
///
/// A `RingToken` carries the owner and an index. The comment of each owner says what its index means.
@frozen
public enum RingOwner: UInt8, Sendable {
  /// The storage: a step of its table.
  case storage = 0

  // The controller.

  /// Its control socket has connections to accept. No index.
  case listener = 1
  /// A control connection has something to read: the connection's number and generation.
  case connection = 2
  /// A signal that stops it. No index.
  case signals = 3
  /// The peer's process: the number of the watch over the peer.
  case peerProcess = 4
  /// The peer's life lock: the number of the watch over the peer.
  case peerLife = 5
  /// A word that this controller sleeps on was rung: a channel, or its own word.
  case doorbell = 6
  /// Another thread of this process stops the controller. No index.
  case stopper = 7

  // The front end in the controller's loop. Its completions are queued for its own turn.

  /// A client's receive: the client.
  case clientReceive = 128
  /// A client's send: the client.
  case clientSend = 129
  /// A listening socket's accept: the socket's number.
  case clientAccept = 130
  /// The peer's answer to the question for its listening sockets. No index.
  case handedListeners = 131
  /// The thread that asks a file system for extents has answers. No index.
  case extents = 132

  /// The end of a cancellation, which nobody waits for.
  case nobody = 255

  /// Whether it is of a front end.
  @inlinable @inline(__always)
  public var isOfFrontEnd: Bool { rawValue >= 128 && self != .nobody }
}

/// What an entry carries and its completion brings back.
///
///      63      56 55                       32 31                        0
///     +----------+---------------------------+---------------------------+
///     |   owner  |            0              |           index           |
///     +----------+---------------------------+---------------------------+
@frozen
public struct RingToken: Equatable, Sendable {
  /// As the kernel has it (io_uring_sqe_set_data64(3)).
  public let rawValue: UInt64

  /// Of an owner's operation with that index.
  @inlinable @inline(__always)
  public init(_ owner: RingOwner, _ index: UInt32) { rawValue = UInt64(owner.rawValue) << 56 | UInt64(index) }

  /// As it came from the kernel.
  @inlinable @inline(__always)
  public init(rawValue: UInt64) {
    assert(rawValue >> 32 & 0xff_ffff == 0, "nothing lies between owner and index")
    self.rawValue = rawValue
  }

  /// Whose it is.
  @inlinable @inline(__always)
  public var owner: RingOwner { RingOwner(rawValue: UInt8(rawValue >> 56)) ?? .nobody }

  /// Which of the owner's.
  @inlinable @inline(__always)
  public var index: UInt32 { UInt32(truncatingIfNeeded: rawValue) }
}

/// Something that was prepared has ended, or a watch has something to tell.
@frozen
public struct RingEvent: Sendable {
  /// Whose it is, and which.
  public let token: RingToken
  /// What the kernel said: a count, a descriptor, or -errno.
  public let result: Int32
  /// Of a watch: whether it goes on. One that does not is set again.
  public let hasMore: Bool

  /// These.
  @inlinable @inline(__always)
  public init(token: RingToken, result: Int32, hasMore: Bool) {
    self.token = token
    self.result = result
    self.hasMore = hasMore
  }
}
