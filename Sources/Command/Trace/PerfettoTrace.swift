import Baton
import BatonSubsystem
import Glibc

/// A trace in Perfetto's format: a series of `TracePacket`s, for ui.perfetto.dev and its tools. The numbers are those
/// of Perfetto's schema (protos/perfetto/trace/perfetto_trace.proto).
///
/// One track a controller and a host, with every step as an instant; flows follow a request from its host through the
/// controllers and back, and a change of owner between the controllers. One more track a function that changed its
/// owner: whose term it was, and how long each change took. And one for takeovers.
struct PerfettoTrace {
  private let story: TraceStory
  private let subsystem: String
  private var file = Protobuf()

  private enum Track {
    static let process: UInt64 = 1
    static let takeovers: UInt64 = 2
    static let writers: UInt64 = 16
    static let owners: UInt64 = 1 << 20
    static let changes: UInt64 = 1 << 21
  }

  /// `TrackEvent.Type`.
  private enum Kind: UInt64 { case begin = 1, end, instant }
  /// The one sequence of packets that this file has.
  private static let sequence: UInt64 = 1
  /// `BuiltinClock` and clock_gettime(2).
  private static let clocks: [(builtin: UInt64, id: clockid_t)] = [
    (1, CLOCK_REALTIME), (3, CLOCK_MONOTONIC), (6, CLOCK_BOOTTIME),
  ]

  /// The whole file.
  static func bytes(of story: TraceStory, subsystem: String) -> [UInt8] {
    var trace = PerfettoTrace(story: story, subsystem: subsystem)
    trace.writeClocks()
    trace.writeTracks()
    trace.writeEvents()
    return trace.file.bytes
  }

  private init(story: TraceStory, subsystem: String) {
    self.story = story
    self.subsystem = subsystem
  }

  // MARK: Packets

  private mutating func packet(_ fill: (inout Protobuf) -> Void) {
    file.add(1) { packet in
      packet.add(10, Self.sequence)
      fill(&packet)
    }
  }

  /// All times are of CLOCK_MONOTONIC; a snapshot says what other clocks showed then.
  private mutating func writeClocks() {
    packet { packet in
      // Incremental state begins here; and all packets have their times by this clock.
      packet.add(13, 1)
      packet.add(59) { $0.add(58, 3) }
    }
    packet { packet in
      packet.add(6) { snapshot in
        for clock in Self.clocks {
          var time = timespec()
          guard clock_gettime(clock.id, &time) == 0 else { continue }
          snapshot.add(1) {
            $0.add(1, clock.builtin)
            $0.add(2, UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
          }
        }
        snapshot.add(2, 3)
      }
    }
  }

  private mutating func track(_ uuid: UInt64, _ name: String, under parent: UInt64?, rank: UInt64) {
    packet { packet in
      packet.add(60) { track in
        track.add(1, uuid)
        track.add(2, name)
        if let parent {
          track.add(5, parent)
          track.add(12, rank)
        } else {
          // The parent of all is shown as a process, and its tracks in the order that they ask for.
          track.add(3) {
            $0.add(1, UInt64(getpid()))
            $0.add(6, name)
          }
          track.add(11, 3)
        }
      }
    }
  }

  private mutating func writeTracks() {
    track(Track.process, "subsystem \(subsystem)", under: nil, rank: 0)
    var names: [String: UInt64] = [:]
    for (number, writer) in story.writers.enumerated() {
      guard let writer else { continue }
      let name = Self.name(writer, number)
      // All lives of a controller share a track.
      if names[name] != nil { continue }
      names[name] = UInt64(number)
      let rank: UInt64 = if case .controller = writer.kind { 1 } else { 2 }
      track(uuid(ofRing: number), name, under: Track.process, rank: rank)
    }
    if !story.takeovers.isEmpty { track(Track.takeovers, "takeovers", under: Track.process, rank: 0) }
    for function in Set(story.changes.map(\.function)).sorted() {
      let name = Function(index: Int(function)).description
      track(Track.owners + UInt64(function), "owner of \(name)", under: Track.process, rank: 3)
      track(Track.changes + UInt64(function), "changes of owner of \(name)", under: Track.process, rank: 3)
    }
  }

  private static func name(_ writer: TraceRecorder.Writer, _ number: Int) -> String {
    switch writer.kind {
    case .controller(let identity, _): "controller \(identity)"
    case .host: "host \(number) (process \(writer.pid))"
    }
  }

  private func uuid(ofRing ring: Int) -> UInt64 {
    guard case .controller(let identity, _)? = story.writers[ring]?.kind else { return Track.writers + UInt64(ring) }
    // That of its first life.
    let first = story.writers.firstIndex {
      if case .controller(identity, _)? = $0?.kind { true } else { false }
    }
    return Track.writers + UInt64(first ?? ring)
  }

  private mutating func event(
    _ kind: Kind, on track: UInt64, at time: UInt64, _ name: String?, category: String? = nil, flow: UInt64 = 0,
    _ notes: [(name: String, value: Note)] = []
  ) {
    packet { packet in
      packet.add(8, time)
      packet.add(11) { event in
        event.add(9, kind.rawValue)
        event.add(11, track)
        if let category { event.add(22, category) }
        if let name { event.add(23, name) }
        if flow != 0 { event.addFixed(47, flow) }
        for note in notes {
          event.add(4) { annotation in
            annotation.add(10, note.name)
            switch note.value {
            case .number(let number): annotation.add(3, number)
            case .text(let text): annotation.add(6, text)
            }
          }
        }
      }
    }
  }

  /// A `DebugAnnotation`.
  private enum Note { case number(UInt64), text(String) }

  // MARK: Events

  /// A begin or an end of a slice, to be written in the order of their times.
  private struct Edge {
    let time: UInt64
    let isBegin: Bool
    let track: UInt64
    let name: String
    let notes: [(name: String, value: Note)]
  }

  private mutating func writeEvents() {
    var edges = slices()
    edges.sort { ($0.time, $0.isBegin ? 1 : 0) < ($1.time, $1.isBegin ? 1 : 0) }
    var next = 0
    for (number, recorded) in story.events.enumerated() {
      while next < edges.count, edges[next].time <= recorded.time {
        write(edges[next])
        next += 1
      }
      if recorded.step == .host { continue }
      event(
        .instant, on: uuid(ofRing: recorded.ring), at: recorded.time, "\(recorded.step)",
        category: Self.category(recorded.step), flow: story.flows[number], notes(of: recorded))
    }
    for edge in edges[next...] { write(edge) }
  }

  private mutating func write(_ edge: Edge) {
    if edge.isBegin {
      event(.begin, on: edge.track, at: edge.time, edge.name, category: "ownership", edge.notes)
    } else {
      event(.end, on: edge.track, at: edge.time, nil)
    }
  }

  /// Terms, changes of owner and takeovers.
  private func slices() -> [Edge] {
    var edges: [Edge] = []
    func slice(
      _ track: UInt64, _ name: String, _ from: UInt64, _ to: UInt64, _ notes: [(name: String, value: Note)] = []
    ) {
      guard to > from else { return }
      edges.append(Edge(time: from, isBegin: true, track: track, name: name, notes: notes))
      edges.append(Edge(time: to, isBegin: false, track: track, name: name, notes: []))
    }
    let end = story.events.last?.time ?? 0
    for (function, changes) in Dictionary(grouping: story.changes.filter(\.isComplete), by: \.function) {
      let ordered = changes.sorted { $0.course.time(of: .begun)! < $1.course.time(of: .begun)! }
      for (number, change) in ordered.enumerated() {
        let begun = change.course.time(of: .begun)!
        let next = number + 1 < ordered.count ? ordered[number + 1].course.time(of: .granted) : nil
        slice(
          Track.owners + UInt64(function), "\(change.to)", begun, max(next ?? end, begun),
          [("term", .number(change.term))])
        // Two can be under way at the same time, because a grant asks for the function back: the later one is shown
        // from when it can begin.
        let previous = number > 0 ? ordered[number - 1].course.time(of: .begun)! : 0
        slice(
          Track.changes + UInt64(function), "to \(change.to)", max(change.course.time(of: .requested)!, previous),
          begun,
          [("term", .number(change.term))])
      }
    }
    for takeover in story.takeovers {
      let times = takeover.course.steps.map(\.time) + [takeover.lastStep, takeover.firstAnswer].compactMap { $0 }
      slice(
        Track.takeovers, "\(takeover.by) takes over", times.min() ?? 0, times.max() ?? 0,
        [("executed again", .number(UInt64(takeover.replayed)))])
    }
    return edges
  }

  private static func category(_ step: TraceStep) -> String {
    switch step {
    case .submitted, .taken, .served, .given, .completed, .answered, .reaped: "request"
    case .requested, .hinted, .seen, .relinquishing, .drained, .granted, .begun, .takenOver: "ownership"
    case .joined, .fenced, .killed, .exitSeen, .journalRead, .drainProved, .replayed, .released, .left: "life"
    case .host: "host"
    }
  }

  private func notes(of event: TraceRecorder.Event) -> [(name: String, value: Note)] {
    let detail = event.detail
    var notes: [(name: String, value: Note)] = []
    if detail.function != TraceDetail.noFunction {
      notes.append(("function", .text(Function(index: Int(detail.function)).description)))
    }
    switch event.step {
    case .submitted, .taken, .served, .completed, .replayed:
      if let operation = Operation(rawValue: detail.code) { notes.append(("operation", .text("\(operation)"))) }
    case .answered, .reaped:
      if let status = Status(rawValue: detail.code) { notes.append(("status", .text("\(status)"))) }
      notes.append(("term", .number(detail.value)))
    case .begun: notes.append(("term", .number(detail.value)))
    case .given: notes.append(("operations", .number(detail.value)))
    case .journalRead: notes.append(("requests in flight", .number(detail.value)))
    case .joined, .fenced, .killed, .exitSeen, .released, .left: notes.append(("incarnation", .number(detail.value)))
    case .requested, .hinted, .seen, .relinquishing, .drained, .granted, .takenOver, .drainProved, .host: break
    }
    if detail.channel != TraceDetail.noChannel {
      notes.append(("channel to", .text("\(detail.channel & 1 == 0 ? ControllerIdentity.a : .b)")))
      notes.append(("sequence", .number(detail.sequence)))
    }
    return notes
  }
}
