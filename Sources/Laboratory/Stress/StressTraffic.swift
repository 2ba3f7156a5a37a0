import Baton
import BatonCommandKit
import BatonSharedMemory
import BatonSubsystem
import BatonSystem

/// The hosts of `baton stress` and their requests.
struct StressPlan {
  /// When it was made, for the report.
  let started = JSONReport.now
  /// Hosts, all in this process and on this thread.
  var hosts = 2
  /// Requests that each keeps outstanding.
  var depth = 32
  /// Bytes of a block; a request is one block.
  var blockSize = 4096
  /// Units that hold blocks.
  var units: [StressUnit] = []
  /// The first unit that is for management alone: one a host.
  var firstManagedUnit: UInt32 = 0
  /// Whether a read may find a sector that is just being written half and half.
  var tearsSectors = false
  /// Of all choices.
  var seed: UInt64 = 1

  /// Blocks of a unit that only one host uses, and blocks that all use: so few that each is written again at once.
  static let ownBlocks = 32
  static let sharedBlocks = 16
  /// Requests outstanding at one shared block, of each sort: more would let nearly every answer pass.
  static let sharedRequestsMax = 3

  /// Blocks of a unit.
  var blocks: Int { hosts * Self.ownBlocks + Self.sharedBlocks }
  /// The smallest unit that does.
  var unitSize: UInt64 { (UInt64(blocks * blockSize) + 65535) & ~65535 }
}

/// A unit that hosts read and write.
struct StressUnit {
  /// Its number.
  let number: UInt32
  /// Its file.
  let path: String
  /// Whether it answers with errors on purpose.
  let mayFail: Bool
}

/// Sorts of requests, as the report counts them.
enum StressRequest: String, CaseIterable {
  case read, write, durableWrite, writeZeroes, discard, flush, setState, queryState, identify
}

/// What all hosts share: the order of events, what every block may hold, and what was found to be wrong.
final class StressLedger {
  let plan: StressPlan
  /// The correct contents of each block, unit by unit.
  var blocks: [BlockHistory]
  /// Answers, by sort of request.
  var answers: [StressRequest: UInt64] = [:]
  /// Errors that a unit gave on purpose.
  var plannedErrors: UInt64 = 0
  /// Blocks that were read and compared.
  var readsChecked: UInt64 = 0
  /// Reads that found sectors of several writes under way.
  var mixedReads: UInt64 = 0
  /// The first thing that was wrong.
  private(set) var violation: String?
  /// The block that it was about, if it was about one, what it held and what it should have held.
  private(set) var evidence: StressEvidence?
  /// The last operations on each block.
  private(set) var operations: [OperationTrail]
  /// The fault that was last done, for messages.
  var lastFault = "no fault yet"
  /// Of the subsystem, from the first `identify`.
  var generation: UInt64?
  private var moment: UInt64 = 0

  init(_ plan: StressPlan) {
    self.plan = plan
    blocks = Array(
      repeating: BlockHistory(tearsSectors: plan.tearsSectors), count: plan.units.count * plan.blocks)
    operations = Array(repeating: OperationTrail(), count: plan.units.count * plan.blocks)
  }

  /// The next moment: submissions and answers are ordered by it.
  func tick() -> UInt64 {
    moment += 1
    return moment
  }

  /// Something is wrong. The first one counts: what follows from it may be its consequence.
  func accuse(_ what: @autoclosure () -> String, _ evidence: @autoclosure () -> StressEvidence? = nil) {
    if violation != nil { return }
    violation = "\(what()); after \(lastFault), seed \(plan.seed)"
    self.evidence = evidence()
  }

  /// An operation on a block is over.
  func note(_ operation: StressOperation, _ target: Int, _ block: Int) {
    operations[index(target, block)].append(operation)
  }

  /// The index of a block's history.
  func index(_ target: Int, _ block: Int) -> Int { target * plan.blocks + block }

  /// A block, for messages.
  func name(_ target: Int, _ block: Int) -> String {
    "unit \(plan.units[target].number) block \(block) (\(plan.blockSize) bytes each)"
  }

  /// Judges what a read has found, and returns it.
  @discardableResult
  func judge(
    _ target: Int, _ block: Int, submittedAt: UInt64, at now: UInt64, _ address: UnsafeRawPointer,
    by reader: @autoclosure () -> String
  ) -> [Stamp.Content] {
    let found = Stamp.contents(
      unit: plan.units[target].number, block: UInt64(block), at: address, count: plan.blockSize)
    readsChecked += 1
    if found.count > 1 { mixedReads += 1 }
    let history = index(target, block)
    if let wrong = blocks[history].endRead(submittedAt: submittedAt, at: now, found: found) {
      accuse(
        "\(name(target, block)): \(wrong) (\(reader()))",
        StressEvidence(
          target: target, block: block, expected: blocks[history].expectation ?? "", found: found,
          bytes: Array(UnsafeRawBufferPointer(start: address, count: plan.blockSize))))
    }
    return found
  }
}

/// One host of `baton stress`: keeps requests outstanding, checks every answer, every block that it reads, and that
/// nobody writes into a buffer that is not his.
///
/// Each request has a buffer of its own. Between two requests it holds a stamp that belongs to no unit, and rests: a
/// transfer that comes too late is found when the buffer is used again.
final class StressHost {
  private let number: Int
  private let ledger: StressLedger
  private let plan: StressPlan
  private var host: Host
  private var random: SplitMix64
  private var entries: [Entry]
  /// Buffers that rest, the longest first; a ring.
  private var resting: [Int]
  private var restingHead = 0
  private var restingCount: Int
  private var outstanding = 0
  /// What the unit that only this host manages was set to last, and whether a request of management is under way.
  private var lastState = UnitState.online
  private var isManaging = false
  /// How many times it was set.
  private var statesSet: UInt64 = 0
  /// Whether new requests are made.
  var isSubmitting = true

  // The fault that is being measured.
  private var fault: UInt64 = 0
  private var faultAt: UInt64 = 0
  /// Requests that were outstanding at the fault and still are.
  private(set) var caught = 0
  /// From the fault to the first answer after it, and to the last one of those that were outstanding.
  private(set) var firstAnswer: UInt64?
  private(set) var lastAnswer: UInt64 = 0
  /// Whether a request that was submitted after the fault has been answered.
  private(set) var goesOn = true

  private struct Entry {
    var isOutstanding = false
    var kind = StressRequest.read
    var target = 0
    var block = 0
    /// Of a write.
    var sequence: UInt32 = 0
    /// The moment, and the time.
    var submittedAt: UInt64 = 0
    var at: UInt64 = 0
    var path = ControllerIdentity.a
    /// How often the buffer was used, so that a second answer is told from the first.
    var use: UInt32 = 0
    /// The last fault before the submission.
    var fault: UInt64 = 0
    var state = UnitState.online
  }

  /// Buffers for each request that can be outstanding: half of them rest.
  private static let buffersPerRequest = 2

  /// Attaches to both controllers.
  init(_ number: Int, _ ledger: StressLedger, of subsystem: Subsystem) throws {
    self.number = number
    self.ledger = ledger
    plan = ledger.plan
    random = SplitMix64(seed: plan.seed &+ UInt64(number) &* 0x9e37_79b9)
    let count = plan.depth * Self.buffersPerRequest
    var options = HostOptions()
    options.linesPerChannel = 4
    while options.linesPerChannel <= plan.depth { options.linesPerChannel *= 2 }
    options.arenaSize = (UInt64(count * plan.blockSize) + 4095) & ~4095
    var host = try Host(of: subsystem, options: options)
    try host.waitUntilAttached()
    self.host = host
    entries = Array(repeating: Entry(), count: count)
    resting = Array(0..<count)
    restingCount = count
    for entry in 0..<count { guardBuffer(entry) }
  }

  private func buffer(_ entry: Int) -> UnsafeMutableRawPointer {
    host.arena.baseAddress! + entry * plan.blockSize
  }

  private func guardStamp(_ entry: Int) -> Stamp {
    Stamp(unit: Stamp.guardUnit + UInt32(number), block: UInt64(entry), sequence: entries[entry].use)
  }

  private func guardBuffer(_ entry: Int) { guardStamp(entry).write(buffer(entry), count: plan.blockSize) }

  /// Nobody has written into a buffer since its request was answered.
  private func checkGuard(_ entry: Int) {
    guard let mismatch = guardStamp(entry).mismatch(buffer(entry), count: plan.blockSize) else { return }
    let last = entries[entry]
    ledger.accuse(
      "host \(number): buffer \(entry) was changed after its request had been answered"
        + " (\(last.kind.rawValue) of \(describe(last))): \(mismatch)",
      StressEvidence(target: last.target, block: last.block))
  }

  /// An answer about a block, for the trail of that block.
  private func note(_ entry: Entry, _ completion: Completion, _ moment: UInt64, found: [Stamp.Content] = []) {
    var operation = describeOperation(entry)
    operation.answer = .init(
      moment: moment, at: monotonicNanoseconds(), status: completion.status, service: completion.service, found: found)
    ledger.note(operation, entry.target, entry.block)
  }

  private func describeOperation(_ entry: Entry) -> StressOperation {
    StressOperation(
      host: number, kind: entry.kind, sequence: entry.sequence, path: entry.path, moment: entry.submittedAt,
      at: entry.at)
  }

  /// This host's outstanding requests on a block.
  func outstanding(_ target: Int, _ block: Int) -> [StressOperation] {
    entries.filter { entry in
      let isOfBlock = [.read, .write, .durableWrite, .writeZeroes, .discard].contains(entry.kind)
      return entry.isOutstanding && isOfBlock && entry.target == target && entry.block == block
    }.map { describeOperation($0) }
  }

  private func describe(_ entry: Entry) -> String {
    switch entry.kind {
    case .read, .write, .durableWrite, .writeZeroes, .discard: "\(ledger.name(entry.target, entry.block))"
    case .flush: "unit \(plan.units[entry.target].number)"
    case .setState, .queryState: "unit \(managedUnit)"
    case .identify: "the subsystem"
    }
  }

  private var managedUnit: UInt32 { plan.firstManagedUnit + UInt32(number) }

  // MARK: The turn

  /// Submits what there is room for and takes what has been answered. Returns how much happened.
  func turn(_ now: UInt64) -> Int {
    var work = 0
    if isSubmitting {
      // A block may be in use, or a controller away: so many attempts, then again in the next turn.
      var attempts = plan.depth
      while outstanding < plan.depth, attempts > 0 {
        if submitNext(now) { work += 1 }
        attempts -= 1
      }
    }
    while let completion = host.next() {
      work += 1
      complete(completion, monotonicNanoseconds())
    }
    if host.strayAnswers > 0 { ledger.accuse("host \(number): an answer to another request than its line's") }
    return work
  }

  /// Requests that are not answered.
  var outstandingCount: Int { outstanding }

  /// Looks after the connections.
  func maintain() { host.maintain() }

  private func submitNext(_ now: UInt64) -> Bool {
    guard restingCount > 0 else { return false }
    let entry = resting[restingHead]
    var next = Entry()
    next.use = entries[entry].use &+ 1
    next.at = now
    next.fault = fault
    next.path = random.below(2) == 0 ? .a : .b
    guard host.room(to: next.path) > 0 || host.room(to: next.path.peer) > 0 else { return false }
    next.kind = chooseKind()
    next.target = Int(random.below(UInt64(plan.units.count)))
    guard let request = prepare(&next, entry) else { return false }
    next.isOutstanding = true
    guard host.submit(request, to: next.path, cookie: UInt64(next.use) << 32 | UInt64(entry)) else {
      // There was room: only the ledger has begun, and it ends as what was never done.
      withdraw(next)
      return false
    }
    entries[entry] = next
    restingHead = (restingHead + 1) % resting.count
    restingCount -= 1
    outstanding += 1
    return true
  }

  private func chooseKind() -> StressRequest {
    switch random.below(200) {
    case ..<94: .read
    case ..<166: .write
    case ..<180: .durableWrite
    case ..<186: .writeZeroes
    case ..<189: .discard
    case ..<192: .flush
    case ..<195: .setState
    case ..<199: .queryState
    default: .identify
    }
  }

  /// Begins a request in the ledger and in its buffer; nil where it cannot be made now.
  private func prepare(_ next: inout Entry, _ entry: Int) -> Request? {
    let isManagement = next.kind == .setState || next.kind == .queryState || next.kind == .identify
    if isManagement {
      if isManaging { return nil }
    } else if next.kind != .flush {
      guard chooseBlock(&next) else { return nil }
    }
    checkGuard(entry)
    let unit = plan.units[next.target].number
    let offset = UInt64(next.block * plan.blockSize)
    let length = UInt64(plan.blockSize)
    let place = UInt64(entry * plan.blockSize)
    let history = ledger.index(next.target, next.block)
    next.submittedAt = ledger.tick()
    switch next.kind {
    case .read:
      ledger.blocks[history].beginRead(at: next.submittedAt)
      return Request(.read, unit: unit, offset: offset, length: length, buffer: place)
    case .write, .durableWrite:
      next.sequence = ledger.blocks[history].beginWrite(isZero: false, at: next.submittedAt)
      stamp(next).write(buffer(entry), count: plan.blockSize)
      return Request(
        .write, unit: unit, offset: offset, length: length, buffer: place, isDurable: next.kind == .durableWrite)
    case .writeZeroes, .discard:
      next.sequence = ledger.blocks[history].beginWrite(isZero: true, at: next.submittedAt)
      return Request(next.kind == .discard ? .discard : .writeZeroes, unit: unit, offset: offset, length: length)
    case .flush: return Request(.flush, unit: unit)
    case .setState:
      isManaging = true
      next.state = UnitState(rawValue: random.below(3)) ?? .online
      return Request(.setUnitState, unit: managedUnit, offset: next.state.rawValue)
    case .queryState:
      isManaging = true
      return Request(.unitState, unit: managedUnit)
    case .identify:
      isManaging = true
      return Request(.identify, length: StressIdentity.count, buffer: place)
    }
  }

  private func stamp(_ entry: Entry) -> Stamp {
    Stamp(unit: plan.units[entry.target].number, block: UInt64(entry.block), sequence: entry.sequence)
  }

  /// One of this host's own blocks, or one that all share.
  private func chooseBlock(_ next: inout Entry) -> Bool {
    let isShared = random.below(4) == 0
    next.block =
      isShared
      ? plan.hosts * StressPlan.ownBlocks + Int(random.below(UInt64(StressPlan.sharedBlocks)))
      : number * StressPlan.ownBlocks + Int(random.below(UInt64(StressPlan.ownBlocks)))
    let history = ledger.blocks[ledger.index(next.target, next.block)]
    if next.kind == .read { return history.readsOutstanding < StressPlan.sharedRequestsMax }
    return history.writesOutstanding < (isShared ? StressPlan.sharedRequestsMax : 1)
  }

  private func withdraw(_ next: Entry) {
    let history = ledger.index(next.target, next.block)
    switch next.kind {
    case .read: ledger.blocks[history].cancelRead(submittedAt: next.submittedAt, at: ledger.tick())
    case .write, .durableWrite, .writeZeroes, .discard:
      ledger.blocks[history].endWrite(next.sequence, at: ledger.tick(), isCertain: false)
    case .setState, .queryState, .identify: isManaging = false
    case .flush: break
    }
  }

  // MARK: Answers

  private func complete(_ completion: Completion, _ now: UInt64) {
    let index = Int(completion.cookie & 0xffff_ffff)
    guard index < entries.count, entries[index].isOutstanding,
      UInt64(entries[index].use) == completion.cookie >> 32
    else {
      return ledger.accuse("host \(number): an answer that nobody waits for, or a second one (buffer \(index))")
    }
    let entry = entries[index]
    entries[index].isOutstanding = false
    outstanding -= 1
    ledger.answers[entry.kind, default: 0] += 1
    measure(entry, now)
    let moment = ledger.tick()
    if completion.status == .success {
      succeed(entry, index, completion, moment)
    } else {
      fail(entry, completion, moment)
    }
    guardBuffer(index)
    resting[(restingHead + restingCount) % resting.count] = index
    restingCount += 1
  }

  private func succeed(_ entry: Entry, _ index: Int, _ completion: Completion, _ moment: UInt64) {
    let history = ledger.index(entry.target, entry.block)
    switch entry.kind {
    case .read:
      let found = ledger.judge(
        entry.target, entry.block, submittedAt: entry.submittedAt, at: moment, buffer(index),
        by: "host \(number), read served by \(completion.service.controller) in term \(completion.service.term)")
      note(entry, completion, moment, found: found)
    case .write, .durableWrite:
      note(entry, completion, moment)
      ledger.blocks[history].endWrite(entry.sequence, at: moment, isCertain: true)
      if let mismatch = stamp(entry).mismatch(buffer(index), count: plan.blockSize) {
        ledger.accuse("host \(number): buffer \(index) was changed while a write used it: \(mismatch)")
      }
    case .writeZeroes:
      note(entry, completion, moment)
      ledger.blocks[history].endWrite(entry.sequence, at: moment, isCertain: true)
    case .discard:
      note(entry, completion, moment)
      ledger.blocks[history].endWrite(entry.sequence, at: moment, isCertain: false)
    case .flush: break
    case .setState, .queryState:
      isManaging = false
      let wanted = entry.kind == .setState ? entry.state : lastState
      if completion.value != wanted.rawValue {
        ledger.accuse(
          "unit \(managedUnit): \(entry.kind.rawValue) answered \(Self.describe(completion.value)) where "
            + "\(wanted) was set last")
      }
      lastState = wanted
      if entry.kind == .setState { statesSet += 1 }
    case .identify:
      isManaging = false
      let identity = StressIdentity(buffer(index))
      if let generation = ledger.generation, generation != identity.generation || !identity.isSound {
        ledger.accuse("identify answered what is not this subsystem")
      }
      ledger.generation = identity.generation
    }
  }

  private static func describe(_ state: UInt64) -> String { UnitState(rawValue: state).map { "\($0)" } ?? "\(state)" }

  private func fail(_ entry: Entry, _ completion: Completion, _ moment: UInt64) {
    let history = ledger.index(entry.target, entry.block)
    let isBlock = entry.kind != .setState && entry.kind != .queryState && entry.kind != .identify
    if isBlock, entry.kind != .flush { note(entry, completion, moment) }
    if completion.status == .inputOutputError, isBlock, plan.units[entry.target].mayFail {
      ledger.plannedErrors += 1
    } else {
      ledger.accuse(
        "\(entry.kind.rawValue) of \(describe(entry)), submitted by host \(number) to \(entry.path), was answered: "
          + "\(completion.status) (by \(completion.service.controller))",
        isBlock && entry.kind != .flush ? StressEvidence(target: entry.target, block: entry.block) : nil)
    }
    switch entry.kind {
    case .read: ledger.blocks[history].cancelRead(submittedAt: entry.submittedAt, at: moment)
    case .write, .durableWrite, .writeZeroes, .discard:
      ledger.blocks[history].endWrite(entry.sequence, at: moment, isCertain: false)
    case .setState, .queryState, .identify: isManaging = false
    case .flush: break
    }
  }

  // MARK: Pauses

  /// A fault begins: what is outstanding now is caught by it.
  func mark(_ fault: UInt64, at now: UInt64) {
    self.fault = fault
    faultAt = now
    caught = outstanding
    firstAnswer = nil
    lastAnswer = 0
    goesOn = false
  }

  private func measure(_ entry: Entry, _ now: UInt64) {
    let since = now > faultAt ? now - faultAt : 0
    if firstAnswer == nil { firstAnswer = since }
    if entry.fault == fault {
      goesOn = true
    } else {
      if caught > 0 { caught -= 1 }
      lastAnswer = since
    }
  }

  /// Whether everything that was caught has been answered, and new requests are.
  var isCalm: Bool { caught == 0 && goesOn }

  /// The request that waits longest, if it has waited for so long.
  func overdue(_ now: UInt64, _ nanoseconds: UInt64) -> String? {
    guard outstanding > 0, let oldest = entries.filter(\.isOutstanding).min(by: { $0.at < $1.at }),
      now > oldest.at, now - oldest.at > nanoseconds
    else { return nil }
    return "\(oldest.kind.rawValue) of \(describe(oldest)), submitted by host \(number) to \(oldest.path) "
      + "\(Figure.duration(now - oldest.at)) ago, is not answered (\(outstanding) outstanding, "
      + "\(host.outstanding) by the host's count)"
  }

  // MARK: The end

  /// Reads every block of its own and every shared one again, through both controllers, and looks at all buffers.
  /// Nothing may be outstanding. `proceed` is asked now and then.
  func verifyAll(_ proceed: () throws -> Bool) throws {
    var waiting: [(target: Int, block: Int, path: ControllerIdentity)] = []
    let shared = plan.hosts * StressPlan.ownBlocks
    let blocks =
      Array(number * StressPlan.ownBlocks..<(number + 1) * StressPlan.ownBlocks)
      + Array(shared..<shared + StressPlan.sharedBlocks)
    for target in plan.units.indices where !plan.units[target].mayFail {
      for block in blocks { for path in ControllerIdentity.allCases { waiting.append((target, block, path)) } }
    }
    var turns = 0
    while !waiting.isEmpty || outstanding > 0 {
      let now = monotonicNanoseconds()
      while outstanding < plan.depth, let read = waiting.last {
        let entry = resting[restingHead]
        var next = Entry()
        next.use = entries[entry].use &+ 1
        (next.at, next.fault, next.path) = (now, fault, read.path)
        (next.target, next.block, next.isOutstanding) = (read.target, read.block, true)
        guard host.room(to: read.path) > 0 else { break }
        checkGuard(entry)
        next.submittedAt = ledger.tick()
        let request = Request(
          .read, unit: plan.units[read.target].number, offset: UInt64(read.block * plan.blockSize),
          length: UInt64(plan.blockSize), buffer: UInt64(entry * plan.blockSize))
        guard host.submit(request, to: read.path, cookie: UInt64(next.use) << 32 | UInt64(entry)) else { break }
        ledger.blocks[ledger.index(read.target, read.block)].beginRead(at: next.submittedAt)
        entries[entry] = next
        restingHead = (restingHead + 1) % resting.count
        restingCount -= 1
        outstanding += 1
        waiting.removeLast()
      }
      var isIdle = true
      while let completion = host.next() {
        isIdle = false
        complete(completion, monotonicNanoseconds())
      }
      turns += 1
      if isIdle { host.wait(nanoseconds: 1_000_000) }
      if isIdle || turns % 256 == 0, try !proceed() { return }
    }
    checkGuards()
  }

  /// Every request that set the state of its unit has had its effect once: the region counts them. Nothing may be
  /// outstanding.
  func checkEffects(_ region: borrowing Region) {
    let word = UnitStateWord(rawValue: region.unitStates.word(Int(managedUnit)).loadRelaxed())
    if word.count != statesSet || word.state != lastState {
      ledger.accuse(
        "unit \(managedUnit) was set \(word.count) times and is \(word.state): host \(number) has set it "
          + "\(statesSet) times, to \(lastState) at last")
    }
  }

  /// Looks at every buffer that no request uses.
  func checkGuards() {
    for entry in entries.indices where !entries[entry].isOutstanding { checkGuard(entry) }
  }
}
