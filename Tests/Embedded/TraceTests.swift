import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc
import Synchronization
import Testing

@testable import BatonSubsystem

@Suite("A trace of the protocol's steps")
struct TraceTests {
  /// A trace that both controllers and the host write.
  private static func record(
    _ laboratory: Laboratory, rings: Int = 8, capacity: UInt64 = 4096
  ) throws -> TraceRecorder {
    let recorder = try TraceRecorder(of: laboratory.subsystem, rings: rings, capacity: capacity)
    let writers = min(rings, 2 + laboratory.hosts.count)
    try laboratory.turn { recorder.writers.count(where: { $0 != nil }) == writers }
    return recorder
  }

  private static func events(of recorder: inout TraceRecorder) -> [TraceRecorder.Event] {
    var events: [TraceRecorder.Event] = []
    recorder.takeEvents { events.append($0) }
    return events.sorted { $0.time < $1.time }
  }

  /// The steps that a kind of writer took for a function.
  private static func steps(
    _ events: [TraceRecorder.Event], _ writers: [TraceRecorder.Writer?], of kind: TraceWriter.Kind
  ) -> [TraceStep] {
    events.filter { writers[$0.ring]?.kind == kind && $0.step != .host }.map(\.step)
  }

  @Test(
    "A request, a request that changes the owner, and one on the storage: each step, with its writer, in order")
  func steps() throws {
    let laboratory = try Laboratory(units: ["null:1M", "mem:1M"])
    var recorder = try Self.record(laboratory)
    _ = Self.events(of: &recorder)
    let writers = recorder.writers
    let (a, b) = (TraceWriter.Kind.controller(.a, incarnation: 1), TraceWriter.Kind.controller(.b, incarnation: 1))
    let host = try #require(
      writers.compactMap { $0?.kind }.first { if case .host = $0 { true } else { false } })

    // Nobody owns the unit: controller a claims it.
    #expect(try laboratory.perform(Request(.write, unit: 0, length: 4096), on: .a).status == .success)
    var events = Self.events(of: &recorder)
    #expect(Self.steps(events, writers, of: host) == [.submitted, .reaped])
    #expect(Self.steps(events, writers, of: a) == [.taken, .begun, .served, .answered])
    #expect(Self.steps(events, writers, of: b).isEmpty)
    #expect(Set(events.filter { $0.detail.sequence != 0 }.map(\.detail.sequence)) == [1])

    // The owner answers at once.
    #expect(try laboratory.perform(Request(.read, unit: 0, length: 4096), on: .a).status == .success)
    events = Self.events(of: &recorder)
    #expect(Self.steps(events, writers, of: a) == [.taken, .answered])
    let answered = try #require(events.first { $0.step == .answered })
    #expect(answered.detail.code == Status.success.rawValue && answered.detail.sequence == 2)
    #expect(answered.detail.function == UInt32(Function(unit: 0).index))
    #expect(events.map(\.step) == [.submitted, .taken, .answered, .reaped])

    // The other controller asks for it.
    #expect(try laboratory.perform(Request(.read, unit: 0, length: 4096), on: .b).status == .success)
    events = Self.events(of: &recorder)
    #expect(
      // The grant is hinted, too.
      Self.steps(events, writers, of: b).filter { $0 != .seen } == [
        .taken, .requested, .hinted, .begun, .served, .answered,
      ])
    #expect(Self.steps(events, writers, of: a).filter { $0 != .hinted } == [.seen, .relinquishing, .drained, .granted])
    let order: [TraceStep] = [.requested, .seen, .relinquishing, .drained, .granted, .begun, .served, .answered]
    let ofA = events.filter { writers[$0.ring]?.kind == a }.map(\.time)
    #expect(
      events.filter { order.contains($0.step) && ($0.step != .seen || ofA.contains($0.time)) }.map(\.step) == order)
    let begun = try #require(events.first { $0.step == .begun })
    #expect(begun.detail.value == laboratory.owner(of: Function(unit: 0)).term)

    // Management, and an operation of a memory unit.
    #expect(try laboratory.perform(Request(.write, unit: 1, length: 4096), on: .b).status == .success)
    #expect(try laboratory.perform(Request(.identify, length: 4096), on: .b).status == .success)
    events = Self.events(of: &recorder)
    #expect(events.filter { $0.step == .submitted }.map(\.detail.function) == [2, 0])
    #expect(recorder.lost == 0 && recorder.withoutRing == 0)
  }

  @Test("Several requests at once, by single submissions and by batches, with answers one by one and by batches")
  func batches() throws {
    let laboratory = try Laboratory(units: ["null:1M"])
    var recorder = try Self.record(laboratory)
    _ = Self.events(of: &recorder)
    let host = laboratory.host
    var cookies: [UInt64] = []
    #expect(host.submit(10, to: .a) { (Request(.read, length: 512), UInt64($0)) } == 10)
    for cookie in 10..<20 { #expect(host.submit(Request(.write, length: 512), to: .b, cookie: UInt64(cookie))) }
    #expect(host.room(to: .a) > 0 && host.outstanding == 20)
    try laboratory.turn {
      host.takeAnswers(most: 3) { cookies.append($0.cookie) }
      if let completion = host.next() { cookies.append(completion.cookie) }
      return cookies.count == 20
    }
    #expect(cookies.sorted() == Array(0..<20))
    let events = Self.events(of: &recorder)
    for step in [TraceStep.submitted, .taken, .answered, .reaped] {
      #expect(events.count { $0.step == step } == 20, "\(step)")
    }
    // A full channel is full, traced or not.
    let room = host.room(to: .a)
    #expect(host.submit(room + 5, to: .a) { _ in (Request(.read, length: 512), 0) } == room)
    #expect(!host.submit(Request(.read, length: 512), to: .a))
    var left = room
    try laboratory.turn {
      left -= host.takeAnswers { _ in }
      return left == 0
    }
    #expect(host.strayAnswers == 0)
  }

  @Test("A trace that is over leaves nothing behind, and another one begins")
  func again() throws {
    let laboratory = try Laboratory()
    for _ in 0..<3 {
      var recorder = try Self.record(laboratory)
      #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
      #expect(Self.events(of: &recorder).contains { $0.step == .submitted })
      #expect(throws: BatonError.self) { _ = try TraceRecorder(of: laboratory.subsystem, rings: 1, capacity: 16) }
      let number = recorder.number
      _ = consume recorder
      let trace = laboratory.folder("subsystem/trace")
      #expect(access(trace, F_OK) != 0)
      #expect(laboratory.region.controller(.a).trace.loadRelaxed() == 0 && number != 0)
      #expect(laboratory.region.controller(.b).trace.loadRelaxed() == 0)
      for _ in 0..<5000 {
        laboratory.poll()
        laboratory.host.maintain()
      }
      #expect(laboratory.host.tracing == 0)
      #expect(try laboratory.perform(Request(.read, length: 4096), on: .b).status == .success)
    }
  }

  @Test("A controller that starts during a trace writes it before it joins, and ends it for no host")
  func restart() throws {
    let laboratory = try Laboratory()
    var recorder = try Self.record(laboratory)
    let number = laboratory.host.tracing
    #expect(number == recorder.number)
    var isKept = true
    try laboratory.stop(.b)
    try laboratory.start(.b)
    try laboratory.turn {
      isKept = isKept && laboratory.host.tracing == number
      return laboratory.host.isAttached(to: .b)
    }
    for _ in 0..<3000 {
      laboratory.poll()
      laboratory.host.maintain()
      isKept = isKept && laboratory.host.tracing == number
    }
    #expect(isKept)
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .b).status == .success)
    let events = Self.events(of: &recorder)
    let writers = recorder.writers
    #expect(writers.count == 4)
    let second = TraceWriter.Kind.controller(.b, incarnation: 2)
    #expect(Self.steps(events, writers, of: second).prefix(1) == [.joined])
    #expect(events.contains { $0.step == .host && writers[$0.ring]?.kind == second })
  }

  @Test("Steps that nobody reads in time are counted as lost, and the newest ones are whole")
  func losses() throws {
    let laboratory = try Laboratory(units: ["null:1M"])
    var recorder = try Self.record(laboratory, capacity: 16)
    for _ in 0..<100 { #expect(try laboratory.perform(Request(.read, length: 512), on: .a).status == .success) }
    let events = Self.events(of: &recorder)
    #expect(recorder.lost > 200)
    let answered = events.filter { $0.step == .answered }.map(\.detail.sequence)
    #expect(!answered.isEmpty && answered == Array((answered[0]...100)))
  }

  @Test("A writer without a ring goes on without a trace")
  func noRing() throws {
    let laboratory = try Laboratory()
    var recorder = try Self.record(laboratory, rings: 2)
    try laboratory.turn { recorder.withoutRing == 1 }
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
    let events = Self.events(of: &recorder)
    #expect(events.contains { $0.step == .answered } && !events.contains { $0.step == .submitted })
  }

  /// What a file of a trace can have in it that none of this subsystem's has.
  enum Damage: CaseIterable { case noFile, empty, otherNumber, rings, capacity, short, link }

  @Test("A trace that does not exist or is damaged stops nobody", arguments: Damage.allCases)
  func damage(_ damage: Damage) throws {
    let laboratory = try Laboratory()
    let region = try Region(opening: laboratory.subsystem.location)
    let path = laboratory.folder("subsystem/trace")
    var header = baton_trace_header()
    header.magic = baton_trace_magic
    header.layout_version = UInt32(BATON_LAYOUT_VERSION)
    header.ring_count = damage == .rings ? 31 : 2
    header.ring_capacity = damage == .capacity ? 3 : 16
    header.events_offset = UInt64(BATON_TRACE_HEADER_SIZE)
    header.number = damage == .otherNumber ? 8 : 7
    var bytes = withUnsafeBytes(of: &header) { [UInt8]($0) }
    bytes += [UInt8](repeating: 0, count: (damage == .short ? 4096 : 8192) - bytes.count)
    switch damage {
    case .noFile: break
    case .empty: _ = try laboratory.folder.write([], to: "subsystem/trace")
    case .link:
      let target = try laboratory.folder.write(bytes, to: "elsewhere")
      #expect(symlink(target, path) == 0)
    case .otherNumber, .rings, .capacity, .short: _ = try laboratory.folder.write(bytes, to: "subsystem/trace")
    }
    for controller in ControllerIdentity.allCases { region.controller(controller).trace.storeReleasing(7) }
    try laboratory.turn {
      ControllerIdentity.allCases.allSatisfy { region.controller($0).trace.loadRelaxed() == 0 }
    }
    for controller in ControllerIdentity.allCases {
      #expect(try laboratory.perform(Request(.write, length: 4096), on: controller).status == .success)
    }
  }

  @Test("Controllers end a trace whose recorder has been killed, and the next one takes its place")
  func killedRecorder() throws {
    let laboratory = try Laboratory()
    let region = try Region(opening: laboratory.subsystem.location)
    // What is left of one: its file, which nobody has locked, and its number.
    let folder = try SubsystemFolder(opening: laboratory.subsystem.location)
    let left = try TraceFile(
      making: try folder.create(SubsystemLocation.traceName), rings: 4, capacity: 64, number: 5, generation: 0,
      subject: "trace")
    for controller in ControllerIdentity.allCases { region.controller(controller).trace.storeReleasing(5) }
    try laboratory.turn {
      ControllerIdentity.allCases.allSatisfy { region.controller($0).trace.loadRelaxed() == 0 }
    }
    #expect(left.claimed.loadRelaxed() >= 2, "the controllers did not write it first")
    var recorder = try Self.record(laboratory)
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
    #expect(Self.events(of: &recorder).contains { $0.step == .reaped })
  }

  @Test("Each step has a probe of its name")
  func probes() {
    for step in TraceStep.allCases {
      let name = shim_probe_name(CUnsignedInt(step.rawValue)).map { String(cString: $0) }
      #expect(name == "\(step)")
    }
    let last = CUnsignedInt(TraceStep.allCases.map(\.rawValue).max() ?? 0)
    #expect(shim_probe_name(last + 1) == nil)
  }

  @Test("A ring that is read while it is written gives every step whole, in order, or counts it as lost")
  func concurrently() throws {
    let laboratory = try Laboratory()
    var recorder = try TraceRecorder(of: laboratory.subsystem, rings: 1, capacity: 64)
    let (number, location) = (recorder.number, laboratory.subsystem.location)
    let count: UInt64 = 200_000
    let isOver = Flag()
    var seen: UInt64 = 0
    var isSound = true
    let thread = SideThread(name: "writer", jobsMax: 1)
    let isStarted = thread.offer {
      guard var writer = try? TraceWriter(of: number, at: location, as: .host(identity: 1)) else { return }
      for value in 1...count {
        writer.add(.taken, at: value, TraceDetail(function: 3, channel: 5, line: 7, sequence: value, value: value))
      }
      isOver.value.store(true, ordering: .releasing)
    }
    #expect(isStarted)
    var last: UInt64 = 0
    while isStarted {
      let isLast = isOver.value.load(ordering: .acquiring)
      recorder.takeEvents { event in
        seen += 1
        let expected = TraceDetail(function: 3, channel: 5, line: 7, sequence: event.time, value: event.time)
        isSound = isSound && event.detail == expected && event.time > last
        last = event.time
      }
      if isLast { break }
      sched_yield()
    }
    #expect(isSound && last == count)
    let lost = recorder.lost
    #expect(seen + lost == count)
  }

  /// A flag that two threads share.
  private final class Flag: Sendable { let value = Atomic(false) }
}
