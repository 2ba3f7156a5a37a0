import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc

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
  public internal(set) var unitCount = 0
  /// The queue whose answers are looked for first.
  @usableFromInline var turn: UnsafeMutablePointer<RequestQueue>
  /// Whether a connection, or a request that was handed back, needs work.
  var mustTend = true
  /// Polls until the next `lookAround`.
  @usableFromInline var looksLeft: UInt32 = 1
  /// Polls with nothing in its turn until answers out of turn are looked for.
  var missesLeft: UInt32 = 0
  var waiter: Waiter
  var sleep: HostSleep
  /// Requests whose controller slept when they were submitted, and that has not been woken yet.
  var submissionsUnrung: UInt32 = 0
  var tending = TendingSchedule()
  @usableFromInline var handedBack = HandedBack()
  @usableFromInline var prefersB = false
  /// Number of answers that belonged to no request. 0, unless a controller is broken.
  public var strayAnswers: UInt64 { queueA.pointee.strayAnswers + queueB.pointee.strayAnswers }
  /// Requests that were submitted to the peer because their controller left.
  public internal(set) var rerouted: UInt64 = 0
  var isSubsystemGone = false
  /// The trace that it writes, if any.
  @usableFromInline var trace = HostTrace()
  /// What ends its waits from other threads; nil: nobody has asked for it.
  var callers: HostWaker?
  /// What a program with a loop of its own waits on.
  var sockets = SocketSet()

  /// Polls between two looks around: so many answers of one controller come before its peer's have their turn.
  private static let pollsPerLook: UInt32 = 64
  /// Polls between two looks for answers out of turn, after one that found none.
  private static let missesPerLook: UInt32 = 15
  /// Submissions to controllers that sleep, from which on each wakes its controller by itself.
  private static let submissionsUnrungMax: UInt32 = 32

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
    sleep = HostSleep(memory.hostParked)
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

  deinit {
    callers?.end()
    // The controllers see the control sockets close. A later one, which finds its requests in a journal, must not wait
    // for it because its process still runs.
    if queueA.pointee.outstanding > 0 || queueB.pointee.outstanding > 0 { EndedHosts.add(memory.header.identity) }
  }

  /// The memory for data that is written or read.
  public var arena: UnsafeMutableRawBufferPointer { memory.arena }

  /// Whether a controller has accepted this host.
  public func isAttached(to controller: ControllerIdentity) -> Bool {
    controller == .a ? channelA.isAttached : channelB.isAttached
  }

  /// Requests submitted and not completed.
  @inlinable
  public var outstanding: Int { queueA.pointee.outstanding &+ queueB.pointee.outstanding &+ handedBack.count }

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
  @discardableResult @inlinable @inline(__always)
  public mutating func submit(_ request: Request, to controller: ControllerIdentity? = nil, cookie: UInt64 = 0) -> Bool
  {
    submit(RequestCopy(request), to: controller, cookie: cookie)
  }

  /// Submits a request as it lies in a line.
  @inlinable @inline(__always)
  public mutating func submit(_ request: RequestCopy, to controller: ControllerIdentity?, cookie: UInt64) -> Bool {
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

  /// Submits up to `count` requests to that controller, and to no other. `request` makes each from its number, from 0
  /// on; it is called for those that find room, in their order.
  ///
  /// Cost: one line moved for each, half of the instructions of as many single submissions, at most one system call.
  ///
  /// - Returns: how many found room. 0 also if that controller is not attached: `submit(_:to:cookie:)` submits to its
  ///   peer then.
  @discardableResult @inlinable @inline(__always)
  public mutating func submit(
    _ count: Int, to controller: ControllerIdentity, _ request: (Int) -> (request: Request, cookie: UInt64)
  ) -> Int {
    let queue = controller == .b ? queueB : queueA
    var index = 0
    let submitted = queue.pointee.submit(count) { line, link in
      let (request, cookie) = request(index)
      let copy = RequestCopy(request)
      line.fill(head: copy.head | link, offset: copy.offset, length: copy.length, buffer: copy.buffer)
      index &+= 1
      return cookie
    }
    if submitted > 0 {
      submittedSeveral(to: controller)
    } else if trace.isOn {
      return submitTraced(count, to: controller, request)
    }
    return submitted
  }

  /// Requests have been submitted to that controller, which may sleep.
  @inlinable @inline(__always)
  mutating func submittedSeveral(to controller: ControllerIdentity) {
    // Sync point "sleep": the requests are published before the look whether the controller sleeps.
    AsymmetricFence.light(supported: true)
    if !(controller == .b ? queueB : queueA).pointee.controllerMayPark.isAwake { ring(controller) }
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
  mutating func ringForAll() {
    submissionsUnrung = 0
    if channelA.outstanding > 0 { channelA.ring() }
    if channelB.outstanding > 0 { channelB.ring() }
  }

  /// Submits to the peer if the intended controller is not attached or, where the choice was left open, has no room.
  @usableFromInline @inline(never)
  mutating func submitElsewhere(
    _ request: RequestCopy, instead of: ControllerIdentity, isBound: Bool, _ cookie: UInt64
  ) -> Bool {
    if trace.isOn, submitTraced(request, to: of, cookie) { return true }
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

  /// Hands the answers that have come to `body`, as `next` would one after the other, but at most `most` of them, and
  /// only as many as are seen at once. Never blocks. If `body` throws, the answer that it was given is taken.
  ///
  /// - Returns: how many there were; 0: none is seen at present.
  @inlinable @inline(__always)
  public mutating func takeAnswers(most: Int = 64, _ body: (Completion) throws -> Void) rethrows -> Int {
    precondition(most > 0, "at least one answer is asked for")
    looksLeft &-= 1
    if looksLeft == 0, let completion = lookAround() {
      try body(completion)
      return 1
    }
    var taken = 0
    while true {
      taken &+= try turn.pointee.takeInTurn(most: most &- taken, body)
      if taken > 0 { break }
      guard let completion = nextOutOfTurn() else { return 0 }
      // Those that follow it are in their turn again.
      taken = 1
      try body(completion)
    }
    // As many polls nearer to the next look around as `next` would have made.
    looksLeft = looksLeft > UInt32(truncatingIfNeeded: taken) ? looksLeft &- UInt32(truncatingIfNeeded: taken) : 1
    return taken
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
    case .completion(let completion, let sequence):
      if trace.isOn { trace.noteReaped(completion.status, sequence, completion.service, isA ? .a : .b) }
      return completion
    case .notExecuted(let request, let cookie, let service, let sequence):
      if trace.isOn { trace.noteReaped(.leaving, sequence, service, isA ? .a : .b) }
      let isOfPresentLife = isA ? channelA.isOfPresentLife(sequence) : channelB.isOfPresentLife(sequence)
      return reroute(request, cookie, service, isOfPresentLife)
    case nil: return nil
    }
  }

  /// Work that is not needed at every poll: the other channel, the control sockets, requests that were handed back.
  @usableFromInline @inline(never)
  mutating func lookAround() -> Completion? {
    turn = turn == queueA ? queueB : queueA
    looksLeft = Self.pollsPerLook
    if submissionsUnrung > 0 { ringForAll() }
    if !tending.beginLook(), !mustTend { return nil }
    tend()
    sleep.tended()
    let completion = submitHandedBack()
    mustTend = isAttaching || !handedBack.isEmpty
    looksLeft = mustTend ? 1 : Self.pollsPerLook
    return completion
  }

  /// `maintain`, but not more often than needed: it makes system calls.
  private mutating func tend() {
    if tending.isDue(at: monotonicNanoseconds(), isAttaching: isAttaching) { maintain() }
  }
}
