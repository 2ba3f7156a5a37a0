import BatonChannel
import BatonOwnership
import BatonRing
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc

/// One of the two controllers: one thread, one event loop.
///
/// `poll()` turns the loop once and never blocks; `run()` turns it until the controller is stopped, waiting as its
/// strategy says. An embedder calls `poll()` from a loop of its own. Nothing in here is shared inside the process,
/// so nothing needs a lock; what is shared with others lies in the region (with the peer) and in host memory (with
/// one host each).
///
/// In one turn: completions first, because they let functions be relinquished; then requests that were held; then
/// requests from channels; then the link and the functions on the attention list; then one submission of everything,
/// and the peer's doorbell. `lookAround` follows when something is due: the steps of a takeover, pieces, connections, a
/// stop. At the end the controller wakes hosts that sleep and have been answered.
public struct Controller: ~Copyable {
  private let place = HeldInPlace()
  /// Which of the two it is.
  public let identity: ControllerIdentity
  /// Which life of this controller.
  public let incarnation: UInt64

  let region: Region
  let membership: Membership<SharedWord>
  /// This controller's half of the membership word, and its value while this life is a member.
  let memberHalf: SharedFutexWord
  var memberHalfDue: UInt32
  /// The low bits of an ownership word that says that this controller is the owner.
  let ownedByMe: UInt64
  /// Where `Counter.bytesRead` would lie if operations were counted from 0, for `beginRun`.
  let bytesMoved: UnsafeMutableRawPointer
  let record: ControllerRecord
  let counters: Counters
  let arbiter: Arbiter<SharedWord>
  let options: ControllerOptions
  let usesMembarrier: Bool

  var storage: Storage
  /// The ring for everything that this controller, and a front end in its loop, gives to the kernel.
  package let ring: Ring
  var link: Link
  var requests: AcceptedRequests
  let functions: Table<FunctionState>
  let units: Table<UnitPath>
  /// The units' geometries as they were found.
  let geometries: Table<UnitGeometry>
  let unitCount: UInt32

  /// Functions to attend to in each turn: this controller or the peer requests them, or they have work waiting.
  var attention: AttentionList
  /// Whether some function waits for nothing but its residency: the loop must not sleep while it does.
  var awaitsResidency = false

  var hosts: HostTable
  /// Two channels per host place.
  let channels: Table<ChannelState>
  /// The channels that the controller takes requests from.
  var polling: PollingOrder
  var answered: AnsweredChannels

  /// What the controller has announced of its sleep, and what wakes it.
  var sleep: SleepState

  /// What this turn, or the next one, has to do.
  var due: Due = .look
  var control: ControlConnections
  var clock = LoopClock()
  /// How many lines hosts may cause.
  var lineLimits = LineLimits()
  /// The bytes that a turn moves, and each channel's share of them.
  var budget: TurnBudget
  var sweepCursor = 0
  var waitingForPeerSince: UInt64 = 0
  var tendedAt: UInt64 = 0
  /// Where a stop stands.
  var stop = StopPhase.running
  /// Whether it left with work unfinished. Its seat is free at once; the locks on its units end with that work.
  var hasGivenUp = false
  /// When it was told to stop, in monotonic nanoseconds.
  var leavingSince: UInt64 = 0

  enum StopPhase { case running, leaving, stopped }

  /// Whether this controller has joined. The membership word says whether it still is a member.
  var hasJoined = false
  /// Whether the peer has fenced this controller, which then touches nothing any more.
  public internal(set) var isFenced = false
  /// What is known of the other controller's present life.
  var peer = PeerWatch()
  /// Whether the other controller is gone for certain and this one serves in its place.
  var peerIsGone = false
  /// Whether it may take the peer's functions over: what the peer had in flight is known, and held off.
  var mayTakeOver: Bool {
    @inline(__always) get { peerIsGone && takeover.hasReadJournal }
  }
  var takeover = Takeover()
  /// Room for the sequence numbers and lines of one channel, see `takePosition`.
  let unanswered: Table<UInt64>
  /// For each line of that channel the number of the newest request in it that is being recovered, or `noMark`.
  let marks: Table<UInt64>
  /// Protocol points, planted defects, measuring switches.
  let interventions: Interventions
  var rest = Rest()
  /// Completed operations of a front end on the ring, see Controller+FrontEnd.
  var frontEnd = FrontEndEvents()

  /// Requests taken from one channel in a turn, at most, so that no host keeps the others waiting.
  static var channelBatchMax: Int { 64 }
  /// Functions attended to in a turn, at most.
  static var attentionBatchMax: Int { 64 }
  /// Hints read in a turn, at most.
  static var hintBatchMax: Int { 64 }
  /// Completions taken in a turn, at most.
  static var completionBatchMax: Int { 256 }
  /// Requests taken and not answered, over all hosts.
  static var requestsMax: Int { Journal.capacity }
  /// The requests kept free for a dead controller's journal. It has at most as many requests in flight, under recovery
  /// or given up as its storage can have operations (`hasRoom`), and one that was about to be answered at once. Two
  /// such journals fit into one: that of an earlier life of this controller, and the peer's.
  static var requestsReserved: Int { Storage.operationsMax + 1 }

  /// Opens a subsystem as controller `identity`: takes the seat, opens every unit, listens for hosts.
  ///
  /// When the peer does not run, the controller joins at once. Otherwise the peer serves in its place, and the
  /// controller joins in one of the next turns of the loop, as soon as the peer has let go. Until then it serves
  /// nobody.
  ///
  /// - Throws: `.busy` when that controller runs already; otherwise an error that names the fault of the region or a
  ///   unit.
  public init(
    _ identity: ControllerIdentity, of subsystem: Subsystem, options: ControllerOptions = ControllerOptions()
  ) throws(BatonError) {
    let region = try Region(opening: subsystem.location)
    guard try region.takeSeat(of: identity) else {
      throw BatonError(
        .busy, "controller \(identity)", "runs already in subsystem '\(subsystem.location.name)'",
        fix: "stop it first (SIGTERM), or start controller \(identity.peer)")
    }
    let record = region.controller(identity)
    let incarnation =
      max(record.phase.incarnation, region.membership.current.incarnation(identity)) + 1
    guard incarnation <= MembershipWord.incarnationMax else {
      throw BatonError(
        .exhausted, "controller \(identity)", "has been started \(incarnation) times",
        fix: "recreate the subsystem with 'baton destroy' and 'baton create'")
    }
    guard options.hostsMax >= 1, options.hostsMax <= Journal.hostPlaces / 2 else {
      throw BatonError(
        .invalid, "controller \(identity)", "cannot have room for \(options.hostsMax) hosts",
        fix: "ask for 1 to \(Journal.hostPlaces / 2)")
    }
    record.takeover.storeRelaxed(TakeoverStage.none.rawValue)
    record.life.clear()
    record.turnedAt.storeRelaxed(monotonicNanoseconds())
    // Sync point "pid": a process that finds this one in the record knows that it is not the earlier life's, and since
    // when it lives.
    record.setPhase(.starting, incarnation: incarnation)
    record.startTime.storeRelaxed(ProcessIdentity.startTicks)
    record.pid.storeReleasing(UInt64(getpid()))
    var units: [(geometry: UnitGeometry, path: String, faults: FaultPlan)] = []
    for unit in 0..<region.unitCount { units.append(region.unit(unit)) }
    let storage = try Self.starting(record, incarnation) { () throws(BatonError) in
      try Storage(
        units: units,
        life: StorageLife(
          controllerIndex: identity.index, incarnation: incarnation, subsystem: region.header.generation))
    }
    // After the units: the kernel releases a process's files in reverse order of opening, and so a dead controller's
    // ring before its files.
    let ring = try Self.starting(record, incarnation) { () throws(BatonError) in try Ring() }
    var control = try Self.starting(record, incarnation) { () throws(BatonError) in
      try ControlConnections(listeningAt: subsystem.location.socket(of: identity))
    }
    self.identity = identity
    self.incarnation = incarnation
    self.options = options
    self.record = record
    counters = record.counters
    for counter in Counter.allCases { counters[counter].storeRelaxed(0) }
    arbiter = Arbiter(for: identity)
    usesMembarrier = AsymmetricFence.isSupported
    link = region.link(of: identity)
    requests = AcceptedRequests(region.journal(of: identity))
    functions = Table(repeating: FunctionState(), count: region.functionCount)
    let functions = self.functions.address(0)
    self.units = Table(count: units.count) { unit in
      UnitPath(unit, of: region, units[unit].geometry, isImmediate: storage.doesNothing(unit: unit), functions)
    }
    geometries = Table(count: units.count) { units[$0].geometry }
    unitCount = UInt32(units.count)
    attention = AttentionList(functions: region.functionCount)
    let places = Journal.hostPlaces
    hosts = HostTable()
    channels = Table(repeating: ChannelState(), count: 2 * places)
    polling = PollingOrder(channels: 2 * places)
    answered = AnsweredChannels(channels: 2 * places)
    budget = TurnBudget(channels: 2 * places)
    unanswered = Table(repeating: 0, count: Int(BATON_LINES_MAX))
    marks = Table(repeating: Self.noMark, count: Int(BATON_LINES_MAX))
    interventions = Interventions(options)
    membership = region.membership
    memberHalf = region.membership.half(identity)
    memberHalfDue = MembershipWord.memberHalf(incarnation)
    ownedByMe = 1 | UInt64(identity.rawValue) << 1
    bytesMoved = counters[.bytesRead].address - Int(Operation.read.rawValue) * 8
    sleep = SleepState(listens: options.listensToWords)
    self.region = region
    self.storage = storage
    self.ring = ring
    control.peerSocketPath = subsystem.location.socket(of: identity.peer)
    self.control = control
    record.parked.say(.awake)
    watchControl()
    let granted = self.ring.grantedFlags
    options.logger.info(
      """
      controller \(identity) starts in '\(subsystem.location.name)', units: \(units.count), \
      incarnation \(incarnation); io_uring: \(granted)
      """
    )
    _ = join(at: monotonicNanoseconds())
  }

  /// Makes a part of a controller that starts. On failure the record says that no controller runs.
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
    if hasGivenUp || !storage.drain(ring) { hosts.abandon() }
  }

  @inline(__always)
  func count(_ counter: Counter, _ amount: UInt64 = 1) {
    counters[counter].addAsOnlyWriter(amount)
  }

  // What a neighbour can make slow in this loop, and why each is bounded. A neighbour is a host, a client, the peer,
  // the file system, or the reader of the log. Nothing else in the loop makes a system call that depends on one of
  // them.
  //
  // Done elsewhere:
  // - close(2) of what somebody handed over, and of control sockets with messages in them: `Disposal`, a thread. The
  //   loop receives every descriptor of a message, or none (`shim_socket_receive`): the kernel would close what finds
  //   no room, in this thread. NBD's unix sockets take no descriptors (SO_PASSRIGHTS; kernels before 6.16 cannot refuse
  //   them).
  // - munmap(2) of a host's arena, which frees it when the host is gone: `Disposal` as well.
  // - lseek(2) for holes, which waits for the inode's lock: `ExtentDesk`, a thread of the NBD server.
  // - Writing the log: `QueuedLog`, a thread; a logger of an embedder's own is called here. Lines that hosts can cause
  //   are limited in rate (`LineLimits`).
  // - Reads, writes, syncs, discards and zeroes of files and devices: the ring. The kernel tries a transfer without
  //   waiting, and gives it to a thread of its own where it would have to.
  //
  // Done here, and bounded:
  // - Copies of memory units and of files on tmpfs, and what a large submission costs: bytes a turn ("Shares of a
  //   turn"), at most 256 KiB in one go. pwrite(2) on tmpfs takes the inode's lock, and is left to the ring while a
  //   discard or zeroing may hold it (`Storage.copy`); pread(2) takes none.
  // - Page faults in a host's memory: a host attaches with its pages, on tmpfs, so that a fault needs no disk; with
  //   swap it waits for that. A host that punches holes makes a fault wait until the hole is made (shmem_falloc_wait,
  //   mm/shmem.c): as long as freeing its arena takes.
  // - Requests, hints, completions, functions, connections and control messages: so many a turn, by the constants
  //   below.
  // - sendmsg, recvmsg, accept and connect on control sockets: none waits (MSG_DONTWAIT, SOCK_NONBLOCK).
  // - fcntl(2) for the locks of units, and fstat(2) and fcntl(2) of a host's memory: that it is a memfd is asked first,
  //   and neither asks anybody but the kernel. With a unit's file on a network file system a lock asks its server.
  // - /proc of a process that attaches: of the kernel alone.
  // - futex and membarrier(2): the first wakes and never waits, the second waits for the other processors to take an
  //   interrupt.
  // - What an NBD client reads of a null unit is made zero: at most its part of the arena.
  // - sendfile(2) and pread(2) of a memory unit's pages for an NBD client: at most 1 MiB a client and turn, sockets do
  //   not block.

  /// Turns the loop once. Never blocks.
  ///
  /// - Returns: whether there was anything to do.
  @discardableResult
  public mutating func poll() -> Bool {
    if !hasJoined { return pollUntilJoined() }
    record.beat.storeRelaxed(clock.begin())
    if !isStillMember { return stopFenced() }
    var work = 0
    if ring.hasCompletion { work &+= takeCompletions() }
    // Requests held for a write that has just ended go before new ones.
    if due.contains(.look), takeover.hasReleases { work &+= releaseHeld() }
    work &+= pollChannels()
    if link.hasHint { work &+= readLink() }
    if attention.count > 0 { work &+= attend() }
    if mustSubmit, !rest.defersSubmission { submit() }
    if due.contains(.peer) { ringPeer() }
    if due.contains(.look) || clock.isLookDue { work &+= lookAround() }
    if answered.count > 0 { wakeHosts() }
    return work > 0
  }

  /// The rest of a turn: after anything out of the ordinary, and now and then.
  @inline(never)
  private mutating func lookAround() -> Int {
    if due.contains(.offence) { lookForOffences() }
    if clock.isLookDue { lookAtPeer(at: readClock()) }
    if clock.isHousekeepingDue {
      keepHouse()
      rouse()
    }
    var work = takeover.isUnderWay ? continueTakeover() : 0
    if storage.hasPieces { work &+= movePieces() }
    work &+= budget.endTurn()
    if due.contains(.connections) { acceptConnections() }
    if due.contains(.expulsion) { disconnectExpelled() }
    if stop != .running { continueStop() }
    // Operations prepared in here must not wait for the next turn: the loop may go to sleep.
    if mustSubmit, !rest.defersSubmission { submit() }
    if due.contains(.peer) { ringPeer() }
    due.set(
      .look,
      takeover.isUnderWay || takeover.hasReleases || due.contains(.connections) || stop != .running
        || storage.hasPieces)
    return work
  }

  /// Reads the time. The clock keeps it for uses that need no better one, and the record publishes it: a peer and
  /// `baton status` see that this loop turns.
  mutating func readClock() -> UInt64 {
    let now = clock.read()
    record.turnedAt.storeRelaxed(now)
    return now
  }

  /// Whether the membership word still says that this life of this controller is a member. One load of a line that
  /// hardly ever changes. Sync point "membership".
  @inline(__always)
  var isStillMember: Bool { memberHalf.loadRelaxed() == memberHalfDue || interventions.ignoresFence }

  /// Advances the beat after something within a turn that may have taken its time (`LoopClock`). One store to a line
  /// that the peer reads now and then.
  @inline(__always)
  mutating func beatWithinTurn() { record.beat.storeRelaxed(clock.jump()) }

  /// Passes a protocol point, see `Interventions`.
  @inline(__always)
  func reach(_ point: ProtocolPoint) { interventions.reach(point) }

  /// Whether there is anything to give to the kernel.
  var mustSubmit: Bool {
    @inline(__always) get { ring.prepared > 0 || storage.hasStalled }
  }

  /// Gives prepared operations to the kernel. A kernel that takes none at present is asked again next turn.
  ///
  /// The check of the membership word is as close before the system call as it can be. A fenced controller that wakes
  /// between the two may still submit; that is in its journal, and the survivor waits for its exit and for the kernel.
  mutating func submit() {
    reach(.submissionBefore)
    if hasJoined, !isStillMember { return }
    defer { reach(.submissionAfter) }
    let result = ring.submit()
    storage.resume(on: ring)
    if result < 0, result != -EAGAIN, result != -EBUSY, result != -EINTR {
      options.logger.critical(
        "controller \(identity): io_uring refuses submissions: \(String(cString: strerror(-result)))")
      preconditionFailure("io_uring refuses submissions")
    }
  }
}
