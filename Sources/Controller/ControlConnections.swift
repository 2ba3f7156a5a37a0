import BatonSharedMemory
import CBatonShims
import Glibc

/// The sockets of a controller: the one it listens on, one for each host and the peer, and the one to the peer.
///
/// Nothing here is on the path of a request. A place of the table has a generation, so that an event of a
/// connection that is gone is not taken for one of its successor.
struct ControlConnections: ~Copyable {
  /// What the other end of a connection is.
  enum Kind { case vacant, unknown, host(place: Int), peer, listeners }

  struct Connection {
    var kind = Kind.vacant
    var descriptor: CInt = -1
    var generation: UInt16 = 0
    /// When it was accepted, in monotonic nanoseconds.
    var since: UInt64 = 0
  }

  /// Connections at once: every host, the peer, and some that have not said what they are.
  static let connectionsMax = 256

  let listener: OwnedDescriptor
  let path: String
  var connections = [Connection](repeating: Connection(), count: connectionsMax)
  var peerSocketPath = ""
  /// To the peer's control socket, for ringing it; -1: none.
  var toPeer: CInt = -1
  /// The sockets that the peer listens on, for when it is gone.
  private(set) var peersListeners: [CInt] = []
  /// What a stop by signal comes by; -1: none.
  var signals: CInt = -1

  init(listeningAt path: String) throws(BatonError) {
    // The seat is taken: whoever made this socket is dead.
    unlink(path)
    listener = OwnedDescriptor(
      try check(
        baton_socket_listen(path), path, doing: "listening",
        mend: "a socket's path has 107 bytes at the most: use a shorter name or BATON_HOME"))
    self.path = path
  }

  deinit {
    for connection in connections where connection.descriptor >= 0 {
      // The ring that watches it holds on to the file until the kernel has taken the ring down, some time after this.
      shutdown(connection.descriptor, CInt(SHUT_RDWR))
      Glibc.close(connection.descriptor)
    }
    for listener in peersListeners { Glibc.close(listener) }
    if toPeer >= 0 { Glibc.close(toPeer) }
    if signals >= 0 { Glibc.close(signals) }
  }

  /// A place for a new connection, or nil when all are taken.
  mutating func add(_ descriptor: CInt) -> Int? {
    for index in connections.indices {
      if case .vacant = connections[index].kind {
        connections[index].kind = .unknown
        connections[index].descriptor = descriptor
        connections[index].generation &+= 1
        connections[index].since = monotonicNanoseconds()
        return index
      }
    }
    return nil
  }

  /// Takes one of the peer's listening sockets over; the first one of a row takes the place of all that were there.
  mutating func keepListener(_ descriptor: consuming OwnedDescriptor, number: UInt32) {
    if number == 0 {
      for listener in peersListeners { Glibc.close(listener) }
      peersListeners = []
    }
    // What is no listening socket is closed here, and so is one too many.
    guard peersListeners.count < Int(BATON_LISTENERS_MAX), baton_stream_is_listening(descriptor.number) == 1 else {
      return
    }
    peersListeners.append(descriptor.release())
  }

  /// What a watch of this connection carries.
  func token(_ index: Int) -> UInt32 { UInt32(connections[index].generation) << 16 | UInt32(index) }

  /// The connection of an event, unless it is gone.
  func index(of token: UInt32) -> Int? {
    let index = Int(token & 0xffff)
    guard index < connections.count, connections[index].descriptor >= 0,
      connections[index].generation == UInt16(token >> 16)
    else { return nil }
    return index
  }

  /// Closes a connection. The other end sees it at once, though the ring may hold on to the file a little longer.
  mutating func close(_ index: Int) {
    let descriptor = connections[index].descriptor
    if descriptor >= 0 {
      // A socket that is closed with something unread resets the other end, which may then miss what was sent to it
      // before (unix(7)): a doorbell that came late must not cost a reply.
      var unread: UInt64 = 0
      var passed: CInt = -1
      while baton_socket_receive(descriptor, &unread, MemoryLayout<UInt64>.size, &passed) > 0 {
        _ = OwnedDescriptor(passed)
      }
      shutdown(descriptor, CInt(SHUT_RDWR))
      Glibc.close(descriptor)
    }
    connections[index].descriptor = -1
    connections[index].kind = .vacant
  }
}
