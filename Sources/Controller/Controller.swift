import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import CBatonShims
import Glibc
import Logging

/// One of the two controllers: one thread, one event loop.
///
/// `poll()` turns the loop once and never blocks; `run()` turns it until the controller is stopped, waiting as its
/// strategy says. An embedder calls `poll()` from a loop of its own. Nothing in here is shared inside the process,
/// so nothing needs a lock; what is shared with others lies in the region (with the peer) and in host memory (with
/// one host each).
///
/// In one turn: completions first, because they let functions be relinquished; then requests from channels; then
/// the link and the functions that want attention; then one submission of everything; then those who sleep and
/// have something to see are woken.
public struct Controller: ~Copyable {
  /// Which of the two.
  public let identity: ControllerIdentity
  /// Which life of this controller.
  public let incarnation: UInt64

  let region: Region
  let record: ControllerRecord
  let counters: SharedWords
  let arbiter: Arbiter<SharedWord>
  let options: ControllerOptions
  let usesMembarrier: Bool

  var storage: Storage
  var link: Link
  var requests: AcceptedRequests
  let functions: UnsafeMutablePointer<FunctionState>
  let geometries: UnsafeMutablePointer<UnitGeometry>

  /// Functions that want to be looked at each turn: requested by this controller or of it, or with work waiting.
  let attention: UnsafeMutablePointer<Int32>
  var attentionCount = 0
  var attentionCursor = 0
  /// Whether some function waits for nothing but its residency: the loop must not sleep over it.
  var awaitsResidency = false

  /// Places for hosts. The first `channelCount` entries of `channelOrder` are those attached; of these the first
  /// `hotCount` are looked at in every turn, the others in rotation.
  let channels: UnsafeMutablePointer<ChannelState>
  /// Their memory: initialized where the channel is not vacant.
  let hostMemories: UnsafeMutablePointer<HostMemory>
  let channelOrder: UnsafeMutablePointer<Int32>
  var channelCount = 0
  var hotCount = 0
  var coldCursor = 0
  /// Channels with an answer in this turn.
  let touched: UnsafeMutablePointer<Int32>
  var touchedCount = 0

  /// Whether a host broke the protocol in this turn.
  var hasExpelled = false
  /// Whether a word changed in this turn in a way that the peer should see.
  var concernsPeer = false
  var control: ControlConnections
  var turns: UInt64 = 0
  var sweepCursor = 0
  var waitingForPeerSince: UInt64 = 0
  var tendedAt: UInt64 = 0
  /// Where a stop stands.
  var stop = StopPhase.running

  enum StopPhase { case running, leaving, stopped }

  /// Requests taken from one channel in a turn at the most, so that no host keeps the others waiting.
  static var channelBatchMax: Int { 64 }
  /// Functions attended to in a turn at the most.
  static var attentionBatchMax: Int { 64 }
  /// Hints read in a turn at the most.
  static var hintBatchMax: Int { 64 }
  /// Completions taken in a turn at the most.
  static var completionBatchMax: Int { 256 }
  /// Requests taken and not answered, over all hosts.
  static var requestsMax: Int { 16_384 }
  /// Turns between two looks at what no hint tells of.
  static var housekeepingTurns: UInt64 { 1024 }

  /// Opens a subsystem as controller `identity`: takes the seat, opens every unit, listens for hosts.
  ///
  /// - Throws: `.busy` when that controller runs already; what is wrong with the region or a unit otherwise.
  public init(
    _ identity: ControllerIdentity, of subsystem: Subsystem, options: ControllerOptions = ControllerOptions()
  ) throws(BatonError) {
    let region = try Region(opening: subsystem.location)
    guard try region.takeSeat(of: identity) else {
      throw BatonError(
        .busy, "controller \(identity)", "runs already in subsystem '\(subsystem.location.name)'",
        mend: "stop it first (SIGTERM), or start the other one")
    }
    let record = region.controller(identity)
    let incarnation = record.phase.incarnation + 1
    var units: [(geometry: UnitGeometry, path: String, faults: FaultPlan)] = []
    for unit in 0..<region.unitCount { units.append(region.unit(unit)) }
    let storage = try Self.starting(record, incarnation) { () throws(BatonError) in
      try Storage(units: units, controllerIndex: identity.index)
    }
    var control = try Self.starting(record, incarnation) { () throws(BatonError) in
      try ControlConnections(listeningAt: subsystem.location.socket(of: identity))
    }
    self.identity = identity
    self.incarnation = incarnation
    self.options = options
    self.record = record
    counters = record.counters
    for counter in Counter.allCases { counters.word(counter.rawValue).storeRelaxed(0) }
    arbiter = Arbiter(for: identity)
    usesMembarrier = AsymmetricFence.isSupported
    link = region.link(of: identity)
    requests = AcceptedRequests(capacity: Self.requestsMax)
    functions = .allocate(capacity: region.functionCount)
    functions.initialize(repeating: FunctionState(), count: region.functionCount)
    geometries = .allocate(capacity: units.count)
    geometries.initialize(from: units.map(\.geometry), count: units.count)
    attention = .allocate(capacity: region.functionCount)
    channels = .allocate(capacity: options.hostsMax)
    channels.initialize(repeating: ChannelState(), count: options.hostsMax)
    hostMemories = .allocate(capacity: options.hostsMax)
    channelOrder = .allocate(capacity: options.hostsMax)
    touched = .allocate(capacity: options.hostsMax)
    self.region = region
    self.storage = storage
    control.peerSocketPath = subsystem.location.socket(of: identity.peer)
    self.control = control
    record.pid.storeRelaxed(UInt64(getpid()))
    record.startTime.storeRelaxed(ProcessIdentity.startTicks)
    record.parked.storeRelaxed(0)
    record.setPhase(.serving, incarnation: incarnation)
    watchControl()
    // What an earlier life asked for nobody waits for any more; what was asked of it still waits.
    for index in 0..<self.region.functionCount { _ = arbiter.withdraw(self.region.ownership.word(index)) }
    sweep(all: true)
    let granted = self.storage.ring.grantedFlags
    options.logger.info(
      """
      controller \(identity) serves \(units.count) units of '\(subsystem.location.name)', \
      incarnation \(incarnation); io_uring: \(granted)
      """
    )
  }

  /// Makes a part of a controller that starts. When that fails the record says that nobody is there.
  private static func starting<Part: ~Copyable>(
    _ record: ControllerRecord, _ incarnation: UInt64, _ make: () throws(BatonError) -> Part
  ) throws(BatonError) -> Part {
    do {
      return try make()
    } catch {
      record.setPhase(.absent, incarnation: incarnation)
      throw error
    }
  }

  deinit {
    // While the seat is still held: a successor that takes it makes a socket of its own there.
    unlink(control.path)
    // Memory that the kernel may still write to stays mapped, for ever if need be.
    guard storage.drain() else { return }
    for index in 0..<options.hostsMax where channels[index].phase != .vacant {
      (hostMemories + index).deinitialize(count: 1)
    }
    hostMemories.deallocate()
    channels.deallocate()
    channelOrder.deallocate()
    touched.deallocate()
    functions.deallocate()
    geometries.deallocate()
    attention.deallocate()
  }

  @inline(__always)
  func count(_ counter: Counter, _ amount: UInt64 = 1) {
    counters.word(counter.rawValue).addAsOnlyWriter(amount)
  }

  /// Turns the loop once. Never blocks.
  ///
  /// - Returns: whether there was anything to do.
  @discardableResult
  public mutating func poll() -> Bool {
    var work = takeCompletions()
    work += pollChannels()
    work += readLink()
    work += attend()
    turns &+= 1
    if turns % Self.housekeepingTurns == 0 { keepHouse() }
    if hasExpelled { disconnectExpelled() }
    if storage.mustSubmit { submit() }
    if touchedCount > 0 { wakeHosts() }
    if concernsPeer { ringPeer() }
    if stop != .running { continueStop() }
    return work > 0
  }

  /// Gives prepared operations to the kernel. A kernel that takes none at present is asked again next turn.
  mutating func submit() {
    let result = storage.submit()
    if result < 0, result != -EAGAIN, result != -EBUSY, result != -EINTR {
      options.logger.critical(
        "controller \(identity): io_uring refuses submissions: \(String(cString: strerror(-result)))")
      preconditionFailure("io_uring refuses submissions")
    }
  }
}
