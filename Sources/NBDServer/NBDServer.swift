import BatonChannel
import BatonController
import BatonHost
import BatonNBD
import BatonOwnership
import BatonRing
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc
import Logging

/// The units as disks over NBD: a front end in a controller's own process, thread and loop.
///
/// To the controller it is a host: it submits requests through a channel of its own, to this controller and no other,
/// so that journal, ownership, holding and takeover work as for every host. Its arena is the memory of all
/// connections: sockets receive into, and send from, what the storage writes from and reads into. Its sockets are on
/// the controller's ring: one system call per turn carries them and the storage, and a sleeping controller wakes for
/// both.
///
/// Invariants:
/// - a place is one client's from its accept until everything of it has ended: its socket is open, nothing of another
///   client has its number;
/// - at most one receive and one send of a place are on the ring; what they point at stays until their events;
/// - each operation that a connection hands out is finished once: at once, or when its request is answered;
/// - when its process dies, nobody else executes its requests: the peer never sees its memory.
public struct NBDServer: ~Copyable {
  private let place = HeldInPlace()

  /// The state of a place, apart from its connection.
  struct Place {
    /// The client's; -1: none.
    var socket: CInt = -1
    /// Whether there is a connection to use again.
    var isMade = false
    /// The client's address, if it came over TCP; nil: over a unix socket.
    var peer: PeerAddress?
    /// Whether it was disconnected to make room.
    var makesRoom = false
    /// Whether it stands in the list of places to be tended.
    var isDirty = false
    /// Begun with the connection, and not given to the ring yet.
    var owesReceive = false
    var owesSend = false
    /// Whether the receive that is owed has been put off for a turn.
    var hasPutOff = false
    /// The send that is owed; what its vectors point at stands in `messages`.
    var output = NBDOutput()
    /// The directions of the socket that have been shut down: 0 none, 1 the client's, 2 both.
    var shut = 0
    var since: UInt64 = 0
    /// When it was last seen, after the end of its requests, that the storage still works on one; 0: never.
    var workedAt: UInt64 = 0
    /// Bytes moved so far, and when they had last grown.
    var progress: UInt64 = 0
    var progressAt: UInt64 = 0
  }

  let identity: ControllerIdentity
  let subsystem: Subsystem
  let options: NBDServerOptions
  /// In memory of its own, which stays when the kernel may still write to the arena.
  let host: UnsafeMutablePointer<Host>
  let arena: UnsafeMutableRawPointer
  var exports: NBDExports

  let places: UnsafeMutablePointer<Place>
  /// Initialized where the place `isMade`.
  let connections: UnsafeMutablePointer<NBDConnection>
  /// Two a place: of its receive and its send.
  let messages: UnsafeMutablePointer<msghdr>
  /// Places with a client.
  var occupied = 0
  /// The sockets of clients that have left their places.
  var lingering: LingeringSockets
  /// Receives and sends on the ring.
  var underWay = 0
  /// Places to be tended in this turn, and in the next one.
  var dirty: UnsafeMutablePointer<Int32>
  var dirtyNow: UnsafeMutablePointer<Int32>
  var dirtyCount = 0
  var requestsCounted: UInt64 = 0
  /// Whether the kernel sends pages without waiting for the reader of the socket. Before 6.5 it takes the reader's lock
  /// (unix_stream_sendpage, net/unix/af_unix.c).
  let sendsPages = shim_kernel_is_since(6, 5)

  var listeners: [NBDListener] = []
  var acquisition = ListenerAcquisition()
  var extents = ExtentDesk()
  /// The life of the peer that has this controller's listening sockets.
  var handedTo: UInt64 = 0
  var stoodIn = false
  var hasServed = false
  var mustTend = true
  var turns: UInt64 = 0
  var tendedAt: UInt64 = 0
  /// When the farewell began; 0: it has not.
  var leavingSince: UInt64 = 0
  /// Whether it has checked, since it began to stand in for its peer, where the peer used to listen.
  var hasLookedForPeers = false
  /// Why it cannot listen.
  public internal(set) var failure: BatonError?

  /// Request lines: what all clients together can have outstanding.
  private static var lines: Int { Int(BATON_LINES_MAX) }
  static var tendNanoseconds: UInt64 { 100_000_000 }
  /// Turns between two looks at the clock while there is always something to do.
  private static var turnsPerLook: UInt64 { 64 }

  /// A server for the controller of that identity, in its process and thread. It listens as soon as `turn` is called,
  /// and serves as soon as the controller does. SIGPIPE, where it would end the process, is ignored from now on.
  public init(
    _ identity: ControllerIdentity, of subsystem: Subsystem, options: NBDServerOptions
  ) throws(BatonError) {
    guard options.addresses.count <= Int(BATON_LISTENERS_MAX) else {
      throw BatonError(
        .invalid, "controller \(identity)", "was to listen at \(options.addresses.count) NBD addresses",
        fix: "name at most \(BATON_LISTENERS_MAX)")
    }
    guard (1...Self.connectionsPossible).contains(options.connectionsMax) else {
      throw BatonError(
        .invalid, "controller \(identity)", "was to have room for \(options.connectionsMax) NBD clients",
        fix: "ask for 1 to \(Self.connectionsPossible)")
    }
    // sendfile(2) to a client that is gone is a signal, and cannot be told not to be.
    shim_ignore_broken_pipes()
    let status = try subsystem.status()
    let exports = try NBDExports(
      status.units.map {
        NBDExport(
          size: $0.size, blockSize: UInt32(truncatingIfNeeded: $0.blockSize), name: $0.name,
          description: "unit \($0.unit) of '\(status.name)'")
      })
    var hostOptions = HostOptions()
    hostOptions.controller = identity
    hostOptions.linesPerChannel = Self.lines
    // The controller is this very process, and clients come and go.
    hostOptions.isSparse = true
    hostOptions.arenaSize = UInt64(options.connectionsMax * options.limits.memorySize)
    // The client submits elsewhere what a leaving controller hands back.
    hostOptions.patienceNanoseconds = 0
    let host = try Host(of: subsystem, options: hostOptions)
    self.identity = identity
    self.subsystem = subsystem
    self.options = options
    self.exports = exports
    arena = host.arena.baseAddress!
    self.host = .allocate(capacity: 1)
    self.host.initialize(to: host)
    let count = options.connectionsMax
    lingering = LingeringSockets(socketsMax: count, nanosecondsMax: options.farewellNanosecondsMax)
    places = .allocate(capacity: count)
    places.initialize(repeating: Place(), count: count)
    connections = .allocate(capacity: count)
    messages = .allocate(capacity: 2 * count)
    messages.initialize(repeating: msghdr(), count: 2 * count)
    dirty = .allocate(capacity: count)
    dirtyNow = .allocate(capacity: count)
  }

  /// Operations carry the number of their place in 16 bits.
  private static var connectionsPossible: Int { 4096 }

  deinit {
    for place in 0..<options.connectionsMax where places[place].socket >= 0 {
      // The ring may hold on to the socket a little longer: the client is to notice now.
      shutdown(places[place].socket, CInt(SHUT_RDWR))
      close(places[place].socket)
    }
    for listener in listeners { listener.close() }
    acquisition.close()
    dirty.deallocate()
    dirtyNow.deallocate()
    // Memory that the kernel may still write to stays, for ever if need be.
    if underWay == 0 {
      for place in 0..<options.connectionsMax where places[place].isMade {
        (connections + place).deinitialize(count: 1)
      }
      connections.deallocate()
      messages.deallocate()
      host.deinitialize(count: 1)
      host.deallocate()
    }
    places.deallocate()
  }

  /// Clients connected now.
  public var connectionCount: Int { occupied }

  /// Whether it listens at all of its addresses.
  public var isListening: Bool { acquisition.isDone }

  // MARK: The loop

  /// Runs the controller's loop with this server in it, until the controller has stopped. `whenServing` is called once:
  /// when the controller serves and this server listens at all of its addresses.
  ///
  /// - Throws: the reason that stopped it, if any: it was fenced, or another process holds an address.
  public mutating func run(
    _ controller: inout Controller, handlingSignals: Bool = true, whenServing: () -> Void = {}
  ) throws(BatonError) {
    var hasSaid = false
    try controller.run(handlingSignals: handlingSignals) { controller in
      let hasWorked = turn(&controller)
      if !hasSaid, isListening, controller.isServing {
        hasSaid = true
        whenServing()
      }
      return hasWorked
    }
    finish(controller)
    if let failure { throw failure }
  }

  /// One turn, after each turn of the controller. Never blocks.
  ///
  /// - Returns: whether there was anything to do.
  public mutating func turn(_ controller: inout Controller) -> Bool {
    turns &+= 1
    var hasWorked = false
    while let event = controller.nextFrontEndEvent() {
      hasWorked = true
      take(event, &controller)
    }
    if takeAnswers() { hasWorked = true }
    if dirtyCount > 0, serveDirty(&controller) { hasWorked = true }
    if !hasWorked || turns % Self.turnsPerLook == 0 || mustTend { lookAround(&controller) }
    return hasWorked || mustTend
  }

  /// Work that neither a sleeping nor a busy loop may miss for long.
  @inline(never)
  private mutating func lookAround(_ controller: inout Controller) {
    if controller.standsIn != stoodIn || controller.isServing != hasServed { mustTend = true }
    let now = monotonicNanoseconds()
    if mustTend || now &- tendedAt >= Self.tendNanoseconds || controller.peersLife != handedTo {
      tend(&controller, now)
    }
  }

  private mutating func take(_ event: RingEvent, _ controller: inout Controller) {
    let index = Int(event.token.index)
    switch event.token.owner {
    case .clientReceive:
      underWay -= 1
      markDirty(index)
      if event.result == -EAGAIN || event.result == -EINTR {
        places[index].owesReceive = true
      } else {
        connections[index].endReceive(Int(event.result))
      }
    case .clientSend:
      underWay -= 1
      markDirty(index)
      if event.result == -EAGAIN || event.result == -EINTR {
        places[index].owesSend = true
      } else {
        connections[index].endSend(Int(event.result))
      }
    case .clientAccept: accepted(index, event.result, &controller)
    case .handedListeners:
      acquisition.isWaiting = false
      mustTend = true
    case .extents: takeExtents(&controller)
    case .storage, .listener, .connection, .signals, .stopper, .peerProcess, .peerLife, .doorbell, .nobody: break
    }
  }

  func addressFile(of identity: ControllerIdentity) -> AddressFile {
    AddressFile(path: subsystem.location.addresses(of: identity))
  }

  /// The server and its controller have ended, in good order or not: sockets in the file system go, unless the other
  /// controller accepts on them.
  public mutating func finish(_ controller: borrowing Controller) {
    if controller.isPeerMember || controller.isFenced { return }
    for listener in listeners where !listener.isPeers { listener.removePath() }
    for listener in controller.peersListeners { NBDListener.removePath(of: listener) }
    for identity in ControllerIdentity.allCases { addressFile(of: identity).remove() }
  }
}
