import ArgumentParser
import BatonCommandKit

/// What a run records beyond its report, in fio's words.
struct RecordingOptions: ParsableArguments {
  @Option(
    name: .customLong("percentile_list"),
    help: ArgumentHelp(
      "Percentiles of the latency to report, such as 50:99:99.9 (default: fio's, in JSON).", valueName: "list"),
    transform: PercentileList.init(parsing:))
  var percentileList: PercentileList?
}
