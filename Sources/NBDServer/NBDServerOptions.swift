import BatonNBD
import Logging

/// The limits of an NBD server, and how long it waits for clients.
public struct NBDServerOptions: Sendable {
  /// Where it listens.
  public var addresses: [NBDAddress]
  /// Clients at once. A client that comes beyond them waits in the kernel's backlog until another one goes: nothing is
  /// accepted meanwhile.
  public var connectionsMax = 64
  /// Of these, at most so many over TCP. The rest is for unix sockets, which only the owner's programs can use.
  public var tcpConnectionsMax = 48
  /// Of these, at most so many from one address. One more takes the place of the address's longest idle client; when
  /// none is idle it is disconnected at once, because behind it clients of other addresses wait.
  public var peerConnectionsMax = 32
  /// When places are short, the client over TCP that has asked for nothing for the longest time makes room, after this
  /// much of it. Clients of unix sockets never do.
  public var idleNanosecondsMin: UInt64 = 1_000_000_000
  /// The same of one that owes the rest of a message, or does not read its replies.
  public var stalledNanosecondsMin: UInt64 = 10_000_000_000
  /// The limits of each client.
  public var limits = NBDLimits()
  /// How long a client may take for its handshake.
  public var handshakeNanosecondsMax: UInt64 = 10_000_000_000
  /// How long a client may leave half a message before it is disconnected.
  public var messageNanosecondsMax: UInt64 = 60_000_000_000
  /// How long a client whose connection ends may leave its last replies unread.
  public var farewellNanosecondsMax: UInt64 = 2_000_000_000
  /// How long an address may be somebody else's before that is an error: the kernel takes a dead process's sockets
  /// apart in its own time.
  public var busyNanosecondsMax: UInt64 = 3_000_000_000
  /// Where it says what happens. Never anything per request.
  public var logger = Logger(label: "baton.nbd")

  /// Listens there, with the default limits.
  public init(addresses: [NBDAddress] = []) { self.addresses = addresses }
}
