import ArgumentParser
import Baton
import BatonCommandKit
import BatonController
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import Glibc

struct StressCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: LaboratoryCommand.stress.rawValue, abstract: LaboratoryCommand.stress.abstract,
    discussion: """
      Creates a subsystem on scratch files, starts both controllers and lets hosts write and read a few blocks again \
      and again. Meanwhile it kills, freezes and restarts controllers, at random moments and at named points of the \
      protocol. Every block that is read and every answer is checked against the earlier answers. Exits 0 if all was \
      right, 2 if something was lost, repeated, torn, answered twice, refused or not answered at all. A failed run \
      leaves its folder, with logs, region, units, the operations on the wrong block, the faults as they happened, \
      and a script that repeats these faults.
      """)

  @Option(
    help: ArgumentHelp("Run time, such as 60s (default: 60s, without --count).", valueName: "time"),
    transform: RunTime.seconds(parsing:))
  var runtime: Double?
  @Option(help: "Number of faults after which the run ends; 0: load alone, until the time is over.") var count: UInt64?
  @Option(help: "Seed of all random choices (default: a different one each time).") var seed: UInt64?
  @Flag(help: "Kill one controller at a time.") var kill = false
  @Flag(help: "Freeze one controller at a time, for longer or shorter than the deadline.") var freeze = false
  @Flag(help: "Kill or freeze both. Without any of these three: all of them, and controllers that leave.")
  var both = false
  @Option(help: "Planted mistake of the controllers, which the run must find.") var defect: PlantedDefect?
  @Option(
    help: ArgumentHelp(
      "Time that every controller lets its peer be silent, at least 20ms (default: 50ms, and 2s in some lives).",
      valueName: "time"), transform: Deadline.parse)
  var deadline: Deadline?
  @Option(help: "Number of hosts.") var hosts = 2
  @Option(help: "Number of requests that each host keeps outstanding.") var iodepth = 32
  @Option(
    help: ArgumentHelp("Block and request size in bytes, such as 4k (default: 4096).", valueName: "bytes"),
    transform: ByteSize.init(parsing:))
  var bs = ByteSize(4096)
  @Option(help: ArgumentHelp("Where scratch files go.", valueName: "folder")) var directory: String = ScratchDirectory
    .parent
  @Flag(help: "Go through the page cache, not O_DIRECT.") var buffered = false
  @Flag(help: "Also use units that are slow, transfer in pieces, and fail on purpose.") var faults = false
  @Option(help: ArgumentHelp("Write JSON to this file, - for standard output.", valueName: "file")) var json: String?
  @Flag(help: "Keep the disk busy around faults, so that the I/O of a dead controller lands late.") var lateIo = false
  @Option(
    help: ArgumentHelp("Repeat the faults in this file, left by a failed run, and then end.", valueName: "file"))
  var schedule: String?
  @Option(help: ArgumentHelp("Write the controllers' logs and the faults to this file.", valueName: "file"))
  var log: String?
  @Option(help: .hidden) var logLevel = "info"
  @Option(
    help: ArgumentHelp(
      "Run for hours (--runtime, default 8h), a line a minute; keep log and page in this folder, and go on from there.",
      valueName: "folder"))
  var soak: String?
  @Option(help: .hidden, transform: RunTime.seconds(parsing:)) var soakSegment = 60.0
  @OptionGroup var parent: ParentOptions

  func validate() throws {
    if let runtime, !(runtime > 0 && runtime < 1e6) { throw ValidationError("--runtime takes a time, more than 0") }
    guard (1...16).contains(hosts) else { throw ValidationError("--hosts takes 1 to 16") }
    guard (1...1000).contains(iodepth) else { throw ValidationError("--iodepth takes 1 to 1000") }
    guard bs.bytes >= 512, bs.bytes % 512 == 0, bs.bytes <= 65536 else {
      throw ValidationError("--bs takes a multiple of 512, up to 64k")
    }
    if soak != nil {
      guard count == nil, schedule == nil, defect == nil, json == nil, log == nil else {
        throw ValidationError("--soak runs for a time: leave out --count, --schedule, --defect, --json and --log")
      }
      guard soakSegment > 0 else { throw ValidationError("--soak-segment takes a time, more than 0") }
    }
    if schedule != nil, kill || freeze || both {
      throw ValidationError("--schedule says what is done: leave --kill, --freeze and --both out")
    }
  }

  /// A defect that lets late I/O through shows only where I/O lands late.
  private var landsLate: Bool { lateIo || defect == .noDrainProof || defect == .noJournal }

  private var kinds: Set<FaultKind> {
    var kinds: Set<FaultKind> = []
    if kill { kinds.insert(.kill) }
    if freeze { kinds.formUnion([.freeze, .pause]) }
    if both { kinds.insert(.both) }
    // Those that bring a planted defect to light, where nobody has said which.
    if kinds.isEmpty, let defect { kinds.insert(defect == .noFence ? .both : .kill) }
    return kinds
  }

  func run() throws {
    try parent.follow()
    let interruption = try Interruption()
    if let soak {
      let run = Soak(folder: soak, seconds: runtime ?? 8 * 3600, segmentSeconds: soakSegment, isQuiet: false)
      return try run.run(seed: seed, options: soakOptions, interruption)
    }
    if let json { try OutputFile.check(json) }
    let recorded = try schedule.map { try FaultRecord.read($0) }
    var scratch = try ScratchDirectory(in: directory, name: "stress")
    var plan = StressPlan()
    plan.hosts = hosts
    plan.depth = iodepth
    plan.blockSize = Int(bs.bytes)
    plan.seed = seed ?? monotonicNanoseconds() % 1_000_000_000
    let temporary = try TemporarySubsystem("stress", units: specifications(&plan, scratch.path), scratch: scratch.path)
    let subsystem = temporary.subsystem
    let path = scratch.path
    // The controllers are gone when this has returned, in whatever way.
    let outcome = Result { try stress(subsystem, plan, recorded, path, interruption) }
    if case .success(let outcome) = outcome { scratch.isKept = outcome.report.failureFolder != nil }
    if case .failure(let error) = outcome { scratch.isKept = error is StressTrouble }
    try temporary.destroy()
    let (report, signal): (StressReport, CInt)
    do { (report, signal) = try outcome.get() } catch let trouble as StressTrouble { throw trouble.error }
    if let json { try write(report, plan, signal, to: json) }
    if json != "-" { Console.print(report.text) }
    if let violation = report.violation { throw VerificationFailure(description: violation) }
    if signal != 0 { throw ExitCode(128 + signal) }
  }

  private func write(_ report: StressReport, _ plan: StressPlan, _ signal: CInt, to path: String) throws {
    try JSONReport.write(
      report, of: "stress", settings(plan), ending: report.ending(signal), started: plan.started, to: path)
  }

  private func settings(_ plan: StressPlan) -> [String: JSONReport.Setting] {
    [
      "runtime": .init(runtime), "count": .init(count), "seed": .init(wide: plan.seed), "kill": .flag(kill),
      "freeze": .flag(freeze), "both": .flag(both), "defect": .init(defect?.rawValue),
      "deadline_nanoseconds": .init(deadlines.0), "hosts": .init(hosts), "iodepth": .init(iodepth),
      "bs": .init(bs.bytes), "directory": .string(directory), "buffered": .flag(buffered), "faults": .flag(faults),
      "late_io": .flag(lateIo), "schedule": .init(schedule), "wait": .string(WaitStrategy.standard.name),
    ]
  }

  /// The units: two of blocks, others that misbehave if asked for, and one a host for management alone.
  private func specifications(_ plan: inout StressPlan, _ scratch: String) -> [UnitSpecification] {
    var units: [UnitSpecification] = []
    func add(_ plans: FaultPlan) {
      let path = "\(scratch)/unit\(units.count)"
      plan.units.append(StressUnit(number: UInt32(units.count), path: path, mayFail: plans.errorEvery > 0))
      units.append(UnitSpecification(.path(path), size: plan.unitSize, faults: plans, isBuffered: buffered))
    }
    add(FaultPlan())
    add(FaultPlan())
    if faults {
      var slow = FaultPlan()
      slow.delayNanoseconds = 1_000_000
      slow.shortTransferBytes = 1024
      add(slow)
      var failing = FaultPlan()
      failing.errorEvery = 17
      add(failing)
    }
    plan.firstManagedUnit = UInt32(units.count)
    for _ in 0..<plan.hosts { units.append(UnitSpecification(.null, size: 1 << 20)) }
    return units
  }

  /// Deadlines of an impatient and of a patient life.
  private var deadlines: (UInt64, patient: UInt64) {
    deadline.map { ($0.nanoseconds, $0.nanoseconds) } ?? (Self.deadlineNanoseconds, FaultSchedule.patientNanoseconds)
  }

  /// Short, so that there are many faults per second.
  private static let deadlineNanoseconds: UInt64 = 50_000_000

  /// The words for each segment of a soak, but its seed, time and folder.
  private var soakOptions: [String] {
    var words = ["--hosts", "\(hosts)", "--iodepth", "\(iodepth)", "--bs", "\(bs.bytes)"]
    if kill { words.append("--kill") }
    if freeze { words.append("--freeze") }
    if both { words.append("--both") }
    if let deadline { words += ["--deadline", "\(deadline.nanoseconds)ns"] }
    if buffered { words.append("--buffered") }
    if faults { words.append("--faults") }
    if lateIo { words.append("--late-io") }
    return words
  }

  /// The words that make a run like this one.
  private func words(_ plan: StressPlan) -> [String] {
    var words = ["--seed", "\(plan.seed)", "--hosts", "\(hosts)", "--iodepth", "\(iodepth)", "--bs", "\(bs.bytes)"]
    words += ["--directory", directory]
    if let deadline { words += ["--deadline", "\(deadline.nanoseconds)ns"] }
    if let defect { words += ["--defect", defect.rawValue] }
    if buffered { words.append("--buffered") }
    if faults { words.append("--faults") }
    if lateIo { words.append("--late-io") }
    return words
  }

  private func stress(
    _ subsystem: Subsystem, _ plan: StressPlan, _ recorded: [Fault]?, _ scratch: String,
    _ interruption: borrowing Interruption
  ) throws -> (report: StressReport, signal: CInt) {
    for unit in try subsystem.status().units.prefix(plan.units.count) where bs.bytes % unit.blockSize != 0 {
      throw BatonError(.invalid, "--bs \(bs.bytes)", "is not a multiple of a unit's block size, \(unit.blockSize)")
    }
    // By what the units turned out to be: a file system without O_DIRECT has the page cache only.
    var plan = plan
    plan.tearsSectors = try subsystem.status().units.prefix(plan.units.count).contains { !$0.isDirect }
    let ledger = StressLedger(plan)
    let log = try StressLog(self.log ?? "\(scratch)/log")
    var arguments = ["--log-level", logLevel, "--log-times"]
    if let defect { arguments += ["--defect", defect.rawValue] }
    let driver = try StressDriver(
      StressControllers(
        subsystem: subsystem, program: defect == nil ? .shipped() : .running, arguments: arguments,
        deadlineNanoseconds: deadlines.0, log: log,
        press: landsLate ? try DiskPress(file: "\(scratch)/press", log: log.path) : nil),
      FaultSchedule(
        kinds: kinds, deadline: deadlines.0, patience: deadlines.patient, pressesDisk: landsLate, seed: plan.seed,
        repeating: recorded), ledger)
    defer { driver.killBoth() }
    do {
      return try stress(subsystem, plan, ledger, driver, log, scratch, interruption)
    } catch let error as BatonError {
      driver.killBoth()
      failure(scratch, plan, "\(error)").write(subsystem, driver, log, ledger)
      throw StressTrouble(error: error)
    }
  }

  /// The files that a failed run leaves in its folder.
  private func failure(_ scratch: String, _ plan: StressPlan, _ what: String) -> StressFailure {
    Console.error("baton: the run is kept in \(scratch); \(scratch)/again repeats the same faults")
    return StressFailure(folder: scratch, what: what, options: words(plan))
  }

  private func stress(
    _ subsystem: Subsystem, _ plan: StressPlan, _ ledger: StressLedger, _ driver: StressDriver, _ log: StressLog,
    _ scratch: String, _ interruption: borrowing Interruption
  ) throws -> (report: StressReport, signal: CInt) {
    try driver.startBoth()
    let traffic = try (0..<plan.hosts).map { try StressHost($0, ledger, of: subsystem) }
    driver.hosts = traffic
    let start = monotonicNanoseconds()
    var run = StressRun(driver: driver, ledger: ledger, hosts: traffic, progress: Progress(isQuiet: json == "-"))
    let limit = runtime ?? (count ?? 0 == 0 && schedule == nil ? 60 : 1e6)
    try run.run(until: start + UInt64(limit * 1e9), faultsMax: count ?? .max, interruption)
    let seconds = Double(monotonicNanoseconds() - start) / 1e9
    if ledger.violation == nil { try run.verify(interruption) }
    let state = ledger.violation == nil ? nil : (try? subsystem.status()).map { Self.describe($0) }
    if ledger.violation == nil { try driver.stopBoth() }
    driver.killBoth()
    // What lies in the files once nobody has them open any more.
    if ledger.violation == nil { try run.verifyFiles(of: subsystem) }
    run.progress.end()
    if let state { Console.error("\(log.end)\n\(state)") }
    var report = StressReport(plan, ledger, driver, seconds: seconds, isInterrupted: run.signal != 0)
    if let violation = ledger.violation {
      let failure = failure(scratch, plan, violation)
      failure.write(subsystem, driver, log, ledger)
      report.failureFolder = scratch
      failure.note("report.json") { try write(report, plan, run.signal, to: $0) }
    }
    return (report, run.signal)
  }
}

/// An error that ended a run, which is kept.
private struct StressTrouble: Error {
  let error: BatonError
}

extension StressCommand {
  /// The state of all processes, for a message.
  fileprivate static func describe(_ status: SubsystemStatus) -> String {
    let standings = status.controllers.map { "\($0.identity) \($0.standing), takeover: \($0.takeover)" }
    return ControllerTable.text(status) + "\n" + standings.joined(separator: "; ")
  }
}

/// One run: hosts and driver, turned by one loop.
struct StressRun {
  let driver: StressDriver
  let ledger: StressLedger
  let hosts: [StressHost]
  var progress: Progress
  /// The signal that ended it early.
  private(set) var signal: CInt = 0
  private var tendedAt: UInt64 = 0

  /// Nanoseconds between two looks at the clock's slower things: connections, signals, hangs, the progress line.
  private static let tendNanoseconds: UInt64 = 10_000_000
  /// Microseconds that the loop rests when nothing happened: the controllers need the processors too.
  private static let restMicroseconds: UInt32 = 50

  init(driver: StressDriver, ledger: StressLedger, hosts: [StressHost], progress: Progress) {
    self.driver = driver
    self.ledger = ledger
    self.hosts = hosts
    self.progress = progress
  }

  /// Load and faults until the time or the count is over, then until everything is answered. Ends early when
  /// something is wrong, or at a signal.
  mutating func run(until deadline: UInt64, faultsMax: UInt64, _ interruption: borrowing Interruption) throws {
    progress.begin("faults under load, every answer checked")
    let start = monotonicNanoseconds()
    var isOver = false
    while ledger.violation == nil {
      let now = monotonicNanoseconds()
      var work = 0
      for host in hosts { work += host.turn(now) }
      let goesOn = signal == 0 && now < deadline
      let mayBegin = goesOn && driver.faults.total < faultsMax
      // Without any faults to do, the time alone ends it.
      if isOver || goesOn && faultsMax == 0 {
        try driver.attend(now)
        if isOver, hosts.allSatisfy({ $0.outstandingCount == 0 }) { break }
      } else if try !driver.turn(now, mayBegin: mayBegin) {
        isOver = true
        for host in hosts { host.isSubmitting = false }
      }
      if now - tendedAt >= Self.tendNanoseconds {
        tendedAt = now
        // By itself a host looks after its connections every so many polls, and this loop polls seldom when idle.
        for host in hosts { host.maintain() }
        driver.checkProgress(now)
        if try isCalledAway(interruption) { break }
        let (faults, answers) = (driver.faults.total, ledger.answers.values.reduce(0, +))
        let (seconds, present) = (Double(now - start) / 1e9, driver.present)
        progress.update(
          "\(Figure.fixed(seconds, 0)) s, \(faults) faults, \(Figure.count(answers)) answers; \(present)")
      }
      if work == 0 { usleep(Self.restMicroseconds) }
    }
  }

  /// Whether a second signal has come: the first one ends the run in good order.
  private mutating func isCalledAway(_ interruption: borrowing Interruption) throws -> Bool {
    let taken = interruption.take()
    if taken == 0 { return false }
    if signal != 0 { throw ExitCode(128 + taken) }
    signal = taken
    return false
  }

  /// Reads everything again through both controllers.
  mutating func verify(_ interruption: borrowing Interruption) throws {
    progress.begin("reading everything once more")
    let begun = monotonicNanoseconds()
    for host in hosts {
      try host.verifyAll {
        let now = monotonicNanoseconds()
        try driver.attend(now)
        driver.checkProgress(now)
        if now - begun > StressDriver.patienceNanoseconds * 3 {
          ledger.accuse("reading everything once more does not end")
        }
        _ = try isCalledAway(interruption)
        return ledger.violation == nil
      }
    }
  }

  /// Looks at the units' files themselves, at the region, and at the hosts' buffers a last time.
  func verifyFiles(of subsystem: Subsystem) throws {
    let plan = ledger.plan
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: plan.blockSize, alignment: 4096)
    defer { buffer.deallocate() }
    for (target, unit) in plan.units.enumerated() {
      let number = open(unit.path, O_RDONLY | O_CLOEXEC)
      if number < 0 { throw BatonError(result: -Int(errno), unit.path, doing: "opening it") }
      let file = OwnedDescriptor(number)
      for block in 0..<plan.blocks {
        guard pread(file.number, buffer, plan.blockSize, off_t(block * plan.blockSize)) == plan.blockSize else {
          throw BatonError(result: -Int(errno), unit.path, doing: "reading it")
        }
        let now = ledger.tick()
        ledger.blocks[ledger.index(target, block)].beginRead(at: now)
        ledger.judge(
          target, block, submittedAt: now, at: ledger.tick(), buffer, by: "its file, after both controllers had left")
      }
    }
    let region = try Region(opening: subsystem.location, writable: false)
    for host in hosts {
      host.checkGuards()
      host.checkEffects(region)
    }
  }
}
