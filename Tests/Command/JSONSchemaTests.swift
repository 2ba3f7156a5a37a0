import Foundation
import Testing

@Suite("JSON: what the commands write is what docs/json-schema.json says")
struct JSONSchemaTests {
  private static let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../../docs/json-schema.json").path

  /// What is wrong with a report, by the schema and by what holds for all of them.
  private func findings(_ report: [String: Any], of command: String) throws -> [String] {
    try JSONSchema(contentsOfFile: Self.path).findings(report, is: command) + general(report, "")
  }

  private func expectNoFindings(
    _ report: [String: Any], of command: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let found = try findings(report, of: command)
    #expect(found.isEmpty, "\(found.joined(separator: "\n"))", sourceLocation: sourceLocation)
  }

  /// Keys are in snake case, but for names that are data, and JavaScript rounds no number.
  private func general(_ value: Any, _ place: String) -> [String] {
    var findings: [String] = []
    if let object = value as? [String: Any] {
      let areData = ["/counters", "/errors", "/requests_by_kind"].contains { place.hasSuffix($0) }
      for (key, field) in object {
        let isPlain = key.allSatisfy { $0.isASCII && ($0.isLowercase || $0.isNumber || $0 == "_") }
        if !areData, !isPlain { findings.append("\(place): the key '\(key)' is not in snake case") }
        findings += general(field, "\(place)/\(key)")
      }
    } else if let array = value as? [Any] {
      for (index, item) in array.enumerated() { findings += general(item, "\(place)/\(index)") }
    } else if let number = value as? NSNumber, abs(number.doubleValue) > 9_007_199_254_740_991 {
      findings.append("\(place): \(number) is more than JavaScript holds")
    }
    return findings
  }

  @Test("status, list and run, of a subsystem that is served and of one that is not")
  func subsystems() throws {
    let rig = try CommandRig()
    let file = try rig.folder.file("disk.img", count: 1 << 20)
    _ = try rig.serve("idle", units: ["null:1M", "as:disk:\(file)"], controllers: [])
    let idle = try rig.json("status", "idle")
    try expectNoFindings(idle, of: "status")
    let functions = try #require(idle["functions"] as? [[String: Any]])
    #expect(functions.count == 3 && functions.allSatisfy { $0["owner"] is NSNull }, "nobody is null, not absent")
    #expect((idle["generation"] as? String)?.isEmpty == false)
    let controllers = try rig.serve("served", units: ["mem:1M"])
    defer { _ = controllers }
    // Nothing happens in one of them, and everything that can in the other.
    try expectNoFindings(try rig.json("trace", "served", "--runtime", "50ms"), of: "trace")
    let busy = try rig.start(["run", "served", "--path", "both", "--runtime", "30"])
    let traced = try rig.json("trace", "served", "--until", "change", "--out", rig.folder("trace.pftrace"))
    try expectNoFindings(traced, of: "trace")
    #expect((traced["events"] as? Int ?? 0) > 0)
    busy.send(SIGINT)
    #expect(busy.outcome().status == 130)
    let untraced = try rig.run(["trace", "idle", "--runtime", "50ms"])
    #expect(untraced.status == 1 && untraced.errors.contains("no controller serves"), "\(untraced.errors)")
    let sections = "[one]\nsize=512k\n[two]\nverify\noffset=512k\nrw=write\nrate=10M\n"
    let jobs = try rig.folder.write(Array(sections.utf8), to: "jobs")
    for words in [
      [], ["--verify", "--rw", "randrw", "--numjobs", "2"], ["--unit", "0", "--size", "64k", "--offset", "4k"],
      ["--rate_iops", "100000", "--bssplit", "4k/50:8k/50", "--random_distribution", "zipf:1.1"],
      ["--latency_target", "1m", "--latency_window", "1ms"], [jobs, "--thinktime", "0"],
    ] {
      let outcome = try rig.run(
        ["run", "served", "--number", "200", "--seed", "18446744073709551615", "--json", rig.folder("report")] + words)
      #expect(outcome.status == 0, "\(outcome.errors)")
      let report = try rig.json(file: "report")
      try expectNoFindings(report, of: "run")
      #expect((report["configuration"] as? [String: Any])?["seed"] as? String == "18446744073709551615")
    }
    try expectNoFindings(rig.json("status", "served"), of: "status")
    // One that is none any more.
    try "spoilt".write(toFile: "\(rig.home)/idle/region", atomically: false, encoding: .utf8)
    let list = try rig.json("list")
    try expectNoFindings(list, of: "list")
    #expect(((list["subsystems"] as? [[String: Any]])?[0]["problem"] as? String)?.isEmpty == false)
  }

  @Test(
    "The commands that make a subsystem for themselves",
    arguments: [
      ["demo", "--quick", "--runtime", "0.3", "--buffered"],
      ["stress", "--count", "1", "--hosts", "1", "--deadline", "5s"],
      ["bench", "handoff", "--quick", "--rounds", "3"],
    ])
  func others(words: [String]) throws {
    let rig = try CommandRig()
    let outcome = try rig.run(words + ["--json", "-"])
    #expect(outcome.status == 0, "\(outcome.errors)")
    let report = try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any] ?? [:]
    try expectNoFindings(report, of: words[0])
    #expect((report["ending"] as? [String: Any])?["reason"] as? String == "complete")
  }

  @Test("The validator finds what is planted")
  func planted() throws {
    let rig = try CommandRig()
    _ = try rig.serve("x", units: ["null:1M"], controllers: [])
    let report = try rig.json("status", "x")
    func spoilt(_ change: (inout [String: Any]) -> Void) throws -> Int {
      var copy = report
      change(&copy)
      return try findings(copy, of: "status").count
    }
    #expect(try spoilt { _ in } == 0)
    #expect(try spoilt { $0["command"] = "run" } == 1)
    #expect(try spoilt { $0["format"] = "1" } == 1)
    #expect(try spoilt { $0["generation"] = 12 } > 0)
    #expect(try spoilt { $0["generation"] = "x" } == 1)
    #expect(try spoilt { $0["machine"] = nil } == 1)
    #expect(try spoilt { $0["changesOfOwner"] = 1 } == 2)
    #expect(try spoilt { $0["changes_of_owner"] = -1 } == 1)
    #expect(try spoilt { $0["changes_of_owner"] = 1.5 } == 1)
    #expect(try spoilt { $0["changes_of_owner"] = true } == 1)
    #expect(try spoilt { $0["changes_of_owner"] = 1e17 } == 1)
    #expect(try spoilt { $0["functions"] = [["function": "management", "requested": false, "term": 0]] } == 1)
    let foreign: [String: Any] = ["function": "x", "owner": "c", "requested": false, "term": 0]
    #expect(try spoilt { $0["functions"] = [foreign] } > 0)
  }
}
