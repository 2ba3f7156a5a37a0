import ArgumentParser
import Baton
import BatonCommandKit
import BatonSharedMemory
import BatonSystem

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Put load on a subsystem, as one host or several.",
    discussion: """
      Options have fio's names and meanings. A job file is in fio's format: its sections are jobs that run at the same \
      time, and options of the command line hold for each job that does not say otherwise.

      Reports the figures so far, whatever ends the run. The exit status says why it ended: 0 complete; 1 requests \
      ended with errors; 2 data was wrong; 4 no controller serves, or the subsystem is gone; 128 + N interrupted by \
      signal N.
      """)

  @Argument(help: "The subsystem's name, or the path of its folder.") var name: String
  @Argument(help: ArgumentHelp("A job file in fio's format.", valueName: "job-file")) var jobFile: String?
  @OptionGroup var workload: WorkloadOptions
  @Option(help: "Waiting strategy of the host.") var wait: WaitStrategy = .standard
  @OptionGroup var recording: RecordingOptions
  @Option(help: ArgumentHelp("Write JSON to this file, - for standard output.", valueName: "file")) var json: String?

  /// How long an interrupted run waits for outstanding requests.
  private static let farewellNanoseconds: UInt64 = 2_000_000_000

  func run() throws {
    if let json { try OutputFile.check(json) }
    let started = JSONReport.now
    let subsystem = try Subsystem(name)
    let before = try subsystem.status()
    let jobs = try hostJobs(before)
    try recording.check(hosts: jobs.count)
    let isShared = before.controllers.contains { $0.isRunning && $0[.hosts] > 0 }
    if isShared, jobs.contains(where: { $0.plan.verifies }) {
      Console.error("baton: other hosts are attached; --verify reports what they write to the same unit as a mismatch")
    }
    var progress = Progress(isQuiet: json == "-")
    var interrupt = Interrupt(farewell: Self.farewellNanoseconds)
    var interruption: Interruption?
    var isVerifying = false
    let hosts = HostJobs(jobs, of: name, waiting: wait)
    // Without a limit for each, the time ends the run.
    let limit = jobs.reduce(UInt64(0)) {
      $0.addingReportingOverflow($1.plan.requestsMax).overflow ? .max : $0 + $1.plan.requestsMax
    }
    let duration =
      Double(
        jobs.map { $0.plan.rampNanoseconds + min($0.plan.nanoseconds, $0.plan.replay?.nanoseconds ?? .max) }.max() ?? 0)
      / 1e9
    let outcomes = try hosts.run { host in
      try checkPaths(host)
      // From here on there is something to report.
      interruption = try Interruption()
      progress.begin(title(jobs))
    } look: { verifies in
      if verifies, !isVerifying {
        progress.begin("reading every written block again")
        isVerifying = true
      }
      if let taken = interruption?.take() { interrupt.note(taken) }
      if !verifies {
        progress.update(describe(hosts.moment, of: duration, limit: limit, isFinishing: interrupt.signal != 0))
      }
      return interrupt.step
    }
    progress.end()
    // Another subsystem of that name has counted other changes.
    let after = try? subsystem.status()
    let terms = after.flatMap { $0.generation == before.generation ? $0.terms &- before.terms : nil }
    let ending = ending(outcomes, interrupt.signal, isShared: isShared)
    let report = RunReport(
      subsystem: before.name, jobs, outcomes, terms: terms, percentiles: recording.percentileList)
    try recording.write(outcomes)
    if let html = recording.html {
      let page = RunPage(report: report, outcomes, title: title(jobs), started: started, ending: ending)
      try OutputFile.write(page.html, to: html)
    }
    if let json { try JSONReport.write(report, of: "run", settings, ending: ending, started: started, to: json) }
    if json != "-" { Console.print(report.text) }
    if let message = ending.message { Console.error("baton: \(message)") }
    if ending.status != 0 { throw ExitCode(ending.status) }
  }

  /// Every host of the run, with its plan.
  private func hostJobs(_ status: SubsystemStatus) throws -> [HostJob] {
    var sections: [(name: String, options: WorkloadOptions)] = [("job", workload)]
    if let jobFile {
      let typed = JobFile.options(among: CommandLine.arguments)
      sections = try JobFile(at: jobFile).jobs.map { job in
        do { return (job.name, try WorkloadOptions.parse(typed + job.words)) } catch {
          throw BatonError(
            .invalid, "\(jobFile): job \(job.name)", WorkloadOptions.message(for: error), fix: "change the job file")
        }
      }
    }
    var jobs: [HostJob] = []
    for (name, options) in sections {
      for (copy, targets) in try options.targets(on: status).enumerated() {
        var plan = try options.plan(for: jobs.count, on: targets)
        try options.addReplay(to: &plan, on: status)
        options.addIolog(to: &plan, on: status, host: copy, of: options.numjobs)
        plan.recording = recording.plan(nanoseconds: min(plan.nanoseconds, plan.replay?.nanoseconds ?? .max))
        jobs.append(
          HostJob(name: options.numjobs == 1 ? name : "\(name).\(copy + 1)", plan: plan))
      }
    }
    guard jobs.count <= WorkloadOptions.jobsMax else {
      throw BatonError(
        .invalid, "\(jobs.count) hosts", "are more than one run may have, \(WorkloadOptions.jobsMax)",
        fix: "lower numjobs")
    }
    try checkOverlap(jobs)
    return jobs
  }

  /// A host that verifies needs its blocks for itself.
  private func checkOverlap(_ jobs: [HostJob]) throws(BatonError) {
    guard jobs.count > 1, jobs.contains(where: { $0.plan.verifies }) else { return }
    let parts = jobs.flatMap { job in job.plan.targets.map { (job: job, target: $0) } }
      .sorted { ($0.target.unit, $0.target.offset) < ($1.target.unit, $1.target.offset) }
    for (part, next) in zip(parts, parts.dropFirst())
    where part.target.unit == next.target.unit && part.target.offset + part.target.size > next.target.offset {
      throw BatonError(
        .invalid, "jobs \(part.job.name) and \(next.job.name)",
        "use the same part of unit \(part.target.unit), and one of them verifies",
        fix: "give each a part of its own with offset and size")
    }
  }

  /// Checks that the controller that was named serves this host, or both if none was named.
  private func checkPaths(_ host: borrowing Workload) throws(BatonError) {
    for identity in ControllerIdentity.allCases where !host.isAttached(to: identity) {
      let start = "start it with 'baton controller \(name) \(identity)'"
      switch workload.target.path {
      case nil: Console.error("baton: controller \(identity) does not serve; \(start)")
      case .both: throw BatonError(.missing, "controller \(identity)", "does not serve", fix: "\(start)")
      case .a where identity == .a, .b where identity == .b:
        throw BatonError(
          .missing, "controller \(identity)", "does not serve", fix: "\(start), or use --path \(identity.peer)")
      case .a, .b: break
      }
    }
  }

  private func title(_ jobs: [HostJob]) -> String {
    let plan = jobs[0].plan
    if jobs.count > 1, jobFile != nil { return "\(jobs.count) jobs of \(jobFile ?? "")" }
    if let replay = plan.replay {
      return
        "replaying \(Figure.count(UInt64(replay.count))) requests of \(replay.format.rawValue), depth \(plan.depth)"
    }
    let sizes = plan.sizes
    let size =
      sizes.min == sizes.max
      ? ByteCount.describe(UInt64(sizes.max))
      : "\(ByteCount.describe(UInt64(sizes.min))) to \(ByteCount.describe(UInt64(sizes.max)))"
    return "\(plan.pattern.rawValue), \(size), depth \(plan.depth), through \(plan.path.rawValue)"
      + (jobs.count > 1 ? ", \(jobs.count) hosts" : "")
  }

  private func describe(
    _ moment: WorkloadMoment, of duration: Double, limit: UInt64, isFinishing: Bool
  ) -> String {
    let seconds = Double(moment.nanoseconds) / 1e9
    var text = "\(Figure.fixed(min(seconds, duration), 1)) of \(Figure.fixed(duration, 1)) s, "
    text += "\(Figure.count(moment.requests)) requests"
    if isFinishing || seconds > duration { text += ", waiting for \(Figure.count(UInt64(moment.outstanding))) answers" }
    if seconds < duration, !isFinishing {
      // Whichever comes first: the end of the time, or the last request at the present rate.
      let share = limit == .max ? 0 : Double(moment.requests) / Double(max(limit, 1))
      let left = min(duration - seconds, share > 0 ? seconds * (1 - share) / share : .infinity)
      text += ", ETA \(Figure.fixed(max(left, 0), 0)) s"
    }
    return moment.isServed ? text : text + ", no controller serves"
  }

  /// The most serious of the errors.
  private func ending(_ outcomes: [HostOutcome], _ signal: CInt, isShared: Bool) -> Ending {
    if let mismatch = outcomes.lazy.compactMap(\.result.mismatch).first {
      let hint = isShared ? "; other hosts were attached, and --verify must be alone on a unit" : ""
      return Ending(reason: .violation, status: 2, message: "verification failed: \(mismatch)\(hint)")
    }
    if signal != 0 { return Ending(signal: signal) }
    if let loss = outcomes.lazy.compactMap(\.result.loss).first {
      return Ending(reason: .lost, status: 4, message: "\(loss)")
    }
    if let failure = outcomes.lazy.compactMap(\.failure).first {
      return Ending(reason: .errors, status: 1, message: "\(failure)")
    }
    return .complete
  }

  private var settings: [String: JSONReport.Setting] {
    workload.settings.merging([
      "subsystem": .string(name), "job_file": .init(jobFile), "wait": .string(wait.name),
    ]) { own, _ in own }
  }
}
