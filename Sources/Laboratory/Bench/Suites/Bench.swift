import Baton
import BatonCommandKit
import BatonSystem
import CBatonShims

/// The state and the steps that all suites share.
struct Bench {
  let rounds: Int
  /// After which no further round of a comparison begins.
  let seconds: Double
  let isQuick: Bool
  let directory: String
  let watch: BenchWatch
  /// The two CPUs that the two processes are pinned to; -1: not pinned.
  let cpus: (here: Int, there: Int)
  var report: BenchReport
  var progress: Progress

  init(rounds: Int, seconds: Double, isQuick: Bool, isQuiet: Bool, directory: String, watch: BenchWatch) {
    self.rounds = rounds
    self.seconds = seconds
    self.isQuick = isQuick
    self.directory = directory
    self.watch = watch
    progress = Progress(isQuiet: isQuiet)
    // Looked up once: a process that is pinned has one.
    let pinned = shim_available_cpus() < 2 ? [] : [0, 1].map { Int(shim_available_cpu($0)) }
    cpus = pinned.isEmpty ? (-1, -1) : (pinned[0], pinned[1])
    report = BenchReport(machine: .init(pinned: pinned, fio: Fio.version))
    if pinned.isEmpty {
      report.remarks.append("one CPU: two spinning processes take turns on it, and spinning figures mean nothing")
    }
  }

  mutating func run(_ suite: BenchSuite) throws {
    defer { progress.end() }
    switch suite {
    case .handoff: try handoff()
    case .dispatch: try dispatch()
    case .throughput: try throughput()
    case .storage: try storage()
    case .nbd: try nbd()
    case .takeover: try takeover()
    case .scale: try scale()
    }
  }

  /// Whether both processes of a measurement share one CPU.
  var isCrowded: Bool { cpus.here < 0 }

  /// The goal of a comparison of processes that spin. On one CPU such figures mean nothing, met or missed.
  func spinningGoal(_ ratio: Double) -> BenchReport.Goal? { isCrowded ? nil : .ratio(ratio) }

  /// The same for peers.
  func spinningGoals(_ ratios: [Peer: Double]) -> [Peer: Double] { isCrowded ? [:] : ratios }

  /// Turns of a ball a round: long enough that starting and stopping do not show.
  var turns: UInt64 { isCrowded ? 1000 : isQuick ? 50_000 : 200_000 }

  /// Turns of what sleeps in each of them.
  var sleepingTurns: UInt64 { isQuick ? 300 : 1000 }

  /// A null unit, large enough for random places.
  static let nullUnit = UnitSpecification(.null, size: 1 << 30)

  /// For what spins. A copy of the options of a host.
  static var spinningHost: HostOptions {
    var options = HostOptions()
    options.waiting = .spin
    return options
  }

  /// With a subsystem that is gone afterwards. The body leaves no controller behind. `scratch` is the folder of its
  /// units' files.
  static func withSubsystem<Outcome>(
    _ name: String, _ units: [UnitSpecification], scratch: String? = nil, _ body: (Subsystem) throws -> Outcome
  ) throws -> Outcome {
    let temporary = try TemporarySubsystem("bench", name, units: units, scratch: scratch)
    let outcome = Result { try body(temporary.subsystem) }
    try temporary.destroy()
    return try outcome.get()
  }

  /// With this process pinned to its CPU. Processes that are started meanwhile are pinned there too, unless they pin
  /// themselves.
  func pinned<Outcome: ~Copyable>(_ body: () throws -> Outcome) throws -> Outcome {
    try Self.pinned(to: cpus.here, body)
  }

  /// The same for any CPU; -1: not pinned.
  static func pinned<Outcome: ~Copyable>(to cpu: Int, _ body: () throws -> Outcome) throws -> Outcome {
    if cpu < 0 { return try body() }
    try check(shim_pin_to_cpu(CInt(cpu)), "CPU \(cpu)", doing: "pinning this process to it")
    defer { _ = shim_unpin() }
    return try body()
  }

  /// The worker, on the other CPU.
  func partner(_ role: BenchRole = BenchRole()) throws(BatonError) -> BenchPartner {
    var role = role
    role.cpu = cpus.there
    return try BenchPartner(role, isCrowded: isCrowded, watch)
  }

  /// Measures the things of a comparison in turn, showing how far it is.
  mutating func interleaved(
    _ step: String, things: Int, control: Int? = nil, rounds: Int? = nil,
    _ measure: (_ thing: Int, _ round: Int) throws -> Double
  ) throws -> Interleaved {
    progress.begin(step)
    let rounds = rounds ?? self.rounds
    return try Interleaved(rounds: rounds, within: seconds, things: things, control: control) { thing, round in
      try watch.check()
      progress.update(round == 0 ? "warming up" : "round \(round) of \(rounds)")
      return try measure(thing, round)
    }
  }

  /// The same for trials that give several values each.
  mutating func interleaved(
    _ step: String, trials: Int, control: Int? = nil, rounds: Int,
    _ measure: (_ trial: Int, _ round: Int) throws -> [Double]
  ) throws -> Interleaved {
    progress.begin(step)
    return try Interleaved(rounds: rounds, within: seconds, trials: trials, control: control) { trial, round in
      try watch.check()
      progress.update(round == 0 ? "warming up" : "round \(round) of \(rounds)")
      return try measure(trial, round)
    }
  }
}
