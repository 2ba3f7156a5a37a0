import Baton
import BatonSubsystem
import Testing

@testable import BatonCommand

@Suite("What a recorded trace says")
struct TraceTests {
  /// Two controllers, a later life of a, and a host.
  private static let writers: [TraceRecorder.Writer?] = [
    .init(kind: .controller(.a, incarnation: 1), pid: 10), .init(kind: .controller(.b, incarnation: 1), pid: 11),
    .init(kind: .host(identity: 99), pid: 12), .init(kind: .controller(.a, incarnation: 2), pid: 13),
  ]

  private static func event(
    _ time: UInt64, _ ring: Int, _ step: TraceStep, function: Int = 1, channel: Int = Int(TraceDetail.noChannel),
    sequence: UInt64 = 0, value: UInt64 = 0
  ) -> TraceRecorder.Event {
    TraceRecorder.Event(
      time: time, ring: ring, step: step,
      detail: TraceDetail(function: function, channel: channel, sequence: sequence, value: value))
  }

  private static func summary(_ story: TraceStory) -> TraceSummary {
    TraceSummary(of: story, subsystem: "s", nanoseconds: 1, lost: 0, withoutRing: 0)
  }

  private static func times(_ section: TraceSummary.Section) -> [String] {
    section.steps.map { "\($0.from) \($0.to) \($0.nanoseconds.max)" }
  }

  @Test("A request is followed from its host through the controllers and back, whatever its place is called there")
  func request() {
    let story = TraceStory(
      [
        // The host has place 3 with a, and place 5 with b.
        Self.event(1, 0, .host, channel: 6, value: 99), Self.event(2, 1, .host, channel: 10, value: 99),
        Self.event(100, 2, .submitted, channel: 0, sequence: 7), Self.event(110, 0, .taken, channel: 6, sequence: 7),
        Self.event(120, 0, .served, channel: 6, sequence: 7), Self.event(125, 0, .given, value: 1),
        Self.event(150, 0, .completed, channel: 6, sequence: 7),
        Self.event(160, 0, .answered, channel: 6, sequence: 7), Self.event(200, 2, .reaped, channel: 0, sequence: 7),
        // Another one of the same number goes to b, and another host's to a.
        Self.event(101, 2, .submitted, channel: 1, sequence: 7), Self.event(103, 1, .taken, channel: 11, sequence: 7),
        Self.event(104, 1, .answered, channel: 11, sequence: 7), Self.event(109, 2, .reaped, channel: 1, sequence: 7),
        Self.event(130, 0, .taken, channel: 8, sequence: 7), Self.event(131, 0, .answered, channel: 8, sequence: 7),
      ], Self.writers)
    let requests = Self.summary(story).requests
    #expect(requests.count == 2)
    #expect(
      Self.times(requests) == [
        "submitted taken 10", "taken served 10", "taken answered 1", "served given 5", "given completed 25",
        "completed answered 10", "answered reaped 40",
      ])
    #expect(requests.nanoseconds?.max == 100 && requests.nanoseconds?.p50 == 8)
    let flows = Set(zip(story.events, story.flows).filter { $0.0.step == .submitted }.map(\.1))
    #expect(flows.count == 2 && !flows.contains(0))
    // The other host's is of no flow.
    #expect(zip(story.events, story.flows).allSatisfy { $0.0.detail.channel != 8 || $0.1 == 0 })
  }

  @Test("A change of owner, and the next one, which the grant asks for in the same step")
  func changes() {
    let story = TraceStory(
      [
        Self.event(1, 0, .host, channel: 6, value: 99), Self.event(2, 1, .host, channel: 10, value: 99),
        Self.event(100, 1, .requested), Self.event(101, 1, .hinted), Self.event(110, 0, .seen),
        // A sweep finds it once more.
        Self.event(112, 0, .seen), Self.event(120, 0, .relinquishing), Self.event(121, 0, .drained),
        Self.event(130, 0, .granted, value: 1), Self.event(140, 1, .begun, value: 5),
        Self.event(145, 1, .answered, channel: 10, sequence: 3),
        Self.event(150, 1, .relinquishing),
        // The hint is read when the request has been found already.
        Self.event(151, 1, .drained), Self.event(153, 1, .seen), Self.event(155, 1, .granted, value: 0),
        Self.event(170, 0, .begun, value: 6),
        // Never granted; taken over; and one whose middle has been lost.
        Self.event(180, 1, .requested, function: 2), Self.event(181, 1, .requested, function: 3),
        Self.event(182, 1, .takenOver, function: 3), Self.event(183, 1, .begun, function: 3, value: 9),
        Self.event(184, 1, .requested, function: 4), Self.event(185, 0, .granted, function: 4),
        Self.event(200, 0, .granted, function: 4), Self.event(201, 1, .begun, function: 4, value: 8),
      ], Self.writers)
    #expect(story.changes.filter(\.isComplete).map(\.to) == [.b, .a])
    #expect(story.changes.map(\.term) == [5, 6, 9, 0])
    let changes = Self.summary(story).changesOfOwner
    #expect(changes.count == 2 && changes.nanoseconds?.max == 45 && changes.nanoseconds?.p50 == 40)
    #expect(
      Self.times(changes) == [
        "requested seen 10", "requested relinquishing 20", "seen relinquishing 10", "relinquishing drained 1",
        "drained granted 9", "granted begun 15", "begun first answer 5",
      ])
  }

  @Test("A takeover, from the last step of the life that ended to the first answer in its place")
  func takeover() {
    let story = TraceStory(
      [
        Self.event(1, 0, .host, channel: 6, value: 99), Self.event(2, 1, .host, channel: 10, value: 99),
        Self.event(50, 0, .taken, channel: 6, sequence: 1), Self.event(100, 1, .fenced, value: 1),
        Self.event(110, 1, .killed, value: 1), Self.event(130, 1, .exitSeen, value: 1),
        Self.event(140, 1, .journalRead, value: 1), Self.event(150, 1, .drainProved),
        Self.event(155, 1, .takenOver), Self.event(160, 1, .replayed, channel: 10, sequence: 1),
        // Its own channel, then the peer's.
        Self.event(165, 1, .answered, channel: 11, sequence: 9),
        Self.event(170, 1, .answered, channel: 10, sequence: 1), Self.event(300, 3, .joined, value: 2),
      ], Self.writers)
    #expect(story.takeovers.count == 1 && story.takeovers.first?.replayed == 1)
    let takeovers = Self.summary(story).takeovers
    #expect(
      Self.times(takeovers) == [
        "last step of the dead one fenced 50", "fenced killed 10", "killed exitSeen 20", "exitSeen journalRead 10",
        "journalRead drainProved 10", "drainProved takenOver 5", "takenOver first answer 15",
      ])
    #expect(takeovers.nanoseconds?.max == 120)
  }

  @Test("Perfetto's packets: one track for all lives of a controller, and every slice that begins ends")
  func perfetto() {
    let story = TraceStory(
      [
        Self.event(100, 1, .requested), Self.event(130, 0, .granted), Self.event(140, 1, .begun, value: 5),
        Self.event(300, 3, .joined, value: 2),
      ], Self.writers)
    let bytes = PerfettoTrace.bytes(of: story, subsystem: "s")
    let text = String(decoding: bytes, as: UTF8.self)
    #expect(text.ranges(of: "controller a").count == 1 && text.ranges(of: "controller b").count == 1)
    #expect(text.contains("host 2 (process 12)") && text.contains("changes of owner of unit 0"))
    // Every packet is whole: field 1, its length, and so on to the end.
    var position = 0
    while position < bytes.count {
      #expect(bytes[position] == 0x0a)
      position += 1
      var length = 0
      var shift = 0
      while true {
        length |= Int(bytes[position] & 0x7f) << shift
        shift += 7
        position += 1
        if bytes[position - 1] < 0x80 { break }
      }
      position += length
    }
    #expect(position == bytes.count)
  }

  @Test("Protocol Buffers' wire format, by the examples of its description")
  func wireFormat() {
    var message = Protobuf()
    message.add(1, 150)
    #expect(message.bytes == [0x08, 0x96, 0x01])
    var text = Protobuf()
    text.add(2, "testing")
    #expect(text.bytes == [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67])
    var outer = Protobuf()
    outer.add(3, message)
    #expect(outer.bytes == [0x1a, 0x03, 0x08, 0x96, 0x01])
    var fixed = Protobuf()
    fixed.addFixed(47, 1)
    #expect(fixed.bytes == [0xf9, 0x02, 1, 0, 0, 0, 0, 0, 0, 0])
  }
}
