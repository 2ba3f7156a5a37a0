import Baton
import BatonCommandKit
import BatonSystem
import BatonTestSupport
import Foundation
import Testing

@testable import BatonCommand

@Suite("Watch: top and metrics read the region and nothing else")
struct WatchTests {
  @Test("top in plain text: owners, changes and rates; sorted and filtered as asked")
  func top() throws {
    let rig = try CommandRig()
    let controllers = try rig.serve("x", units: ["as:first:mem:1M", "mem:1M", "mem:1M"])
    defer { _ = controllers }
    let host = try rig.start(["run", "x", "--rw", "randrw", "--unit", "1", "--runtime", "10m"])
    defer { host.crash() }
    let isMoving = try eventually {
      let outcome = try rig.run(["top", "x", "--interval", "200ms", "--count", "1"])
      let lines = outcome.output.split(separator: "\n")
      return outcome.status == 0
        && lines.contains { $0.hasPrefix("unit 1 ") && !$0.hasSuffix(" 0") && !$0.hasSuffix("-") }
    }
    #expect(isMoving)
    let text = try rig.run(["top", "x", "--interval", "200ms", "--count", "2", "--sort", "name"]).output
    #expect(text.components(separatedBy: "baton top x").count == 3, "one for each interval")
    #expect(text.contains("management") && text.contains("unit 0, first") && text.contains("requests/s"))
    let lines = text.split(separator: "\n").map(String.init)
    let functions = lines.filter { $0.hasPrefix("unit ") || $0.hasPrefix("management") }.prefix(4)
    #expect(functions.map { $0.prefix(6) } == ["manage", "unit 0", "unit 1", "unit 2"])
    // With what is recorded, a moment later: controllers and hosts look for a recorder now and then.
    var titles: [String] = []
    let isRecorded = try eventually {
      let recorded = try rig.run(
        ["top", "x", "--interval", "1s", "--count", "2", "--filter", "unit 1", "--record"]
      ).output.split(separator: "\n").map(String.init)
      titles = recorded.last { $0.hasPrefix("function") }?.split(separator: " ").map(String.init) ?? []
      let figures = recorded.last { $0.hasPrefix("unit 1 ") } ?? ""
      return ["ns", "us", "ms"].contains { figures.contains($0) }
    }
    #expect(isRecorded && titles.suffix(6) == ["req/s", "p50", "p99", "pending", "p99.9", "max"], "\(titles)")
    let filtered = try rig.run(["top", "x", "--interval", "100ms", "--count", "1", "--filter", "first"]).output
    #expect(filtered.contains("unit 0, first") && !filtered.contains("unit 1"))
    #expect(try rig.run(["top", "x", "--sort", "size"]).status == 64)
    #expect(try rig.run(["top", "missing"]).status == 1)
  }

  /// A sample of a subsystem without controllers.
  private func sample(_ rig: CommandRig, units: Int) throws -> RegionSample {
    let words = (0..<units).flatMap { _ in ["--unit", "null:1M"] }
    #expect(try rig.run(["create", "y"] + words).status == 0)
    return try RegionSample(Subsystem("\(rig.home)/y"))
  }

  @Test("The screen has exactly the terminal's size, whatever it shows", arguments: [(80, 24), (200, 50), (40, 10)])
  func screen(columns: Int, rows: Int) throws {
    let rig = try CommandRig()
    let sample = try sample(rig, units: 60)
    var view = TopView()
    func lines() -> [String] {
      view.lines(sample, nil, interval: 1, time: "01:02:03.5", columns: columns, rows: rows)
    }
    #expect(lines().count == rows && lines().allSatisfy { $0.count <= columns })
    #expect(lines()[0].hasPrefix("baton top \(rig.home)/y  01:02:03".prefix(columns)))
    #expect(lines().contains { $0.hasPrefix("… 0 above, ") && $0.hasSuffix(" below") }, "what has no room is said")
    view.order = .name
    view.filter = "unit 59"
    #expect(lines().contains { $0.hasPrefix("unit 59") } && !lines().contains { $0.hasPrefix("unit 5 ") })
    view.isFiltering = true
    #expect(lines().last == "filter: unit 59_")
    view.isFiltering = false
    view.filter = ""
    view.scroll = 1000
    #expect(lines().contains { $0.hasPrefix("unit 59") }, "the end is the end")
    #expect(lines().contains { $0.hasPrefix("… ") && $0.hasSuffix(" above, 0 below") })
    view.isHelpShown = true
    #expect(lines().count == rows)
    view.isPaused = true
    #expect(columns < 60 || lines()[0].contains("PAUSED"))
  }

  @Test("metrics: one family of each kind, each with help and type, and labels that are escaped")
  func metrics() throws {
    let rig = try CommandRig()
    let controllers = try rig.serve("x", units: ["as:a:mem:1M"])
    defer { _ = controllers }
    let outcome = try rig.run(["metrics", "x"])
    #expect(outcome.status == 0)
    let lines = outcome.output.split(separator: "\n").map(String.init)
    #expect(lines.contains("baton_controller_running{subsystem=\"x\",controller=\"a\"} 1"))
    #expect(lines.contains("baton_function_owner{subsystem=\"x\",function=\"unit 0\",name=\"a\",controller=\"a\"} 0"))
    #expect(lines.contains("baton_unit_size_bytes{subsystem=\"x\",unit=\"0\",name=\"a\"} 1048576"))
    let families = lines.filter { $0.hasPrefix("# TYPE") }.map { $0.split(separator: " ")[2] }
    #expect(Set(families).count == families.count && families.count > 40)
  }

  @Test("The server answers GET and HEAD of /metrics, and refuses the rest in words")
  func answers() {
    func answer(_ line: String) -> String { MetricsServer.answer(line) { "x 1\n" } }
    #expect(answer("GET /metrics HTTP/1.1").hasPrefix("HTTP/1.1 200 OK\r\n"))
    #expect(answer("GET /metrics?a=b HTTP/1.1").hasSuffix("\r\n\r\nx 1\n"))
    #expect(answer("HEAD /metrics HTTP/1.0").contains("Content-Length: 4\r\n"))
    #expect(answer("HEAD /metrics HTTP/1.0").hasSuffix("\r\n\r\n"))
    #expect(answer("GET /other HTTP/1.1").hasPrefix("HTTP/1.1 404 "))
    #expect(answer("POST /metrics HTTP/1.1").hasPrefix("HTTP/1.1 405 "))
    for line in ["", "GET /metrics", "x y z", "GET  HTTP/1.1"] { #expect(answer(line).hasPrefix("HTTP/1.1 400 ")) }
    let failed = MetricsServer.answer("GET /metrics HTTP/1.1") { throw BatonError(.missing, "region", "is gone") }
    #expect(failed.hasPrefix("HTTP/1.1 503 ") && failed.contains("is gone"))
  }
}
