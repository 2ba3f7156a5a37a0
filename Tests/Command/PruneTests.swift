import BatonTestSupport
import Foundation
import Glibc
import Testing

@Suite("list and prune: what killed commands leave")
struct PruneTests {
  private func entries(_ rig: CommandRig) throws -> [[String: Any]] {
    try rig.json("list")["subsystems"] as? [[String: Any]] ?? []
  }

  @Test("What a killed demo left goes with its scratch files; what lives, and what a user made, stays")
  func killed() throws {
    let rig = try CommandRig()
    #expect(try rig.succeed("list").output.contains("no subsystems"))
    // A user's, by whatever name.
    let controllers = try rig.serve("demo-1", units: ["mem:1M"], controllers: ["a"])
    defer { _ = controllers }
    _ = try rig.serve("idle", units: ["null:1M"], controllers: [])
    let demo = try rig.start(["demo", "--quick", "--runtime", "10m"])
    let name = "demo-\(demo.pid)"
    let isServed = try eventually {
      try entries(rig).contains {
        $0["subsystem"] as? String == name && $0["maker_lives"] as? Bool == true
          && ($0["controllers"] as? [[String: Any]] ?? []).allSatisfy { $0["phase"] as? String == "serving" }
      }
    }
    #expect(isServed)
    #expect(try rig.succeed("prune").output.contains("nothing to remove"))
    demo.crash()
    let isLeft = try eventually {
      try entries(rig).contains {
        $0["subsystem"] as? String == name && $0["maker_lives"] as? Bool == false
          && ($0["controllers"] as? [[String: Any]] ?? []).allSatisfy { $0["running"] as? Bool == false }
      }
    }
    #expect(isLeft)
    #expect(rig.folder.contents.contains { $0.hasPrefix("baton-demo-") })
    #expect(try rig.succeed("prune", "--dry-run").output.contains("\(name), made by baton demo"))
    #expect(try rig.succeed("prune").output.contains("\(name), made by baton demo"))
    #expect(try entries(rig).compactMap { $0["subsystem"] as? String } == ["demo-1", "idle"])
    #expect(try entries(rig).allSatisfy { $0["temporary"] as? Bool == false })
    #expect(!rig.folder.contents.contains { $0.hasPrefix("baton-demo-") })
    #expect(try FileManager.default.contentsOfDirectory(atPath: rig.home).sorted() == ["demo-1", "idle"])
    #expect(try rig.succeed("list").output.contains("a runs"))
  }

  @Test("A temporary subsystem that somebody serves stays, and prune says why")
  func served() throws {
    let rig = try CommandRig()
    let controllers = try rig.serve("kept", units: ["mem:1M"], controllers: ["a"])
    // A mark without its maker, as if that had been killed and its controller were still there.
    let mark = "\(rig.home)/kept/temporary"
    try "made by: baton demo, process 1".write(toFile: mark, atomically: false, encoding: .utf8)
    let refused = try rig.run(["prune"])
    #expect(refused.status == 1)
    #expect(refused.errors.contains("kept stays") && refused.errors.contains("controller a runs"), "\(refused.errors)")
    for controller in controllers { controller.crash() }
    try rig.succeed("prune")
    #expect(try FileManager.default.contentsOfDirectory(atPath: rig.home).isEmpty)
  }

  @Test("A scratch folder that a mark names is removed only where it is one")
  func scratch() throws {
    let rig = try CommandRig()
    let mine = rig.folder("documents")
    #expect(mkdir(mine, 0o700) == 0)
    try rig.folder.write([1], to: "documents/letter")
    symlink(mine, rig.folder("baton-demo-link"))
    for (name, scratch) in [("one", mine), ("two", rig.folder("baton-demo-link"))] {
      _ = try rig.serve(name, units: ["null:1M"], controllers: [])
      try "made by: baton demo, process 1\nscratch files: \(scratch)"
        .write(toFile: "\(rig.home)/\(name)/temporary", atomically: false, encoding: .utf8)
    }
    try rig.succeed("prune")
    #expect(try FileManager.default.contentsOfDirectory(atPath: mine) == ["letter"])
  }
}
