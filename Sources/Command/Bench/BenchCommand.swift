import ArgumentParser
import Baton
import BatonSharedMemory
import CBatonShims
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

  func validate() throws {
    guard (3...10_000).contains(rounds) else { throw ValidationError("--rounds takes 3 to 10000") }
    if let runtime, !(runtime > 0) { throw ValidationError("--runtime takes seconds, more than 0") }
  }

  func run() throws {
    let chosen = suites.isEmpty ? BenchSuite.allCases : suites
    let isQuiet = json == "-"
    var bench = Bench(
      rounds: quick ? min(rounds, 7) : rounds, seconds: runtime ?? .infinity, isQuick: quick, isQuiet: isQuiet,
      directory: directory)
    for suite in chosen {
      switch suite {
      case .handoff: try bench.handoff()
      case .dispatch: try bench.dispatch()
      case .storage: try bench.storage()
      case .takeover: try bench.takeover()
      }
    }
    if let json { try JSONReport.write(bench.report, to: json) }
    if !isQuiet { Console.print(bench.report.text) }
  }
}

/// The suites, and what they share.
struct Bench {
  let rounds: Int
  /// After which no further round of a comparison begins.
  let seconds: Double
  let isQuick: Bool
  let directory: String
  var report = BenchReport(machine: .init())
  var progress: Progress

  init(rounds: Int, seconds: Double, isQuick: Bool, isQuiet: Bool, directory: String) {
    self.rounds = rounds
    self.seconds = seconds
    self.isQuick = isQuick
    self.directory = directory
    progress = Progress(isQuiet: isQuiet)
    if baton_available_cpus() < 2 {
      report.warnings.append("one CPU: two spinning processes take turns on it, and spinning figures mean nothing")
    }
  }

  /// Turns of a ball a round: long enough that starting and stopping do not show.
  var turns: UInt64 { baton_available_cpus() < 2 ? 50 : isQuick ? 50_000 : 200_000 }

  /// The two CPUs that the two processes are pinned to; -1: not pinned.
  var cpus: (here: Int, there: Int) { baton_available_cpus() < 2 ? (-1, -1) : (0, 1) }

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
    report.results += rows
  }

  /// Ownership between two spinning processes: the arbiter's transitions alone.
  mutating func handoff() throws {
    let (turns, rounds, seconds) = (turns, rounds, seconds)
    try withPartner { partner, _, progress in
      progress.begin("handoff: ownership of one function, back and forth")
      let measured = try Interleaved(rounds: rounds, within: seconds, things: 3) { thing, round in
        progress.update("round \(round) of \(rounds)")
        return try partner.roundTrip(thing == 1 ? .arbiter : .compareAndSwap, turns: turns)
      }
      return [
        BenchReport.Row(
          suite: "handoff", name: "ownership, a to b to a", metric: "round trip", unit: "ns",
          p50: measured.percentile(1, 50), p99: measured.percentile(1, 99), p999: measured.percentile(1, 99.9),
          floor: .init(name: "compare-and-swap ping-pong", p50: measured.percentile(0, 50)),
          ratioToFloor: measured.ratio(1, to: 0), peers: []),
        BenchReport.Row(
          suite: "handoff", name: "control: the floor against itself", metric: "round trip", unit: "ns",
          p50: measured.percentile(2, 50), p99: measured.percentile(2, 99), p999: measured.percentile(2, 99.9),
          floor: .init(name: "compare-and-swap ping-pong", p50: measured.percentile(0, 50)),
          ratioToFloor: measured.ratio(2, to: 0), peers: []),
      ]
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
      let measured = try Interleaved(rounds: rounds, within: seconds, things: 2) { thing, round in
        progress.update("round \(round) of \(rounds)")
        if thing == 0 { return try partner.roundTrip(.loadStore, turns: turns) }
        partner.begin(.controller)
        try partner.join()
        return try Self.nanosecondsPerRequest(of: &host, requests: turns, depth: 1)
      }
      return [
        BenchReport.Row(
          suite: "dispatch", name: "host to owner and back, depth 1", metric: "round trip", unit: "ns",
          p50: measured.percentile(1, 50), p99: measured.percentile(1, 99), p999: measured.percentile(1, 99.9),
          floor: .init(name: "one-line ping-pong", p50: measured.percentile(0, 50)),
          ratioToFloor: measured.ratio(1, to: 0), peers: [])
      ]
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
    report.results.append(
      try Self.withSubsystem("bench", [UnitSpecification(.path(path))]) { try storage(on: $0, path, size, log: log) })
  }

  private mutating func storage(on subsystem: Subsystem, _ path: String, _ size: UInt64, log: String) throws
    -> BenchReport.Row
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
    let measured = try Interleaved(rounds: rounds, within: seconds, things: hasFio ? 2 : 1) { thing, round in
      progress.update("round \(round) of \(rounds)")
      if thing == 0 { return try ours(round) }
      return try Fio.rate(
        file: path, rw: .randread, blockSize: 4096, depth: 32, size: size, direct: isDirect, seconds: roundSeconds)
    }
    progress.end()
    try controller.stop()
    return BenchReport.Row(
      suite: "storage", name: "4 KiB random reads, depth 32\(isDirect ? ", O_DIRECT" : "")", metric: "rate",
      unit: "requests/s", p50: measured.percentile(0, 50), p99: measured.percentile(0, 1),
      p999: measured.percentile(0, 0.1),
      floor: hasFio ? .init(name: "fio io_uring", p50: measured.percentile(1, 50)) : nil,
      ratioToFloor: hasFio ? measured.ratio(1, to: 0) : nil,
      peers: hasFio
        ? [] : [.init(name: "fio io_uring", p50: nil, ratio: nil, notRun: "fio is not installed: apt-get install fio")])
  }
}
