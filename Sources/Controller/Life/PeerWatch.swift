import BatonOwnership
import BatonRing
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc

/// The watch over one life of the peer: whether it has ended, and whether it answers.
///
/// A controller signals a process through a pidfd only, because a number can come to name another process. It does so
/// only where the kernel says that the process listens on the peer's control socket. It compares what the region says
/// with that. The region alone is never enough: a process that can write there could have any process of this user
/// killed.
///
/// Invariant: what is known is known of one life. Another life begins with nothing known.
struct PeerWatch: ~Copyable {
  private let peer: ControllerIdentity
  private let record: ControllerRecord
  /// Says which watch an event of the ring belongs to.
  private var token: UInt32 = 0
  /// The life that is watched; 0: none.
  private var incarnation: UInt64 = 0
  /// The process of that life; -1: none, because it has ended, is this very process, or could not be opened.
  private var descriptor: CInt = -1
  /// When the process is looked for again, while there is no descriptor; the largest number: not at all.
  private var openDue: UInt64 = 0
  /// Whether the ring waits for the mark on the life lock; the kernel may be unable to.
  private var awaitsMark = false
  /// The life has ended for certain.
  private var isOver = false
  /// Its process has been killed by this controller.
  private var isKilled = false
  /// It cannot be killed, and the controller has logged that.
  private var cannotBeKilled = false
  /// When the controller last checked for the end without a notification.
  private var endLookedForAt: UInt64 = 0
  /// Whether it answers.
  private var silence = Silence()
  /// When it was last asked to let this controller join.
  private var askedAt: UInt64 = 0

  /// How often the controller looks for the process of the watched life, where the kernel has not named it.
  private static var openAgainNanoseconds: UInt64 { 100_000_000 }
  /// How often the controller checks for the end of a life that nothing signals: a peer in this very process, or one
  /// without a pidfd.
  static var endLookNanoseconds: UInt64 { 5_000_000 }
  /// The same while everything waits for the exit of a killed peer.
  private static var exitLookNanoseconds: UInt64 { 200_000 }
  /// How often a controller asks the peer to let it join.
  private static var askAgainNanoseconds: UInt64 { 20_000_000 }

  init(_ peer: ControllerIdentity, _ record: ControllerRecord) {
    self.peer = peer
    self.record = record
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
  }

  // MARK: Which life

  /// Begins to watch a life of the peer, unless it is watched already.
  mutating func begin(_ life: UInt64, at now: UInt64, on ring: borrowing Ring) {
    if incarnation == life { return }
    end(on: ring)
    incarnation = life
    silence = Silence(beat: record.beat.loadRelaxed(), at: now)
  }

  /// Stops watching: the life is over, or of no interest any more.
  mutating func end(on ring: borrowing Ring) {
    if descriptor >= 0 {
      _ = ring.unwatch(.peerProcess, index: token)
      close(descriptor)
    }
    descriptor = -1
    token &+= 1
    (incarnation, openDue, endLookedForAt, askedAt) = (0, 0, 0, 0)
    (awaitsMark, isOver, isKilled, cannotBeKilled) = (false, false, false, false)
    silence = Silence()
  }

  /// Whether an event of the ring belongs to the life that is watched.
  func isMeant(by token: UInt32) -> Bool { token == self.token }

  // MARK: Its process

  /// Whether a connection to the peer's control socket is needed now, which shows the process of the watched life.
  /// Finds out on the way if a later life has taken the seat.
  ///
  /// Without a descriptor the seat shows the end, and this controller cannot kill the peer. The same holds where the
  /// process number means nothing here: the peer may live in another pid namespace.
  mutating func mustConnect(at now: UInt64) -> Bool {
    if descriptor >= 0 || isOver || now < openDue { return false }
    openDue = now &+ Self.openAgainNanoseconds
    // A later life has taken the seat, which the kernel releases only at the end of a life.
    if record.phase.incarnation != incarnation {
      isOver = true
      return false
    }
    // Never open a descriptor for this process itself: two controllers of one process are no threat to each other, and
    // are told apart by their seats. Sync point "pid".
    if record.pid.loadAcquiring() == UInt64(getpid()) {
      openDue = .max
      return false
    }
    return true
  }

  /// Finds the process of the watched life at the other end of a new connection: an existing one could lead to an
  /// earlier life.
  ///
  /// - Returns: whether the ring has a watch to submit.
  mutating func open(over connection: CInt, on ring: borrowing Ring) -> Bool {
    // Sync point "pid".
    let pid = record.pid.loadAcquiring()
    let startTime = record.startTime.loadRelaxed()
    // Checked again for the value that is used: whatever stands in the region, this process is never killed.
    if pid == UInt64(getpid()) { return false }
    let process = Self.process(listeningAt: connection, pid: pid, startTime: startTime)
    if process < 0 { return false }
    // The descriptor is still this life's: the next life writes its phase before it listens.
    if record.phase.incarnation != incarnation {
      close(process)
      return false
    }
    descriptor = process
    return ring.watch(descriptor, for: .peerProcess, index: token)
  }

  /// A pidfd of the process that listens at the other end of a connection to the peer's control socket; -1 where the
  /// kernel names none, or another one than the peer's record. Five system calls.
  ///
  /// The controller makes this connection when the watch begins. A stalled peer accepts it as well, from its backlog,
  /// and killing the peer later needs nothing from the peer.
  static func process(listeningAt connection: CInt, pid: UInt64, startTime: UInt64) -> CInt {
    var listener: pid_t = 0
    var user: uid_t = 0
    // Of the process that called listen(2), as it was then (unix(7)).
    guard shim_socket_peer(connection, &listener, &user) == 0, listener > 0, UInt64(listener) == pid,
      user == geteuid() || user == 0
    else { return -1 }
    var descriptor = shim_socket_peer_pidfd(connection)
    // Before Linux 6.5. The number may name another process by now; the check below finds that.
    if descriptor == -ENOPROTOOPT { descriptor = shim_pidfd_open(listener) }
    if descriptor < 0 { return -1 }
    // First the descriptor, then the check whose it is: from here on the number stays with the process.
    if ProcessIdentity.startTicks(of: "\(listener)") != startTime {
      close(descriptor)
      return -1
    }
    return descriptor
  }

  // MARK: Whether it has ended

  /// Has the ring wait for the mark on the life lock, which comes long before the pidfd becomes readable. The peer
  /// takes the lock some time after joining; an embedder never takes it.
  ///
  /// - Returns: whether the ring has a wait to submit.
  private mutating func awaitMark(on ring: borrowing Ring) -> Bool {
    guard !awaitsMark, descriptor >= 0, let expected = record.life.announceWaiter() else { return false }
    awaitsMark = ring.watchFutex(record.life.word.address, while: expected, for: .peerLife, index: token)
    return awaitsMark
  }

  /// The wait for the mark has ended, or a pidfd is readable: the end is checked for at once.
  mutating func noteEvent(endsWait: Bool) {
    if endsWait { awaitsMark = false }
    endLookedForAt = 0
  }

  /// Whether the thread that ran the watched life has died. A new life clears the mark before it publishes its
  /// incarnation.
  var isMarkedDead: Bool { record.life.isMarkedDead && record.phase.incarnation == incarnation }

  /// Whether the process behind the descriptor has ended: a pidfd can be read then (pidfd_open(2)).
  var looksEnded: Bool {
    if descriptor < 0 { return false }
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return Glibc.poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLIN) != 0
  }

  /// Whether its thread is dead and its process, which this controller knows, is not.
  var outlivesItsThread: Bool { isMarkedDead && descriptor >= 0 && !looksEnded }

  /// Whether the watched life has ended: its thread or its process is gone, its seat is free, a later life has the
  /// seat, or it has said that it touches nothing any more. Each of these comes after its last action.
  ///
  /// - Returns: that, and whether the ring has a wait to submit.
  mutating func hasEnded(
    at now: UInt64, in region: borrowing Region, on ring: borrowing Ring
  ) -> (hasEnded: Bool, mustSubmit: Bool) {
    if isOver { return (true, false) }
    let mustSubmit = awaitMark(on: ring)
    let every = isKilled ? Self.exitLookNanoseconds : Self.endLookNanoseconds
    if now &- endLookedForAt < every { return (false, mustSubmit) }
    endLookedForAt = now
    isOver =
      isMarkedDead || looksEnded || region.isSeatFree(of: peer)
      || record.phase.incarnation != incarnation || record.phase.phase == .absent
    return (isOver, mustSubmit)
  }

  // MARK: Killing it

  /// What came of an attempt to kill the peer.
  enum Kill {
    /// The signal has been sent.
    case sent
    /// There is nothing to do, or nothing new to say.
    case nothing
    /// No process is known that could be killed. Said once.
    case unknown
    /// The kernel refuses, with this error. Said once.
    case refused(CInt)
  }

  /// Kills the process of the watched life, once.
  mutating func kill(passing points: borrowing Interventions) -> Kill {
    if isKilled { return .nothing }
    if descriptor < 0 {
      // In this very process it is no threat, and its seat shows its end.
      if openDue == .max || cannotBeKilled { return .nothing }
      cannotBeKilled = true
      return .unknown
    }
    points.reach(.killBefore)
    let result = shim_pidfd_send_signal(descriptor, SIGKILL)
    points.reach(.killAfter)
    if result == 0 {
      isKilled = true
      return .sent
    }
    if result == -ESRCH {
      endLookedForAt = 0
      return .nothing
    }
    if cannotBeKilled { return .nothing }
    cannotBeKilled = true
    return .refused(-result)
  }

  // MARK: Whether it answers

  /// What `Silence` says of a look at the peer's beat now.
  mutating func listen(at now: UInt64, nextLook: UInt64, deadline: UInt64) -> Silence.Verdict {
    silence.look(beat: record.beat.loadRelaxed(), at: now, nextLook: nextLook, deadline: deadline)
  }

  /// How long the controller may sleep until it must look again, in nanoseconds; the ring signals the end of a process
  /// that is known.
  func nanosecondsUntilLook(at now: UInt64, deadline: UInt64, least: UInt64) -> UInt64 {
    if descriptor < 0 { return deadline / 4 }
    // Once it was rung, in short pieces: the controller must recognize a pause of the whole machine before that pause
    // counts.
    if silence.hasRung { return deadline / 8 }
    let due = silence.since &+ deadline / 2
    return due > now ? max(due &- now, least) : least
  }

  /// Whether it is time to ask the peer again to let this controller join; then the next time is later.
  mutating func mustAsk(at now: UInt64) -> Bool {
    if now &- askedAt < Self.askAgainNanoseconds { return false }
    askedAt = now
    return true
  }

  /// Whether a new life, after `life`, has the seat and waits to join.
  func isStarting(after life: UInt64, in region: borrowing Region) -> Bool {
    let phase = record.phase
    return phase.phase == .starting && phase.incarnation > life && region.isSeatTaken(of: peer)
  }

  /// The beat of the peer's present life.
  var beat: UInt64 { record.beat.loadRelaxed() }
}
