import Baton
import BatonCommandKit
import FoundationEssentials

/// As much of a report in JSON as a comparison needs.
struct ComparedReport: Decodable {
  struct Machine: Decodable {
    let cpu: String?
    let commit: String?
    let baton: String?
  }

  struct Row: Decodable {
    let suite: String
    let `case`: String
    let metric: String
    let unit: String
    let p50: Double
    let better: String
    let ratioToFloor: Double?
    let control: Bool?
    /// One of each round.
    let values: [Double]?
    let ratios: [Double]?

    var name: String { "\(suite): \(`case`), \(metric)" }
  }

  struct Latency: Decodable {
    let p50: Double
    let p99: Double
    let mean: Double?
  }

  let command: String
  let machine: Machine?
  let results: [Row]?
  let requestsPerSecond: Double?
  let latencyNanoseconds: Latency?

  init(at path: String) throws {
    let bytes = try InputFile.read(
      path, bytesMax: 1 << 28, fix: "name a report that 'bench' or 'run' wrote with --json")
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    do { self = try decoder.decode(ComparedReport.self, from: Data(bytes)) } catch {
      throw BatonError(
        .foreign, path, "is no report of 'bench' or 'run': \(error)", fix: "write one with --json")
    }
  }
}

extension Comparison {
  /// What two reports have in common.
  ///
  /// Figures of a bench are compared by their ratios to the floor, round by round: those do not depend on the speed of
  /// the machine. A `run` has one figure of each kind, and one figure has no spread.
  init(_ a: ComparedReport, named aName: String, _ b: ComparedReport, named bName: String) throws(BatonError) {
    self.init(a: Self.title(a, aName), b: Self.title(b, bName))
    guard a.command == b.command, ["bench", "run"].contains(a.command) else {
      throw BatonError(
        .invalid, "\(aName) and \(bName)", "are reports of '\(a.command)' and '\(b.command)'",
        fix: "compare two of 'bench', or two of 'run'")
    }
    if a.machine?.cpu != b.machine?.cpu { remarks.append("The two were measured on different machines.") }
    if a.command == "run" { addRuns(a, b) } else { addRows(a, b) }
  }

  private mutating func addRows(_ a: ComparedReport, _ b: ComparedReport) {
    let (ours, theirs) = (a.results ?? [], b.results ?? [])
    for row in ours where row.control != true {
      guard let other = theirs.first(where: { $0.name == row.name }) else {
        remarks.append("Only in A: \(row.name)")
        continue
      }
      let noise = max(Self.noise(row.suite, ours), Self.noise(row.suite, theirs))
      if let ones = row.ratios, let others = other.ratios, !ones.isEmpty, !others.isEmpty {
        // Already made so that less is better.
        add(apart: "\(row.name), to its floor", unit: "", a: ones, b: others, noise: noise)
      } else {
        add(
          apart: row.name, unit: row.unit, a: row.values ?? [row.p50], b: other.values ?? [other.p50], noise: noise,
          lessIsBetter: row.better == "less")
      }
    }
    for row in theirs where row.control != true && !ours.contains(where: { $0.name == row.name }) {
      remarks.append("Only in B: \(row.name)")
    }
    remarks.append(
      "Intervals are those of rounds within a run. Runs of different hours differ by more on a shared machine: "
        + "'baton bench --against' measures both in one run.")
  }

  private static func title(_ report: ComparedReport, _ name: String) -> String {
    let version = report.machine?.baton.map { "Baton \($0)" } ?? ""
    return name + " (\(version)\(report.machine?.commit.map { ", commit \($0)" } ?? ""))"
  }

  /// What the controls of a suite have shown: 1 where that is little.
  private static func noise(_ suite: String, _ rows: [ComparedReport.Row]) -> Double {
    let controls = rows.filter { $0.control == true && $0.suite == suite }.compactMap(\.ratioToFloor)
    let furthest = Noise.furthest(controls.map { Noise(ratio: $0) })
    return furthest.isNoticeable ? furthest.factor : 1
  }

  private mutating func addRuns(_ a: ComparedReport, _ b: ComparedReport) {
    func add(_ name: String, _ unit: String, _ a: Double?, _ b: Double?, lessIsBetter: Bool = true) {
      guard let a, let b, a > 0, b > 0 else { return }
      self.add(apart: name, unit: unit, a: [a], b: [b], noise: 1, lessIsBetter: lessIsBetter)
    }
    add("requests per second", "requests/s", a.requestsPerSecond, b.requestsPerSecond, lessIsBetter: false)
    add("latency, mean", "ns", a.latencyNanoseconds?.mean, b.latencyNanoseconds?.mean)
    add("latency, p50", "ns", a.latencyNanoseconds?.p50, b.latencyNanoseconds?.p50)
    add("latency, p99", "ns", a.latencyNanoseconds?.p99, b.latencyNanoseconds?.p99)
    remarks.append("A run has one figure of each kind, which has no spread: 'baton bench --against' gives a verdict.")
  }
}
