/// Rates and latencies over time as fio's logs have them: milliseconds, value, direction (0 read, 1 write), size and
/// offset, which are 0 in a log of averages.
package enum FioLogs {
  package enum Kind: String, CaseIterable, Sendable {
    /// Requests per second.
    case iops
    /// KiB per second.
    case bandwidth = "bw"
    /// Mean latency in nanoseconds.
    case latency = "lat"
  }

  /// The lines of one log.
  package static func text(_ kind: Kind, _ timeline: Timeline, seconds: Double) -> String {
    var lines: [String] = []
    let period = Double(timeline.period) / 1e9
    for (index, slice) in timeline.slices.enumerated() {
      // The last slice is as long as the run was.
      let end = min(Double(index + 1) * period, seconds)
      let length = end - Double(index) * period
      if length <= 0 { continue }
      for (direction, cell) in [slice.reads, slice.writes].enumerated() where cell.requests > 0 {
        let value =
          switch kind {
          case .iops: Double(cell.requests) / length
          case .bandwidth: Double(cell.bytes) / 1024 / length
          case .latency: cell.latencyMean ?? 0
          }
        lines.append("\(Int((end * 1000).rounded())), \(Int(value.rounded())), \(direction), 0, 0")
      }
    }
    return lines.isEmpty ? "" : lines.joined(separator: "\n") + "\n"
  }
}
