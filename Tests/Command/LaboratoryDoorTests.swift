import BatonTestSupport
import Foundation
import Glibc
import Testing

@Suite("bench and stress: another executable carries them out, under the same names")
struct LaboratoryDoorTests {
  /// `baton WORDS...`, of a copy of it, alone in a folder.
  private func runAlone(_ rig: CommandRig, _ words: String...) throws -> CommandRig.Outcome {
    let alone = rig.folder("alone")
    if access(alone, F_OK) != 0 {
      try FileManager.default.createDirectory(atPath: alone, withIntermediateDirectories: false)
      // By another process: one that a test starts at the same time would have this one's descriptors, and a file that
      // somebody may write to cannot be executed.
      let copied = try rig.start([CommandRig.program, "\(alone)/baton"], program: "cp").outcome()
      #expect(copied.status == 0, "\(copied.errors)")
    }
    return try rig.start(words, program: "\(alone)/baton").outcome()
  }

  @Test(
    "Their help is asked for as that of any other command, and says what to type",
    arguments: [("bench", "--fail-on-miss"), ("stress", "--defect")])
  func help(command: String, option: String) throws {
    let rig = try CommandRig()
    for words in [[command, "--help"], ["help", command], [command, "-h"]] {
      let outcome = try rig.run(words)
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(outcome.output.contains("USAGE: baton \(command)"), "\(outcome.output)")
      #expect(outcome.output.contains(option))
    }
    let whole = try rig.run(["--help"]).output
    #expect(whole.contains("\n  \(command) "), "\(whole)")
    #expect(try rig.run(["\(command)x"]).errors.contains("did you mean '\(command)'?"))
  }

  @Test("A command line of theirs that makes no sense is told as any other", arguments: ["bench", "stress"])
  func senseless(command: String) throws {
    let outcome = try CommandRig().run([command, "--no-such-option"])
    #expect(outcome.status == 64)
    #expect(outcome.errors.contains("Usage: baton \(command)"), "\(outcome.errors)")
  }

  @Test("Where the executable is missing, the error names it and the fix, and the rest goes on")
  func missing() throws {
    let rig = try CommandRig()
    for words in [["bench", "handoff"], ["stress"], ["help", "bench"]] {
      let outcome = try words.count == 1 ? runAlone(rig, words[0]) : runAlone(rig, words[0], words[1])
      #expect(outcome.status == 1)
      #expect(outcome.output.isEmpty)
      #expect(outcome.errors.contains("alone/baton-lab") && outcome.errors.contains("tools/release"))
    }
    #expect(try runAlone(rig, "--help").output.contains("\n  bench "))
    #expect(try runAlone(rig, "list").status == 0)
  }

  @Test(
    "What is for the laboratory cannot be had from baton",
    arguments: [
      ["controller", "x", "a", "--defect", "no-fence"], ["controller", "x", "a", "--without-journal"], ["turns"],
      ["bench-worker"], ["press", "file"],
    ])
  func kept(words: [String]) throws { #expect(try CommandRig().run(words).status == 64) }
}
