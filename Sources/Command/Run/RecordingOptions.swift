import ArgumentParser
import Baton
import BatonCommandKit

/// What a run records beyond its report, in fio's words.
struct RecordingOptions: ParsableArguments {
  @Option(
    name: .customLong("percentile_list"),
    help: ArgumentHelp(
      "Percentiles of the latency to report, such as 50:99:99.9 (default: fio's, in JSON).", valueName: "list"),
    transform: PercentileList.init(parsing:))
  var percentileList: PercentileList?
  @Option(
    name: .customLong("log_avg_msec"),
    help: ArgumentHelp("Milliseconds that each entry of a log covers (default: 1000).", valueName: "number"))
  var logAverageMilliseconds: UInt64?
  @Option(
    name: .customLong("write_iops_log"),
    help: ArgumentHelp(
      "Write requests per second over time to PREFIX_iops.N.log, N for each host.", valueName: "prefix"))
  var iopsLog: String?
  @Option(
    name: .customLong("write_bw_log"),
    help: ArgumentHelp("Write KiB per second over time to PREFIX_bw.N.log.", valueName: "prefix"))
  var bandwidthLog: String?
  @Option(
    name: .customLong("write_lat_log"),
    help: ArgumentHelp("Write mean latencies over time, in nanoseconds, to PREFIX_lat.N.log.", valueName: "prefix"))
  var latencyLog: String?
  @Option(
    name: .customLong("hdr_log"),
    help: ArgumentHelp("Write latencies over time to this file as HdrHistogram's log.", valueName: "file"))
  var histogramLog: String?
  @Option(help: ArgumentHelp("Write an HTML page to this file.", valueName: "file")) var html: String?

  func validate() throws {
    if let milliseconds = logAverageMilliseconds, milliseconds == 0 || milliseconds > 86_400_000 {
      throw ValidationError("--log_avg_msec takes 1 to 86400000")
    }
  }

  private var logs: [(kind: FioLogs.Kind, prefix: String)] {
    [(.iops, iopsLog), (.bandwidth, bandwidthLog), (.latency, latencyLog)]
      .compactMap { kind, prefix in prefix.map { (kind, $0) } }
  }

  private static func path(_ kind: FioLogs.Kind, _ prefix: String, host: Int) -> String {
    "\(prefix)_\(kind.rawValue).\(host + 1).log"
  }

  /// Slices of a page: enough for a line, and not more than there are pixels.
  private static let pageSlices: UInt64 = 120
  private static let pagePeriodMin: UInt64 = 20_000_000

  /// What the hosts must record for a run of so many nanoseconds; nil: the sums are enough.
  func plan(nanoseconds: UInt64) -> RecordingPlan? {
    guard !logs.isEmpty || histogramLog != nil || html != nil else { return nil }
    let isForPage = logs.isEmpty && histogramLog == nil
    let standard = isForPage ? max(nanoseconds / Self.pageSlices, Self.pagePeriodMin) : 1_000_000_000
    var plan = RecordingPlan(periodNanoseconds: logAverageMilliseconds.map { $0 * 1_000_000 } ?? standard)
    plan.hasHistograms = histogramLog != nil
    return plan
  }

  /// Finds out before the run whether its files can be written.
  func check(hosts: Int) throws(BatonError) {
    for path in [histogramLog, html].compactMap({ $0 }) { try OutputFile.check(path) }
    for (kind, prefix) in logs {
      for host in 0..<hosts { try OutputFile.check(Self.path(kind, prefix, host: host)) }
    }
  }

  /// Writes the logs, one of each kind for each host, and one of the histograms of all.
  func write(_ outcomes: [HostOutcome]) throws(BatonError) {
    for (host, outcome) in outcomes.enumerated() {
      guard let recorder = outcome.result.recorder else { continue }
      for (kind, prefix) in logs {
        let text = FioLogs.text(kind, recorder.timeline, seconds: Double(outcome.result.nanoseconds) / 1e9)
        try OutputFile.write(text, to: Self.path(kind, prefix, host: host))
      }
    }
    guard let histogramLog else { return }
    var sum = WorkloadResult()
    for outcome in outcomes { sum.add(outcome.result) }
    if let recorder = sum.recorder {
      try OutputFile.write(recorder.histogramLog(seconds: Double(sum.nanoseconds) / 1e9), to: histogramLog)
    }
  }
}
