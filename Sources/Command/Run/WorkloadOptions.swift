import ArgumentParser
import Baton
import BatonCommandKit
import BatonSystem

/// The load of one job, in fio's words: on the command line, and line by line in a job file. Options of one subject are
/// a group, in the order of the help text.
struct WorkloadOptions: ParsableArguments {
  @OptionGroup var requests: RequestOptions
  @Option(help: "Number of outstanding requests.") var iodepth = 32
  @OptionGroup var length: LengthOptions
  @OptionGroup var target: TargetOptions
  @Option(
    name: .customLong("random_distribution"),
    help: ArgumentHelp(
      "Distribution of random offsets: random, zipf:THETA or pareto:H (default: random).", valueName: "word"))
  var randomDistribution: String?
  @OptionGroup var pacing: PacingOptions
  @OptionGroup var latency: LatencyOptions
  @OptionGroup var logs: IologOptions
  @Option(help: "Number of hosts that do the same, each in a thread of its own.") var numjobs = 1
  @Flag(
    help: """
      Stamp every block that is written, and check every block that is read. No other host may write to the unit \
      meanwhile; with --numjobs, each host has its own part of each unit.
      """)
  var verify = false
  @Option(help: "Seed of the random order.") var seed: UInt64 = 1

  /// Hosts of one run: half of what a controller takes.
  static let jobsMax = 64

  /// What concerns options of one group alone, the group has checked.
  func validate() throws {
    guard (1...4000).contains(iodepth) else { throw ValidationError("--iodepth takes 1 to 4000") }
    guard (1...Self.jobsMax).contains(numjobs) else { throw ValidationError("--numjobs takes 1 to \(Self.jobsMax)") }
    guard latency.latencyTarget == nil || !pacing.plan.isOpenLoop else {
      throw ValidationError("--latency_target cannot be combined with --rate or --rate_iops: use one of them")
    }
    _ = try distribution()
    guard logs.readIolog == nil || !hasLoadOfItsOwn else {
      throw ValidationError(
        "--read_iolog says what is asked for and when: leave out sizes, --rate, --rate_iops, --thinktime, "
          + "--latency_target, --ramp_time and --numjobs")
    }
  }

  /// Whether options are given that a replay has no use for.
  private var hasLoadOfItsOwn: Bool {
    requests.namesSize || pacing.plan.isOpenLoop || pacing.thinktime > 0 || latency.latencyTarget != nil
      || length.rampTime > 0 || numjobs > 1
  }

  private func distribution() throws -> RandomDistribution {
    guard let word = randomDistribution else { return .uniform }
    guard let distribution = RandomDistribution(parsing: word) else {
      throw ValidationError(
        "--random_distribution '\(word)' is not a distribution; use random, zipf:THETA (above 0) or pareto:H (0 to 1)")
    }
    return distribution
  }

  /// The plan of the host with that number among all hosts of the run. Its targets are a part of what `units` have.
  func plan(for host: Int, on targets: [WorkloadTarget]) throws -> WorkloadPlan {
    var plan = WorkloadPlan()
    plan.pattern = requests.rw
    plan.readPercent = requests.rwmixread
    plan.sizes = try requests.sizes()
    plan.distribution = try distribution()
    plan.depth = iodepth
    plan.pacing = pacing.plan
    plan.latencyTarget = latency.target
    plan.rampNanoseconds = length.rampTime
    plan.nanoseconds = length.nanoseconds(isReplay: logs.readIolog != nil)
    plan.requestsMax = length.number ?? .max
    plan.path = target.path ?? .both
    plan.verifies = verify
    plan.seed = seed &+ UInt64(host)
    plan.targets = targets
    return plan
  }

  /// For the report: what was asked for, by the names of the options.
  var settings: [String: JSONReport.Setting] {
    let own: [String: JSONReport.Setting] = [
      "iodepth": .init(iodepth), "random_distribution": .string(randomDistribution ?? "random"),
      "numjobs": .init(numjobs), "verify": .flag(verify), "seed": .init(wide: seed),
    ]
    let groups = [
      requests.settings, length.settings(isReplay: logs.readIolog != nil), target.settings, pacing.settings,
      latency.settings, logs.settings,
    ]
    return groups.reduce(own) { all, group in all.merging(group) { first, _ in first } }
  }
}
