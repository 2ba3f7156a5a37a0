import Baton
import BatonController
import BatonHost
import BatonSubsystem
import BatonTestSupport
import Glibc
import Testing

/// Both controllers on a thread of their own, as long as this lives.
private func turning(_ subsystem: Subsystem) throws -> TurningThread {
  final class Pair {
    var a: Controller
    var b: Controller
    init(_ a: consuming Controller, _ b: consuming Controller) {
      self.a = a
      self.b = b
    }
  }
  let pair = Pair(
    try Controller(.a, of: subsystem, options: Laboratory.controllerOptions),
    try Controller(.b, of: subsystem, options: Laboratory.controllerOptions))
  return TurningThread {
    let worked = pair.a.poll()
    if !pair.b.poll() && !worked { sched_yield() }
  }
}

@Suite("The async host: any number of tasks, one thread that carries them")
struct AsyncHostTests {
  @Test("Tasks write and read at once, through either controller, more than there are buffers")
  func tasksWriteAndRead() async throws {
    let folder = try ScratchFolder()
    let subsystem = try Subsystem.create(
      folder("subsystem"), units: [UnitSpecification(.memory, size: 8 << 20)])
    let controllers = try turning(subsystem)
    defer { controllers.end() }
    var options = HostOptions()
    options.arenaSize = UInt64(4 * AsyncHost.bufferSize)
    let host = try await AsyncHost(of: subsystem, options: options)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<32 {
        group.addTask {
          for turn in 0..<10 {
            let pattern = UInt8(truncatingIfNeeded: task * 10 + turn)
            let offset = UInt64(task) * 4096
            let writer: ControllerIdentity = (task + turn) % 2 == 0 ? .a : .b
            try await host.write(Array(repeating: pattern, count: 4096), unit: 0, offset: offset, on: writer)
            let read = try await host.read(unit: 0, offset: offset, count: 4096, on: writer.peer)
            #expect(read.allSatisfy { $0 == pattern })
          }
        }
      }
      try await group.waitForAll()
    }
  }

  @Test("A request that fails is an error that names the unit and says why")
  func failuresAreErrors() async throws {
    let folder = try ScratchFolder()
    let subsystem = try Subsystem.create(
      folder("subsystem"), units: [UnitSpecification(.memory, size: 1 << 20)])
    let controllers = try turning(subsystem)
    defer { controllers.end() }
    let host = try await AsyncHost(of: subsystem)
    let error = await #expect(throws: RequestFailure.self) {
      _ = try await host.read(unit: 0, offset: 1 << 20, count: 4096)
    }
    #expect(error?.status == .outOfRange)
    #expect(error?.description == "unit 0: past the end of the unit")
    let tooLarge = await #expect(throws: BatonError.self) {
      try await host.write(Array(repeating: 1, count: AsyncHost.bufferSize + 512), unit: 0, offset: 0)
    }
    #expect(tooLarge?.code == .invalid)
  }

  @Test("A subsystem that is destroyed ends what waits for it, and says so")
  func destroyed() async throws {
    let folder = try ScratchFolder()
    let subsystem = try Subsystem.create(
      folder("subsystem"), units: [UnitSpecification(.memory, size: 1 << 20)])
    let controllers = try turning(subsystem)
    let host = try await AsyncHost(of: subsystem)
    _ = try await host.read(unit: 0, offset: 0, count: 512)
    controllers.end()
    try subsystem.destroy()
    let error = await #expect(throws: BatonError.self) { _ = try await host.read(unit: 0, offset: 0, count: 512) }
    #expect(error?.code == .missing)
    #expect(error?.problem.hasPrefix("was destroyed") == true)
  }

  @Test("A cancelled task gets its error at once, and its buffer is nobody's before the request has ended")
  func cancelled() async throws {
    let folder = try ScratchFolder()
    // No request ends before the delay is over, which is longer than anything else here takes.
    let subsystem = try Subsystem.create(
      folder("subsystem"), units: [UnitSpecification(parsing: "fault:delay=2s:mem:1M")])
    let controllers = try turning(subsystem)
    defer { controllers.end() }
    var options = HostOptions()
    options.arenaSize = UInt64(AsyncHost.bufferSize)
    let host = try await AsyncHost(of: subsystem, options: options)
    let region = try Region(opening: subsystem.location, writable: false)
    let started = region.controller(.a).counters[.storageOperations]
    let first = Task { try await host.read(unit: 0, offset: 0, count: 512, on: .a) }
    // With the controller by now, and with the only buffer.
    #expect(eventually { started.loadRelaxed() == 1 })
    let second = Task { try await host.read(unit: 0, offset: 0, count: 512, on: .a) }
    first.cancel()
    await #expect(throws: CancellationError.self) { _ = try await first.value }
    // It waits for the buffer, which the first request still has.
    second.cancel()
    await #expect(throws: CancellationError.self) { _ = try await second.value }
    let answered = region.controller(.a).counters[.answered]
    _ = try await host.read(unit: 0, offset: 0, count: 512, on: .a)
    #expect(answered.loadRelaxed() == 2)
    // A task that was cancelled before asks for nothing.
    let late = Task {
      while !Task.isCancelled { await Task.yield() }
      return try await host.read(unit: 0, offset: 0, count: 512, on: .a)
    }
    late.cancel()
    await #expect(throws: CancellationError.self) { _ = try await late.value }
    #expect(started.loadRelaxed() == 2)
  }

  @Test("A count that makes no sense, and an arena too small for a buffer, are errors")
  func badCounts() async throws {
    let folder = try ScratchFolder()
    let subsystem = try Subsystem.create(folder("subsystem"), units: [UnitSpecification(.memory, size: 1 << 20)])
    let controllers = try turning(subsystem)
    defer { controllers.end() }
    let host = try await AsyncHost(of: subsystem)
    for count in [-1, Int.min, AsyncHost.bufferSize + 1, Int.max] {
      await #expect(throws: BatonError.self) { _ = try await host.read(unit: 0, offset: 0, count: count) }
    }
    var options = HostOptions()
    options.arenaSize = 4096
    await #expect(throws: BatonError.self) { _ = try await AsyncHost(of: subsystem, options: options) }
  }

  @Test("Management by name: identify, units, state, statistics")
  func managementByName() async throws {
    let folder = try ScratchFolder()
    let subsystem = try Subsystem.create(
      folder("subsystem"),
      units: [UnitSpecification(.memory, size: 1 << 20), UnitSpecification(.null, size: 1 << 30)])
    let controllers = try turning(subsystem)
    defer { controllers.end() }
    var host = try Host(of: subsystem)
    try host.waitUntilAttached()
    let identity = try host.identify(on: .a)
    #expect(identity.unitCount == 2)
    #expect(identity.pid == UInt64(getpid()))
    #expect(identity.controller == .a)
    #expect(try host.identify(on: .b).controller == .b)
    let units = try host.units(on: .a)
    #expect(units.map(\.unit) == [0, 1])
    #expect(units.map(\.size) == [1 << 20, 1 << 30])
    try host.setState(.readOnly, ofUnit: 1, on: .b)
    #expect(try host.state(ofUnit: 1, on: .a) == .readOnly)
    #expect(try host.state(ofUnit: 0, on: .a) == .online)
    let counters = try host.statistics()
    #expect(counters.count == 2)
    #expect(counters[0][Counter.requests.rawValue] > 0)
    #expect(throws: BatonError.self) { try host.setState(.online, ofUnit: 2) }
  }
}
