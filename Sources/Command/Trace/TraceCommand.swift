import ArgumentParser
import Baton
import BatonCommandKit
import BatonSubsystem
import BatonSystem
import Glibc

struct TraceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trace", abstract: "Record the protocol step by step.",
    discussion: """
      Both controllers, and the hosts that are attached, write each step that they take into memory, and this command \
      reads it. Without --out it prints where the time of requests, changes of owner and takeovers went. With --out \
      it writes a file for ui.perfetto.dev. While nobody records, a trace costs nothing.
      """)

  /// What a recording waits for.
  enum Event: String, ExpressibleByArgument, CaseIterable { case change, takeover }

  @Argument(help: "The subsystem's name, or the path of its folder.") var name: String
  @Option(help: ArgumentHelp("Write the steps to this file, in Perfetto's format.", valueName: "file"))
  var out: String?
  @Option(
    help: ArgumentHelp("How long, such as 500ms (default: 2s; with --until at most 60s).", valueName: "time"),
    transform: RunTime.seconds(parsing:))
  var runtime: Double?
  @Option(help: ArgumentHelp("End a moment after a change of owner or a takeover.", valueName: "event"))
  var until: Event?
  @Flag(help: "Print where the time went, also with --out.") var summary = false
  @Option(help: "Steps to keep: a recording ends with them; with --until the oldest ones go.") var steps = 2_000_000
  @Option(help: "Writers that find room: lives of controllers, and hosts (1 to 30).") var rings = 16
  @Option(help: ArgumentHelp("Write the summary as JSON to this file (- for standard output).", valueName: "file"))
  var json: String?

  /// Steps that a writer can be ahead of the reader.
  private static let capacity: UInt64 = 65_536
  /// How long after its event a recording goes on, in nanoseconds.
  private static let afterwards: UInt64 = 200_000_000
  /// How long controllers may take to begin: one that sleeps looks once a second.
  private static let beginning: UInt64 = 3_000_000_000

  func validate() throws {
    guard (1...30).contains(rings) else { throw ValidationError("--rings takes 1 to 30") }
    guard (1...100_000_000).contains(steps) else { throw ValidationError("--steps takes 1 to 100000000") }
    if let runtime, !(runtime > 0 && runtime <= 86_400) { throw ValidationError("--runtime takes up to 24h") }
  }

  func run() throws {
    let subsystem = try Subsystem(name)
    for path in [out, json].compactMap({ $0 }) { try OutputFile.check(path) }
    let interruption = try Interruption()
    let started = JSONReport.now
    var recorder = try TraceRecorder(of: subsystem, rings: rings, capacity: Self.capacity)
    var progress = Progress(isQuiet: json == "-")
    progress.begin("waiting for the controllers")
    let known = try waitForWriters(&recorder, subsystem, interruption)
    progress.begin("recording")
    let lostBefore = recorder.lost
    let (events, nanoseconds) = record(&recorder, known, interruption, &progress)
    progress.end()
    let story = TraceStory(events, recorder.writers)
    let (lost, withoutRing) = (recorder.lost - lostBefore, recorder.withoutRing)
    // The controllers have been asked to end before the files are written.
    _ = consume recorder
    if let out { try OutputFile.write(PerfettoTrace.bytes(of: story, subsystem: subsystem.location.name), to: out) }
    let report = TraceSummary(
      of: story, subsystem: subsystem.location.name, nanoseconds: nanoseconds, lost: lost, withoutRing: withoutRing)
    if let json {
      try JSONReport.write(
        report, of: "trace",
        [
          "runtime": .init(runtime), "until": .init(until?.rawValue), "steps": .init(steps), "rings": .init(rings),
          "out": .init(out),
        ], started: started, to: json)
    }
    if json != "-", out == nil || summary { Console.print(report.text) }
    if let out { Console.error("baton: \(Figure.count(UInt64(events.count))) steps in \(out), for ui.perfetto.dev") }
    if let until, !hasEnded(story, until) {
      throw BatonError(
        .busy, "subsystem '\(subsystem.location.name)'", "no \(Self.words(until)) happened while it was recorded",
        fix: "record for longer, with --runtime")
    }
  }

  private static func words(_ event: Event) -> String {
    switch event {
    case .change: "change of owner"
    case .takeover: "takeover"
    }
  }

  private func hasEnded(_ story: TraceStory, _ event: Event) -> Bool {
    switch event {
    case .change: story.changes.contains(where: \.isComplete)
    case .takeover: !story.takeovers.isEmpty
    }
  }

  /// Waits until every controller that serves writes. What they write until then is left out, but for which hosts there
  /// are.
  ///
  /// - Throws: `.busy` if none does.
  private func waitForWriters(
    _ recorder: inout TraceRecorder, _ subsystem: Subsystem, _ interruption: borrowing Interruption
  ) throws -> [TraceRecorder.Event] {
    let deadline = monotonicNanoseconds() + Self.beginning
    var hosts: [TraceRecorder.Event] = []
    while true {
      recorder.takeEvents { if $0.step == .host, hosts.count < Self.hostsMax { hosts.append($0) } }
      let serving = ControllerIdentity.allCases.filter { recorder.isServing($0) }
      let missing = serving.filter { !recorder.isWriting($0) }
      if !serving.isEmpty, missing.isEmpty { return hosts }
      if monotonicNanoseconds() >= deadline {
        if !missing.isEmpty, missing != serving { return hosts }
        throw BatonError(
          .busy, "subsystem '\(subsystem.location.name)'",
          serving.isEmpty ? "no controller serves" : "no controller writes a trace",
          fix: "see what 'baton status \(subsystem.location.name)' says")
      }
      interruption.wait(orProcess: -1, milliseconds: 1)
      let signal = interruption.take()
      if signal != 0 { throw ExitCode(128 + signal) }
    }
  }

  /// Steps that say which hosts there are, before the recording: two controllers, as many places as there are, twice.
  private static let hostsMax = 1024

  /// The older half goes, but for which hosts there are.
  private static func forgetOldest(of events: inout [TraceRecorder.Event]) {
    let half = events.count / 2
    let hosts = events[..<half].filter { $0.step == .host }.suffix(hostsMax)
    events.replaceSubrange(..<half, with: hosts)
  }

  /// Reads until the time is over, or the event a moment past.
  private func record(
    _ recorder: inout TraceRecorder, _ known: [TraceRecorder.Event], _ interruption: borrowing Interruption,
    _ progress: inout Progress
  ) -> (events: [TraceRecorder.Event], nanoseconds: UInt64) {
    let began = monotonicNanoseconds()
    var deadline = began + UInt64((runtime ?? (until == nil ? 2 : 60)) * 1e9)
    var events = known
    var hasHappened = false
    var granted: Set<UInt32> = []
    var hasFenced = false
    // What comes after the event has as much room as what came before it.
    let most = until == nil ? steps : 2 * steps
    while true {
      let now = monotonicNanoseconds()
      var isSeen = false
      recorder.takeEvents { event in
        // What is in a ring's beginning is which hosts there are.
        if events.count < most { events.append(event) }
        switch until {
        // A term begins without a change where nobody owned the function.
        case .change:
          if event.step == .granted { granted.insert(event.detail.function) }
          isSeen = isSeen || event.step == .begun && granted.contains(event.detail.function)
        // A journal is read in place of a controller that left, too.
        case .takeover:
          hasFenced = hasFenced || event.step == .fenced
          isSeen = isSeen || event.step == .journalRead && hasFenced
        case nil: break
        }
      }
      if isSeen, !hasHappened {
        hasHappened = true
        deadline = min(deadline, now + Self.afterwards)
      }
      if now >= deadline || events.count >= most { return (events, now - began) }
      if !hasHappened, until != nil, events.count >= steps { Self.forgetOldest(of: &events) }
      progress.update("\(Figure.count(UInt64(events.count))) steps")
      interruption.wait(orProcess: -1, milliseconds: 1)
      if interruption.take() != 0 { return (events, monotonicNanoseconds() - began) }
    }
  }
}
