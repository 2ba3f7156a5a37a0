import Baton
import BatonCommandKit
import BatonSystem
import Glibc

/// Two executables, or one with two settings, measured in turns.
///
/// Each round starts new processes of both, and two of the first: where a process's memory happens to lie changes its
/// speed by percents for as long as it lives, so one pair of processes says little however long it is measured. Within
/// a round the three take turns batch by batch, each time in another order; the round counts with the median of its
/// batches.
struct Contest {
  /// One side: an executable of the laboratory and the words for it.
  struct Side {
    let executable: String
    let words: [String]
    /// As it is shown.
    let name: String
  }

  let a: Side
  let b: Side
  let rounds: Int
  let batches: Int

  /// Compares them in each case. `report` is called before each round.
  func run(_ cases: [ContestCase], _ watch: BenchWatch, report: (ContestCase, Int) -> Void) throws -> Comparison {
    var comparison = Comparison(a: a.name, b: b.name)
    for contest in cases {
      // A, B, and A again.
      var values: [[Double]] = [[], [], []]
      for round in 0..<rounds {
        report(contest, round)
        for (side, value) in try self.round(contest, number: round, watch).enumerated() { values[side].append(value) }
      }
      comparison.add(paired: contest.name, unit: "ns", a: values[0], b: values[1], again: values[2])
    }
    return comparison
  }

  /// The medians of one round.
  private func round(_ contest: ContestCase, number: Int, _ watch: BenchWatch) throws -> [Double] {
    func start(_ side: Side, _ label: String) throws -> Sampler {
      try Sampler.start(side.executable, [contest.rawValue] + side.words, subject: "\(label), \(side.name)", watch)
    }
    var first = try start(a, "A")
    var second = try start(b, "B")
    var third = try start(a, "A again")
    var values: [[Double]] = [[], [], []]
    for batch in 0...batches {
      for step in 0..<3 {
        let side = (step + batch + number) % 3
        let value =
          switch side {
          case 0: try first.measure(watch)
          case 1: try second.measure(watch)
          default: try third.measure(watch)
          }
        // The first batch warms up.
        if batch > 0 { values[side].append(value) }
      }
    }
    try first.end()
    try second.end()
    try third.end()
    return values.map { $0.sorted()[$0.count / 2] }
  }

  /// The laboratory's executable that belongs to what the user has named: itself, or the one next to `baton`.
  static func executable(_ path: String) throws(BatonError) -> String {
    var path = path
    if FileFacts(path: path)?.kind == .directory { path += "/\(LaboratoryCommand.program)" }
    let name = path.split(separator: "/").last.map { String($0) } ?? path
    if name == "baton" { path = String(path.dropLast(name.count)) + LaboratoryCommand.program }
    if !path.contains("/") { path = "./\(path)" }
    guard access(path, X_OK) == 0 else {
      throw BatonError(
        result: -Int(errno), path, doing: "finding the executable to compare with",
        fix: "name the baton of another build, with its \(LaboratoryCommand.program) next to it")
    }
    return path
  }
}
