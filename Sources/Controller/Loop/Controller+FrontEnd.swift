import BatonOwnership
import BatonRing
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import BatonSystem
import Glibc

/// Completed operations of a front end: taken from the ring in the controller's turn, and handled in the front end's.
///
/// While the queue is full the controller takes nothing from the ring, which keeps the events.
struct FrontEndEvents: ~Copyable {
  private let events: UnsafeMutablePointer<RingEvent>
  private var head = 0
  private var tail = 0
  /// Connections of the front end: a leaving controller waits until they have ended.
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

// What a front end in the controller's own process and thread needs. The front end submits its requests as a host does.
extension Controller {
  /// The next operation of the front end that has ended.
  package mutating func nextFrontEndEvent() -> RingEvent? { frontEnd.next() }

  // MARK: How it stands

  /// Whether the controller takes requests: it has joined, and neither leaves nor has been fenced.
  public var isServing: Bool { life.isServing }

  /// Whether it has been told to leave, or has left.
  public var isLeaving: Bool { life.isStopping }

  /// Whether the peer has fenced this controller, which then touches nothing any more.
  public var isFenced: Bool { life.isFenced }

  /// Whether it serves in place of the peer, which is gone for certain, and takes every request.
  public var standsIn: Bool { isServing && takeover.mayTakeOver && !takeover.isReleasing }

  /// The life of the peer that is a member at present; 0: none.
  package var peersLife: UInt64 {
    let seen = membership.current
    return life.hasJoined && seen.standing(identity.peer) == .member ? seen.incarnation(identity.peer) : 0
  }

  /// Whether the peer is a member at present, whatever this controller is.
  package var isPeerMember: Bool { membership.current.standing(identity.peer) == .member }

  /// Whether a unit may be changed at present.
  package func isReadOnly(unit: Int) -> Bool {
    // Relaxed: for people. The controller checks requests for the unit when it serves them.
    UnitStateWord(rawValue: region.unitStates.word(unit).loadRelaxed()).state == .readOnly
  }

  /// A query for the holes in a part of a unit, see `Storage.extentQuery`. It must not run in the loop.
  package func extentQuery(unit: Int, offset: UInt64, length: UInt64) -> ExtentQuery? {
    storage.extentQuery(unit: unit, offset: offset, length: length)
  }

  /// The file that a unit's blocks are sent from without a copy, see `Storage.fileInMemory`: once `.readInPlace` has
  /// been answered.
  package func fileInMemory(unit: Int) -> CInt { storage.fileInMemory(unit: unit) }

  /// Whether a unit's blocks lie nowhere, see `Storage.readsNothing`.
  package func readsNothing(unit: Int) -> Bool { storage.readsNothing(unit: unit) }

  // MARK: What it reports

  /// Sets how many clients the front end has: for the counters, and because a leaving controller waits until there are
  /// none.
  package mutating func setFrontEndConnections(_ connections: Int) {
    frontEnd.connections = connections
    counters[.nbdConnections].storeRelaxed(UInt64(connections))
  }

  /// Counts for the front end.
  package func countFrontEnd(_ counter: Counter, _ amount: UInt64) { count(counter, amount) }

  // MARK: Listening sockets

  /// The sockets that the peer listens on, handed over by it, or by the controller that stood in for it. The front end
  /// accepts on them while the peer is gone, and hands them to the peer's next life. They belong to this controller.
  package var peersListeners: [CInt] { control.peersListeners }

  /// Whether a process holds the peer's seat, whether or not it is a member yet. One system call.
  package var isPeerRunning: Bool { region.isSeatTaken(of: identity.peer) }

  /// Keeps a socket that this controller has bound at the peer's former address, as if it had been handed over.
  package mutating func keepPeersListener(_ socket: consuming OwnedDescriptor) {
    // The first of a series would replace the sockets that are already kept, so this one is numbered after them.
    control.keepListener(socket.release(), number: UInt32(control.peersListeners.count))
  }
}
