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
///   client has its number (`ClientTable`);
/// - at most one receive and one send of a place are on the ring; what they point at stays until their events;
/// - each operation that a connection hands out is finished once: at once, or when its request is answered;
/// - when its process dies, nobody else executes its requests: the peer never sees its memory.
public struct NBDServer: ~Copyable {
  private let place = HeldInPlace()

  let identity: ControllerIdentity
  let subsystem: Subsystem
  let options: NBDServerOptions
  /// In memory of its own, which stays when the kernel may still write to the arena.
  let host: UnsafeMutablePointer<Host>
  let arena: UnsafeMutableRawPointer
  var exports: NBDExports

  var clients: ClientTable
  /// The sockets of clients that have left their places.
  var lingering: LingeringSockets
  /// Requests of clients in this turn, which the controller has not counted.
  var requestsCounted: UInt64 = 0
  /// Whether the kernel sends pages without waiting for the reader of the socket. Before 6.5 it takes the reader's lock
  /// (unix_stream_sendpage, net/unix/af_unix.c).
  let sendsPages = shim_kernel_is_since(6, 5)

  var listeners = ListenerTable()
  var acquisition = ListenerAcquisition()
  var extents = ExtentDesk()
  var tending = Tending()
  /// When the farewell began; 0: it has not.
  var leavingSince: UInt64 = 0
  /// Why it cannot listen.
  public internal(set) var failure: BatonError?

  /// Request lines: what all clients together can have outstanding.
  private static var lines: Int { Int(BATON_LINES_MAX) }

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
    clients = ClientTable(count: count, arena: arena, limits: options.limits)
  }

  /// Operations carry the number of their place in 16 bits.
  private static var connectionsPossible: Int { 4096 }

  deinit {
    // Memory that the kernel may still write to stays, for ever if need be.
    if clients.transfers > 0 { return }
    host.deinitialize(count: 1)
    host.deallocate()
  }

  /// Clients connected now.
  public var connectionCount: Int { clients.occupied }

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
    tending.beginTurn()
    var hasWorked = false
    while let event = controller.nextFrontEndEvent() {
      hasWorked = true
      take(event, &controller)
    }
    if takeAnswers() { hasWorked = true }
    if clients.dirtyCount > 0, serveDirty(&controller) { hasWorked = true }
    if tending.isLookDue(hasWorked: hasWorked) { lookAround(&controller) }
    return hasWorked || tending.isDue
  }

  /// Work that neither a sleeping nor a busy loop may miss for long.
  @inline(never)
  private mutating func lookAround(_ controller: inout Controller) {
    let now = monotonicNanoseconds()
    let isDue = tending.isDue(at: now, standsIn: controller.standsIn, serves: controller.isServing)
    if isDue || controller.peersLife != listeners.handedTo { tend(&controller, now) }
  }

  private mutating func take(_ event: RingEvent, _ controller: inout Controller) {
    let index = Int(event.token.index)
    switch event.token.owner {
    case .clientReceive:
      clients.endTransfer()
      clients.markDirty(index)
      if event.result == -EAGAIN || event.result == -EINTR {
        clients.state(index).pointee.owesReceive = true
      } else {
        clients[index].pointee.endReceive(Int(event.result))
      }
    case .clientSend:
      clients.endTransfer()
      clients.markDirty(index)
      if event.result == -EAGAIN || event.result == -EINTR {
        clients.state(index).pointee.owesSend = true
      } else {
        clients[index].pointee.endSend(Int(event.result))
      }
    case .clientAccept: accepted(index, event.result, &controller)
    case .handedListeners:
      acquisition.setWaiting(false)
      tending.setDue()
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
    for index in listeners.indices where !listeners[index].isPeers { listeners[index].removePath() }
    for listener in controller.peersListeners { NBDListener.removePath(of: listener) }
    for identity in ControllerIdentity.allCases { addressFile(of: identity).remove() }
  }
}
