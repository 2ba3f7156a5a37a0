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
  let record: ControllerRecord
  let arbiter: Arbiter<SharedWord>
  let options: ControllerOptions
  /// Protocol points, planted defects, measuring switches, the trace.
  var interventions: Interventions

  /// The ring for everything that this controller, and a front end in its loop, gives to the kernel.
  package let ring: Ring
  var storage: Storage
  var link: Link
  /// The requests that were taken and not answered: the in-flight journal.
  var requests: AcceptedRequests
  var functions: FunctionTable
  let units: UnitTable
  var hosts: HostTable
  var channels: ChannelTable
  /// The sockets of hosts and of the peer.
  var control: ControlConnections

  /// Where this controller's own life stands.
  var life: Life
  /// The watch over the peer's present life.
  var peer: PeerWatch
  /// Serving in the peer's place.
  var takeover: Takeover
  /// What dead controllers had in flight.
  var recovery: Recovery

  var turn: Turn
  /// What the controller has announced of its sleep, and what wakes it.
  var sleep: SleepState
  /// How it spends the time between messages of a front end's clients.
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
    guard options.hostsMax >= 1, options.hostsMax <= Journal.hostPlaces / 2 else {
      throw BatonError(
        .invalid, "controller \(identity)", "cannot have room for \(options.hostsMax) hosts",
        fix: "ask for 1 to \(Journal.hostPlaces / 2)")
    }
    let region = try Region(opening: subsystem.location)
    let incarnation = try Self.beginLife(identity, in: region, of: subsystem)
    let record = region.controller(identity)
    record.setWaiting(options.waiting)
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
    for counter in Counter.allCases { record.counters[counter].storeRelaxed(0) }
    arbiter = Arbiter(for: identity)
    interventions = Interventions(options)
    link = region.link(of: identity)
    requests = AcceptedRequests(region.journal(of: identity))
    functions = FunctionTable(count: region.functionCount)
    self.units = UnitTable(
      units.map { $0.geometry }, in: region, isImmediate: { storage.doesNothing(unit: $0) }, functions.address(0))
    hosts = HostTable()
    channels = ChannelTable()
    life = Life(identity, incarnation, region.membership)
    peer = PeerWatch(identity.peer, region.controller(identity.peer))
    takeover = Takeover(record, reading: region.journal(of: identity.peer))
    recovery = Recovery(requests.entries, lines: Int(BATON_LINES_MAX))
    turn = Turn(channels: ChannelIndex.count)
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
    // Before it joins: a step that it notes, and hosts that attach write what the peer has asked them for already.
    lookAtTrace(at: monotonicNanoseconds())
    _ = join(at: monotonicNanoseconds())
  }

  /// Takes the seat, and says in the record that a new life starts.
  ///
  /// - Returns: the incarnation of that life.
  private static func beginLife(
    _ identity: ControllerIdentity, in region: borrowing Region, of subsystem: Subsystem
  ) throws(BatonError) -> UInt64 {
    guard try region.takeSeat(of: identity) else {
      throw BatonError(
        .busy, "controller \(identity)", "runs already in subsystem '\(subsystem.location.name)'",
        fix: "stop it first (SIGTERM), or start controller \(identity.peer)")
    }
    let record = region.controller(identity)
    let incarnation = max(record.phase.incarnation, region.membership.current.incarnation(identity)) + 1
    guard incarnation <= MembershipWord.incarnationMax else {
      throw BatonError(
        .exhausted, "controller \(identity)", "has been started \(incarnation) times",
        fix: "recreate the subsystem with 'baton destroy' and 'baton create'")
    }
    record.takeover.storeRelaxed(TakeoverStage.none.rawValue)
    record.life.clear()
    record.turnedAt.storeRelaxed(monotonicNanoseconds())
    // Sync point "pid": a process that finds this one in the record knows that it is not the earlier life's, and since
    // when it lives.
    record.setPhase(.starting, incarnation: incarnation)
    record.startTime.storeRelaxed(ProcessIdentity.startTicks)
    record.pid.storeReleasing(UInt64(getpid()))
    return incarnation
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
    if life.hasGivenUp || !storage.drain(ring) { hosts.abandon() }
  }

  /// What this controller counts, for everybody to read.
  var counters: Counters {
    @inline(__always) get { record.counters }
  }

  var membership: Membership<SharedWord> { region.membership }

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
  // - Unmapping and closing the file of a trace that is over: the last process to let go of it frees its pages.
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
  // - openat, fstat, mmap and flock of the file of a trace that begins, which lies next to the region, and flock a few
  //   times a second while one is recorded: none waits (LOCK_NB).
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
    if !life.hasJoined { return pollUntilJoined() }
    record.beat.storeRelaxed(turn.clock.begin())
    if !isStillMember { return stopFenced() }
    var work = 0
    if ring.hasCompletion { work &+= takeCompletions() }
    // Requests held for a write that has just ended go before new ones.
    if turn.due.contains(.look), recovery.mustCheckHeld { work &+= releaseHeld() }
    work &+= pollChannels()
    if link.hasHint { work &+= readLink() }
    if functions.attention.count > 0 { work &+= attend() }
    if mustSubmit, !rest.defersSubmission { submit() }
    if turn.due.contains(.peer) { ringPeer() }
    if turn.due.contains(.look) || turn.clock.isLookDue { work &+= lookAround() }
    if channels.answered.count > 0 { wakeHosts() }
    return work > 0
  }

  /// The rest of a turn: after anything out of the ordinary, and now and then.
  @inline(never)
  private mutating func lookAround() -> Int {
    if turn.due.contains(.offence) { lookForOffences() }
    if turn.clock.isLookDue { lookAtPeer(at: readClock()) }
    if turn.clock.isHousekeepingDue {
      keepHouse()
      rouse()
    }
    var work = isTakingOver ? continueTakeover() : 0
    if storage.hasPieces { work &+= movePieces() }
    work &+= turn.endBudget()
    if turn.due.contains(.connections) { acceptConnections() }
    if turn.due.contains(.expulsion) { disconnectExpelled() }
    if life.isStopping { continueStop() }
    // Operations prepared in here must not wait for the next turn: the loop may go to sleep.
    if mustSubmit, !rest.defersSubmission { submit() }
    if turn.due.contains(.peer) { ringPeer() }
    turn.due.set(
      .look,
      isTakingOver || recovery.mustCheckHeld || turn.due.contains(.connections) || life.isStopping
        || storage.hasPieces)
    return work
  }

  /// Reads the time. The clock keeps it for uses that need no better one, and the record publishes it: a peer and
  /// `baton status` see that this loop turns.
  mutating func readClock() -> UInt64 {
    let now = turn.clock.read()
    record.turnedAt.storeRelaxed(now)
    return now
  }

  /// Whether this life is still a member (`Life.isNamed`), or the planted defect ignores that it is not.
  @inline(__always)
  var isStillMember: Bool { life.isNamed || interventions.ignoresFence }

  /// Advances the beat after something within a turn that may have taken its time (`LoopClock`). One store to a line
  /// that the peer reads now and then.
  @inline(__always)
  mutating func beatWithinTurn() { record.beat.storeRelaxed(turn.clock.jump()) }

  /// Passes a protocol point, see `Interventions`.
  @inline(__always)
  func reach(_ point: ProtocolPoint) { interventions.reach(point) }

  /// The same where a step of the trace is taken.
  @inline(__always)
  func reach(_ point: ProtocolPoint, _ step: TraceStep, _ detail: @autoclosure () -> TraceDetail) {
    interventions.reach(point, step, detail())
  }

  /// Whether there is anything to give to the kernel.
  var mustSubmit: Bool {
    @inline(__always) get { ring.prepared > 0 || storage.hasStalled }
  }

  /// Gives prepared operations to the kernel. A kernel that takes none at present is asked again next turn.
  ///
  /// The check of the membership word is as close before the system call as it can be. A fenced controller that wakes
  /// between the two may still submit; that is in its journal, and the survivor waits for its exit and for the kernel.
  mutating func submit() {
    reach(.submissionBefore, .given, TraceDetail(value: UInt64(ring.prepared)))
    if life.hasJoined, !isStillMember { return }
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
