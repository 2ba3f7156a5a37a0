import BatonTestSupport
import Foundation
import Glibc
import Testing

@Suite("run: whatever ends it, it reports what came until then, and its status says why")
struct RunEndingTests {
  /// Waits until a host has been served.
  private func awaitRequests(_ rig: CommandRig, _ name: String) throws {
    let isBusy = try eventually {
      let controllers = try rig.json("status", name)["controllers"] as? [[String: Any]] ?? []
      return controllers.contains { (($0["counters"] as? [String: Int])?["answered"] ?? 0) > 100 }
    }
    #expect(isBusy)
  }

  private func expect(
    _ outcome: CommandRig.Outcome, _ report: [String: Any], status: CInt, reason: String, words: String = "",
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(outcome.status == status, "\(outcome.errors)", sourceLocation: sourceLocation)
    #expect(words.isEmpty || outcome.errors.contains(words), "\(outcome.errors)", sourceLocation: sourceLocation)
    #expect(outcome.output.contains("requests  "), sourceLocation: sourceLocation)
    let ending = report["ending"] as? [String: Any]
    #expect(ending?["reason"] as? String == reason, sourceLocation: sourceLocation)
    #expect(ending?["status"] as? Int == Int(status), sourceLocation: sourceLocation)
    #expect((report["requests"] as? Int ?? 0) > 0, sourceLocation: sourceLocation)
  }

  @Test("An interrupt ends it with the figures so far and 130, and SIGTERM with 143")
  func interrupted() throws {
    let rig = try CommandRig()
    let controllers = try rig.serve("x", units: ["null:1M"])
    defer { _ = controllers }
    for (signal, status) in [(SIGINT, 130), (SIGTERM, 143)] as [(CInt, CInt)] {
      let host = try rig.start(["run", "x", "--runtime", "10m", "--json", rig.folder("report")])
      try awaitRequests(rig, "x")
      // It has begun for certain when its host is attached, and holds signals from then on.
      #expect(
        try eventually {
          let controllers = try rig.json("status", "x")["controllers"] as? [[String: Any]] ?? []
          return controllers.allSatisfy { ($0["counters"] as? [String: Int])?["hosts"] == 1 }
            && host.errors.contains("·")
        })
      host.send(signal)
      let outcome = host.outcome()
      expect(outcome, try rig.json(file: "report"), status: status, reason: "interrupted")
    }
  }

  @Test(
    "A subsystem that is destroyed, or made again, ends it with 4, without figures of two", arguments: [false, true])
  func destroyed(isMadeAgain: Bool) throws {
    let rig = try CommandRig()
    let controllers = try rig.serve("x", units: ["null:1M"])
    let host = try rig.start(["run", "x", "--runtime", "10m", "--json", rig.folder("report")])
    try awaitRequests(rig, "x")
    for controller in controllers { controller.crash() }
    try rig.succeed("destroy", "x")
    let others = isMadeAgain ? try rig.serve("x", units: ["null:1M", "null:2M"]) : []
    defer { _ = others }
    let outcome = host.outcome()
    let report = try rig.json(file: "report")
    expect(outcome, report, status: 4, reason: "lost", words: "was destroyed")
    #expect(report["changes_of_owner"] is NSNull)
    #expect(outcome.output.contains("changes of owner   unknown"))
  }

  @Test("When nobody serves any more it ends, long before its time and not after it")
  func deserted() throws {
    let rig = try CommandRig()
    let controllers = try rig.serve("x", units: ["null:1M"])
    let host = try rig.start(["run", "x", "--runtime", "10m", "--json", rig.folder("report")])
    try awaitRequests(rig, "x")
    for controller in controllers { controller.crash() }
    let report = { try rig.json(file: "report") }
    let outcome = host.outcome()
    expect(outcome, try report(), status: 4, reason: "lost", words: "neither has served this host")
    // How many there are depends on where the host was when the last controller ended.
    #expect(try report()["unanswered"] is Int)
  }

  @Test(
    "A path that was asked for and does not exist is an error; without --path it is said")
  func paths() throws {
    let rig = try CommandRig()
    let controllers = try rig.serve("x", units: ["null:1M"], controllers: ["a"])
    defer { _ = controllers }
    for path in ["b", "both"] {
      let outcome = try rig.run(["run", "x", "--path", path, "--number", "10"])
      #expect(outcome.status == 1)
      #expect(outcome.errors.contains("controller b: does not serve"), "\(outcome.errors)")
      #expect(outcome.output.isEmpty)
    }
    #expect(try rig.run(["run", "x", "--path", "a", "--number", "10"]).status == 0)
    let outcome = try rig.run(["run", "x", "--number", "10"])
    #expect(outcome.status == 0)
    #expect(outcome.errors.contains("controller b does not serve"), "\(outcome.errors)")
  }

  @Test("Requests that end with errors are counted, and end it with 1")
  func errors() throws {
    let rig = try CommandRig()
    let controllers = try rig.serve("x", units: ["fault:error-every=7:mem:1M"])
    defer { _ = controllers }
    let outcome = try rig.run(["run", "x", "--number", "700", "--json", rig.folder("report")])
    let report = try rig.json(file: "report")
    expect(outcome, report, status: 1, reason: "errors", words: "ended with")
    #expect((report["errors"] as? [String: Int])?.values.reduce(0, +) == 100)
  }

  @Test("Another writer is found by --verify, which ends with 2, its figures, and what must be alone")
  func notAlone() throws {
    let rig = try CommandRig()
    let controllers = try rig.serve("x", units: ["mem:64k"])
    defer { _ = controllers }
    let other = try rig.start(["run", "x", "--rw", "randwrite", "--runtime", "10m"])
    try awaitRequests(rig, "x")
    let outcome = try rig.run(
      ["run", "x", "--rw", "randrw", "--verify", "--iodepth", "4", "--runtime", "10m", "--json", rig.folder("report")])
    let report = try rig.json(file: "report")
    expect(outcome, report, status: 2, reason: "violation", words: "--verify must be alone")
    #expect(outcome.errors.contains("other hosts are attached"))
    #expect((report["violation"] as? String ?? "").contains("unit 0 block"))
    other.send(SIGINT)
    #expect(other.outcome().status == 130)
  }

  @Test("Sizes that do not fit say what is too small for what")
  func sizes() throws {
    let rig = try CommandRig()
    _ = try rig.serve("x", units: ["null:2k"], controllers: [])
    let small = try rig.run(["run", "x", "--size", "1000"])
    #expect(small.status == 1)
    #expect(small.errors.contains("--size 1000: is less than one request, 4096 bytes"), "\(small.errors)")
    let large = try rig.run(["run", "x", "--bs", "4k"])
    #expect(large.errors.contains("--bs 4096: is more than unit 0 has, 2048 bytes"), "\(large.errors)")
  }
}
