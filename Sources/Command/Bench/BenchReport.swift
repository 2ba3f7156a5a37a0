import Baton
import BatonSharedMemory
import CBatonShims
import FoundationEssentials
import Glibc

/// What a bench reports.
///
/// A ratio is ours divided by theirs where less is better (a time), theirs divided by ours where more is better (a
/// rate): in every row less than 1 means that Baton wins. Floors and peers run in the same call, interleaved round
/// by round with what they are compared to; ratios are medians over rounds.
struct BenchReport: Encodable {
  struct Machine: Encodable {
    let cpu: String
    let cpus: Int
    let kernel: String
    let baton: String
    let fio: String?
  }

  struct Floor: Encodable {
    let name: String
    let p50: Double
  }

  struct Peer: Encodable {
    let name: String
    let p50: Double?
    let ratio: Double?
    /// Why it was not run, where it was not.
    let notRun: String?
  }

  struct Row: Encodable {
    let suite: String
    let name: String
    let metric: String
    let unit: String
    let p50: Double
    let p99: Double
    let p999: Double
    let floor: Floor?
    let ratioToFloor: Double?
    let peers: [Peer]

    enum CodingKeys: String, CodingKey {
      case suite, metric, unit, p50, p99, p999, floor, peers
      case name = "case"
      case ratioToFloor = "ratio_to_floor"
    }
  }

  let machine: Machine
  var results: [Row] = []
  var warnings: [String] = []

  var text: String {
    var table = Table("suite", "case", "p50", "p99", "unit", "floor", "floor p50", "ratio")
    for row in results {
      let digits = row.unit == "ns" ? 1 : 0
      table.add(
        row.suite, row.name, Figure.fixed(row.p50, digits), Figure.fixed(row.p99, digits), row.unit,
        row.floor?.name ?? "", row.floor.map { Figure.fixed($0.p50, digits) } ?? "-",
        row.ratioToFloor.map { Figure.fixed($0, 2) } ?? "-")
    }
    var lines = [
      "\(machine.cpu), \(machine.cpus) CPUs, Linux \(machine.kernel)",
      "A ratio below 1 means that Baton is better than the floor. Absolute figures mean nothing on a shared machine.",
      "", table.text,
    ]
    for row in results {
      for peer in row.peers {
        if let reason = peer.notRun {
          lines.append("\(row.suite), \(row.name): \(peer.name) was not run: \(reason)")
        } else {
          lines.append(
            "\(row.suite), \(row.name): beside \(peer.name) \(Figure.fixed(peer.p50 ?? 0, 1)) \(row.unit), "
              + "ratio \(Figure.fixed(peer.ratio ?? 0, 2))"
          )
        }
      }
    }
    return (lines + warnings.map { "warning: \($0)" }).joined(separator: "\n")
  }
}

extension BenchReport.Machine {
  /// This machine.
  init() {
    var name = utsname()
    uname(&name)
    let release = withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    let cpuInfo = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let model = cpuInfo.split(separator: "\n").first { $0.hasPrefix("model name") }
    cpu =
      model.flatMap { $0.split(separator: ":").last }.map { $0.drop { $0 == " " } }.map(String.init) ?? "unknown CPU"
    cpus = Int(baton_available_cpus())
    kernel = release
    baton = BatonCommand.configuration.version
    fio = Fio.version
  }
}

/// Measurements of several things, taken in turn, round by round: the same disturbance meets them all.
struct Interleaved {
  /// One value a round, for each thing.
  private(set) var values: [[Double]]

  /// Rounds below which a median says nothing.
  static let roundsMin = 3

  /// Measures each of `things` things once in each round. The first round warms up and is not kept.
  ///
  /// After `within` seconds no further round begins, once there are `roundsMin`.
  init(
    rounds: Int, within seconds: Double = .infinity, things: Int,
    _ measure: (_ thing: Int, _ round: Int) throws -> Double
  ) rethrows {
    try self.init(rounds: rounds, within: seconds, trials: things) { [try measure($0, $1)] }
  }

  /// The same for trials that give several values each, always as many: they become things in that order.
  init(
    rounds: Int, within seconds: Double = .infinity, trials: Int,
    _ measure: (_ trial: Int, _ round: Int) throws -> [Double]
  ) rethrows {
    values = []
    let start = monotonicNanoseconds()
    for round in 0...rounds {
      if round > Self.roundsMin, Double(monotonicNanoseconds() - start) / 1e9 > seconds { return }
      var measured: [Double] = []
      for trial in 0..<trials { measured += try measure(trial, round) }
      if round == 0 { values = Array(repeating: [], count: measured.count) }
      if round > 0 { for thing in measured.indices { values[thing].append(measured[thing]) } }
    }
  }

  func percentile(_ thing: Int, _ percent: Double) -> Double {
    let sorted = values[thing].sorted()
    return sorted[min(Int((Double(sorted.count) * percent / 100).rounded(.down)), sorted.count - 1)]
  }

  /// The median over rounds of one thing divided by another of the same round.
  func ratio(_ one: Int, to other: Int) -> Double {
    let ratios = zip(values[one], values[other]).map { $0 / $1 }.sorted()
    return ratios[ratios.count / 2]
  }
}
