import Baton
import BatonSharedMemory
import BatonSystem
import Glibc

/// One host that keeps requests outstanding, as many and when its plan says, and checks what it reads if asked to.
///
/// Verification: a grain is never in two requests at once, so a read must find exactly what the last answered write
/// left, whichever controllers served the two. Grains that this run has not written are not checked.
package struct Workload: ~Copyable {
  let plan: WorkloadPlan
  let grains: TargetGrains
  var host: Host
  var result = WorkloadResult()
  private var recorder: Recorder?
  private var iolog: IologWriter?
  /// The next request of a replay.
  private var replayed = 0
  private var mix: RequestMix
  // One entry a request that can be outstanding; its number is the cookie, and its buffer in the arena.
  var issued: [Issued]
  var freeEntries: [Int]
  /// Bytes of the arena that belong to each entry.
  let bufferSize: Int
  /// The write that each grain of each entry's request holds or must find; 0: unknown.
  var sequences: [UInt32]
  let grainsMax: Int
  /// The last write of each grain that was answered, where this run has written it. A unit may have more grains than
  /// there is memory.
  var written: [Int: UInt32] = [:]
  /// Grains of outstanding requests.
  private var busy: Set<Int> = []
  private var number: UInt64 = 0
  private var diedAt: UInt64 = 0
  /// Blocks that `verifyAll` has found correct.
  package internal(set) var blocksVerified: UInt64 = 0

  struct Issued {
    var controller = ControllerIdentity.a
    /// Requests that were outstanding at a controller when it died.
    var isWaiting = false
    var isRead = false
    var grain = 0
    var grains = 0
    var at: UInt64 = 0
  }

  /// Attaches a host and prepares everything that the loop needs.
  package init(_ plan: WorkloadPlan, of subsystem: Subsystem, waiting: WaitStrategy = .standard) throws {
    var options = HostOptions()
    options.waiting = waiting
    // A line is reserved, and a chain of lines is a power of two.
    options.linesPerChannel = 4
    while options.linesPerChannel <= plan.depth { options.linesPerChannel *= 2 }
    options.arenaSize = (UInt64(plan.depth * plan.sizes.max) + 4095) & ~4095
    var host = try Host(of: subsystem, options: options)
    try host.waitUntilAttached()
    self.init(plan, host)
  }

  private init(_ plan: WorkloadPlan, _ host: consuming Host) {
    self.plan = plan
    self.host = host
    grains = TargetGrains(plan.targets, grainSize: plan.sizes.grain)
    mix = RequestMix(plan, grains: grains.total)
    issued = Array(repeating: Issued(), count: plan.depth)
    freeEntries = Array((0..<plan.depth).reversed())
    bufferSize = plan.sizes.max
    grainsMax = plan.sizes.max / plan.sizes.grain
    sequences = Array(repeating: 0, count: plan.verifies ? plan.depth * grainsMax : 0)
  }

  /// Whether this host is attached to a controller.
  package func isAttached(to controller: ControllerIdentity) -> Bool { host.isAttached(to: controller) }

  /// Submits and completes until the time or the count is over, then waits for outstanding requests. It ends early if
  /// `report`, which is called now and then, says so, if data is wrong, or if no controller is left. The result is what
  /// came until then in any case.
  ///
  /// `kill` is called as often, and returns the controller that it has just killed, if any.
  package mutating func run(
    _ report: (WorkloadMoment) -> WorkloadStep = { _ in .goOn },
    killing kill: (UInt64) throws -> ControllerIdentity? = { _ in nil }
  ) throws -> WorkloadResult {
    let start = monotonicNanoseconds()
    var now = start
    /// Since when answers are counted.
    var countedSince = start
    var isRamp = plan.rampNanoseconds > 0
    var pacing = Pacing(plan.pacing, seed: plan.seed, start: start)
    var search = plan.latencyTarget.map { DepthSearch($0, depthMax: plan.depth, start: start) }
    iolog = try plan.iolog.map { try IologWriter($0.path, names: $0.names, start: start) }
    let requestsMax = min(plan.requestsMax, plan.replay.map { UInt64($0.count) } ?? .max)
    recorder = plan.recording.map { Recorder($0, start: start) }
    var patience = AnswerWait()
    var isStopping = false
    var turns = 0
    var submitted: UInt64 = 0
    while true {
      now = monotonicNanoseconds()
      var due: UInt64? = 0
      if !isStopping {
        while !freeEntries.isEmpty, submitted < requestsMax {
          if let search, plan.depth - freeEntries.count >= search.depth { break }
          due =
            plan.replay.map { start &+ $0.steps[replayed].at }
            ?? pacing.due(at: now, outstanding: plan.depth - freeEntries.count)
          guard let due, due <= now, let grains = submitNext(due, now) else { break }
          pacing.submitted(bytes: grains * plan.sizes.grain)
          submitted += 1
        }
      }
      var progress = false
      while let completion = host.next() {
        progress = true
        let answeredAt = monotonicNanoseconds()
        let at = issued[Int(completion.cookie)].at
        complete(completion, answeredAt)
        search?.record(submittedAt: at, latency: answeredAt &- at)
      }
      if progress { patience.answeredAt = now }
      turns += 1
      if turns & 0xff == 0 || !progress {
        if isRamp, now - start >= plan.rampNanoseconds {
          isRamp = false
          countedSince = now
          result.endRamp()
          recorder = plan.recording.map { Recorder($0, start: now) }
        }
        recorder?.advance(to: now)
        if search != nil {
          search?.look(at: now)
          result.latencyTarget = search?.result
          if let search, search.isComplete, plan.latencyTarget?.goesOn == false { isStopping = true }
        }
        let isOver = now - start >= plan.rampNanoseconds &+ plan.nanoseconds || submitted >= requestsMax
        if isOver || result.mismatch != nil { isStopping = true }
        switch report(moment(now - start)) {
        case .goOn: break
        case .finish: isStopping = true
        case .abandon:
          result.unanswered = host.outstanding
          return ended(at: patience.answeredAt, since: countedSince)
        }
        if let dead = try kill(now - start) { noteDeath(of: dead) }
      }
      if isStopping && host.outstanding == 0 { break }
      if !progress {
        result.loss = patience.exhaustion(host, at: now, isFinishing: isStopping)
        if result.loss != nil {
          result.unanswered = host.outstanding
          return ended(at: patience.answeredAt, since: countedSince)
        }
        wait(until: isStopping ? nil : due, at: now)
      }
    }
    return ended(at: now, since: countedSince)
  }

  /// The longest wait in the loop.
  private static let waitNanosecondsMax: UInt64 = 20_000_000
  /// A sleep lasts this much longer than it was asked to: 50 us of timer slack (prctl(2), PR_SET_TIMERSLACK) and a
  /// wake-up. So the last stretch before a request is due is not slept.
  private static let sleepOverrun: UInt64 = 80_000

  /// Waits for an answer, or until shortly before the next request is due.
  private mutating func wait(until due: UInt64?, at now: UInt64) {
    guard let due, due > now else { return host.wait(nanoseconds: Int64(Self.waitNanosecondsMax)) }
    let left = due - now
    if left > Self.sleepOverrun {
      host.wait(nanoseconds: Int64(min(left - Self.sleepOverrun, Self.waitNanosecondsMax)))
    } else {
      // The controllers may be on this core.
      sched_yield()
    }
  }

  /// Its result until a moment.
  private mutating func ended(at end: UInt64, since start: UInt64) -> WorkloadResult {
    result.nanoseconds = end > start ? end - start : 0
    result.rerouted = host.rerouted
    do { try iolog?.finish(at: max(end, start)) } catch { result.logFailure = error }
    iolog = nil
    recorder?.finish(at: max(end, start))
    result.recorder = recorder
    recorder = nil
    return result
  }

  private func moment(_ nanoseconds: UInt64) -> WorkloadMoment {
    WorkloadMoment(
      requests: result.requests, nanoseconds: nanoseconds, outstanding: host.outstanding,
      isServed: host.isAttached(to: .a) || host.isAttached(to: .b))
  }

  /// A controller has just been killed: watches the requests that are outstanding there.
  private mutating func noteDeath(of controller: ControllerIdentity) {
    diedAt = monotonicNanoseconds()
    var isFree = [Bool](repeating: false, count: issued.count)
    for entry in freeEntries { isFree[entry] = true }
    var pause = Pause()
    for entry in issued.indices {
      issued[entry].isWaiting = !isFree[entry] && issued[entry].controller == controller
      if issued[entry].isWaiting { pause.waiting += 1 }
    }
    result.pause = pause
  }

  private mutating func noteAnswer(_ now: UInt64) {
    guard var pause = result.pause else { return }
    pause.answered += 1
    pause.lastNanoseconds = now - diedAt
    if pause.answered == 1 { pause.firstNanoseconds = pause.lastNanoseconds }
    result.pause = pause
  }

  /// Submits the next request, which is due at that time.
  ///
  /// - Returns: its grains; nil if no request could be made now.
  private mutating func submitNext(_ due: UInt64, _ now: UInt64) -> Int? {
    guard let wanted = nextWanted() else { return nil }
    let entry = freeEntries[freeEntries.count - 1]
    let place = grains.place(of: wanted.grain)
    if plan.verifies { stamp(wanted, place, entry) }
    let controller = plan.path.controller(number)
    let request = Request(
      wanted.isRead ? .read : .write, unit: place.unit, offset: place.block * UInt64(plan.sizes.grain),
      length: UInt64(wanted.grains * plan.sizes.grain), buffer: UInt64(entry * bufferSize))
    guard host.submit(request, to: controller, cookie: UInt64(entry)) else { return nil }
    number &+= 1
    replayed += 1
    freeEntries.removeLast()
    iolog?.append(
      at: now, isRead: wanted.isRead, target: grains.target(of: wanted.grain), offset: request.offset,
      length: wanted.grains * plan.sizes.grain)
    if plan.verifies { for grain in wanted.grain..<wanted.grain + wanted.grains { busy.insert(grain) } }
    issued[entry] = Issued(
      controller: controller, isRead: wanted.isRead, grain: wanted.grain, grains: wanted.grains, at: due)
    if plan.isOpenLoop { result.lateness.record(now &- due) }
    return wanted.grains
  }

  /// The next request; nil if there is none now.
  private mutating func nextWanted() -> WantedRequest? {
    if let replay = plan.replay {
      // In the order of the log: one whose blocks are in use is waited for, and those behind it with it.
      let step = replay.steps[replayed]
      let grain = grains.grain(step.grain, of: step.target)
      if plan.verifies, isBusy(grain, step.grains) { return nil }
      return WantedRequest(isRead: step.isRead, grain: grain, grains: step.grains)
    }
    guard plan.verifies else { return mix.next(grains) { _, _ in true } }
    return mix.next(grains) { [busy] grain, grains in !(grain..<grain + grains).contains { busy.contains($0) } }
  }

  private func isBusy(_ grain: Int, _ grains: Int) -> Bool {
    (grain..<grain + grains).contains { busy.contains($0) }
  }

  private mutating func complete(_ completion: Completion, _ now: UInt64) {
    let entry = Int(completion.cookie)
    let request = issued[entry]
    if request.isWaiting {
      issued[entry].isWaiting = false
      if completion.service.controller != request.controller { noteAnswer(now) }
    }
    freeEntries.append(entry)
    let isSuccess = completion.status == .success
    let bytes = isSuccess ? UInt64(request.grains * plan.sizes.grain) : 0
    recorder?.record(now &- request.at, bytes: bytes, isRead: request.isRead, at: now)
    if request.isRead {
      result.reads.record(now &- request.at, bytes: bytes)
    } else {
      result.writes.record(now &- request.at, bytes: bytes)
    }
    if completion.service.controller == .a { result.servedByA += 1 } else { result.servedByB += 1 }
    if completion.service.isTransferred { result.transferred += 1 }
    if !isSuccess { result.errors[completion.status, default: 0] += 1 }
    guard plan.verifies else { return }
    for grain in request.grain..<request.grain + request.grains { busy.remove(grain) }
    settle(request, entry, isSuccess: isSuccess)
  }
}
