import Baton
import BatonCommandKit
import FoundationEssentials
import Testing

@testable import BatonLaboratory

@Suite("Bench report: ratios, goals, controls")
struct BenchReportTests {
  /// Two CPUs, so that what spins is judged.
  static let twoCPUs: BenchReport.Machine = {
    var machine = BenchReport.Machine()
    machine.pinned = [0, 1]
    return machine
  }()

  @Test("Each thing is measured once a round, the control twice, the warm-up is dropped, the first one changes")
  func order() throws {
    var calls: [[Int]] = Array(repeating: [], count: 5)
    let measured = Interleaved(rounds: 4, things: 2, control: 0) { thing, round in
      calls[round].append(thing)
      return Double(100 * round + 10 * thing + calls[round].count)
    }
    #expect(calls == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])
    #expect(measured.rounds == 4)
    // Every value lies with its own thing and its own round, whatever the order was.
    #expect(measured.values[1] == [111, 213, 312, 411])
    #expect(measured.control?.of == 0)
    #expect(measured.control?.again == 2)
    #expect(measured.values[0] == [103, 202, 301, 403])
    #expect(measured.values[2] == [102, 201, 303, 402])
  }

  @Test("Trials of several values become things in the order of the trials, the control behind them")
  func trials() throws {
    let measured = Interleaved(rounds: 3, trials: 2, control: 1) { trial, round in
      trial == 0 ? [Double(round), Double(round) + 0.5] : [Double(10 * round)]
    }
    #expect(measured.values == [[1, 2, 3], [1.5, 2.5, 3.5], [10, 20, 30], [10, 20, 30]])
    #expect(measured.control?.of == 2)
    #expect(measured.control?.again == 3)
  }

  @Test("A ratio is the median of those of the same round, and below 1 Baton wins, for times and for rates")
  func ratios() throws {
    // The medians of both are the same; those of the rounds are not.
    let measured = Interleaved(values: [[10, 20, 30], [30, 20, 24], [5, 40, 60]])
    let time = measured.row(
      .handoff, "a", metric: "m", unit: "ns", ours: 1, floor: ("floor", 0), peers: [.thing("peer", 2)])
    #expect(time.ratioToFloor == 1)
    #expect(time.ratioSpread?.low == 0.8)
    #expect(time.ratioSpread?.high == 3)
    #expect(time.peers[0].ratio == 0.5)
    #expect(time.p50 == 24)
    #expect(time.p99 == 30)
    let rate = measured.row(
      .handoff, "a", metric: "m", unit: "requests/s", ours: 1, floor: ("floor", 0), peers: [.thing("peer", 2)],
      better: .more)
    #expect(rate.ratioSpread?.low == 10.0 / 30)
    #expect(rate.ratioSpread?.high == 30.0 / 24)
    #expect(rate.peers[0].ratio == 2)
    // The far end of a rate is its low one.
    #expect(rate.p99 == 20)
  }

  @Test("A goal is met up to its limit, missed beyond it, and undecided where nothing was compared")
  func goals() throws {
    let measured = Interleaved(values: [[10, 10, 10], [12, 12, 12], [100, 100, 100]])
    func row(
      _ goal: BenchReport.Goal, floor: Bool = true, peer: Double = 1, better: BenchReport.Better = .less
    ) -> BenchReport.Row {
      var report = BenchReport(machine: Self.twoCPUs)
      report.append(
        measured.row(
          .handoff, "a", metric: "m", unit: "ns", ours: 1, floor: floor ? ("floor", 0) : nil,
          peers: [.thing("peer", 2, goal: peer), .notRun("other", because: "it does not exist")], goal: goal,
          better: better))
      return report.results[0]
    }
    #expect(row(.ratio(1.2)).verdict == .met)
    #expect(row(.ratio(1.19)).verdict == .missed)
    #expect(row(.ratio(1.2), floor: false).verdict == .undecided)
    #expect(row(.figure(12)).verdict == .met)
    #expect(row(.figure(11)).verdict == .missed)
    #expect(row(.figure(12), better: .more).verdict == .met)
    #expect(row(.figure(13), better: .more).verdict == .missed)
    #expect(row(.ratio(1), peer: 0.12).peers[0].verdict == .met)
    #expect(row(.ratio(1), peer: 0.11).peers[0].verdict == .missed)
    #expect(row(.ratio(1)).peers[1].verdict == nil)
    #expect(row(.ratio(1)).peers[1].notRun == "it does not exist")
  }

  @Test("A goal within the noise that the control shows is undecided, and so are all if the control says nothing")
  func noise() throws {
    // Ours is 0.72 of the floor in every round; the control is what changes.
    func verdicts(control again: [Double], goal: Double) -> [BenchReport.Verdict?] {
      let rounds = again.count
      let measured = Interleaved(
        values: [
          Array(repeating: 100, count: rounds), Array(repeating: 72, count: rounds),
          Array(repeating: 144, count: rounds), again,
        ], control: (of: 0, again: 3))
      var report = BenchReport(machine: Self.twoCPUs)
      report.append(
        measured.row(
          .dispatch, "a", metric: "m", unit: "ns", ours: 1, floor: ("floor", 0),
          peers: [.thing("peer", 2, goal: goal - 0.22)], goal: .ratio(goal)))
      report.append(measured.controlRow(.dispatch, of: "floor", metric: "m", unit: "ns"))
      return [report.results[0].verdict, report.results[0].peers[0].verdict]
    }
    #expect(verdicts(control: [100, 103, 97], goal: 0.73) == [.met, .met])
    #expect(verdicts(control: [100, 103, 97], goal: 0.71) == [.missed, .missed])
    for stray in [1.36, 1 / 1.36] {
      let control = Array(repeating: 100 * stray, count: 5)
      #expect(verdicts(control: control, goal: 0.73) == [.undecided, .undecided])
      #expect(verdicts(control: control, goal: 0.6)[0] == .undecided)
      #expect(verdicts(control: control, goal: 0.5)[0] == .missed)
      #expect(verdicts(control: control, goal: 1)[0] == .met)
    }
    // What is wrong by 10 or by 20 says nothing, however far the goal is.
    for stray in [0.1, 20] {
      #expect(verdicts(control: Array(repeating: 100 * stray, count: 5), goal: 40) == [.undecided, .undecided])
    }
    // A median of 1 among rounds that are all over the place is luck.
    #expect(verdicts(control: [5, 100, 2000, 4, 100, 3000, 100], goal: 1) == [.undecided, .undecided])
  }

  @Test("A ratio that changes from round to round is undecided near its goal, without a control too")
  func spread() throws {
    let measured = Interleaved(values: [[1, 1, 1, 1, 1], [0.02, 0.1, 0.72, 10, 60]])
    var report = BenchReport(machine: Self.twoCPUs)
    report.append(
      measured.row(.takeover, "a", metric: "m", unit: "ns", ours: 1, floor: ("floor", 0), goal: .ratio(1)))
    #expect(report.results[0].verdict == .undecided)
  }

  @Test("Goals of spinning figures of one CPU are undecided, others are not")
  func oneCPU() throws {
    let measured = Interleaved(values: [[10, 10, 10], [50, 50, 50]])
    func row(_ waiting: BenchReport.Waiting) -> BenchReport.Row {
      measured.row(
        .handoff, "a", metric: "m", unit: "ns", ours: 1, floor: ("floor", 0), peers: [.thing("peer", 0, goal: 1)],
        goal: .ratio(1), waiting: waiting)
    }
    var report = BenchReport(machine: .init())
    report.append([row(.spinning), row(.parking)])
    #expect(report.results.map(\.verdict) == [.undecided, .missed])
    #expect(report.results.map(\.peers[0].verdict) == [.undecided, .missed])
    #expect(report.text.contains("undecided"))
    report = BenchReport(machine: Self.twoCPUs)
    report.append(row(.spinning))
    #expect(report.results[0].verdict == .missed)
  }

  @Test("A control that strays by more than 5 % gives a warning, a nearer one none")
  func control() throws {
    for (again, isStray) in [(100.0, false), (104, false), (96, false), (106, true), (94, true)] {
      let measured = Interleaved(
        values: [[100, 100, 100], [again, again, again]], control: (of: 0, again: 1))
      var report = BenchReport(machine: Self.twoCPUs)
      report.append(measured.controlRow(.dispatch, of: "floor", metric: "m", unit: "ns"))
      #expect(report.results.count == 1)
      #expect(report.results[0].isControl)
      #expect(report.warnings.count == (isStray ? 1 : 0), "\(again)")
    }
    // However many stray, they are one line.
    var report = BenchReport(machine: Self.twoCPUs)
    for again in [100.0, 110, 5, 2000] {
      let measured = Interleaved(values: [[100, 100, 100], [again, again, again]], control: (of: 0, again: 1))
      report.append(measured.controlRow(.dispatch, of: "floor", metric: "m", unit: "ns"))
    }
    #expect(report.warnings.count == 1)
    #expect(report.warnings[0].contains("3 of 4 controls"))
    #expect(report.warnings[0].contains("20.0×") || report.warnings[0].contains("0.050×"))
    let measured = Interleaved(values: [[1, 1, 1]])
    #expect(measured.controlRow(.dispatch, of: "floor", metric: "m", unit: "ns").isEmpty)
  }

  @Test("JSON has the keys that are documented, and takes figures that are no numbers")
  func json() throws {
    let measured = Interleaved(values: [[0, 0, 0], [0, 0, 0], [2, 2, 2]], control: (of: 0, again: 0))
    var report = BenchReport(machine: Self.twoCPUs)
    report.append(
      measured.row(
        .dispatch, "a case", metric: "m", unit: "ns", ours: 1, floor: ("floor", 0),
        peers: [.thing("peer", 2, goal: 1), .notRun("other", because: "no reason")], goal: .ratio(2),
        waiting: .parking, curves: [.init(name: "c", points: [.init(percentile: 50, value: 3)])]))
    report.append(measured.controlRow(.dispatch, of: "floor", metric: "m", unit: "ns"))
    struct Read: Decodable {
      struct Row: Decodable {
        struct Floor: Decodable { let name: String, p50: Double }
        struct Peer: Decodable {
          let name: String, p50: Double?, ratio: Double?, verdict: String?, notRun: String?
        }
        struct Curve: Decodable { let name: String, points: [[Double]] }
        let suite: String, metric: String, unit: String, p50: Double, p99: Double, p999: Double
        let floor: Floor, ratioToFloor: Double?, peers: [Peer], waiting: String?, goal: Double?, verdict: String?
        let curves: [Curve]?, control: Bool?, better: String, percentilesOver: String
      }
      struct Machine: Decodable { let cpu: String, cpus: Int, kernel: String, pinned: [Int], timerNs: Double }
      let machine: Machine, results: [Row], warnings: [String]
    }
    let data = try JSONEncoder().encode(report)
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let read = try decoder.decode(Read.self, from: data)
    let row = read.results[0]
    for key in ["\"case\":\"a case\"", "\"ratio_to_floor\":", "\"not_run\":"] {
      #expect(String(decoding: data, as: UTF8.self).contains(key))
    }
    // Nothing divided by nothing is no ratio, and no goal is met by it or by its control.
    #expect(row.ratioToFloor == nil)
    #expect(row.goal == 2)
    #expect(row.verdict == "undecided")
    #expect(row.peers.map(\.ratio) == [0, nil])
    #expect(row.peers.map(\.verdict) == ["undecided", nil])
    #expect(row.peers[1].notRun == "no reason")
    #expect(row.waiting == "parking")
    #expect(row.curves?[0].points == [[50, 3]])
    #expect(read.results[1].control == true)
    #expect(read.machine.pinned == [0, 1])
  }

  @Test("A histogram's curve grows and ends with its maximum at 100 %")
  func curve() throws {
    var latencies = Latencies()
    for value in 1...10_000 as ClosedRange<UInt64> { latencies.record(value) }
    let points = latencies.curve("c").points
    #expect(points.first?.percentile == 0)
    #expect(points.last?.percentile == 100)
    #expect(zip(points, points.dropFirst()).allSatisfy { $0.percentile < $1.percentile && $0.value <= $1.value })
    let curve = latencies.curve("c")
    for (percentile, value) in [(50.0, 5000.0), (90, 9000), (99, 9900), (99.9, 9990), (100, 10_000)] {
      // Three digits of the histogram, and the step of the curve above the percentile.
      let found = try #require(curve.value(at: percentile))
      #expect(found >= value * 0.998 && found <= value * 1.06, "\(percentile): \(found)")
    }
    #expect(Latencies().curve("none").points.isEmpty)
    #expect(curve.value(at: 99.99999) == nil)
  }

  @Test("A file that cannot be written is refused before anything is measured")
  func outputFile() {
    #expect(throws: BatonError.self) { try OutputFile.check("/no such folder/report.html") }
    #expect(throws: Never.self) { try OutputFile.check("-") }
  }
}
