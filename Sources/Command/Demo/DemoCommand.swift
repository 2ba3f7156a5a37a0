import ArgumentParser
import Baton
import BatonCommandKit
import BatonSharedMemory
import BatonSystem
import Glibc

struct DemoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo", abstract: "Show the whole story on scratch files, with every byte verified.",
    discussion: """
      Creates a subsystem with two units, starts both controllers, writes an image through both in turn, reads every \
      piece back through the other controller, and then lets a host write and read at random through both. In the \
      middle of that it kills the controller that owns the unit, shows how long the host waited, and starts it again. \
      Exits 0 only if every byte was right, 2 if one was not.
      """)

  @Option(help: ArgumentHelp("File to copy through the controllers.", valueName: "file")) var image: String?
  @Option(
    help: ArgumentHelp("Duration of the random load, such as 5s (default: 5s, with --quick 1s).", valueName: "time"),
    transform: RunTime.seconds(parsing:))
  var runtime: Double?
  @Flag(help: "Short form: a smaller scratch image and one second of load.") var quick = false
  @Flag(help: "Go through the page cache, not O_DIRECT.") var buffered = false
  @Option(help: ArgumentHelp("Where scratch files go.", valueName: "folder")) var directory: String = ScratchDirectory
    .parent
  @Option(help: ArgumentHelp("Write JSON to this file, - for standard output.", valueName: "file")) var json: String?

  func validate() throws {
    if let runtime, !(runtime > 0 && runtime < 1e6) { throw ValidationError("--runtime takes a time, more than 0") }
  }

  func run() throws {
    let interruption = try Interruption()
    let started = JSONReport.now
    if let json { try OutputFile.check(json) }
    let scratch = try ScratchDirectory(in: directory, name: "demo")
    let imagePath = image ?? "\(scratch.path)/image"
    if image == nil {
      try NoiseFile.make(at: imagePath, count: quick ? 16 << 20 : 64 << 20, seed: UInt64(getpid()))
    }
    let file = try ImageFile(imagePath)

    let unitSize = (UInt64(file.count) + 65535) & ~65535
    let loadSize: UInt64 = quick ? 16 << 20 : 64 << 20
    var units = [
      UnitSpecification(.path("\(scratch.path)/unit0"), size: unitSize),
      UnitSpecification(.path("\(scratch.path)/unit1"), size: loadSize),
    ]
    for index in units.indices { units[index].isBuffered = buffered }
    let temporary = try TemporarySubsystem("demo", units: units, scratch: scratch.path)
    let subsystem = temporary.subsystem
    let outcome = Result {
      try tell(of: subsystem, file, loadSize: loadSize, scratch.path, interruption, since: started)
    }
    // The controllers have gone: they left or were killed.
    try temporary.destroy()
    try outcome.get()
  }

  /// The story itself. Both controllers have ended when this returns or throws.
  private func tell(
    of subsystem: Subsystem, _ file: borrowing ImageFile, loadSize: UInt64, _ scratch: String,
    _ interruption: borrowing Interruption, since started: String
  ) throws {
    let isQuiet = json == "-"
    var progress = Progress(isQuiet: isQuiet)
    defer { progress.end() }
    func proceed() throws {
      let signal = interruption.take()
      if signal != 0 { throw ExitCode(128 + signal) }
    }
    let log = "\(scratch)/log"
    var pair = try ControllerPair(of: subsystem, by: .running, log: log)
    if !isQuiet {
      Console.print("controllers        a is process \(pair.pid(of: .a)), b is process \(pair.pid(of: .b))")
      Console.print("units              \(scratch)/unit0 (the image), \(scratch)/unit1 (random load)")
    }

    let start = monotonicNanoseconds()
    var copy = try ImageCopy(of: subsystem)
    progress.begin("writing \(ByteCount.describe(UInt64(file.count))) through a and b in turn")
    try copy.write(file) { part in
      try proceed()
      progress.update("\(Int(part * 100)) %")
    }
    progress.begin("reading every piece back through the other controller")
    let firstHash = try copy.read(file) { part in
      try proceed()
      progress.update("\(Int(part * 100)) %")
    }

    var plan = WorkloadPlan()
    plan.nanoseconds = UInt64((runtime ?? (quick ? 1 : 5)) * 1e9)
    plan.verifies = true
    plan.targets = [WorkloadTarget(unit: 1, size: loadSize)]
    plan.seed = UInt64(getpid())
    var workload = try Workload(plan, of: subsystem)
    progress.begin("random reads and writes through both, every read checked; one is killed in the middle")
    var signal: CInt = 0
    var killed: ControllerIdentity?
    var isBack = false
    let load = try workload.run { moment in
      signal = max(signal, interruption.take())
      progress.update(
        "\(Figure.fixed(Double(moment.nanoseconds) / 1e9, 1)) s, \(Figure.count(moment.requests)) requests")
      return signal == 0 ? .goOn : .abandon
    } killing: { nanoseconds in
      if killed == nil, nanoseconds > plan.nanoseconds / 2 {
        let owner = try subsystem.status().functions[2].owner ?? .a
        pair.kill(owner)
        killed = owner
        return owner
      }
      if !isBack, nanoseconds > plan.nanoseconds * 3 / 4 {
        isBack = true
        if let killed { try pair.restart(killed) }
      }
      return nil
    }
    if signal != 0 { throw ExitCode(128 + signal) }
    if let mismatch = load.mismatch { throw VerificationFailure(description: "verification failed: \(mismatch)") }
    if let failure = load.failure { throw failure }

    if isBack, let killed { try pair.waitUntilServing(killed) }
    progress.begin("reading everything once more")
    let blocks = try workload.verifyAll {
      signal = max(signal, interruption.take())
      return signal == 0 ? .goOn : .abandon
    }
    if signal != 0 { throw ExitCode(128 + signal) }
    let secondHash = try copy.read(file, swapped: true) { part in
      try proceed()
      progress.update("\(Int(part * 100)) %")
    }
    progress.end()
    let seconds = Double(monotonicNanoseconds() - start) / 1e9

    let status = try subsystem.status()
    try pair.stop()
    let report = DemoReport(
      controllers: ControllerIdentity.allCases.map { .init(identity: "\($0)", pid: Int(pair.pid(of: $0))) },
      seconds: seconds,
      requests: copy.requests + load.requests + blocks,
      servedBy: ServedBy(a: copy.servedBy[0] + load.servedByA, b: copy.servedBy[1] + load.servedByB),
      changesOfOwner: status.terms, killed: killed.map { "\($0)" }, pause: load.pause,
      imageLatencyNanoseconds: copy.latencies.summary, loadLatencyNanoseconds: load.latencies.summary,
      blocksVerified: blocks, readsVerified: load.verifiedReads, imageBytes: file.count, sha256: try file.sha256(),
      sha256Read: firstHash, sha256ReadAgain: secondHash)
    if let json {
      let ending =
        report.isVerified ? Ending.complete : Ending(reason: .violation, status: 2, message: Self.hashesDiffer)
      try JSONReport.write(report, of: "demo", settings(plan), ending: ending, started: started, to: json)
    }
    if !isQuiet { Console.print(report.text) }
    if !report.isVerified {
      throw VerificationFailure(description: Self.hashesDiffer)
    }
  }

  private static let hashesDiffer = "verification failed: the SHA-256 of what was read differs from the image's"

  private func settings(_ plan: WorkloadPlan) -> [String: JSONReport.Setting] {
    [
      "image": .init(image), "runtime": .seconds(Double(plan.nanoseconds) / 1e9), "quick": .flag(quick),
      "buffered": .flag(buffered), "directory": .string(directory), "bs": .init(plan.sizes.max),
      "iodepth": .init(plan.depth), "rw": .string(plan.pattern.rawValue), "rwmixread": .init(plan.readPercent),
      "path": .string(plan.path.rawValue), "verify": .flag(plan.verifies), "wait": .string(WaitStrategy.standard.name),
      "seed": .init(wide: plan.seed),
    ]
  }
}

/// The demo's report.
struct DemoReport: Encodable {
  struct Controller: Encodable {
    let identity: String
    /// The process of its last life.
    let pid: Int
  }

  let controllers: [Controller]
  let seconds: Double
  let requests: UInt64
  let servedBy: ServedBy
  let changesOfOwner: UInt64
  /// The controller that was killed.
  @OrNull var killed: String?
  @OrNull var pause: Pause?
  let imageLatencyNanoseconds: LatencySummary
  let loadLatencyNanoseconds: LatencySummary
  let blocksVerified: UInt64
  let readsVerified: UInt64
  let imageBytes: Int
  let sha256: String
  let sha256Read: String
  let sha256ReadAgain: String

  var isVerified: Bool { sha256 == sha256Read && sha256 == sha256ReadAgain }

  /// The host's view of the death.
  private var death: String {
    guard let killed, let pause else { return "nobody: the load was too short" }
    let other = killed == "a" ? "b" : "a"
    let owner = "\(killed), the owner, with \(pause.waiting) requests outstanding there"
    if pause.answered == 0 { return "\(owner), which it had answered at its last" }
    let part = pause.answered == pause.waiting ? "" : "\(pause.answered) of them, "
    return
      "\(owner): \(other) answered \(part)the first after \(Figure.duration(pause.firstNanoseconds)), the last after "
      + Figure.duration(pause.lastNanoseconds)
  }

  var text: String {
    return """
      requests           \(Figure.count(requests)) in \(Figure.fixed(seconds, 1)) s
      served by          \(servedBy.text)
      changes of owner   \(Figure.count(changesOfOwner))
      killed             \(death)
      latency, image     \(imageLatencyNanoseconds.text)
      latency, load      \(loadLatencyNanoseconds.text)
      verified           \(Figure.count(readsVerified)) reads on the way, \(Figure.count(blocksVerified)) blocks at last
      image, SHA-256     \(sha256)
      read back          \(sha256Read)
      read back again    \(sha256ReadAgain)
      \(isVerified ? "verified: every byte that was read is the byte that was written" : "THE IMAGE DIFFERS")
      """
  }
}
