import ArgumentParser
import Baton
import BatonCommandKit
import BatonSystem

// The options of a job, one subject each. Together they are `WorkloadOptions`.

/// What a request asks for, and how large it is.
struct RequestOptions: ParsableArguments {
  @Option(help: "Access pattern.") var rw = AccessPattern.randread
  @Option(help: "Percentage of reads in a mixed pattern.") var rwmixread = 50
  @Option(
    help: ArgumentHelp("Request size in bytes, such as 4k (default: 4096).", valueName: "bytes"),
    transform: ByteSize.init(parsing:))
  var bs: ByteSize?
  @Option(
    help: ArgumentHelp("Random request sizes: multiples of the first up to the second.", valueName: "min-max"))
  var bsrange: String?
  @Option(
    help: ArgumentHelp("Request sizes with their shares in percent, such as 4k/80:64k/20.", valueName: "list"))
  var bssplit: String?

  func validate() throws {
    let sizes = try sizes()
    let isAligned = sizes.grain % 512 == 0 && sizes.grain > 0
    guard isAligned, UInt64(sizes.max) <= Request.transferMax else {
      throw ValidationError(
        "--bs, --bsrange and --bssplit take multiples of 512, up to \(ByteCount.describe(Request.transferMax))")
    }
    guard (0...100).contains(rwmixread) else { throw ValidationError("--rwmixread takes 0 to 100") }
  }

  /// Whether any of the three options says a size.
  var namesSize: Bool { bs != nil || bsrange != nil || bssplit != nil }

  /// That option.
  var sizeOption: String { bssplit != nil ? "--bssplit" : bsrange != nil ? "--bsrange" : "--bs" }

  /// The sizes of requests, from one of the three options.
  func sizes() throws -> RequestSizes {
    guard [bs != nil, bsrange != nil, bssplit != nil].count(where: { $0 }) <= 1 else {
      throw ValidationError("--bs, --bsrange and --bssplit exclude each other: use one of them")
    }
    if let bsrange {
      guard let sizes = RequestSizes(range: bsrange) else {
        throw ValidationError("--bsrange '\(bsrange)' is not a range; use two sizes, such as 4k-64k")
      }
      return sizes
    }
    if let bssplit {
      guard let sizes = RequestSizes(split: bssplit) else {
        throw ValidationError(
          "--bssplit '\(bssplit)' is not a list of sizes whose shares add up to 100; use such as 4k/80:64k/20")
      }
      return sizes
    }
    guard let bs else { return RequestSizes(4096) }
    guard bs.bytes >= 512, bs.bytes <= Request.transferMax else {
      throw ValidationError("--bs takes a multiple of 512, up to \(ByteCount.describe(Request.transferMax))")
    }
    return RequestSizes(Int(bs.bytes))
  }

  var settings: [String: JSONReport.Setting] {
    [
      "rw": .string(rw.rawValue), "rwmixread": .init(rwmixread),
      "bs": bs == nil && (bsrange ?? bssplit) != nil ? .none : .init(bs?.bytes ?? 4096), "bsrange": .init(bsrange),
      "bssplit": .init(bssplit),
    ]
  }
}

/// How long the job takes.
struct LengthOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Run time after the ramp, such as 10s (default: 10s, or as long as --read_iolog).", valueName: "time"),
    transform: RunTime.seconds(parsing:))
  var runtime: Double?
  @Option(
    name: .customLong("ramp_time"),
    help: ArgumentHelp("Time at the start that is not counted, such as 2s (default: 0).", valueName: "time"),
    transform: RunTime.fromSeconds(parsing:))
  var rampTime: UInt64 = 0
  @Option(help: "Number of requests after which the run ends.") var number: UInt64?

  static let standardNanoseconds: UInt64 = 10_000_000_000

  func validate() throws {
    guard (runtime ?? 1) > 0, (runtime ?? 1) < 1e9 else { throw ValidationError("--runtime takes a time, more than 0") }
  }

  /// The time after the ramp. A replay takes as long as it takes, unless a time is given.
  func nanoseconds(isReplay: Bool) -> UInt64 {
    runtime.map { UInt64($0 * 1e9) } ?? (isReplay ? 1 << 62 : Self.standardNanoseconds)
  }

  func settings(isReplay: Bool) -> [String: JSONReport.Setting] {
    [
      "runtime": .init(runtime ?? (isReplay ? nil : Double(Self.standardNanoseconds) / 1e9)),
      "ramp_time": .seconds(Double(rampTime) / 1e9), "number": .init(number),
    ]
  }
}

/// Where the load goes.
struct TargetOptions: ParsableArguments {
  @Option(help: "Controllers that requests go to (default: in turn to all that serve).") var path: PathChoice?
  @Option(help: "Number of the unit (default: all units).") var unit: Int?
  @Option(
    help: ArgumentHelp("First byte of each unit to use (default: 0).", valueName: "bytes"),
    transform: ByteSize.init(parsing:))
  var offset: ByteSize?
  @Option(
    help: ArgumentHelp("Number of bytes of each unit to use, from --offset on (default: all).", valueName: "bytes"),
    transform: ByteSize.init(parsing:))
  var size: ByteSize?

  var settings: [String: JSONReport.Setting] {
    [
      "path": .string((path ?? .both).rawValue), "unit": .init(unit), "offset": .init(offset?.bytes),
      "size": .init(size?.bytes),
    ]
  }
}

/// When requests are due.
struct PacingOptions: ParsableArguments {
  @Option(
    name: .customLong("rate_iops"),
    help: ArgumentHelp(
      "Requests per second, at times that do not depend on answers; latencies count from the due time.",
      valueName: "number"))
  var rateIops: Double?
  @Option(
    help: ArgumentHelp("The same in bytes per second, such as 100M.", valueName: "bytes"),
    transform: ByteSize.init(parsing:))
  var rate: ByteSize?
  @Option(name: .customLong("rate_process"), help: "Distances between the due times of requests.")
  var rateProcess = PacingPlan.Arrivals.linear
  @Option(
    help: ArgumentHelp(
      "Pause after answers, in microseconds or with a unit (default: 0).", valueName: "time"),
    transform: RunTime.fromMicroseconds(parsing:))
  var thinktime: UInt64 = 0
  @Option(name: .customLong("thinktime_blocks"), help: "Number of requests between two pauses.")
  var thinktimeBlocks = 1

  func validate() throws {
    guard rateIops.map({ $0 > 0 && $0 <= 1e9 }) ?? true else {
      throw ValidationError("--rate_iops takes a number of requests per second, more than 0")
    }
    guard rate.map({ $0.bytes > 0 }) ?? true else { throw ValidationError("--rate takes bytes per second, at least 1") }
    guard thinktimeBlocks > 0 else { throw ValidationError("--thinktime_blocks takes a number, at least 1") }
    guard thinktime == 0 || !plan.isOpenLoop else {
      throw ValidationError("--thinktime cannot be combined with --rate or --rate_iops: use one of them")
    }
  }

  var plan: PacingPlan {
    var plan = PacingPlan()
    plan.requestsPerSecond = rateIops
    plan.bytesPerSecond = rate.map { Double($0.bytes) }
    plan.arrivals = rateProcess
    plan.thinkNanoseconds = thinktime
    plan.thinkRequests = thinktimeBlocks
    return plan
  }

  var settings: [String: JSONReport.Setting] {
    [
      "rate_iops": .init(rateIops), "rate": .init(rate?.bytes), "rate_process": .string(rateProcess.rawValue),
      "thinktime": .seconds(Double(thinktime) / 1e9), "thinktime_blocks": .init(thinktimeBlocks),
    ]
  }
}

/// The search for the greatest depth within a latency.
struct LatencyOptions: ParsableArguments {
  @Option(
    name: .customLong("latency_target"),
    help: ArgumentHelp(
      "Search the greatest depth, up to --iodepth, with latencies within this time, in microseconds or with a unit.",
      valueName: "time"),
    transform: RunTime.fromMicroseconds(parsing:))
  var latencyTarget: UInt64?
  @Option(
    name: .customLong("latency_percentile"), help: "Percentage of requests that must stay within --latency_target.")
  var latencyPercentile = 100.0
  @Option(
    name: .customLong("latency_window"),
    help: ArgumentHelp(
      "Time for which each depth is tried, in microseconds or with a unit (default: 1s).", valueName: "time"),
    transform: RunTime.fromMicroseconds(parsing:))
  var latencyWindow: UInt64 = 1_000_000_000
  @Flag(name: .customLong("latency_run"), help: "Continue at the depth that was found, until the run time is over.")
  var latencyRun = false

  func validate() throws {
    guard latencyTarget.map({ $0 > 0 }) ?? true else { throw ValidationError("--latency_target takes a time above 0") }
    guard latencyWindow > 0 else { throw ValidationError("--latency_window takes a time above 0") }
    guard latencyPercentile > 0, latencyPercentile <= 100 else {
      throw ValidationError("--latency_percentile takes a percentage above 0, up to 100")
    }
  }

  var target: LatencyTarget? {
    latencyTarget.map { nanoseconds in
      var target = LatencyTarget(nanoseconds: nanoseconds)
      target.percentile = latencyPercentile
      target.windowNanoseconds = latencyWindow
      target.goesOn = latencyRun
      return target
    }
  }

  var settings: [String: JSONReport.Setting] {
    [
      "latency_target": .init(latencyTarget.map { Double($0) / 1e9 }),
      "latency_percentile": .seconds(latencyPercentile),
      "latency_window": .seconds(Double(latencyWindow) / 1e9), "latency_run": .flag(latencyRun),
    ]
  }
}

/// Logs of requests: one that is replayed, and one that is written.
struct IologOptions: ParsableArguments {
  @Option(
    name: .customLong("read_iolog"),
    help: ArgumentHelp(
      "Replay this log at its times: fio's iolog (version 2 or 3), blkparse's text, MSR's or Alibaba's CSV.",
      valueName: "file"))
  var readIolog: String?
  @Option(
    name: .customLong("replay_time_scale"),
    help: ArgumentHelp("Percentage of the log's rate to replay at; 200 takes half of the time.", valueName: "percent"))
  var replayTimeScale = 100.0
  @Flag(name: .customLong("replay_no_stall"), help: "Replay as fast as --iodepth allows, without the log's times.")
  var replayNoStall = false
  @Option(
    name: .customLong("write_iolog"),
    help: ArgumentHelp(
      "Log what is submitted to this file, as fio's iolog version 3; of several hosts, to FILE.N.", valueName: "file"))
  var writeIolog: String?

  func validate() throws {
    guard replayTimeScale > 0, replayTimeScale <= 1e6 else {
      throw ValidationError("--replay_time_scale takes a percentage above 0")
    }
  }

  var settings: [String: JSONReport.Setting] {
    [
      "read_iolog": .init(readIolog), "replay_time_scale": .seconds(replayTimeScale),
      "replay_no_stall": .flag(replayNoStall), "write_iolog": .init(writeIolog),
    ]
  }
}
