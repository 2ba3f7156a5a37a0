import BatonCommandKit
import BatonSystem
import Foundation
import Testing

@testable import BatonLaboratory

@Suite("Compare: two reports")
struct ComparisonTests {
  private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("baton-compare-\(UUID())")

  private func report(_ text: String) throws -> ComparedReport {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let path = folder.appendingPathComponent("\(UUID()).json").path
    try text.write(toFile: path, atomically: false, encoding: .utf8)
    return try ComparedReport(at: path)
  }

  private func bench(_ ratios: [Double], control: Double = 1) throws -> ComparedReport {
    let row = """
      {"suite": "dispatch", "case": "x", "metric": "latency", "unit": "ns", "p50": 100, "better": "less",
      "ratio_to_floor": 1.5, "values": [100, 101], "ratios": \(ratios)}
      """
    let other = """
      {"suite": "dispatch", "case": "control", "metric": "latency", "unit": "ns", "p50": 100, "better": "less",
      "ratio_to_floor": \(control), "control": true}
      """
    return try report(#"{"command": "bench", "machine": {"cpu": "c"}, "results": [\#(row), \#(other)]}"#)
  }

  @Test("Rows of a bench are judged by their ratios to the floor, and only beyond the noise of the controls")
  func benches() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let slow = (0..<20).map { 1.6 + Double($0) / 1000 }
    let fast = (0..<20).map { 1.5 + Double($0) / 1000 }
    func verdict(_ a: ComparedReport, _ b: ComparedReport) throws -> ComparisonVerdict? {
      let comparison = try Comparison(a, named: "a", b, named: "b")
      #expect(comparison.rows.count == 1)
      return comparison.rows.first?.verdict
    }
    #expect(try verdict(bench(fast), bench(slow)) == .worse)
    #expect(try verdict(bench(slow), bench(fast)) == .better)
    #expect(try verdict(bench(fast), bench(fast)) == .undecided)
    #expect(try verdict(bench(fast), bench(slow, control: 1.2)) == .undecided, "the control is off by more")
    #expect(try verdict(bench([1.5, 1.5]), bench([1.6, 1.6])) == .undecided, "too few rounds")
    let row = try Comparison(bench(fast), named: "a", bench(slow), named: "b").rows[0]
    #expect(abs(row.ratio - 1.066) < 0.002 && row.low.map { $0 > 1.05 } == true)
  }

  @Test("Runs have one figure of each kind, which decides nothing; other files are refused")
  func others() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let run =
      #"{"command": "run", "requests_per_second": 1000, "latency_nanoseconds": {"p50": 5, "p99": 9, "mean": 6}}"#
    let comparison = try Comparison(report(run), named: "a", report(run), named: "b")
    #expect(comparison.rows.count == 4 && comparison.rows.allSatisfy { $0.verdict == .undecided && $0.ratio == 1 })
    #expect(throws: BatonError.self) { try Comparison(report(run), named: "a", bench([1]), named: "b") }
    #expect(throws: BatonError.self) { try report("no json") }
    #expect(throws: BatonError.self) {
      try Comparison(report(#"{"command": "list"}"#), named: "a", report(#"{"command": "list"}"#), named: "b")
    }
  }

  @Test("A pair of measurements: B is worse where it takes longer, unless A differs from itself")
  func paired() {
    var comparison = Comparison(a: "a", b: "b")
    let a = (0..<12).map { 100 + Double($0 % 3) }
    comparison.add(paired: "slower", unit: "ns", a: a, b: a.map { $0 * 1.03 }, again: a)
    comparison.add(paired: "faster", unit: "ns", a: a, b: a.map { $0 * 0.97 }, again: a)
    comparison.add(paired: "off", unit: "ns", a: a, b: a.map { $0 * 1.03 }, again: a.map { $0 * 1.1 })
    comparison.add(paired: "rate", unit: "/s", a: a, b: a.map { $0 * 1.03 }, lessIsBetter: false)
    #expect(comparison.rows.map(\.verdict) == [.worse, .better, .undecided, .better])
    #expect(comparison.text.contains("slower") && comparison.text.contains("worse"))
  }
}
