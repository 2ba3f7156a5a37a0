import BatonChannel
import BatonSystem
import CBatonShims
import Glibc

/// The sockets of a controller: the one it listens on, one for each host and the peer, and the one to the peer.
///
/// Nothing here is on the path of a request. A place of the table has a generation, so that an event of a
/// connection that is gone is not taken for one of its successor.
struct ControlConnections: ~Copyable {
  /// What the other end of a connection is.
  enum Kind { case vacant, unknown, host(place: HostPlace), peer, listeners }

  struct Connection {
    var kind = Kind.vacant
    var descriptor: CInt = -1
    var generation: UInt16 = 0
    /// The process at the other end when it connected, as the kernel says.
    var pid: pid_t = 0
    /// When it was accepted, in monotonic nanoseconds.
    var since: UInt64 = 0
  }

  /// Connections at once: every host, the peer, and some that have not said what they are.
  static let connectionsMax = 256
  /// Of those, the ones of one process that have not said what they are. More than any program needs that keeps to the
  /// protocol: it says so as soon as it has connected.
  static let silentPerProcessMax = 8
  /// How often the loop checks the sockets without an event from them.
  private static var tendNanoseconds: UInt64 { 250_000_000 }

  let listener: OwnedDescriptor
  /// Where descriptors, connections and memory of others end.
  let disposal = Disposal()
  /// Kept free, so that a connection can be told that descriptors are short; -1: it is in use.
  private var spare: CInt
  let path: String
  var connections = [Connection](repeating: Connection(), count: connectionsMax)
  var peerSocketPath = ""
  /// To the peer's control socket, for ringing it; -1: none.
  var toPeer: CInt = -1
  /// The sockets that the peer listens on, for when it is gone.
  private(set) var peersListeners: [CInt] = []
  /// What stops the controller from another thread; nil: nobody has asked for it.
  var stopper: ControllerStopper?
  /// How many lines hosts may cause.
  var lineLimits = LineLimits()
  private var tendedAt: UInt64 = 0
  /// What a stop by signal comes by; -1: none.
  var signals: CInt = -1

  init(listeningAt path: String) throws(BatonError) {
    // The seat is taken: the process that made this socket is dead.
    unlink(path)
    listener = OwnedDescriptor(
      try check(
        shim_socket_listen(path), path, doing: "listening",
        fix: "a socket's path has at most 107 bytes: use a shorter name or BATON_HOME"))
    self.path = path
    spare = Self.spareDescriptor()
  }

  deinit {
    for connection in connections where connection.descriptor >= 0 { disposal.end(socket: connection.descriptor) }
    for listener in peersListeners { disposal.close(listener) }
    if toPeer >= 0 { disposal.end(socket: toPeer) }
    if signals >= 0 { Glibc.close(signals) }
    if spare >= 0 { Glibc.close(spare) }
  }

  private static func spareDescriptor() -> CInt { shim_open("/dev/null", false, false, false) }

  /// No descriptor can be had for a connection that waits: takes the spare one's place for it, tells it so, and ends
  /// it.
  ///
  /// - Returns: false when that is not possible either.
  mutating func turnAway(_ refusal: baton_attach_reply) -> Bool {
    if spare >= 0 { Glibc.close(spare) }
    let descriptor = shim_socket_accept(listener.number)
    if descriptor >= 0 {
      _ = ControlMessage.sendReply(over: descriptor, refusal)
      disposal.end(socket: descriptor)
    }
    spare = -1
    restoreSpare()
    return descriptor >= 0
  }

  /// Tries to have a spare descriptor again.
  mutating func restoreSpare() { if spare < 0 { spare = Self.spareDescriptor() } }

  /// The silent connection that must make room before another one of that process can come, if any: of a process that
  /// has as many as it may its own oldest, and where the table is full the oldest of all. So nobody who keeps silent
  /// can keep others out.
  func silentOne(inTheWayOf pid: pid_t) -> Int? {
    var hasRoom = false
    var own = 0
    var oldest: Int?
    var oldestOwn: Int?
    for index in connections.indices {
      switch connections[index].kind {
      case .vacant: hasRoom = true
      case .unknown:
        if oldest.map({ connections[index].since < connections[$0].since }) ?? true { oldest = index }
        guard connections[index].pid == pid else { continue }
        own += 1
        if oldestOwn.map({ connections[index].since < connections[$0].since }) ?? true { oldestOwn = index }
      case .host, .peer, .listeners: continue
      }
    }
    if own >= Self.silentPerProcessMax { return oldestOwn }
    return hasRoom ? nil : oldest
  }

  /// A place for a new connection, or nil when all are taken.
  mutating func add(_ descriptor: CInt, pid: pid_t) -> Int? {
    for index in connections.indices {
      if case .vacant = connections[index].kind {
        connections[index].kind = .unknown
        connections[index].descriptor = descriptor
        connections[index].pid = pid
        connections[index].generation &+= 1
        connections[index].since = monotonicNanoseconds()
        return index
      }
    }
    return nil
  }

  /// Whether the loop must check the sockets without an event from them; then the next time is later.
  mutating func mustTend(at now: UInt64) -> Bool {
    if now &- tendedAt <= Self.tendNanoseconds { return false }
    tendedAt = now
    return true
  }

  /// Keeps one of the peer's listening sockets. The first one of a series replaces all that were kept before.
  mutating func keepListener(_ descriptor: CInt?, number: UInt32) {
    if number == 0 {
      for listener in peersListeners { disposal.close(listener) }
      peersListeners = []
    }
    guard let descriptor else { return }
    // What is no listening socket is not kept, and neither is one too many.
    if peersListeners.count < Int(BATON_LISTENERS_MAX), shim_stream_is_listening(descriptor) == 1 {
      peersListeners.append(descriptor)
    } else {
      disposal.close(descriptor)
    }
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

  /// Closes a connection. The other end sees it at once.
  mutating func close(_ index: Int) {
    if connections[index].descriptor >= 0 { disposal.end(socket: connections[index].descriptor) }
    connections[index].descriptor = -1
    connections[index].kind = .vacant
  }
}
