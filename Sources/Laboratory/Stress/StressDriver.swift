import Baton
import BatonCommandKit
import BatonController
import BatonSystem
import CBatonShims
import Glibc

/// The options with which the controllers of a run are started.
struct StressControllers {
  let subsystem: Subsystem
  /// Whose `controller` they are: the executable that users run, but for planted defects.
  let program: BatonProgram
  /// Options that every life gets, in addition to its deadline.
  var arguments: [String] = []
  /// Of an impatient one.
  var deadlineNanoseconds: UInt64
  /// The file for their log lines and for the faults.
  let log: StressLog
  /// Keeps the disk busy when asked to, so that I/O of `late` comes to lie behind that of everybody else; nil: nobody.
  var press: DiskPress?
}

/// The cost of a fault, and the results of all of them.
struct StressFaults {
  /// Faults done, by kind.
  var counts: [FaultKind: UInt64] = [:]
  /// From a fault to the first answer at each host, the longest of them.
  var firstAnswers: [FaultKind: Latencies] = [:]
  /// From a fault to the last answer of what was outstanding.
  var lastAnswers: [FaultKind: Latencies] = [:]
  /// Faults that overlapped the one before: not measured.
  var overlapped: UInt64 = 0
  /// Lives started.
  var starts: UInt64 = 0
  /// Points that were asked for and not reached within a moment.
  var pointsMissed: UInt64 = 0
  /// Controllers that were fenced though nobody had stopped them: the machine stalled them.
  var putOutRunning: UInt64 = 0
  /// The last log line when one of these ended by itself.
  var lastWords = ""
  /// Pauses within what the other controller allows, after which the controller lived on, and after which it did not.
  var pausesSurvived: UInt64 = 0
  var killedInTime: UInt64 = 0

  /// All of them.
  var total: UInt64 { counts.values.reduce(0, +) }
}

/// Does the faults of a schedule to two controllers, one step after the other, without ever waiting: `turn` does what
/// can be done now.
///
/// Watches everything that happens to the controllers, and accuses them if no fault explains it.
final class StressDriver {
  private let controllers: StressControllers
  private let ledger: StressLedger
  /// Set once the controllers serve.
  var hosts: [StressHost] = []
  private let seats = [ControllerSeat(.a), ControllerSeat(.b)]
  private var schedule: FaultSchedule
  private(set) var faults = StressFaults()

  private var fault: Fault?
  /// All faults so far, so that they can be repeated.
  private(set) var record = FaultRecord()
  private var steps: [FaultStep] = []
  private var position = 0
  /// The index of the first of the last steps.
  private var end = 0
  /// When the present step began, 0: not yet.
  private var stepAt: UInt64 = 0
  /// When the driver last did something to a controller, or saw something happen to one.
  private var touchedAt: UInt64 = 0
  private var lookedAt: UInt64 = 0
  /// Until when the disk is kept busy; 0: it is not.
  private var pressedUntil: UInt64 = 0
  let startedAt = monotonicNanoseconds()
  private var statusAt: UInt64 = 0
  /// Whether the present fault has begun, and the kind of the one whose pause is being measured.
  private var isMarked = false
  private var measured: FaultKind?
  private var isFinishing = false
  /// A pause that the controller must have survived, until something else is done.
  private var claim: (controller: ControllerIdentity, nanoseconds: UInt64, until: UInt64)?
  /// Lives in a row that ended before they served, though nobody had done anything to them.
  private var failuresToStart = 0

  /// Within this time a request is answered, a controller serves, and a silent one is fenced, or something hangs.
  static let patienceNanoseconds: UInt64 = 20_000_000_000
  /// A point is reached within this, or it is given up.
  private static let pointNanoseconds: UInt64 = 1_000_000_000
  /// Between two looks at the processes: a look is two system calls.
  private static let lookNanoseconds: UInt64 = 100_000
  /// Between two looks whether the controllers serve.
  private static let statusNanoseconds: UInt64 = 1_000_000
  private static let failuresToStartMax = 20

  init(_ controllers: StressControllers, _ schedule: FaultSchedule, _ ledger: StressLedger) {
    self.controllers = controllers
    self.schedule = schedule
    self.ledger = ledger
  }

  /// How many times each point was hit, and the points that the schedule leads to.
  var points: (hits: [ProtocolPoint: Int], all: [ProtocolPoint]) { (schedule.hits, schedule.points) }

  /// The present activity, for the progress line.
  var present: String { fault?.name ?? "no fault yet" }

  // MARK: The turn

  /// Does what can be done now. `mayBegin`: whether another fault may begin. False: nothing is left to do.
  func turn(_ now: UInt64, mayBegin: Bool) throws -> Bool {
    if now - lookedAt >= Self.lookNanoseconds {
      lookedAt = now
      for seat in seats { if let change = seat.look() { try notice(change, seat, now) } }
    }
    measure()
    if pressedUntil != 0, now >= pressedUntil { press(until: 0) }
    let mayBegin = mayBegin && schedule.hasNext
    while ledger.violation == nil {
      if position == steps.count {
        if !mayBegin, isFinishing { return false }
        mayBegin ? begin() : finish()
      }
      if stepAt == 0 { stepAt = now }
      guard try take(steps[position], now) else { break }
      if !isFinishing { record.done(position, at: now &- startedAt) }
      position += 1
      stepAt = 0
    }
    return true
  }

  private func begin() {
    let next = schedule.next(seats[0].facts, seats[1].facts)
    fault = next
    record.begin(next)
    steps = next.steps + next.end
    end = next.steps.count
    position = 0
    isFinishing = false
    isMarked = false
  }

  /// Both serve, nobody is going to stop, all is calm.
  private func finish() {
    isFinishing = true
    steps = []
    press(until: 0)
    for seat in seats where seat.stopOrder != nil { steps.append(.kill(seat.identity)) }
    steps += [.proceed(.a), .proceed(.b), .awaitServing, .awaitCalm]
    end = 0
    position = 0
  }

  /// Continues with the end of the present fault.
  private func skipToEnd() {
    position = max(position, end - 1)
  }

  /// Takes a step. False: not yet.
  private func take(_ step: FaultStep, _ now: UInt64) throws -> Bool {
    let elapsed = now - stepAt
    switch step {
    case .kill(let controller): harm(controller, now, "kill") { $0.kill() }
    case .freeze(let controller): harm(controller, now, "freeze") { $0.freeze(at: now) }
    case .terminate(let controller): harm(controller, now, "terminate") { $0.terminate() }
    case .proceed(let controller): proceed(controller, now)
    case .start(let controller, let order, let isPatient):
      // Its former life may be dying: waitpid(2) says when.
      let seat = seats[controller.index]
      if seat.isAlive, seat.wasKilled { return false }
      try start(controller, stopAt: order, isPatient: isPatient, now)
    case .press(let nanoseconds): press(until: now + nanoseconds)
    case .sleep(let nanoseconds): return elapsed >= nanoseconds || mustGoOn
    case .awaitStop(let controller):
      let seat = seats[controller.index]
      if seat.isAtPoint {
        mark(now)
        return true
      }
      if seat.isAlive, seat.stopOrder != nil, elapsed < Self.pointNanoseconds { return false }
      faults.pointsMissed += 1
      if seat.stopOrder != nil { harm(controller, now, "kill") { $0.kill() } }
      skipToEnd()
    case .awaitDeath(let controller, let isOwed): return try awaitDeath(seats[controller.index], isOwed, elapsed, now)
    case .awaitServing:
      if mustGoOn { return true }
      return try awaitServing(elapsed, now)
    case .awaitCalm:
      if mustGoOn { return true }
      // Without a controller that runs there is nothing to wait for: the steps that follow start one.
      if position < steps.count - 1, !seats.contains(where: \.isRunning) { return true }
      if position == steps.count - 1 {
        for seat in seats where !seat.isAlive { try start(seat.identity, stopAt: nil, isPatient: false, now) }
      }
      return hosts.allSatisfy(\.isCalm)
    }
    return true
  }

  private func press(until moment: UInt64) {
    guard let press = controllers.press else { return }
    pressedUntil = moment
    press.set(moment != 0)
    note(moment == 0 ? "the disk is left alone" : "the disk is kept busy")
  }

  /// A controller stands at its point while the end of a fault waits: the next fault begins at once.
  private var mustGoOn: Bool {
    guard position >= end, seats.contains(where: \.isAtPoint) else { return false }
    if !isFinishing { return true }
    for seat in seats { _ = seat.proceed() }
    return false
  }

  private func harm(_ controller: ControllerIdentity, _ now: UInt64, _ deed: String, _ act: (ControllerSeat) -> Bool) {
    guard act(seats[controller.index]) else { return }
    note("\(deed) \(controller)")
    touch(now)
    if !isFinishing { mark(now) }
  }

  private func touch(_ now: UInt64) {
    touchedAt = now
    settleClaim()
  }

  /// The fault's clock starts, once.
  private func mark(_ now: UInt64) {
    guard !isMarked, let fault else { return }
    isMarked = true
    if measured != nil { faults.overlapped += 1 }
    measured = fault.kind
    faults.counts[fault.kind, default: 0] += 1
    ledger.lastFault = "fault \(faults.total) (\(fault.name))"
    note(ledger.lastFault)
    for host in hosts { host.mark(faults.total, at: now) }
  }

  /// Records what the fault cost as soon as it is over.
  private func measure() {
    guard let kind = measured, hosts.allSatisfy(\.isCalm) else { return }
    measured = nil
    faults.firstAnswers[kind, default: Latencies()].record(hosts.compactMap(\.firstAnswer).max() ?? 0)
    faults.lastAnswers[kind, default: Latencies()].record(hosts.map(\.lastAnswer).max() ?? 0)
  }

  private func proceed(_ controller: ControllerIdentity, _ now: UInt64) {
    let seat = seats[controller.index]
    let frozenAt = seat.frozenAt
    guard seat.proceed() else { return }
    note("let \(controller) go on")
    touch(now)
    // A controller must survive a pause only if it served and a patient peer serves meanwhile.
    let other = seats[controller.peer.index]
    guard let frozenAt, fault?.kind == .pause, seat.hasServed, !seat.wasTerminated, other.isPatient, other.isRunning,
      other.hasServed, schedule.isPauseOwed
    else { return }
    let nanoseconds = monotonicNanoseconds() - frozenAt
    guard nanoseconds < schedule.patience / FaultSchedule.pausePart else { return }
    claim = (controller, nanoseconds, now + schedule.patience)
  }

  /// Something else happens: the claim about a controller that is alive has held.
  private func settleClaim() {
    guard claim != nil else { return }
    faults.pausesSurvived += 1
    claim = nil
  }

  private func start(
    _ controller: ControllerIdentity, stopAt order: StopOrder?, isPatient: Bool, _ now: UInt64
  ) throws {
    let seat = seats[controller.index]
    if seat.isAlive { return }
    note("start \(controller)\(order.map { ", to stop at \($0.point):\($0.occurrence)" } ?? "")")
    touch(now)
    faults.starts += 1
    let deadline = isPatient ? schedule.patience : controllers.deadlineNanoseconds
    try seat.start(
      of: controllers.subsystem, by: controllers.program,
      arguments: controllers.arguments + ["--deadline", "\(deadline)ns"],
      wrapper: controllers.press != nil && controller == FaultSchedule.late ? DiskPress.lateWrapper : [], stopAt: order,
      isPatient: isPatient, log: controllers.log.path, at: now)
  }

  private func awaitDeath(_ seat: ControllerSeat, _ isOwed: Bool, _ elapsed: UInt64, _ now: UInt64) throws -> Bool {
    if !seat.isAlive { return true }
    if isOwed {
      let other = seats[seat.identity.peer.index]
      // The peer that was to kill it was fenced itself: its next life displaces the frozen one.
      if !other.isAlive { try start(other.identity, stopAt: nil, isPatient: false, now) }
      if elapsed > Self.patienceNanoseconds, other.isRunning {
        ledger.accuse(
          "controller \(seat.identity), silent for \(Figure.duration(elapsed)), was not fenced by "
            + "\(seat.identity.peer)")
      }
      return false
    }
    // It stands where its peer may not kill it, or it leaves, which takes its time while requests are served.
    let patience = seat.wasTerminated && seat.isRunning ? Self.patienceNanoseconds : Self.pointNanoseconds
    if elapsed < patience { return false }
    if patience == Self.patienceNanoseconds {
      ledger.accuse("controller \(seat.identity) was asked to leave and has not left after \(Figure.duration(elapsed))")
    }
    harm(seat.identity, now, "kill") { $0.kill() }
    return false
  }

  private func awaitServing(_ elapsed: UInt64, _ now: UInt64) throws -> Bool {
    guard now - statusAt >= Self.statusNanoseconds else { return false }
    statusAt = now
    // A controller that has died meanwhile is started again, plainly.
    for seat in seats where !seat.isAlive {
      try start(seat.identity, stopAt: nil, isPatient: false, now)
    }
    let status = try controllers.subsystem.status()
    for seat in seats {
      let record = status.controllers[seat.identity.index]
      // The record is filled word by word: only all of it together is about this life.
      if record.phase == "serving", record.standing == "member", record.pid == UInt64(seat.pid) {
        seat.hasServed = true
      }
    }
    if seats.allSatisfy({ $0.hasServed && $0.isRunning }) { return true }
    if elapsed > Self.patienceNanoseconds {
      let late = seats.first { !$0.hasServed || !$0.isRunning }
      ledger.accuse(
        "controller \(late?.identity ?? .a) did not serve within \(Figure.duration(elapsed)): "
          + LogFile.lastLine(of: controllers.log.path))
    }
    return false
  }

  // MARK: What happens to the controllers

  private func notice(_ change: SeatChange, _ seat: ControllerSeat, _ now: UInt64) throws {
    let claim = claim
    touchedAt = now
    switch change {
    case .reached(let point):
      note("\(seat.identity) stands at \(point)")
      schedule.hit(point)
    case .ended(let ending):
      note("\(seat.identity) \(ending)")
      try end(seat, ending, claim, now)
    }
  }

  private func end(
    _ seat: ControllerSeat, _ ending: ProcessEnding,
    _ claim: (controller: ControllerIdentity, nanoseconds: UInt64, until: UInt64)?, _ now: UInt64
  ) throws {
    let controller = seat.identity
    if claim?.controller == controller { self.claim = nil }
    if seat.wasKilled { return }
    switch ending {
    case .exited(0):
      if !seat.wasTerminated { ledger.accuse("controller \(controller) left, and nobody had asked it to") }
    case .signalled(SIGKILL), .exited(1):
      // Killed by its peer, or fenced by it and gone by itself.
      if let claim, claim.controller == controller, now < claim.until {
        faults.killedInTime += 1
        ledger.accuse(
          "controller \(controller) was fenced though it had been frozen for only "
            + "\(Figure.duration(claim.nanoseconds)) of the \(Figure.duration(schedule.patience)) that its peer allows")
      } else if seat.hasServed, !seat.wasStopped, !seat.wasTerminated {
        faults.putOutRunning += 1
        if ending == .exited(1) { faults.lastWords = LogFile.lastLine(of: controllers.log.path) }
      }
      if seat.hasServed || seat.wasStopped || seat.wasTerminated || ending != .exited(1) {
        failuresToStart = 0
      } else {
        failuresToStart += 1
        if failuresToStart >= Self.failuresToStartMax {
          throw BatonError(
            .system, "controller \(controller)",
            "does not start: \(LogFile.lastLine(of: controllers.log.path))")
        }
      }
    case .exited(64):
      throw BatonError(
        .invalid, "controller \(controller)", "does not start: \(LogFile.lastLine(of: controllers.log.path))")
    case .signalled(SIGTERM) where seat.wasTerminated: break
    default:
      ledger.accuse(
        "controller \(controller) \(ending): \(LogFile.lastLine(of: controllers.log.path))")
    }
  }

  /// Accuses when a request has waited too long though a controller could serve it all the while.
  func checkProgress(_ now: UInt64) {
    guard now > touchedAt, now - touchedAt > Self.patienceNanoseconds, seats.contains(where: \.isRunning) else {
      return
    }
    for host in hosts {
      guard let overdue = host.overdue(now, Self.patienceNanoseconds) else { continue }
      let states = seats.map { seat in
        "\(seat.identity) \(seat.isRunning ? "runs" : seat.isAlive ? "is stopped" : "is dead")"
      }
      ledger.accuse("hang: \(overdue); \(states.joined(separator: ", ")), for \(Figure.duration(now - touchedAt))")
    }
  }

  /// Writes what is done to the controllers into their log.
  private func note(_ what: String) {
    let seconds = Figure.fixed(Double(monotonicNanoseconds() - startedAt) / 1e9, 4)
    Console.write(
      "\(WallClock.now) stress: at \(seconds) s: \(what)\n", to: controllers.log.descriptor.number)
  }

  // MARK: Beginning and end

  /// Starts both and waits until they serve.
  func startBoth() throws {
    for seat in seats { try start(seat.identity, stopAt: nil, isPatient: false, monotonicNanoseconds()) }
    let begun = monotonicNanoseconds()
    while try !awaitServing(monotonicNanoseconds() - begun, monotonicNanoseconds()) {
      usleep(1000)
      if let violation = ledger.violation { throw BatonError(.system, "controllers", violation) }
      for seat in seats { if let change = seat.look() { try notice(change, seat, monotonicNanoseconds()) } }
    }
  }

  /// While nothing is done to the controllers any more: one that was fenced all the same is started again.
  func attend(_ now: UInt64) throws {
    guard now - lookedAt >= Self.lookNanoseconds else { return }
    lookedAt = now
    for seat in seats {
      if let change = seat.look() { try notice(change, seat, now) }
      if !seat.isAlive { try start(seat.identity, stopAt: nil, isPatient: false, now) }
    }
  }

  /// Asks both to leave, and waits until they have.
  func stopBoth() throws {
    settleClaim()
    press(until: 0)
    for seat in seats { _ = seat.terminate() }
    let begun = monotonicNanoseconds()
    while seats.contains(where: \.isAlive), ledger.violation == nil {
      let now = monotonicNanoseconds()
      for seat in seats { if let change = seat.look() { try notice(change, seat, now) } }
      if now - begun > Self.patienceNanoseconds {
        let stays = seats.filter(\.isAlive).map { "\($0.identity)" }.joined(separator: " and ")
        ledger.accuse("controller \(stays) was asked to leave and has not left after \(Figure.duration(now - begun))")
      }
      usleep(200)
    }
  }

  /// Kills the controllers that are left, and waits for their ends: nothing of a run outlives it.
  func killBoth() {
    for seat in seats { seat.end() }
  }
}

/// The log of a run. A class, because its writers are classes too.
final class StressLog {
  let path: String
  /// Open for the driver's own lines, which are short and go to the end in one piece.
  let descriptor: OwnedDescriptor

  /// Lines that a message shows: what led to it, not what came of everything before.
  private static let linesShown = 50

  /// An empty one.
  init(_ path: String) throws(BatonError) {
    self.path = path
    unlink(path)
    let number = shim_open(path, true, false, true)
    descriptor = OwnedDescriptor(try check(number, path, doing: "making the log", fix: "name another file"))
    _ = fcntl(descriptor.number, F_SETFL, O_APPEND)
  }

  /// The last lines.
  var end: String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    // Lines are far shorter than this.
    fseek(file, 0, SEEK_END)
    fseek(file, max(ftell(file) - Self.linesShown * 256, 0), SEEK_SET)
    var bytes = [UInt8](repeating: 0, count: Self.linesShown * 256)
    let count = fread(&bytes, 1, bytes.count, file)
    let lines = String(decoding: bytes.prefix(count), as: UTF8.self).split(separator: "\n")
    return lines.suffix(Self.linesShown).joined(separator: "\n")
  }
}
