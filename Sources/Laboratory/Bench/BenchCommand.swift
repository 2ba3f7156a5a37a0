import ArgumentParser
import Baton
import BatonCommandKit
import BatonSystem
import CBatonShims
import FoundationEssentials
import Glibc

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: LaboratoryCommand.bench.rawValue, abstract: LaboratoryCommand.bench.abstract,
    discussion: """
      Suites: \(BenchSuite.allCases.map(\.rawValue).joined(separator: ", ")); all of them if none is named.
      Each goal is met, missed or undecided; it is undecided if the control of its measurement differs too much from \
      1 to judge. With --fail-on-miss the exit status is \(goalMissed) if a goal was missed; undecided ones do not \
      count.
      With --against or --against-options, each round starts A (this executable), B (the other) and A again, and \
      measures them batch by batch in turns. B is better or worse than A if the 99 % interval of their ratio lies on \
      one side of 1; otherwise, or if A differs from itself, it is undecided. At least 8 rounds are needed.
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
  @Option(
    help: ArgumentHelp(
      "Measure this executable and another baton in turns, and judge the other; no suites.", valueName: "executable"))
  var against: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The same with options of 'controller' for the other side, such as '--wait park'.", valueName: "options"))
  var againstOptions: String?
  @Option(help: ArgumentHelp("Where scratch files go.", valueName: "folder")) var directory: String = ScratchDirectory
    .parent
  @Flag(help: "Exit with status \(goalMissed) when a goal was missed.") var failOnMiss = false
  @Option(help: ArgumentHelp("Write JSON to this file, - for standard output.", valueName: "file")) var json: String?
  @Option(help: ArgumentHelp("Write an HTML page to this file.", valueName: "file")) var html: String?

  func validate() throws {
    guard (3...10_000).contains(rounds) else { throw ValidationError("--rounds takes 3 to 10000") }
    if let runtime, !(runtime > 0) { throw ValidationError("--runtime takes a time, more than 0") }
    if against != nil || againstOptions != nil {
      guard suites.isEmpty, html == nil, !failOnMiss else {
        throw ValidationError("--against and --against-options measure cases of their own: leave out suites and --html")
      }
    }
    if json == "-", html == "-" { throw ValidationError("--json and --html cannot both go to standard output") }
  }

  func run() throws {
    if against != nil || againstOptions != nil { return try compete() }
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
  /// Two executables, or this one with two settings, in turns.
  private func compete() throws {
    if let json { try OutputFile.check(json) }
    let started = JSONReport.now
    let watch = try BenchWatch()
    let own = BatonProgram.running.path ?? BatonProgram.pathBeside(LaboratoryCommand.program)
    let words = (againstOptions ?? "").split(separator: " ").map { String($0) }
    let other = try against.map { path throws(BatonError) in try Contest.executable(path) } ?? own
    let name = [against, againstOptions.map { "with \($0)" }].compactMap { $0 }.joined(separator: " ")
    let contest = Contest(
      a: .init(executable: own, words: [], name: "this executable (Baton \(BuildVersion.number))"),
      b: .init(executable: other, words: words, name: name), rounds: quick ? min(rounds, 10) : rounds,
      batches: quick ? 3 : 5)
    var progress = Progress(isQuiet: json == "-")
    let comparison = try contest.run(ContestCase.allCases, watch) { contest, round in
      if round == 0 { progress.begin(contest.name) }
      progress.update("round \(round + 1)")
    }
    progress.end()
    if let json {
      try JSONReport.write(
        comparison, of: "compare",
        [
          "against": .init(against), "against_options": .init(againstOptions), "rounds": .init(contest.rounds),
        ], started: started, to: json)
    }
    if json != "-" { Console.print(comparison.text) }
  }

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
