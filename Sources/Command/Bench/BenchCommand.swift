import ArgumentParser
import Baton
import BatonSharedMemory
import CBatonShims
import FoundationEssentials
import Glibc

enum BenchSuite: String, ExpressibleByArgument, CaseIterable {
  /// The right to serve, from one process to the other and back.
  case handoff
  /// A request from a host to the owner and back, on a null unit.
  case dispatch
  /// Real storage, beside fio on the same file.
  case storage
  /// The death of a controller, and what hosts see of it.
  case takeover
}

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure, each figure beside its floor of the same run.",
    discussion: """
      Suites: handoff, dispatch, storage, takeover; all of them if none is named.
      \(Peer.discussion)
      """)

  @Argument(help: "Suites.") var suites: [BenchSuite] = []
  @Option(help: "Rounds of each comparison.") var rounds = 25
  @Option(help: "Seconds after which no further round of a comparison begins; all rounds if left out.")
  var runtime: Double?
  @Flag(help: "A short form: fewer and shorter rounds.") var quick = false
  @Option(help: ArgumentHelp("Where scratch files go.", valueName: "folder")) var directory: String = ScratchDirectory
    .parent
  @Option(help: ArgumentHelp("Write JSON to this file, - for standard output.", valueName: "file")) var json: String?
  @Option(help: ArgumentHelp("Write a page for a browser to this file.", valueName: "file")) var html: String?

  func validate() throws {
    guard (3...10_000).contains(rounds) else { throw ValidationError("--rounds takes 3 to 10000") }
    if let runtime, !(runtime > 0) { throw ValidationError("--runtime takes seconds, more than 0") }
    if json == "-", html == "-" { throw ValidationError("--json and --html cannot both go to standard output") }
  }

  func run() throws {
    let chosen = suites.isEmpty ? BenchSuite.allCases : suites
    let isQuiet = json == "-" || html == "-"
    for path in [json, html].compactMap({ $0 }) { try OutputFile.check(path) }
    var bench = Bench(
      rounds: quick ? min(rounds, 7) : rounds, seconds: runtime ?? .infinity, isQuick: quick, isQuiet: isQuiet,
      directory: directory)
    bench.report.isQuick = quick
    bench.report.started = Date.now.formatted(.iso8601)
    let start = monotonicNanoseconds()
    let outcome = Result { for suite in chosen { try bench.run(suite) } }
    // What was measured until then is not lost.
    if case .failure(let error) = outcome {
      bench.report.warnings.append(
        error is ExitCode ? "interrupted: what came next is missing" : "ended before its time: \(error)")
    }
    bench.report.seconds = Double(monotonicNanoseconds() - start) / 1e9
    if let json { try JSONReport.write(bench.report, to: json) }
    if let html { try OutputFile.write(ReportPage(bench.report).html, to: html) }
    if !isQuiet { Console.print(bench.report.text) }
    try outcome.get()
  }
}

/// The suites, and what they share.
struct Bench {
  let rounds: Int
  /// After which no further round of a comparison begins.
  let seconds: Double
  let isQuick: Bool
  let directory: String
  /// The two CPUs that the two processes are pinned to; -1: not pinned.
  let cpus: (here: Int, there: Int)
  var report: BenchReport
  var progress: Progress

  init(rounds: Int, seconds: Double, isQuick: Bool, isQuiet: Bool, directory: String) {
    self.rounds = rounds
    self.seconds = seconds
    self.isQuick = isQuick
    self.directory = directory
    progress = Progress(isQuiet: isQuiet)
    // Looked up once: a process that is pinned has one.
    let pinned = baton_available_cpus() < 2 ? [] : [0, 1].map { Int(baton_available_cpu($0)) }
    cpus = pinned.isEmpty ? (-1, -1) : (pinned[0], pinned[1])
    report = BenchReport(machine: .init(pinned: pinned))
    if pinned.isEmpty {
      report.warnings.append("one CPU: two spinning processes take turns on it, and spinning figures mean nothing")
    }
  }

  mutating func run(_ suite: BenchSuite) throws {
    switch suite {
    case .handoff: try handoff()
    case .dispatch: try dispatch()
    case .storage: try storage()
    case .takeover: try takeover()
    }
  }

  /// Turns of a ball a round: long enough that starting and stopping do not show.
  var turns: UInt64 { cpus.here < 0 ? 50 : isQuick ? 50_000 : 200_000 }

  /// With a subsystem that is gone afterwards. The body leaves no controller behind.
  static func withSubsystem<Outcome>(
    _ name: String, _ units: [UnitSpecification], _ body: (Subsystem) throws -> Outcome
  ) throws -> Outcome {
    let subsystem = try Subsystem.create("\(name)-\(getpid())", units: units)
    let outcome = Result { try body(subsystem) }
    try subsystem.destroy()
    return try outcome.get()
  }

  /// With a subsystem of one null unit whose controller b is the partner process, pinned.
  private mutating func withPartner(
    _ body: (inout BenchPartner, Subsystem, inout Progress) throws -> [BenchReport.Row]
  ) throws {
    defer { progress.end() }
    let rows = try Self.withSubsystem("bench", [UnitSpecification(.null, size: 1 << 30)]) { subsystem in
      var partner = try BenchPartner(subsystem, cpu: cpus.there)
      if cpus.here >= 0 { _ = baton_pin_to_cpu(CInt(cpus.here)) }
      defer { _ = baton_unpin() }
      return try body(&partner, subsystem, &progress)
    }
    report.append(rows)
  }

  /// Ownership between two spinning processes: the arbiter's transitions alone.
  mutating func handoff() throws {
    let (turns, rounds, seconds) = (turns, rounds, seconds)
    try withPartner { partner, _, progress in
      progress.begin("handoff: ownership of one function, back and forth")
      let measured = try Interleaved(rounds: rounds, within: seconds, things: 2, control: 0) { thing, round in
        progress.update("round \(round) of \(rounds)")
        return try partner.roundTrip(thing == 1 ? .arbiter : .compareAndSwap, turns: turns)
      }
      let floor = "compare-and-swap ping-pong"
      return [
        measured.row(
          .handoff, "ownership, a to b to a", metric: "round trip", unit: "ns", ours: 1, floor: (floor, 0),
          goal: .ratio(1.25), waiting: .spinning)
      ] + measured.controlRow(.handoff, of: floor, metric: "round trip", unit: "ns", waiting: .spinning)
    }
  }

  /// What a null read costs that controller b serves, `depth` of them outstanding, over so many.
  static func nanosecondsPerRequest(
    of host: inout Host, requests: UInt64, depth: UInt64
  ) throws(BatonError) -> Double {
    let request = Request(.read, unit: 0, offset: 0, length: 4096)
    var submitted: UInt64 = 0
    var completed: UInt64 = 0
    var idle = 0
    let start = monotonicNanoseconds()
    while completed < requests {
      while submitted < requests, submitted - completed < depth, host.submit(request, to: .b) { submitted += 1 }
      guard let completion = host.next() else {
        idle += 1
        if idle & 0xffff == 0 { sched_yield() }
        continue
      }
      if completion.status != .success { throw BatonError(.system, "null unit", "answered: \(completion.status)") }
      completed += 1
    }
    return Double(monotonicNanoseconds() - start) / Double(requests)
  }

  /// A request from a host to the owner and back, one at a time, nothing done for it.
  mutating func dispatch() throws {
    let (turns, rounds, seconds) = (turns, rounds, seconds)
    try withPartner { partner, subsystem, progress in
      progress.begin("dispatch: one request at a time on a null unit")
      partner.begin(.controller)
      try partner.join()
      var options = HostOptions()
      options.waiting = .spin
      var host = try Host(of: subsystem, options: options)
      try host.waitUntilAttached()
      let measured = try Interleaved(rounds: rounds, within: seconds, things: 2, control: 0) { thing, round in
        progress.update("round \(round) of \(rounds)")
        if thing == 0 { return try partner.roundTrip(.loadStore, turns: turns) }
        partner.begin(.controller)
        try partner.join()
        return try Self.nanosecondsPerRequest(of: &host, requests: turns, depth: 1)
      }
      let floor = "one-line ping-pong"
      return [
        measured.row(
          .dispatch, "host to owner and back, depth 1", metric: "round trip", unit: "ns", ours: 1, floor: (floor, 0),
          goal: .ratio(1.4), waiting: .spinning)
      ] + measured.controlRow(.dispatch, of: floor, metric: "round trip", unit: "ns", waiting: .spinning)
    }
  }

  /// 4 KiB random reads on a real file, beside fio's io_uring engine on the same file.
  mutating func storage() throws {
    let scratch = try ScratchDirectory(in: directory, name: "bench")
    let size: UInt64 = isQuick ? 256 << 20 : 1 << 30
    let path = "\(scratch.path)/file"
    progress.begin("storage: writing a file of \(ByteCount.describe(size))")
    try ImageFile.make(at: path, count: size, seed: 1)
    defer { progress.end() }
    let log = "\(scratch.path)/log"
    report.append(
      try Self.withSubsystem("bench", [UnitSpecification(.path(path))]) { try storage(on: $0, path, size, log: log) })
  }

  private mutating func storage(on subsystem: Subsystem, _ path: String, _ size: UInt64, log: String) throws
    -> [BenchReport.Row]
  {
    var controller = try ControllerProcess(.a, of: subsystem, log: log)
    try controller.waitUntilServing(subsystem, log: log)
    let isDirect = try subsystem.status().units[0].isDirect
    let roundSeconds = isQuick ? 1.0 : 2.0
    let rounds = isQuick ? 3 : max(5, min(rounds, 9))
    progress.begin("storage: 4 KiB random reads, depth 32")
    var plan = WorkloadPlan()
    plan.pattern = .randread
    plan.nanoseconds = UInt64(roundSeconds * 1e9)
    plan.path = .a
    plan.targets = [WorkloadTarget(unit: 0, size: size)]
    func ours(_ round: Int) throws -> Double {
      var plan = plan
      plan.seed = UInt64(round + 1)
      var workload = try Workload(plan, of: subsystem)
      let result = try workload.run()
      if let error = result.errors.first {
        throw BatonError(.system, path, "\(error.value) requests ended with: \(error.key)")
      }
      return Double(result.requests) / (Double(result.nanoseconds) / 1e9)
    }
    var progress = progress
    let hasFio = Fio.version != nil
    let floor = "fio io_uring"
    let measured = try Interleaved(rounds: rounds, within: seconds, things: hasFio ? 2 : 1, control: hasFio ? 1 : 0) {
      thing, round in
      progress.update("round \(round) of \(rounds)")
      if thing == 0 { return try ours(round) }
      return try Fio.rate(
        file: path, rw: .randread, blockSize: 4096, depth: 32, size: size, direct: isDirect, seconds: roundSeconds)
    }
    progress.end()
    try controller.stop()
    let missing = Interleaved.Rival.notRun(floor, because: "fio is not installed: apt-get install fio")
    return [
      measured.row(
        .storage, "4 KiB random reads, depth 32\(isDirect ? ", O_DIRECT" : "")", metric: "rate", unit: "requests/s",
        ours: 0, floor: hasFio ? (floor, 1) : nil, peers: hasFio ? [] : [missing], goal: .ratio(1), better: .more,
        waiting: .adaptive)
    ]
      + measured.controlRow(
        .storage, of: hasFio ? floor : "4 KiB random reads", metric: "rate", unit: "requests/s", better: .more)
  }
}
