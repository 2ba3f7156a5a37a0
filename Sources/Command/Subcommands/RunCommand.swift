import ArgumentParser
import Baton

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Put load on a subsystem, as one host.")

  @Argument(help: "The subsystem's name, or the path of its folder.") var name: String
  @Option(help: "read, write, randread, randwrite, rw, randrw.") var rw = AccessPattern.randread
  @Option(help: "Reads in a mixture, percent.") var rwmixread = 50
  @Option(help: ArgumentHelp("Bytes a request.", valueName: "bytes")) var bs = ByteSize(4096)
  @Option(help: "Requests outstanding.") var iodepth = 32
  @Option(help: "Seconds.") var runtime = 10.0
  @Option(help: "Stop after so many requests.") var number: UInt64?
  @Option(help: "Which controllers: a, b, or both in turn.") var path = PathChoice.both
  @Option(help: "Which unit; all if left out.") var unit: Int?
  @Option(help: ArgumentHelp("Work on so many bytes from each unit's start.", valueName: "bytes")) var size: ByteSize?
  @Flag(help: "Stamp every block that is written, and check every block that is read.") var verify = false
  @Option(help: "How to wait: spin, adaptive, park.") var wait: WaitStrategy = .standard
  @Option(help: "Seed of the random order.") var seed: UInt64 = 1
  @Option(help: ArgumentHelp("Write JSON to this file, - for standard output.", valueName: "file")) var json: String?

  func validate() throws {
    guard bs.bytes >= 512, bs.bytes % 512 == 0, bs.bytes <= Request.transferMax else {
      throw ValidationError("--bs takes a multiple of 512, up to \(ByteCount.describe(Request.transferMax))")
    }
    guard (1...4000).contains(iodepth) else { throw ValidationError("--iodepth takes 1 to 4000") }
    guard runtime > 0, runtime < 1e9 else { throw ValidationError("--runtime takes seconds, more than 0") }
    guard (0...100).contains(rwmixread) else { throw ValidationError("--rwmixread takes 0 to 100") }
  }

  func run() throws {
    if let json { try OutputFile.check(json) }
    let subsystem = try Subsystem(name)
    let before = try subsystem.status()
    var plan = WorkloadPlan()
    plan.pattern = rw
    plan.readPercent = rwmixread
    plan.blockSize = Int(bs.bytes)
    plan.depth = iodepth
    plan.nanoseconds = UInt64(runtime * 1e9)
    plan.requestsMax = number ?? .max
    plan.path = path
    plan.verifies = verify
    plan.seed = seed
    plan.targets = try targets(before)
    var workload = try Workload(plan, of: subsystem, waiting: wait)
    var progress = Progress(isQuiet: json == "-")
    progress.begin("\(rw.rawValue), \(ByteCount.describe(bs.bytes)), depth \(iodepth), through \(path.rawValue)")
    var result = try workload.run { requests, nanoseconds in
      progress.update(
        "\(Figure.fixed(Double(nanoseconds) / 1e9, 1)) of \(Figure.fixed(runtime, 1)) s, "
          + "\(Figure.count(requests)) requests"
      )
      return true
    }
    progress.end()
    var blocksVerified: UInt64?
    if verify, result.mismatch == nil {
      progress.begin("reading every written block again")
      do { blocksVerified = try workload.verifyAll() } catch let failure as VerificationFailure {
        result.mismatch = failure.description
      }
      progress.end()
    }
    let after = try subsystem.status()
    let report = RunReport(
      rw: rw.rawValue, path: path.rawValue, result, terms: after.terms &- before.terms, blocksVerified: blocksVerified)
    if let json { try JSONReport.write(report, to: json) }
    if json != "-" { Console.print(report.text) }
    if let mismatch = result.mismatch { throw VerificationFailure(description: "verification failed: \(mismatch)") }
    if let error = result.errorsReport { throw error }
  }

  private func targets(_ status: SubsystemStatus) throws -> [WorkloadTarget] {
    if let unit, !status.units.indices.contains(unit) {
      throw BatonError(
        .invalid, "unit \(unit)", "is not there", mend: "this subsystem has units 0 to \(status.units.count - 1)")
    }
    let chosen = unit.map { [status.units[$0]] } ?? status.units
    if verify, let null = chosen.first(where: { $0.kind == "null" }) {
      throw BatonError(
        .invalid, "unit \(null.unit)", "is a null unit: it keeps nothing that could be verified",
        mend: "name another with --unit")
    }
    return try chosen.map { unit in
      guard bs.bytes % unit.blockSize == 0 else {
        throw BatonError(
          .invalid, "--bs \(bs.bytes)", "is no multiple of unit \(unit.unit)'s block size, \(unit.blockSize)")
      }
      let size = min(size?.bytes ?? unit.size, unit.size) / bs.bytes * bs.bytes
      guard size > 0 else { throw BatonError(.invalid, "--bs \(bs.bytes)", "is more than unit \(unit.unit) has") }
      return WorkloadTarget(unit: UInt32(unit.unit), size: size)
    }
  }
}

/// A number of bytes on the command line: `4k`.
struct ByteSize: ExpressibleByArgument {
  let bytes: UInt64
  init(_ bytes: UInt64) { self.bytes = bytes }
  init?(argument: String) {
    guard let bytes = ByteCount.parse(argument) else { return nil }
    self.bytes = bytes
  }
  var defaultValueDescription: String { "\(bytes)" }
}

/// What `run` reports, to people and programs alike.
struct RunReport: Encodable {
  let rw: String
  let path: String
  let seconds: Double
  let requests: UInt64
  let reads: UInt64
  let writes: UInt64
  let bytes: UInt64
  let requestsPerSecond: Double
  let servedByA: UInt64
  let servedByB: UInt64
  let transferred: UInt64
  let changesOfOwner: UInt64
  let rerouted: UInt64
  let errors: [String: UInt64]
  let verifiedReads: UInt64
  let blocksVerified: UInt64?
  let mismatch: String?
  let latencyNanoseconds: LatencySummary

  init(rw: String, path: String, _ result: WorkloadResult, terms: UInt64, blocksVerified: UInt64?) {
    self.rw = rw
    self.path = path
    seconds = Double(max(result.nanoseconds, 1)) / 1e9
    requests = result.requests
    reads = result.reads
    writes = result.writes
    bytes = result.bytes
    requestsPerSecond = Double(result.requests) / seconds
    servedByA = result.servedByA
    servedByB = result.servedByB
    transferred = result.transferred
    changesOfOwner = terms
    rerouted = result.rerouted
    errors = Dictionary(uniqueKeysWithValues: result.errors.map { ("\($0.key)", $0.value) })
    verifiedReads = result.verifiedReads
    self.blocksVerified = blocksVerified
    mismatch = result.mismatch
    latencyNanoseconds = result.latencies.summary
  }

  var text: String {
    var lines = [
      "requests           \(Figure.count(requests)) in \(Figure.fixed(seconds, 2)) s: "
        + "\(Figure.count(UInt64(requestsPerSecond))) a second, \(Figure.throughput(bytes, seconds: seconds))",
      "reads, writes      \(Figure.count(reads)), \(Figure.count(writes))",
      "latency            \(latencyNanoseconds.text)",
      "served by          a \(Figure.percent(servedByA, of: requests)), b \(Figure.percent(servedByB, of: requests))",
      "changes of owner   \(Figure.count(changesOfOwner)); "
        + "\(Figure.percent(transferred, of: requests)) of the requests waited for one",
    ]
    if rerouted > 0 { lines.append("asked again        \(Figure.count(rerouted)), because a controller left") }
    for (status, count) in errors.sorted(by: { $0.key < $1.key }) {
      lines.append("ended with error   \(Figure.count(count)): \(status)")
    }
    if let blocksVerified {
      lines.append(
        "verified           \(Figure.count(verifiedReads)) reads on the way, \(Figure.count(blocksVerified)) blocks "
          + "at the end: no mismatch"
      )
    }
    return lines.joined(separator: "\n")
  }
}
