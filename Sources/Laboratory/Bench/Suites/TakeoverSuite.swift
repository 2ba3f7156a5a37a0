import ArgumentParser
import Baton
import BatonCommandKit
import CBatonShims
import Glibc

/// The figures of one trial of the takeover suite, in the order of its values; a round has one trial per kind of work.
private enum TakeoverFigure: Int {
  case bareDeath, bareExit, bareDrain, first, last, exit, drain, crowdFirst, crowdLast, crowdExit, crowdDrain

  static let countPerWork = 11
  static let works = [KilledWork.none, .writes, .reads]

  /// Its place among the values of a round.
  func index(_ work: KilledWork) -> Int { (Self.works.firstIndex(of: work) ?? 0) * Self.countPerWork + rawValue }
}

extension Bench {
  /// Bytes of the file that the work goes to, and of each of the others, which have no blocks.
  private static var workFileSize: UInt64 { 64 << 20 }
  private static var quietFileSize: UInt64 { 1 << 20 }
  /// Microseconds between one death's end and the beginning of the next.
  private static var quietMicroseconds: useconds_t { 20_000 }
  /// Open files that a controller needs in addition to its units: hosts, their sockets, its own.
  private static var otherFiles: UInt64 { 1024 }

  /// From the SIGKILL of a controller to its peer's answers, compared with the death of a bare process; the same
  /// with many units and hosts; and what the in-flight journal costs, which makes it possible.
  ///
  /// Aims: the first answer at most twice, the last at most 1.3 times their floors; with many units and hosts at most
  /// 1.5 times as long as without; the journal at most 1.10 of a round trip and 1.05 of the rate.
  mutating func takeover() throws {
    try journal()
    let scratch = try ScratchDirectory(in: directory, name: "takeover")
    progress.begin("takeover: making files")
    let paths = ["bare", "unit", "crowd-unit"].map { "\(scratch.path)/\($0)" }
    for path in paths { try NoiseFile.make(at: path, count: Self.workFileSize, seed: 1) }
    // Unit 1 is asked for the first answer: a disk has no part in that.
    let probed = UnitSpecification(.null, size: Self.quietFileSize)
    var crowd = [UnitSpecification(.path(paths[2])), probed]
    let hasFiles = shim_raise_open_file_limit() >= UInt64(Self.crowdUnits) + Self.otherFiles
    if !hasFiles { report.remarks.append("too few open files are allowed: the many units are null units") }
    for unit in 2..<Self.crowdUnits {
      crowd.append(
        UnitSpecification(hasFiles ? .path("\(scratch.path)/quiet-\(unit)") : .null, size: Self.quietFileSize))
    }
    let log = "\(scratch.path)/log"
    let units = [UnitSpecification(.path(paths[1])), probed]
    let rows = try Self.withSubsystem("takeover", units, scratch: scratch.path) { small in
      try Self.withSubsystem("takeover-crowd", crowd) { large in
        try takeover(small, large, barePath: paths[0], log: log)
      }
    }
    report.append(rows)
  }

  private mutating func takeover(
    _ small: Subsystem, _ large: Subsystem, barePath: String, log: String
  ) throws -> [BenchReport.Row] {
    progress.begin("takeover: starting controllers")
    var rig = try TakeoverRig(small, hosts: 1, log: log)
    var crowd = try TakeoverRig(large, hosts: Self.crowdHosts, log: log)
    // A round is nine deaths and six starts of a controller: a second.
    let rounds = isQuick ? Interleaved.roundsMin : max(5, min(rounds, 15))
    progress.begin("takeover: killing controllers")
    let measured = try Interleaved(rounds: rounds, within: seconds, trials: TakeoverFigure.works.count) {
      trial, round in
      progress.update("round \(round) of \(rounds)")
      try watch.check()
      let work = TakeoverFigure.works[trial]
      var bare = (death: 0.0, exit: 0.0, drain: 0.0)
      var one = TakeoverRig.Death()
      var many = TakeoverRig.Death()
      // Each comes first in turn: what a death leaves to be done for the kernel is met by the next one.
      for place in 0..<3 {
        usleep(Self.quietMicroseconds)
        switch (place + round) % 3 {
        case 0: bare = try BareProcess(work, path: barePath).killed()
        case 1: one = try rig.death(work)
        default: many = try crowd.death(work)
        }
      }
      return [
        bare.death, bare.exit, bare.drain, one.firstAnswer, one.lastAnswer, one.exit, one.drain, many.firstAnswer,
        many.lastAnswer, many.exit, many.drain,
      ]
    }
    try rig.stop()
    try crowd.stop()
    return Self.rows(measured)
  }

  private static func rows(_ measured: Interleaved) -> [BenchReport.Row] {
    var rows: [BenchReport.Row] = []
    func add(
      _ name: String, _ work: KilledWork, _ figure: TakeoverFigure, comparedWith floor: TakeoverFigure,
      _ floorName: String, goal: Double? = nil
    ) {
      let load = work == .none ? "idle" : "\(KilledWork.depth) \(work.rawValue) in flight"
      let (ours, theirs) = (figure.index(work), floor.index(work))
      rows.append(
        measured.row(
          .takeover, "\(name), \(load)", metric: "time since SIGKILL", unit: "us", ours: ours,
          floor: (floorName, theirs), goal: goal.map { .ratio($0) }, waiting: .adaptive))
    }
    let many = "\(Figure.count(UInt64(crowdUnits))) units, \(crowdHosts) hosts"
    for work in TakeoverFigure.works {
      add("first answer", work, .first, comparedWith: .bareDeath, "death of a bare process", goal: 2)
      add("exit of the controller", work, .exit, comparedWith: .bareExit, "exit of a bare process")
      add("first answer, \(many)", work, .crowdFirst, comparedWith: .first, "one host", goal: 1.5)
      add("exit of the controller, \(many)", work, .crowdExit, comparedWith: .exit, "one host")
      if work == .none { continue }
      add("last in-flight answer", work, .last, comparedWith: .bareDrain, "drain of a bare process", goal: 1.3)
      add("drain of the controller", work, .drain, comparedWith: .bareDrain, "drain of a bare process")
      add("last in-flight answer, \(many)", work, .crowdLast, comparedWith: .last, "one host", goal: 1.5)
      add("drain of the controller, \(many)", work, .crowdDrain, comparedWith: .drain, "one host")
    }
    return rows
  }

  /// Small reads of a memory unit through a controller that keeps the in-flight journal, compared with one that does
  /// not. Null requests have no entry there.
  private mutating func journal() throws {
    let turns = turns
    let depths: [UInt64] = [1, 32, 64]
    let unit = UnitSpecification(.memory, size: 1 << 20)
    let length: UInt64 = 512
    let measured = try Self.withSubsystem("journal", [unit]) { with in
      try Self.withSubsystem("no-journal", [unit]) { without in
        var partner = try partner(BenchRole(controllers: [with], controllersWithoutJournal: [without]))
        return try pinned {
          progress.begin("takeover: attaching")
          try partner.begin(.controller, argument: 0)
          var host = try Host(of: with, options: Self.spinningHost)
          try host.waitUntilAttached()
          var reader = NullReader(host, of: .b, length: length)
          try partner.begin(.controller, argument: 1)
          var hostWithout = try Host(of: without, options: Self.spinningHost)
          try hostWithout.waitUntilAttached()
          var readerWithout = NullReader(hostWithout, of: .b, length: length)
          let step = "takeover: reads of a memory unit with and without the in-flight journal"
          return try interleaved(step, things: 2 * depths.count, control: 0) { thing, _ in
            let depth = depths[thing / 2]
            try partner.begin(.controller, argument: thing & 1 == 0 ? 1 : 0)
            return thing & 1 == 0
              ? try readerWithout.nanosecondsPerRequest(turns, depth: depth, partner.patience)
              : try reader.nanosecondsPerRequest(turns, depth: depth, partner.patience)
          }
        }
      }
    }
    for (index, depth) in depths.enumerated() {
      let (ours, theirs) = (2 * index + 1, 2 * index)
      report.append(
        measured.row(
          .takeover, "memory read of \(length) bytes, depth \(depth), with the journal", metric: "time a request",
          unit: "ns", ours: ours, floor: ("without the journal", theirs), goal: spinningGoal(depth == 1 ? 1.10 : 1.05),
          waiting: .spinning))
    }
    report.append(
      measured.controlRow(
        .takeover, of: "memory read of \(length) bytes, depth \(depths[0]), without the journal",
        metric: "time a request", unit: "ns", waiting: .spinning))
  }
}
