import BatonSystem
import Foundation
import Testing

@testable import BatonLaboratory

@Suite("Soak: its log is all that it needs to go on")
struct SoakTests {
  private func segment(_ number: Int, seconds: Double = 60, violation: String? = nil) -> SoakSegment {
    SoakSegment(
      number: number, seed: UInt64(number), started: "2026-11-22T05:46:37Z", seconds: seconds, faults: 10,
      requests: 1000, starts: 12,
      pauses: [.init(kind: "kill", faults: 10, p50: 1_000_000, p99: 2_000_000, max: 3_000_000)],
      violation: violation)
  }

  @Test("It goes on from the last whole segment, also after a line that was cut")
  func resumed() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("baton-soak-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("soak.jsonl").path
    var log = try SoakLog(at: path, seed: 7, options: ["--kill"])
    #expect(log.next == 1 && log.seconds == 0)
    try log.add(segment(1))
    try log.add(segment(2, seconds: 30))
    // The machine goes down in the middle of a line.
    let file = try #require(FileHandle(forWritingAtPath: path))
    try file.seekToEnd()
    try file.write(contentsOf: Data("{\"number\":3,\"se".utf8))
    try file.close()
    var resumed = try SoakLog(at: path, seed: nil, options: ["--kill"])
    #expect(resumed.heading.seed == 7 && resumed.next == 3 && resumed.seconds == 90)
    try resumed.add(segment(3))
    let again = try SoakLog(at: path, seed: 7, options: ["--kill"])
    #expect(again.segments == [segment(1), segment(2, seconds: 30), segment(3)])
    #expect(throws: BatonError.self) { try SoakLog(at: path, seed: 8, options: ["--kill"]) }
    #expect(throws: BatonError.self) { try SoakLog(at: path, seed: 7, options: []) }
    try "not a log".write(toFile: path, atomically: false, encoding: .utf8)
    #expect(throws: BatonError.self) { try SoakLog(at: path, seed: 7, options: []) }
  }

  @Test("The page is well-formed, with a line for each kind of fault, and names what was wrong")
  func page() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("baton-soak-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    var log = try SoakLog(at: folder.appendingPathComponent("soak.jsonl").path, seed: 1, options: [])
    for number in 1...3 { try log.add(segment(number)) }
    try log.add(segment(4, violation: "block 3 <lost>"))
    let html = SoakPage(log: log, seconds: 8 * 3600).html
    #expect(html.contains("block 3 &lt;lost&gt;") && html.contains("00:04:00") && html.contains("08:00:00"))
    #expect(html.components(separatedBy: "<polyline").count == 4, "two of pauses, one of load")
  }
}
