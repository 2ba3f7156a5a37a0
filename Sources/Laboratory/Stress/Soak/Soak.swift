import ArgumentParser
import Baton
import BatonCommandKit
import BatonSystem
import FoundationEssentials
import Glibc

/// Stress for hours: one run after the other, each a process of its own with its own seed, and a line for each. What a
/// run leaves goes with it, unless it failed; so disk and memory stay bounded however long the soak takes.
struct Soak {
  let folder: String
  /// All of it, with what was run before.
  let seconds: Double
  let segmentSeconds: Double
  let isQuiet: Bool

  var logPath: String { "\(folder)/soak.jsonl" }
  var pagePath: String { "\(folder)/soak.html" }

  /// Runs segments until the time is over, something is wrong, or a signal comes.
  func run(seed: UInt64?, options: [String], _ interruption: borrowing Interruption) throws {
    if mkdir(folder, 0o755) != 0, errno != EEXIST {
      throw BatonError(result: -Int(errno), folder, doing: "making the soak's folder", fix: "name another with --soak")
    }
    var log = try SoakLog(at: logPath, seed: seed, options: options)
    if let failed = log.segments.first(where: { $0.violation != nil }) {
      throw VerificationFailure(description: "segment \(failed.number) has failed: \(failed.violation ?? "")")
    }
    removeLeftOvers(log)
    if !log.segments.isEmpty {
      Console.print("going on after segment \(log.next - 1), \(Self.clock(log.seconds)) of \(Self.clock(seconds))")
    }
    while log.seconds < seconds {
      let segment = try self.segment(log.next, log, interruption)
      if let segment {
        try log.add(segment)
        if !isQuiet { Console.print(line(segment, log)) }
        try OutputFile.write(SoakPage(log: log, seconds: seconds).html, to: pagePath)
        if let violation = segment.violation {
          throw VerificationFailure(description: "segment \(segment.number): \(violation)")
        }
      }
      let signal = interruption.take()
      if signal != 0 || segment?.isInterrupted == true || segment == nil {
        Console.error("baton: the same command goes on from here")
        throw ExitCode(128 + (signal == 0 ? SIGTERM : signal))
      }
    }
    Console.print("all correct: \(Self.clock(log.seconds)), \(log.segments.count) segments; see \(pagePath)")
  }

  /// One segment; nil if a signal ended it before it had anything to report.
  private func segment(_ number: Int, _ log: SoakLog, _ interruption: borrowing Interruption) throws -> SoakSegment? {
    let report = "\(folder)/segment.json"
    unlink(report)
    let seed = log.heading.seed &+ UInt64(number)
    let started = JSONReport.now
    let left = min(segmentSeconds, seconds - log.seconds)
    var process = try BatonProgram.running.start(
      LaboratoryCommand.stress.rawValue,
      log.heading.options + [
        "--seed", "\(seed)", "--runtime", "\(max(left, 0.1))", "--directory", folder, "--json", report,
      ], log: "\(folder)/segment.log")
    let handle = try process.handle()
    var signal: CInt = 0
    while process.ending == nil {
      interruption.wait(orProcess: handle.number, milliseconds: 1000)
      let taken = interruption.take()
      if taken != 0 {
        signal = taken
        // It reports what it has done so far.
        process.send(SIGTERM)
      }
      _ = process.look()
    }
    defer { unlink("\(folder)/segment.log") }
    guard access(report, R_OK) == 0 else {
      if signal != 0 { throw ExitCode(128 + signal) }
      let said = (try? InputFile.read("\(folder)/segment.log", bytesMax: 1 << 20)).map {
        String(decoding: $0, as: UTF8.self)
      }
      let last = said?.split(separator: "\n").last.map { ": \($0)" } ?? ""
      throw BatonError(
        .system, "segment \(number)", "ended without a report" + last, fix: "try its seed, \(seed), alone")
    }
    var segment = try SoakSegment(number: number, seed: seed, started: started, report: report)
    unlink(report)
    if signal != 0 { segment.isInterrupted = true }
    return segment
  }

  /// What a machine that went down has left of the segment that ran then: its scratch files. Those of a failure stay.
  private func removeLeftOvers(_ log: SoakLog) {
    let kept = log.segments.compactMap(\.failureFolder)
    guard let directory = opendir(folder) else { return }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      guard name.hasPrefix("baton-stress-"), let resolved = realpath("\(folder)/\(name)", nil) else { continue }
      let path = String(cString: resolved)
      free(resolved)
      if !kept.contains(path) { ScratchDirectory.removeLeftOver(path) }
    }
  }

  private func line(_ segment: SoakSegment, _ log: SoakLog) -> String {
    "\(Self.clock(log.seconds)) of \(Self.clock(seconds))  segment \(segment.number): "
      + "\(Figure.count(segment.faults)) faults, \(Figure.count(segment.requests)) requests, "
      + "longest pause \(Figure.duration(segment.pauseMax))"
      + (segment.violation.map { "; WRONG: \($0)" } ?? ", all correct")
  }

  /// `01:02:03`.
  static func clock(_ seconds: Double) -> String {
    let whole = Int(max(seconds, 0).rounded())
    func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
    return "\(two(whole / 3600)):\(two(whole / 60 % 60)):\(two(whole % 60))"
  }
}
