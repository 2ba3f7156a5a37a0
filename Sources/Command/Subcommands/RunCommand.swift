import ArgumentParser
import Baton
import BatonCommandKit
import BatonSharedMemory
import BatonSystem
import Glibc

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Put load on a subsystem as one host.",
    discussion: """
      Reports the figures so far, whatever ends the run. The exit status says why it ended: 0 complete; 1 requests \
      ended with errors; 2 data was wrong; 4 no controller serves, or the subsystem is gone; 128 + N interrupted by \
      signal N.
      """)

  @Argument(help: "The subsystem's name, or the path of its folder.") var name: String
  @Option(help: "Access pattern.") var rw = AccessPattern.randread
  @Option(help: "Percentage of reads in a mixed pattern.") var rwmixread = 50
  @Option(
    help: ArgumentHelp("Request size in bytes, such as 4k (default: 4096).", valueName: "bytes"),
    transform: ByteSize.init(parsing:))
  var bs = ByteSize(4096)
  @Option(help: "Number of outstanding requests.") var iodepth = 32
  @Option(
    help: ArgumentHelp("Run time, such as 10s (default: 10s).", valueName: "time"), transform: RunTime.seconds(parsing:)
  )
  var runtime = 10.0
  @Option(help: "Number of requests after which the run ends.") var number: UInt64?
  @Option(help: "Controllers that requests go to (default: in turn to all that serve).") var path: PathChoice?
  @Option(help: "Number of the unit (default: all units).") var unit: Int?
  @Option(
    help: ArgumentHelp("Number of bytes of each unit to use, from its start (default: all).", valueName: "bytes"),
    transform: ByteSize.init(parsing:))
  var size: ByteSize?
  @Flag(
    help: """
      Stamp every block that is written, and check every block that is read. No other host may write to the unit \
      meanwhile.
      """)
  var verify = false
  @Option(help: "Waiting strategy of the host.") var wait: WaitStrategy = .standard
  @Option(help: "Seed of the random order.") var seed: UInt64 = 1
  @Option(help: ArgumentHelp("Write JSON to this file, - for standard output.", valueName: "file")) var json: String?

  /// How long an interrupted run waits for outstanding requests.
  private static let farewellNanoseconds: UInt64 = 2_000_000_000

  func validate() throws {
    guard bs.bytes >= 512, bs.bytes % 512 == 0, bs.bytes <= Request.transferMax else {
      throw ValidationError("--bs takes a multiple of 512, up to \(ByteCount.describe(Request.transferMax))")
    }
    guard (1...4000).contains(iodepth) else { throw ValidationError("--iodepth takes 1 to 4000") }
    guard runtime > 0, runtime < 1e9 else { throw ValidationError("--runtime takes a time, more than 0") }
    guard (0...100).contains(rwmixread) else { throw ValidationError("--rwmixread takes 0 to 100") }
  }

  func run() throws {
    if let json { try OutputFile.check(json) }
    let started = JSONReport.now
    let subsystem = try Subsystem(name)
    let before = try subsystem.status()
    var plan = WorkloadPlan()
    plan.pattern = rw
    plan.readPercent = rwmixread
    plan.blockSize = Int(bs.bytes)
    plan.depth = iodepth
    plan.nanoseconds = UInt64(runtime * 1e9)
    plan.requestsMax = number ?? .max
    plan.path = path ?? .both
    plan.verifies = verify
    plan.seed = seed
    plan.targets = try targets(before)
    let isShared = before.controllers.contains { $0.isRunning && $0[.hosts] > 0 }
    if verify, isShared {
      Console.error("baton: other hosts are attached; --verify reports what they write to the same unit as a mismatch")
    }
    var workload = try Workload(plan, of: subsystem, waiting: wait)
    try checkPaths(workload)
    // From here on there is something to report.
    let interruption = try Interruption()
    var progress = Progress(isQuiet: json == "-")
    progress.begin("\(rw.rawValue), \(ByteCount.describe(bs.bytes)), depth \(iodepth), through \(plan.path.rawValue)")
    var interrupt = Interrupt(farewell: Self.farewellNanoseconds)
    var result = try workload.run { moment in
      progress.update(describe(moment, isFinishing: interrupt.signal != 0))
      return interrupt.step(interruption)
    }
    progress.end()
    var failure = result.failure
    if verify, result.mismatch == nil, result.loss == nil, interrupt.signal == 0 {
      progress.begin("reading every written block again")
      do { try workload.verifyAll { interrupt.step(interruption) } } catch let wrong as VerificationFailure {
        result.mismatch = wrong.description
      } catch let error as BatonError {
        failure = error
        if error.code == .missing { result.loss = error }
      }
      progress.end()
    }
    // Another subsystem of that name has counted other changes.
    let after = try? subsystem.status()
    let terms = after.flatMap { $0.generation == before.generation ? $0.terms &- before.terms : nil }
    let ending = ending(result, failure, interrupt.signal, isShared: isShared)
    let report = RunReport(
      subsystem: before.name, result, terms: terms, blocksVerified: verify ? workload.blocksVerified : nil)
    if let json { try JSONReport.write(report, of: "run", settings(plan), ending: ending, started: started, to: json) }
    if json != "-" { Console.print(report.text) }
    if let message = ending.message { Console.error("baton: \(message)") }
    if ending.status != 0 { throw ExitCode(ending.status) }
  }

  /// Checks that the controller that was named serves this host, or both if none was named.
  private func checkPaths(_ workload: borrowing Workload) throws(BatonError) {
    for identity in ControllerIdentity.allCases where !workload.isAttached(to: identity) {
      let start = "start it with 'baton controller \(name) \(identity)'"
      switch path {
      case nil: Console.error("baton: controller \(identity) does not serve; \(start)")
      case .both: throw BatonError(.missing, "controller \(identity)", "does not serve", fix: "\(start)")
      case .a where identity == .a, .b where identity == .b:
        throw BatonError(
          .missing, "controller \(identity)", "does not serve", fix: "\(start), or use --path \(identity.peer)")
      case .a, .b: break
      }
    }
  }

  private func describe(_ moment: WorkloadMoment, isFinishing: Bool) -> String {
    let seconds = Double(moment.nanoseconds) / 1e9
    var text = "\(Figure.fixed(min(seconds, runtime), 1)) of \(Figure.fixed(runtime, 1)) s, "
    text += "\(Figure.count(moment.requests)) requests"
    if isFinishing || seconds > runtime { text += ", waiting for \(Figure.count(UInt64(moment.outstanding))) answers" }
    return moment.isServed ? text : text + ", no controller serves"
  }

  /// The most serious of the errors.
  private func ending(_ result: WorkloadResult, _ failure: BatonError?, _ signal: CInt, isShared: Bool) -> Ending {
    if let mismatch = result.mismatch {
      let hint = isShared ? "; other hosts were attached, and --verify must be alone on a unit" : ""
      return Ending(reason: .violation, status: 2, message: "verification failed: \(mismatch)\(hint)")
    }
    if signal != 0 { return Ending(signal: signal) }
    if let loss = result.loss { return Ending(reason: .lost, status: 4, message: "\(loss)") }
    if let failure { return Ending(reason: .errors, status: 1, message: "\(failure)") }
    return .complete
  }

  private func settings(_ plan: WorkloadPlan) -> [String: JSONReport.Setting] {
    [
      "subsystem": .string(name), "rw": .string(rw.rawValue), "rwmixread": .init(rwmixread), "bs": .init(bs.bytes),
      "iodepth": .init(iodepth), "runtime": .seconds(runtime), "number": .init(number),
      "path": .string(plan.path.rawValue), "unit": .init(unit), "size": .init(size?.bytes), "verify": .flag(verify),
      "wait": .string(wait.name), "seed": .init(wide: seed),
    ]
  }

  private func targets(_ status: SubsystemStatus) throws -> [WorkloadTarget] {
    if let unit, !status.units.indices.contains(unit) {
      throw BatonError(
        .invalid, "unit \(unit)", "does not exist", fix: "this subsystem has units 0 to \(status.units.count - 1)")
    }
    let chosen = unit.map { [status.units[$0]] } ?? status.units
    if verify, let null = chosen.first(where: { $0.kind == "null" }) {
      throw BatonError(
        .invalid, "unit \(null.unit)", "is a null unit: it keeps nothing that could be verified",
        fix: "name another with --unit")
    }
    if let size, size.bytes < bs.bytes {
      throw BatonError(
        .invalid, "--size \(size.bytes)", "is less than one request, \(bs.bytes) bytes",
        fix: "give a larger --size or a smaller --bs")
    }
    return try chosen.map { unit in
      guard bs.bytes % unit.blockSize == 0 else {
        throw BatonError(
          .invalid, "--bs \(bs.bytes)", "is not a multiple of unit \(unit.unit)'s block size, \(unit.blockSize)")
      }
      let size = min(size?.bytes ?? unit.size, unit.size) / bs.bytes * bs.bytes
      guard size > 0 else {
        throw BatonError(
          .invalid, "--bs \(bs.bytes)", "is more than unit \(unit.unit) has, \(unit.size) bytes",
          fix: "give a smaller --bs, or name another unit with --unit")
      }
      return WorkloadTarget(unit: UInt32(unit.unit), size: size)
    }
  }
}

/// Ends a workload on a signal: the first signal lets it finish its outstanding requests, within a time; the second
/// ends it at once.
private struct Interrupt {
  /// How long outstanding requests may take, in nanoseconds.
  let farewell: UInt64
  /// The first signal; 0: none.
  private(set) var signal: CInt = 0
  private var since: UInt64 = 0

  init(farewell: UInt64) { self.farewell = farewell }

  mutating func step(_ interruption: borrowing Interruption) -> WorkloadStep {
    let taken = interruption.take()
    if signal == 0 {
      if taken == 0 { return .goOn }
      signal = taken
      since = monotonicNanoseconds()
      return .finish
    }
    return taken != 0 || monotonicNanoseconds() &- since >= farewell ? .abandon : .finish
  }
}

/// The report of `run`, for people and programs.
struct RunReport: Encodable {
  let subsystem: String
  let seconds: Double
  let requests: UInt64
  let reads: UInt64
  let writes: UInt64
  let bytes: UInt64
  let requestsPerSecond: Double
  let servedBy: ServedBy
  let transferred: UInt64
  @OrNull var changesOfOwner: UInt64?
  let rerouted: UInt64
  let unanswered: Int
  let errors: [String: UInt64]
  let readsVerified: UInt64
  @OrNull var blocksVerified: UInt64?
  @OrNull var violation: String?
  let latencyNanoseconds: LatencySummary

  init(subsystem: String, _ result: WorkloadResult, terms: UInt64?, blocksVerified: UInt64?) {
    self.subsystem = subsystem
    seconds = Double(max(result.nanoseconds, 1)) / 1e9
    requests = result.requests
    reads = result.reads
    writes = result.writes
    bytes = result.bytes
    requestsPerSecond = Double(result.requests) / seconds
    servedBy = ServedBy(a: result.servedByA, b: result.servedByB)
    transferred = result.transferred
    changesOfOwner = terms
    rerouted = result.rerouted
    unanswered = result.unanswered
    errors = Dictionary(uniqueKeysWithValues: result.errors.map { ("\($0.key)", $0.value) })
    readsVerified = result.verifiedReads
    self.blocksVerified = blocksVerified
    violation = result.mismatch
    latencyNanoseconds = result.latencies.summary
  }

  var text: String {
    var lines = [
      "requests           \(Figure.count(requests)) in \(Figure.fixed(seconds, 2)) s: "
        + "\(Figure.count(UInt64(requestsPerSecond))) per second, \(Figure.throughput(bytes, seconds: seconds))",
      "reads, writes      \(Figure.count(reads)), \(Figure.count(writes))",
      "latency            \(latencyNanoseconds.text)",
      "served by          \(servedBy.text)",
      "changes of owner   "
        + (changesOfOwner.map { "\(Figure.count($0)); " } ?? "unknown, the subsystem is gone or replaced; ")
        + "\(Figure.percent(transferred, of: requests)) of the requests waited for one",
    ]
    if rerouted > 0 { lines.append("asked again        \(Figure.count(rerouted)), because a controller left") }
    if unanswered > 0 { lines.append("unanswered         \(Figure.count(UInt64(unanswered)))") }
    for (status, count) in errors.sorted(by: { $0.key < $1.key }) {
      lines.append("ended with error   \(Figure.count(count)): \(status)")
    }
    if let blocksVerified {
      lines.append(
        "verified           \(Figure.count(readsVerified)) reads on the way, \(Figure.count(blocksVerified)) blocks "
          + "at the end: \(violation == nil ? "no mismatch" : "A MISMATCH")"
      )
    }
    return lines.joined(separator: "\n")
  }
}

/// Requests by the controller that served them.
struct ServedBy: Encodable {
  let a: UInt64
  let b: UInt64

  var text: String { "a \(Figure.percent(a, of: a + b)), b \(Figure.percent(b, of: a + b))" }
}
