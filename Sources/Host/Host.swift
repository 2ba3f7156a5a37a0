import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc

/// The options for how a host attaches and waits.
public struct HostOptions: Sendable {
  /// Request lines to each controller, a power of two: one more than the requests that can be outstanding there.
  public var linesPerChannel = 256
  /// Size of the arena in bytes, a multiple of 4096.
  public var arenaSize: UInt64 = 16 << 20
  /// Whether pages of the arena are taken when they are first used, and not at the start: for a host in the process of
  /// the controller that it asks. A controller of another process refuses a large arena without pages, which would
  /// count as its own memory.
  public var isSparse = false
  /// The strategy of `wait`.
  public var waiting = WaitStrategy.standard
  /// How long a request that no controller has taken waits for a controller, before it ends as `.leaving`. A request
  /// that a controller has taken, or died with, waits for as long as it takes.
  public var patienceNanoseconds: UInt64 = 5_000_000_000
  /// The only controller that this host attaches to; nil: both. The peer then never sees its memory, and a
  /// request that its controller died with is executed by nobody: this is for a front end that dies with it.
  public var controller: ControllerIdentity?

  /// The defaults.
  public init() {}
}

/// A request that has been answered.
@frozen
public struct Completion: Sendable {
  /// The cookie that the submitter gave.
  public let cookie: UInt64
  /// Its status.
  public let status: Status
  /// Bytes transferred, for block I/O; the requested value for others (a unit's state, a count).
  public let value: UInt64
  /// The controller that served it, its term, and whether the request waited for a change of owner.
  public let service: Service

  @inlinable @inline(__always)
  init(cookie: UInt64, status: Status, value: UInt64, service: Service) {
    self.cookie = cookie
    self.status = status
    self.value = value
    self.service = service
  }
}

extension Completion: CustomStringConvertible {
  /// `success, 4096, by b in term 3 (cookie 7)`.
  public var description: String { "\(status), \(value), \(service) (cookie \(cookie))" }
}

/// A host entity: submits requests to either controller and polls for their completions.
///
/// One thread, no locks. `submit` and `next` make no system call and allocate nothing while the controllers are
/// awake. Data moves through the arena, memory that the host shares with the two controllers and nobody else.
public struct Host: ~Copyable {
  private let place = HeldInPlace()
  let memory: HostMemory
  let location: SubsystemLocation
  let options: HostOptions
  var channelA: HostChannel
  var channelB: HostChannel
  /// Their queues, for what is compiled into callers.
  @usableFromInline let queueA: UnsafeMutablePointer<RequestQueue>
  @usableFromInline let queueB: UnsafeMutablePointer<RequestQueue>
  /// Units of the subsystem, once attached.
  public private(set) var unitCount = 0
  /// The queue whose answers are looked for first.
  @usableFromInline var turn: UnsafeMutablePointer<RequestQueue>
  private var rounds: UInt32 = 0
  /// Whether a connection, or a request that was handed back, needs work.
  private var mustTend = true
  /// Polls until the next `lookAround`.
  @usableFromInline var looksLeft: UInt32 = 1
  /// Polls with nothing in its turn until answers out of turn are looked for.
  private var missesLeft: UInt32 = 0
  private var waiter: Waiter
  /// Requests whose controller slept when they were submitted, and that has not been woken yet.
  private var submissionsUnrung: UInt32 = 0
  private var tendedAt: UInt64 = 0
  /// Requests that a controller handed back and its peer had no room for, oldest first.
  private var deferred: [Deferred] = [] {
    didSet { deferredCount = deferred.count }
  }
  @usableFromInline var deferredCount = 0
  private var reconnectAt: UInt64 = 0
  @usableFromInline var prefersB = false
  /// Whether controllers are known to fence before they look whether this host sleeps, see `SleepWord`.
  private var isHeeded = false
  private var tendsSinceSleep: UInt32 = 0
  /// Number of answers that belonged to no request. 0, unless a controller is broken.
  public var strayAnswers: UInt64 { queueA.pointee.strayAnswers + queueB.pointee.strayAnswers }
  /// Requests that were submitted to the peer because their controller left.
  public private(set) var rerouted: UInt64 = 0
  private(set) var isSubsystemGone = false

  private struct Deferred {
    let request: Request
    let cookie: UInt64
    let service: Service
    /// The life of the controller that refused it; 0: one that is gone.
    let incarnation: UInt64
    /// When it was handed back.
    let since: UInt64
  }

  /// Polls between two looks around: so many answers of one controller come before its peer's have their turn.
  private static let pollsPerLook: UInt32 = 64
  /// Polls between two looks for answers out of turn, after one that found none.
  private static let missesPerLook: UInt32 = 15
  /// Looks around between two looks at the clock, for the control sockets.
  private static let looksPerTend: UInt32 = 64
  /// Such looks since the last sleep from which on this host is busy. Its next sleep costs a membarrier, which is
  /// little compared with so many polls.
  private static let tendsUntilAwake: UInt32 = 16
  /// Nanoseconds between two looks at the control sockets while requests are outstanding.
  private static let tendNanoseconds: UInt64 = 10_000_000
  /// The same while a controller has still to say whether it takes this host.
  private static let tendAttachingNanoseconds: UInt64 = 100_000
  /// Nanoseconds between two attempts to reach a controller that is not running.
  private static let reconnectNanoseconds: UInt64 = 50_000_000
  /// Submissions to controllers that sleep, from which on each wakes its controller by itself.
  private static let submissionsUnrungMax: UInt32 = 32
  /// The longest sleep: a controller that died wakes nobody.
  private static let sleepNanosecondsMax: Int64 = 100_000_000

  /// Makes the host's memory and asks both controllers to attach it; does not wait for them.
  ///
  /// - Throws: `.missing` if neither controller is running.
  public init(of subsystem: Subsystem, options: HostOptions = HostOptions()) throws(BatonError) {
    let memory = try HostMemory(
      linesPerChannel: options.linesPerChannel, arenaSize: options.arenaSize, isSparse: options.isSparse)
    var channelA = HostChannel(memory, to: .a)
    var channelB = HostChannel(memory, to: .b)
    let missingA = options.controller == .b ? nil : channelA.connect(memory, subsystem.location)
    let missingB = options.controller == .a ? nil : channelB.connect(memory, subsystem.location)
    let areBothNeeded = options.controller == nil
    if let missing = missingA ?? missingB, !areBothNeeded || missingA != nil && missingB != nil {
      throw BatonError(
        missing.code, "subsystem '\(subsystem.location.name)'",
        "no controller can be reached: \(missing.problem)",
        fix: "start 'baton controller \(subsystem.location.name) a' and b")
    }
    self.memory = memory
    location = subsystem.location
    self.options = options
    waiter = Waiter(options.waiting)
    queueA = channelA.queue
    queueB = channelB.queue
    turn = channelA.queue
    self.channelA = channelA
    self.channelB = channelB
  }

  /// The memory for data that is written or read.
  public var arena: UnsafeMutableRawBufferPointer { memory.arena }

  /// Whether a controller has accepted this host.
  public func isAttached(to controller: ControllerIdentity) -> Bool {
    controller == .a ? channelA.isAttached : channelB.isAttached
  }

  /// Requests submitted and not completed.
  @inlinable
  public var outstanding: Int { queueA.pointee.outstanding &+ queueB.pointee.outstanding &+ deferredCount }

  /// Requests that can be submitted to that controller now.
  public func room(to controller: ControllerIdentity) -> Int {
    isAttached(to: controller) ? (controller == .a ? queueA : queueB).pointee.freeCount : 0
  }

  /// Submits a request to that controller, or to its peer if that controller is not attached; nil: to either.
  ///
  /// Cost: one line moved; a system call only when the controller sleeps. With others outstanding, that call is left to
  /// the next `next` that finds nothing, or to `wait`.
  ///
  /// - Returns: false if there is no room, or no controller: poll and try again.
  @discardableResult @inlinable
  public mutating func submit(_ request: Request, to controller: ControllerIdentity? = nil, cookie: UInt64 = 0) -> Bool
  {
    let isForB = controller == nil ? prefersB : controller == .b
    let queue = isForB ? queueB : queueA
    guard queue.pointee.submit(request, cookie: cookie) else {
      return submitElsewhere(request, instead: isForB ? .b : .a, isBound: controller != nil, cookie)
    }
    // Sync point "sleep": the request is published before the look whether the controller sleeps.
    AsymmetricFence.light(supported: true)
    if !queue.pointee.controllerMayPark.isAwake { ring(isForB ? .b : .a) }
    return true
  }

  /// A request has been submitted to a controller that may sleep. A lone one wakes it at once. One of several waits for
  /// those that come with it: a controller that is woken on this host's core takes the core from it, serves what it
  /// finds, and sleeps again, so that each of them would pay for a sleep of its own.
  @usableFromInline @inline(never)
  mutating func ring(_ controller: ControllerIdentity) {
    let isA = controller == .a
    if (isA ? queueA : queueB).pointee.outstanding > 1, submissionsUnrung < Self.submissionsUnrungMax {
      submissionsUnrung += 1
      return
    }
    if isA { channelA.ring() } else { channelB.ring() }
  }

  /// Wakes sleeping controllers for requests that came together.
  private mutating func ringForAll() {
    submissionsUnrung = 0
    if channelA.outstanding > 0 { channelA.ring() }
    if channelB.outstanding > 0 { channelB.ring() }
  }

  /// Submits to the peer if the intended controller is not attached or, where the choice was left open, has no room.
  @usableFromInline @inline(never)
  mutating func submitElsewhere(
    _ request: Request, instead of: ControllerIdentity, isBound: Bool, _ cookie: UInt64
  ) -> Bool {
    if isBound && isAttached(to: of) || !isAttached(to: of.peer) || room(to: of.peer) == 0 { return false }
    return submit(request, to: of.peer, cookie: cookie)
  }

  /// Whether any request has been answered that `next` has not returned. Looks at every outstanding line: `next`,
  /// which looks at a few at a time, may need several calls to find it.
  public var hasAnswer: Bool { queueA.pointee.anyAnswered() || queueB.pointee.anyAnswered() }

  /// The next request that has been answered, or nil if none is seen at present: one that was answered before older
  /// ones may be seen some polls later. Never blocks.
  @inlinable @inline(__always)
  public mutating func next() -> Completion? {
    looksLeft &-= 1
    if looksLeft == 0, let completion = lookAround() { return completion }
    if let completion = turn.pointee.nextInTurn() { return completion }
    return nextOutOfTurn()
  }

  /// An answer on the other channel, to another request than a channel's oldest, or one that is no success.
  @usableFromInline @inline(never)
  mutating func nextOutOfTurn() -> Completion? {
    turn = turn == queueA ? queueB : queueA
    if let completion = turn.pointee.nextInTurn() { return completion }
    if submissionsUnrung > 0 { ringForAll() }
    if !queueA.pointee.isOldestAnswered, !queueB.pointee.isOldestAnswered {
      if queueA.pointee.outstanding &+ queueB.pointee.outstanding < 2 { return nil }
      // A look at a line that a controller is about to answer takes the line from it. While answers come in their turn
      // there are few such looks.
      if missesLeft > 0 {
        missesLeft &-= 1
        return nil
      }
    }
    let isA = turn == queueB
    let completion = nextOutOfTurn(ofA: isA) ?? nextOutOfTurn(ofA: !isA)
    missesLeft = completion == nil ? Self.missesPerLook : 0
    return completion
  }

  private mutating func nextOutOfTurn(ofA isA: Bool) -> Completion? {
    switch isA ? queueA.pointee.next() : queueB.pointee.next() {
    case .completion(let completion): return completion
    case .notExecuted(let request, let cookie, let service, let sequence):
      let isOfPresentLife = isA ? channelA.isOfPresentLife(sequence) : channelB.isOfPresentLife(sequence)
      return reroute(request, cookie, service, isOfPresentLife)
    case nil: return nil
    }
  }

  /// Work that is not needed at every poll: the other channel, the control sockets, requests that were handed back.
  @usableFromInline @inline(never)
  mutating func lookAround() -> Completion? {
    turn = turn == queueA ? queueB : queueA
    rounds &+= 1
    looksLeft = Self.pollsPerLook
    if submissionsUnrung > 0 { ringForAll() }
    if rounds % Self.looksPerTend != 0, !mustTend { return nil }
    tend()
    rouse()
    let completion = submitDeferred()
    mustTend = isAttaching || !deferred.isEmpty
    looksLeft = mustTend ? 1 : Self.pollsPerLook
    return completion
  }

  /// `maintain`, but not more often than needed: it makes system calls.
  private mutating func tend() {
    let age = monotonicNanoseconds() &- tendedAt
    if age > (isAttaching ? Self.tendAttachingNanoseconds : Self.tendNanoseconds) { maintain() }
  }

  private var isAttaching: Bool {
    if case .attaching = channelA.phase { return true }
    if case .attaching = channelB.phase { return true }
    return false
  }

  /// The controller has not executed this and leaves: submits it to the peer.
  private mutating func reroute(
    _ request: Request, _ cookie: UInt64, _ service: Service, _ byPresentLife: Bool
  ) -> Completion? {
    looksLeft = 1
    mustTend = true
    deferred.append(
      Deferred(
        request: request, cookie: cookie, service: service,
        incarnation: byPresentLife ? incarnation(of: service.controller) : 0, since: monotonicNanoseconds()))
    return submitDeferred()
  }

  /// Submits handed-back requests to the peer, as far as it has room; requests that no controller can take end.
  private mutating func submitDeferred() -> Completion? {
    while let first = deferred.first {
      let other = first.service.controller.peer
      prefersB = other == .b
      if isAttached(to: other) {
        if !submit(first.request, to: other, cookie: first.cookie) { return nil }
        rerouted += 1
        deferred.removeFirst()
      } else if isAttached(to: other.peer), incarnation(of: other.peer) != first.incarnation {
        // The controller that left is back before its peer is.
        if !submit(first.request, to: other.peer, cookie: first.cookie) { return nil }
        rerouted += 1
        deferred.removeFirst()
      } else {
        let now = monotonicNanoseconds()
        if now &- first.since < options.patienceNanoseconds, !isSubsystemGone {
          // One that has just been started is reached in a moment.
          if now &- tendedAt > Self.tendAttachingNanoseconds { maintain() }
          return nil
        }
        deferred.removeFirst()
        return Completion(cookie: first.cookie, status: .leaving, value: 0, service: first.service)
      }
    }
    return nil
  }

  private func incarnation(of controller: ControllerIdentity) -> UInt64 {
    controller == .a ? channelA.incarnation : channelB.incarnation
  }

  // MARK: Control

  /// Tends the control sockets: replies, ends, controllers that come back. `next` and `wait` call this now and
  /// then.
  public mutating func maintain() {
    // A connection that is made in here is tended from the next poll on.
    looksLeft = 1
    mustTend = true
    tendedAt = monotonicNanoseconds()
    unitCount = max(channelA.receiveControl() ?? 0, channelB.receiveControl() ?? 0, unitCount)
    // The survivor must look for what was submitted to the controller that went: not only when it
    // happens to wake.
    if channelA.hasLost {
      channelA.hasLost = false
      channelB.ringAlways()
    }
    if channelB.hasLost {
      channelB.hasLost = false
      channelA.ringAlways()
    }
    if channelA.isOfOtherSubsystem || channelB.isOfOtherSubsystem { isSubsystemGone = true }
    if tendedAt < reconnectAt || isSubsystemGone { return }
    reconnectAt = tendedAt + Self.reconnectNanoseconds
    // Of two subsystems of one name, one after the other, the second must not get the first one's requests.
    let generation = channelA.generation != 0 ? channelA.generation : channelB.generation
    if case .detached = channelA.phase, options.controller != .b {
      _ = channelA.connect(memory, location, generation: generation)
    }
    if case .detached = channelB.phase, options.controller != .a {
      _ = channelB.connect(memory, location, generation: generation)
    }
    // No controller can be reached: while one runs, the subsystem is not destroyed.
    if case .detached = channelA.phase, case .detached = channelB.phase {
      let isOther = generation != 0 && Region.generation(at: location) ?? generation != generation
      isSubsystemGone = isOther || location.isKnownToHaveNoRegion
    }
  }

  /// The subsystem no longer exists, with or without another one of its name; nil: as far as is known it exists.
  /// Then nobody answers the outstanding requests, no request is accepted any more, and no controller is looked for.
  public var subsystemLoss: BatonError? {
    if !isSubsystemGone { return nil }
    let unanswered = outstanding > 0 ? ": \(outstanding) requests have no answer" : ""
    return BatonError(.missing, "subsystem '\(location.name)'", "was destroyed" + unanswered)
  }

  // MARK: Waiting

  /// Waits until there is probably something for `next`, as the waiting strategy says; at most `nanoseconds`.
  ///
  /// Returns early without reason now and then: call `next` again.
  public mutating func wait(nanoseconds: Int64 = 100_000_000) { wait(nanoseconds: nanoseconds, unless: { false }) }

  /// The same for a host that something else can call away: `isCalled` is asked before each sleep, after the sleep has
  /// been announced in `hostParked`; the caller makes its call visible first, and then wakes the word.
  mutating func wait(nanoseconds: Int64, unless isCalled: () -> Bool) {
    // Whatever ends the wait, the poll after it looks at everything.
    missesLeft = 0
    if submissionsUnrung > 0 { ringForAll() }
    let deadline = monotonicNanoseconds() &+ UInt64(max(nanoseconds, 0))
    var looks = 0
    while true {
      if hasAnswer || isCalled() { return waiter.worked() }
      if waiter.idle(expecting: outstanding > 0) == .park { break }
      looks += 1
      if looks % 1024 == 0 {
        maintain()
        if monotonicNanoseconds() >= deadline { return }
      }
    }
    let now = monotonicNanoseconds()
    if now >= deadline { return maintain() }
    // A doorbell that went nowhere: the survivor in that controller's place must be rung before this host sleeps.
    if channelA.hasLost || channelB.hasLost { maintain() }
    park(nanoseconds: min(Int64(deadline - now), Self.sleepNanosecondsMax), unless: isCalled)
    maintain()
  }

  private mutating func park(nanoseconds: Int64, unless isCalled: () -> Bool) {
    let word = memory.hostParked
    // Sync point "sleep", see `SleepWord`: controllers answer before they look whether this host sleeps.
    if !isHeeded {
      word.say(.drowsy)
      isHeeded = AsymmetricFence.heavy()
    }
    tendsSinceSleep = 0
    word.say(.listening)
    word.fence()
    if !hasAnswer, !isCalled() {
      let most = isHeeded ? nanoseconds : min(nanoseconds, AsymmetricFence.sleepNanosecondsMax)
      // The caller that rang has written it already; writing it again would fetch a line while an answer waits.
      if word.wait(nanoseconds: most) { return }
    }
    word.say(.drowsy)
  }

  /// After a host has been busy for a while, controllers need no longer fence for it.
  private mutating func rouse() {
    tendsSinceSleep &+= 1
    if !isHeeded || tendsSinceSleep < Self.tendsUntilAwake { return }
    isHeeded = false
    memory.hostParked.say(.awake)
  }

  /// Waits until a controller has accepted this host, and its peer, if reached, has accepted or refused it.
  ///
  /// A controller that dies meanwhile ends nothing: its peer is asked, and so is its next life.
  ///
  /// - Throws: the refusal, if no controller accepted; `.missing` if the subsystem is gone; `.busy` if no answer came
  ///   in that time.
  public mutating func waitUntilAttached(nanoseconds: UInt64 = 5_000_000_000) throws(BatonError) {
    let deadline = monotonicNanoseconds() &+ min(nanoseconds, 1 << 62)
    while true {
      maintain()
      if !isAttaching {
        if isAttached(to: .a) || isAttached(to: .b) { return }
        if channelA.refusal != nil || channelB.refusal != nil { break }
        if let subsystemLoss { throw subsystemLoss }
      }
      if monotonicNanoseconds() >= deadline { break }
      usleep(200)
    }
    if isAttached(to: .a) || isAttached(to: .b) { return }
    let refusal = channelA.refusal ?? channelB.refusal
    throw BatonError(
      .busy, "subsystem '\(location.name)'",
      "no controller accepted this host: \(refusal ?? "none answered within \(nanoseconds / 1_000_000) ms")",
      fix: refusal == nil ? "see whether a controller serves with 'baton status \(location.name)'" : "")
  }

  /// Submits one request and waits for it. Nothing else may be outstanding.
  ///
  /// - Throws: `.missing` if no controller takes it within a minute, or if the subsystem is gone.
  public mutating func perform(
    _ request: Request, on controller: ControllerIdentity? = nil
  ) throws(BatonError) -> Completion {
    precondition(outstanding == 0, "`perform` is for a host with nothing outstanding")
    let deadline = monotonicNanoseconds() + 60_000_000_000
    while !submit(request, to: controller) {
      maintain()
      if let subsystemLoss { throw subsystemLoss }
      usleep(1000)
      if monotonicNanoseconds() > deadline {
        throw BatonError(.missing, "subsystem '\(location.name)'", "no controller is attached")
      }
    }
    while true {
      if let completion = next() { return completion }
      if let subsystemLoss { throw subsystemLoss }
      wait()
    }
  }
}
