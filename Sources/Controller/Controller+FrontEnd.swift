import BatonOwnership
import BatonRing
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import BatonSystem
import Glibc

/// Completed operations of a front end: taken from the ring in the controller's turn, and handled in the front end's.
///
/// While there is no room for another one nothing is taken from the ring, which holds on to them.
struct FrontEndEvents: ~Copyable {
  private let events: UnsafeMutablePointer<RingEvent>
  private var head = 0
  private var tail = 0
  /// Connections that the front end has: a controller that leaves waits for them to be ended.
  var connections = 0

  /// A power of two, and more than a turn of the controller takes.
  private static var capacity: Int { 1024 }

  init() { events = .allocate(capacity: Self.capacity) }

  deinit { events.deallocate() }

  var isEmpty: Bool {
    @inline(__always) get { head == tail }
  }

  var hasRoom: Bool {
    @inline(__always) get { tail &- head < Self.capacity }
  }

  mutating func append(_ event: RingEvent) {
    (events + tail & (Self.capacity - 1)).initialize(to: event)
    tail &+= 1
  }

  mutating func next() -> RingEvent? {
    if head == tail { return nil }
    defer { head &+= 1 }
    return events[head & (Self.capacity - 1)]
  }
}

// What a front end in the controller's own process and thread needs of it. Its requests it submits as a host does.
extension Controller {
  /// The next operation of the front end that has ended.
  package mutating func nextFrontEndEvent() -> RingEvent? { frontEnd.next() }

  // MARK: How it stands

  /// Whether requests are taken: it has joined, and neither leaves nor has been fenced.
  public var isServing: Bool { hasJoined && stop == .running && !isFenced }

  /// Whether it has been told to leave, or has left.
  public var isLeaving: Bool { stop != .running }

  /// Whether it serves in the other one's place, which is gone for certain, and takes whatever is asked.
  public var standsIn: Bool { isServing && peerIsGone && takeover.hasReadJournal && !takeover.isReleasing }

  /// Which life of the other one takes part at present; 0: none.
  package var peersLife: UInt64 {
    let seen = membership.current
    return hasJoined && seen.standing(identity.peer) == .member ? seen.incarnation(identity.peer) : 0
  }

  /// Whether a unit may be changed at present.
  package func isReadOnly(unit: Int) -> Bool {
    // Relaxed: for people. What is asked of the unit is checked when it is served.
    UnitStateWord(rawValue: region.unitStates.word(unit).loadRelaxed()).state == .readOnly
  }

  /// What it takes to find out which parts of a unit are holes, see `Storage.extentQuery`: not in the loop.
  package func extentQuery(unit: Int, offset: UInt64, length: UInt64) -> ExtentQuery? {
    storage.extentQuery(unit: unit, offset: offset, length: length)
  }

  /// The file that a unit's blocks are sent from without a copy, see `Storage.fileInMemory`: once `.readInPlace` has
  /// been answered.
  package func fileInMemory(unit: Int) -> CInt { storage.fileInMemory(unit: unit) }

  /// Whether a unit's blocks lie nowhere, see `Storage.readsNothing`.
  package func readsNothing(unit: Int) -> Bool { storage.readsNothing(unit: unit) }

  // MARK: What it says of itself

  /// Says how many clients the front end has: for the counters, and because a controller that leaves waits until there
  /// are none.
  package mutating func setFrontEndConnections(_ connections: Int) {
    frontEnd.connections = connections
    counters[.nbdConnections].storeRelaxed(UInt64(connections))
  }

  /// Counts for the front end.
  package func countFrontEnd(_ counter: Counter, _ amount: UInt64) { count(counter, amount) }

  // MARK: Listening sockets

  /// The sockets that the other controller listens on, handed over by it, or by who stood in for it: to accept on them
  /// while it is gone, and to hand them to its next life. They belong to this controller.
  package var peersListeners: [CInt] { control.peersListeners }

  /// Whether a process has the other controller's seat, whether or not it takes part yet. One system call.
  package var isPeerRunning: Bool { region.isSeatTaken(of: identity.peer) }

  /// Keeps a socket that this controller has bound where the other one used to listen, as if it had been handed over.
  package mutating func keepPeersListener(_ socket: consuming OwnedDescriptor) {
    // Not the first of a row, which would take the place of those that are there.
    control.keepListener(socket.release(), number: UInt32(control.peersListeners.count))
  }
}
