import ArgumentParser
import Baton
import BatonCommandKit
import BatonSharedMemory
import CBatonShims
import FoundationEssentials
import Glibc

enum BenchSuite: String, ExpressibleByArgument, CaseIterable {
  /// The right to serve, from one process to the other and back.
  case handoff
  /// A request from a host to a controller and back, on a null unit, one at a time.
  case dispatch
  /// Many requests at a time: how many per second, how late they are at a given load, and what fighting costs.
  case throughput
  /// Real storage, compared with fio on the same file.
  case storage
  /// A unit as a disk over NBD, compared with other servers on the same file.
  case nbd
  /// The death of a controller, and what hosts see of it.
  case takeover
  /// The cost of many units and hosts, and the cost of idling.
  case scale
}

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: LaboratoryCommand.bench.rawValue, abstract: LaboratoryCommand.bench.abstract,
    discussion: """
      Suites: \(BenchSuite.allCases.map(\.rawValue).joined(separator: ", ")); all of them if none is named.
      Each goal is met, missed or undecided; it is undecided if the control of its measurement differs too much from \
      1 to judge. With --fail-on-miss the exit status is \(goalMissed) if a goal was missed; undecided ones do not \
      count.
      \(Peer.discussion)
      """)

  @Argument(help: "Suites to run; all of them if none is named.") var suites: [BenchSuite] = []
  @Option(help: "Number of rounds of each comparison.") var rounds = 25
  @Option(
    help: ArgumentHelp(
      "Time after which no further round of a comparison begins, such as 8s (default: none, all rounds run).",
      valueName: "time"), transform: RunTime.seconds(parsing:))
  var runtime: Double?
  @Flag(help: "Short form: fewer and shorter rounds, all suites in less than two minutes.") var quick = false
  @Option(help: ArgumentHelp("Where scratch files go.", valueName: "folder")) var directory: String = ScratchDirectory
    .parent
  @Flag(help: "Exit with status \(goalMissed) when a goal was missed.") var failOnMiss = false
  @Option(help: ArgumentHelp("Write JSON to this file, - for standard output.", valueName: "file")) var json: String?
  @Option(help: ArgumentHelp("Write an HTML page to this file.", valueName: "file")) var html: String?

  func validate() throws {
    guard (3...10_000).contains(rounds) else { throw ValidationError("--rounds takes 3 to 10000") }
    if let runtime, !(runtime > 0) { throw ValidationError("--runtime takes a time, more than 0") }
    if json == "-", html == "-" { throw ValidationError("--json and --html cannot both go to standard output") }
  }

  func run() throws {
    let chosen = suites.isEmpty ? BenchSuite.allCases : suites
    let isQuiet = json == "-" || html == "-"
    for path in [json, html].compactMap({ $0 }) { try OutputFile.check(path) }
    var bench = Bench(
      rounds: quick ? min(rounds, 7) : rounds, seconds: runtime ?? .infinity, isQuick: quick, isQuiet: isQuiet,
      directory: directory, watch: try BenchWatch())
    bench.report.isQuick = quick
    bench.report.started = Date.now.formatted(.iso8601)
    let start = monotonicNanoseconds()
    let outcome = Result { for suite in chosen { try bench.run(suite) } }
    // What was measured until then is not lost.
    if case .failure(let error) = outcome {
      bench.report.remarks.append(
        error is ExitCode ? "interrupted; the remaining suites were not run" : "ended early: \(error)")
    }
    bench.report.seconds = Double(monotonicNanoseconds() - start) / 1e9
    if let json {
      try JSONReport.write(
        bench.report, of: "bench", settings(chosen, bench), ending: ending(outcome, bench.report),
        started: bench.report.started,
        to: json)
    }
    if let html { try OutputFile.write(ReportPage(bench.report).html, to: html) }
    if !isQuiet { Console.print(bench.report.text) }
    try outcome.get()
    if failOnMiss, bench.report.verdicts.contains(.missed) { throw ExitCode(Self.goalMissed) }
  }

  /// The exit status where a goal was missed and that was asked for: none of those that other failures have.
  static let goalMissed: Int32 = 3
}

extension BenchCommand {
  private func settings(_ chosen: [BenchSuite], _ bench: Bench) -> [String: JSONReport.Setting] {
    [
      "suites": .list(chosen.map(\.rawValue)), "rounds": .init(bench.rounds), "runtime": .init(runtime),
      "quick": .flag(quick), "fail_on_miss": .flag(failOnMiss), "directory": .string(directory),
    ]
  }

  private func ending(_ outcome: Result<Void, any Error>, _ report: BenchReport) -> Ending {
    switch outcome {
    case .success:
      failOnMiss && report.verdicts.contains(.missed) ? Ending(reason: .missed, status: Self.goalMissed) : .complete
    case .failure(let code as ExitCode): Ending(reason: .interrupted, status: code.rawValue)
    case .failure(let wrong as VerificationFailure): Ending(reason: .violation, status: 2, message: "\(wrong)")
    case .failure(let error): Ending(reason: .failed, status: 1, message: "\(error)")
    }
  }
}

/// The state and the steps that all suites share.
struct Bench {
  let rounds: Int
  /// After which no further round of a comparison begins.
  let seconds: Double
  let isQuick: Bool
  let directory: String
  let watch: BenchWatch
  /// The two CPUs that the two processes are pinned to; -1: not pinned.
  let cpus: (here: Int, there: Int)
  var report: BenchReport
  var progress: Progress

  init(rounds: Int, seconds: Double, isQuick: Bool, isQuiet: Bool, directory: String, watch: BenchWatch) {
    self.rounds = rounds
    self.seconds = seconds
    self.isQuick = isQuick
    self.directory = directory
    self.watch = watch
    progress = Progress(isQuiet: isQuiet)
    // Looked up once: a process that is pinned has one.
    let pinned = baton_available_cpus() < 2 ? [] : [0, 1].map { Int(baton_available_cpu($0)) }
    cpus = pinned.isEmpty ? (-1, -1) : (pinned[0], pinned[1])
    report = BenchReport(machine: .init(pinned: pinned))
    if pinned.isEmpty {
      report.remarks.append("one CPU: two spinning processes take turns on it, and spinning figures mean nothing")
    }
  }

  mutating func run(_ suite: BenchSuite) throws {
    defer { progress.end() }
    switch suite {
    case .handoff: try handoff()
    case .dispatch: try dispatch()
    case .throughput: try throughput()
    case .storage: try storage()
    case .nbd: try nbd()
    case .takeover: try takeover()
    case .scale: try scale()
    }
  }

  /// Whether both processes of a measurement share one CPU.
  var isCrowded: Bool { cpus.here < 0 }

  /// The goal of a comparison of processes that spin. On one CPU such figures mean nothing, met or missed.
  func spinningGoal(_ ratio: Double) -> BenchReport.Goal? { isCrowded ? nil : .ratio(ratio) }

  /// The same for peers.
  func spinningGoals(_ ratios: [Peer: Double]) -> [Peer: Double] { isCrowded ? [:] : ratios }

  /// Turns of a ball a round: long enough that starting and stopping do not show.
  var turns: UInt64 { isCrowded ? 1000 : isQuick ? 50_000 : 200_000 }

  /// Turns of what sleeps in each of them.
  var sleepingTurns: UInt64 { isQuick ? 300 : 1000 }

  /// A null unit, large enough for random places.
  static let nullUnit = UnitSpecification(.null, size: 1 << 30)

  /// For what spins. A copy of the options of a host.
  static var spinningHost: HostOptions {
    var options = HostOptions()
    options.waiting = .spin
    return options
  }

  /// With a subsystem that is gone afterwards. The body leaves no controller behind. `scratch` is the folder of its
  /// units' files.
  static func withSubsystem<Outcome>(
    _ name: String, _ units: [UnitSpecification], scratch: String? = nil, _ body: (Subsystem) throws -> Outcome
  ) throws -> Outcome {
    let temporary = try TemporarySubsystem("bench", name, units: units, scratch: scratch)
    let outcome = Result { try body(temporary.subsystem) }
    try temporary.destroy()
    return try outcome.get()
  }

  /// With this process pinned to its CPU. Processes that are started meanwhile are pinned there too, unless they pin
  /// themselves.
  func pinned<Outcome: ~Copyable>(_ body: () throws -> Outcome) throws -> Outcome {
    try Self.pinned(to: cpus.here, body)
  }

  /// The same for any CPU; -1: not pinned.
  static func pinned<Outcome: ~Copyable>(to cpu: Int, _ body: () throws -> Outcome) throws -> Outcome {
    if cpu < 0 { return try body() }
    try check(baton_pin_to_cpu(CInt(cpu)), "CPU \(cpu)", doing: "pinning this process to it")
    defer { _ = baton_unpin() }
    return try body()
  }

  /// The worker, on the other CPU.
  func partner(_ role: BenchRole = BenchRole()) throws(BatonError) -> BenchPartner {
    var role = role
    role.cpu = cpus.there
    return try BenchPartner(role, isCrowded: isCrowded, watch)
  }

  /// Measures the things of a comparison in turn, showing how far it is.
  mutating func interleaved(
    _ step: String, things: Int, control: Int? = nil, rounds: Int? = nil,
    _ measure: (_ thing: Int, _ round: Int) throws -> Double
  ) throws -> Interleaved {
    progress.begin(step)
    let rounds = rounds ?? self.rounds
    return try Interleaved(rounds: rounds, within: seconds, things: things, control: control) { thing, round in
      try watch.check()
      progress.update(round == 0 ? "warming up" : "round \(round) of \(rounds)")
      return try measure(thing, round)
    }
  }

  /// The same for trials that give several values each.
  mutating func interleaved(
    _ step: String, trials: Int, control: Int? = nil, rounds: Int,
    _ measure: (_ trial: Int, _ round: Int) throws -> [Double]
  ) throws -> Interleaved {
    progress.begin(step)
    return try Interleaved(rounds: rounds, within: seconds, trials: trials, control: control) { trial, round in
      try watch.check()
      progress.update(round == 0 ? "warming up" : "round \(round) of \(rounds)")
      return try measure(trial, round)
    }
  }
}
