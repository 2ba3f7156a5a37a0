import BatonNBD
import Logging

/// The limits of an NBD server, and how long it waits for clients.
public struct NBDServerOptions: Sendable {
  /// The addresses that it listens at.
  public var addresses: [NBDAddress]
  /// Number of clients at once. One more waits in the kernel's backlog until another goes: nothing is accepted
  /// meanwhile.
  public var connectionsMax = 64
  /// Of these, at most so many over TCP. The rest is for unix sockets, which only the owner's programs can use.
  public var tcpConnectionsMax = 48
  /// Of these, at most so many from one address. One more takes the place of the address's longest idle client; when
  /// none is idle it is disconnected at once, because behind it clients of other addresses wait.
  public var peerConnectionsMax = 32
  /// If places are short, the TCP client that has asked for nothing for the longest time, and at least for this time,
  /// is disconnected. Clients of unix sockets never are.
  public var idleNanosecondsMin: UInt64 = 1_000_000_000
  /// If places are short, the TCP client that has owed the rest of a message, or has not read its replies, for the
  /// longest time, and at least for this time, is disconnected.
  public var stalledNanosecondsMin: UInt64 = 10_000_000_000
  /// The limits of each client.
  public var limits = NBDLimits()
  /// How long a client may take for its handshake.
  public var handshakeNanosecondsMax: UInt64 = 10_000_000_000
  /// How long a client may leave half a message before it is disconnected.
  public var messageNanosecondsMax: UInt64 = 60_000_000_000
  /// How long a client whose connection ends may leave its last replies unread.
  public var farewellNanosecondsMax: UInt64 = 2_000_000_000
  /// How long another process may hold an address before that is an error: the kernel takes a dead process's sockets
  /// apart in its own time.
  public var busyNanosecondsMax: UInt64 = 3_000_000_000
  /// The logger for its events. It never logs anything per request.
  public var logger = Logger(label: "baton.nbd")

  /// Listens there, with the default limits.
  public init(addresses: [NBDAddress] = []) { self.addresses = addresses }
}
