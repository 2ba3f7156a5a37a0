import Baton
import BatonSharedMemory
import BatonSystem

/// The part of a unit that a workload uses.
package struct WorkloadTarget {
  package let unit: UInt32
  package let size: UInt64

  package init(unit: UInt32, size: UInt64) {
    self.unit = unit
    self.size = size
  }
}

/// The load to put on the units.
package struct WorkloadPlan {
  package var pattern = AccessPattern.randrw
  package var readPercent = 50
  package var blockSize = 4096
  package var depth = 32
  package var nanoseconds: UInt64 = 10_000_000_000
  package var requestsMax = UInt64.max
  package var path = PathChoice.both
  package var verifies = false
  package var targets: [WorkloadTarget] = []
  package var seed: UInt64 = 1

  package init() {}
}

/// The result.
package struct WorkloadResult {
  package var requests: UInt64 = 0
  package var reads: UInt64 = 0
  package var writes: UInt64 = 0
  package var bytes: UInt64 = 0
  package var servedByA: UInt64 = 0
  package var servedByB: UInt64 = 0
  package var transferred: UInt64 = 0
  package var errors: [Status: UInt64] = [:]
  package var verifiedReads: UInt64 = 0
  package var mismatch: String?
  package var nanoseconds: UInt64 = 0
  package var rerouted: UInt64 = 0
  package var latencies = Latencies()
  package var pause: Pause?
  /// The reason why no controller was left: the subsystem is gone, or nobody serves it. All figures are until then.
  package var loss: BatonError?
  /// Requests without an answer when it ended.
  package var unanswered = 0

  /// The error that ended it: no controller was left, or the most frequent error of the requests; nil: none.
  package var failure: BatonError? {
    if let loss { return loss }
    guard let (status, count) = errors.max(by: { $0.value < $1.value }) else { return nil }
    return BatonError(.system, "\(count) of \(requests) requests", "ended with: \(status)")
  }
}

/// A host's view of a controller's death: how long its outstanding requests there waited.
package struct Pause: Encodable {
  /// Requests that were outstanding at the controller when it died, as far as the host knew.
  package var waiting = 0
  /// Of those, answered by the peer so far; the rest the dead controller had answered itself, at its last.
  package var answered = 0
  /// From the death to the first of the peer's answers, and to the last so far.
  package var firstNanoseconds: UInt64 = 0
  package var lastNanoseconds: UInt64 = 0
}

/// The caller's decision whether a workload continues.
package enum WorkloadStep {
  case goOn
  /// Submit nothing more, and wait for what is outstanding.
  case finish
  /// Wait for nothing.
  case abandon
}

/// The progress of a workload.
package struct WorkloadMoment {
  package let requests: UInt64
  package let nanoseconds: UInt64
  package let outstanding: Int
  /// Whether this host is attached to any controller.
  package let isServed: Bool
}

/// Whether there is still a controller to wait for.
private struct AnswerWait {
  /// The time of the last answer.
  var answeredAt = monotonicNanoseconds()
  /// The time since which this host is attached to neither controller; 0: it is attached.
  private var desertedAt: UInt64 = 0

  /// Longer than the restart of a controller on a busy machine.
  static let desertedNanosecondsMax: UInt64 = 5_000_000_000
  /// Longer than the slowest disks take, a takeover included.
  static let silentNanosecondsMax: UInt64 = 30_000_000_000

  /// The error when there is no controller to wait for any more. If a host `isFinishing`, its time is over, and it
  /// waits only for the last answers.
  mutating func exhaustion(_ host: borrowing Host, at now: UInt64, isFinishing: Bool) -> BatonError? {
    if let loss = host.subsystemLoss { return loss }
    if host.isAttached(to: .a) || host.isAttached(to: .b) {
      desertedAt = 0
    } else if desertedAt == 0 {
      desertedAt = now
    } else if now &- desertedAt >= Self.desertedNanosecondsMax {
      return BatonError(
        .missing, "controllers", "neither has served this host for \(Figure.duration(Self.desertedNanosecondsMax))",
        fix: "start them again")
    }
    if isFinishing, now &- max(answeredAt, 1) >= Self.silentNanosecondsMax {
      return BatonError(
        .missing, "controllers",
        "have not answered \(host.outstanding) requests for \(Figure.duration(Self.silentNanosecondsMax))",
        fix: "see what they wait for ('baton status')")
    }
    return nil
  }
}

/// One host that keeps `depth` requests outstanding, and checks what it reads if asked to.
///
/// Verification: a block is never in two requests at once, so a read must find exactly what the last answered write
/// left, whichever controllers served the two. Blocks that this run has not written are not checked.
package struct Workload: ~Copyable {
  private let plan: WorkloadPlan
  private var random: SplitMix64
  private var host: Host
  private var result = WorkloadResult()
  // One entry a request that can be outstanding; its number is the cookie, and its buffer in the arena.
  private var issued: [Issued]
  private var freeEntries: [Int]
  /// Blocks of each target, in a row.
  private let firstBlock: [Int]
  private let totalBlocks: UInt64
  /// The last write of each block that was answered, where this run has written it. A unit may have more blocks than
  /// there is memory.
  private var written: [Int: UInt32] = [:]
  /// Blocks of outstanding requests.
  private var busy: Set<Int> = []
  private var cursor: UInt64 = 0
  private var number: UInt64 = 0
  private var diedAt: UInt64 = 0
  /// Blocks that `verifyAll` has found correct.
  package private(set) var blocksVerified: UInt64 = 0

  private struct Issued {
    var controller = ControllerIdentity.a
    /// Requests that were outstanding at a controller when it died.
    var isWaiting = false
    var block = 0
    var target = 0
    var isRead = false
    var sequence: UInt32 = 0
    var at: UInt64 = 0
  }

  /// Attaches a host and prepares everything that the loop needs.
  package init(_ plan: WorkloadPlan, of subsystem: Subsystem, waiting: WaitStrategy = .standard) throws {
    var options = HostOptions()
    options.waiting = waiting
    // A line is reserved, and a chain of lines is a power of two.
    options.linesPerChannel = 4
    while options.linesPerChannel <= plan.depth { options.linesPerChannel *= 2 }
    options.arenaSize = (UInt64(plan.depth * plan.blockSize) + 4095) & ~4095
    var host = try Host(of: subsystem, options: options)
    try host.waitUntilAttached()
    self.init(plan, host)
  }

  private init(_ plan: WorkloadPlan, _ host: consuming Host) {
    self.plan = plan
    self.host = host
    random = SplitMix64(seed: plan.seed)
    issued = Array(repeating: Issued(), count: plan.depth)
    freeEntries = Array((0..<plan.depth).reversed())
    var first: [Int] = []
    var total = 0
    for target in plan.targets {
      first.append(total)
      total += Int(target.size / UInt64(plan.blockSize))
    }
    firstBlock = first
    totalBlocks = UInt64(total)
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
    var patience = AnswerWait()
    var isStopping = false
    var turns = 0
    var submitted: UInt64 = 0
    while true {
      now = monotonicNanoseconds()
      if !isStopping {
        while !freeEntries.isEmpty, submitted < plan.requestsMax, submitNext(now) { submitted += 1 }
      }
      var progress = false
      while let completion = host.next() {
        progress = true
        complete(completion, monotonicNanoseconds())
      }
      if progress { patience.answeredAt = now }
      turns += 1
      if turns & 0xff == 0 || !progress {
        if now - start >= plan.nanoseconds || submitted >= plan.requestsMax || result.mismatch != nil {
          isStopping = true
        }
        switch report(moment(now - start)) {
        case .goOn: break
        case .finish: isStopping = true
        case .abandon:
          result.unanswered = host.outstanding
          return ended(at: patience.answeredAt, since: start)
        }
        if let dead = try kill(now - start) { noteDeath(of: dead) }
      }
      if isStopping && host.outstanding == 0 { break }
      if !progress {
        result.loss = patience.exhaustion(host, at: now, isFinishing: isStopping)
        if result.loss != nil {
          result.unanswered = host.outstanding
          return ended(at: patience.answeredAt, since: start)
        }
        host.wait(nanoseconds: 20_000_000)
      }
    }
    return ended(at: now, since: start)
  }

  /// Its result until a moment.
  private mutating func ended(at end: UInt64, since start: UInt64) -> WorkloadResult {
    result.nanoseconds = end > start ? end - start : 0
    result.rerouted = host.rerouted
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

  /// False if no request could be made now.
  private mutating func submitNext(_ now: UInt64) -> Bool {
    guard let block = chooseBlock() else { return false }
    let entry = freeEntries[freeEntries.count - 1]
    var target = 0
    while target + 1 < firstBlock.count, block >= firstBlock[target + 1] { target += 1 }
    let isRead = plan.pattern.reads(&random, percent: plan.readPercent)
    let local = block - firstBlock[target]
    let buffer = entry * plan.blockSize
    var sequence: UInt32 = 0
    if plan.verifies {
      sequence = written[block, default: 0] &+ (isRead ? 0 : 1)
      if !isRead {
        Stamp(unit: plan.targets[target].unit, block: UInt64(local), sequence: sequence)
          .write(host.arena.baseAddress! + buffer, count: plan.blockSize)
      }
    }
    let request = Request(
      isRead ? .read : .write, unit: plan.targets[target].unit, offset: UInt64(local * plan.blockSize),
      length: UInt64(plan.blockSize), buffer: UInt64(buffer))
    guard host.submit(request, to: plan.path.controller(number), cookie: UInt64(entry)) else { return false }
    number &+= 1
    freeEntries.removeLast()
    if plan.verifies { busy.insert(block) }
    issued[entry] = Issued(
      controller: plan.path.controller(number &- 1), block: block, target: target, isRead: isRead, sequence: sequence,
      at: now)
    return true
  }

  /// A block that no outstanding request has; nil if none is found at once.
  private mutating func chooseBlock() -> Int? {
    for _ in 0..<64 {
      let block: Int
      if plan.pattern.isRandom {
        block = Int(random.below(totalBlocks))
      } else {
        block = Int(cursor)
        cursor = cursor + 1 < totalBlocks ? cursor + 1 : 0
      }
      if !plan.verifies || !busy.contains(block) { return block }
    }
    return nil
  }

  private mutating func complete(_ completion: Completion, _ now: UInt64) {
    let entry = Int(completion.cookie)
    let request = issued[entry]
    if request.isWaiting {
      issued[entry].isWaiting = false
      if completion.service.controller != request.controller { noteAnswer(now) }
    }
    freeEntries.append(entry)
    result.requests += 1
    result.latencies.record(now &- request.at)
    if completion.service.controller == .a { result.servedByA += 1 } else { result.servedByB += 1 }
    if completion.service.isTransferred { result.transferred += 1 }
    if request.isRead { result.reads += 1 } else { result.writes += 1 }
    if plan.verifies { busy.remove(request.block) }
    guard completion.status == .success else {
      result.errors[completion.status, default: 0] += 1
      // The block's content after a failed write is unknown.
      if plan.verifies, !request.isRead { written[request.block] = nil }
      return
    }
    result.bytes += UInt64(plan.blockSize)
    guard plan.verifies else { return }
    if request.isRead {
      if request.sequence > 0 {
        result.verifiedReads += 1
        check(request, entry)
      }
    } else {
      written[request.block] = request.sequence
    }
  }

  /// Whether a block that was read holds what was written there last.
  @discardableResult
  private mutating func check(_ request: Issued, _ entry: Int) -> Bool {
    let unit = plan.targets[request.target].unit
    let local = request.block - firstBlock[request.target]
    let stamp = Stamp(unit: unit, block: UInt64(local), sequence: request.sequence)
    guard let mismatch = stamp.mismatch(host.arena.baseAddress! + entry * plan.blockSize, count: plan.blockSize) else {
      return true
    }
    if result.mismatch == nil { result.mismatch = Self.name(unit, local, plan.blockSize) + ": \(mismatch)" }
    return false
  }

  package static func name(_ unit: UInt32, _ block: Int, _ blockSize: Int) -> String {
    "unit \(unit) block \(block) (bytes \(block * blockSize) to \((block + 1) * blockSize - 1))"
  }

  /// Reads every block again that this run has written, each through the other controller than its neighbour, and
  /// checks it. `report` is called now and then, and may end it early.
  ///
  /// - Returns: blocks checked.
  /// - Throws: `VerificationFailure` if one is not as it was written, `BatonError` if one cannot be read or no
  ///   controller is left.
  @discardableResult
  package mutating func verifyAll(_ report: () -> WorkloadStep = { .goOn }) throws -> UInt64 {
    precondition(plan.verifies, "nothing was stamped")
    var failure: BatonError?
    var patience = AnswerWait()
    let blocks = written.keys.sorted()
    var next = 0
    var outstanding = 0
    var turns = 0
    var isStopping = false
    while next < blocks.count && !isStopping || outstanding > 0 {
      while next < blocks.count, let entry = freeEntries.last, !isStopping {
        let block = blocks[next]
        var target = 0
        while target + 1 < firstBlock.count, block >= firstBlock[target + 1] { target += 1 }
        let request = Request(
          .read, unit: plan.targets[target].unit, offset: UInt64((block - firstBlock[target]) * plan.blockSize),
          length: UInt64(plan.blockSize), buffer: UInt64(entry * plan.blockSize))
        guard host.submit(request, to: next & 1 == 0 ? .a : .b, cookie: UInt64(entry)) else { break }
        freeEntries.removeLast()
        issued[entry] = Issued(block: block, target: target, isRead: true, sequence: written[block, default: 0], at: 0)
        next += 1
        outstanding += 1
      }
      var progress = false
      while let completion = host.next() {
        progress = true
        outstanding -= 1
        let entry = Int(completion.cookie)
        freeEntries.append(entry)
        if completion.status == .success {
          if check(issued[entry], entry) { blocksVerified += 1 }
        } else {
          let request = issued[entry]
          let unit = plan.targets[request.target].unit
          failure = BatonError(
            .system, Self.name(unit, request.block - firstBlock[request.target], plan.blockSize),
            "cannot be read: \(completion.status)")
        }
      }
      if result.mismatch != nil || failure != nil { isStopping = true }
      let now = monotonicNanoseconds()
      if progress { patience.answeredAt = now }
      turns += 1
      if turns & 0xff == 0 || !progress {
        switch report() {
        case .goOn: break
        case .finish: isStopping = true
        case .abandon: return blocksVerified
        }
      }
      if !progress {
        if let loss = patience.exhaustion(host, at: now, isFinishing: true) { throw loss }
        host.wait(nanoseconds: 20_000_000)
      }
    }
    if let mismatch = result.mismatch { throw VerificationFailure(description: mismatch) }
    if let failure { throw failure }
    return blocksVerified
  }
}
