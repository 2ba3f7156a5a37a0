import Baton
import BatonController
import BatonHost
import BatonSubsystem
import BatonTestSupport
import Glibc
import Synchronization
import Testing

/// What an embedder's program holds: everything in one object, turned by one thread.
private final class Program {
  let folder: ScratchFolder
  let subsystem: Subsystem
  var a: Controller
  var b: Controller
  var host: Host

  init(_ unit: String = "mem:1M", _ options: ControllerOptions = Laboratory.controllerOptions) throws {
    folder = try ScratchFolder()
    subsystem = try Subsystem.create(folder("subsystem"), units: [UnitSpecification(parsing: unit)])
    a = try Controller(.a, of: subsystem, options: options)
    b = try Controller(.b, of: subsystem, options: options)
    host = try Host(of: subsystem)
  }

  func turn() {
    a.poll()
    b.poll()
  }
}

/// A controller that runs in a thread of its own, as the README shows it, until it is stopped.
private final class RunningThread: Sendable {
  private struct State {
    var stopper: ControllerStopper?
    var hasEnded = false
    var failure: BatonError?
  }

  private let state = Mutex(State())
  private let identity: ControllerIdentity
  private let subsystem: Subsystem

  init(_ identity: ControllerIdentity, of subsystem: Subsystem) {
    self.identity = identity
    self.subsystem = subsystem
    var thread = pthread_t()
    let failure = pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<RunningThread>.fromOpaque(argument!).takeRetainedValue().run()
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    precondition(failure == 0, "a thread can be had")
    pthread_detach(thread)
  }

  private func run() {
    do throws(BatonError) {
      var options = Laboratory.controllerOptions
      options.waiting = .park
      var controller = try Controller(identity, of: subsystem, options: options)
      let stopper = try controller.stopper()
      state.withLock { $0.stopper = stopper }
      try controller.run(handlingSignals: false)
    } catch {
      state.withLock { $0.failure = error }
    }
    state.withLock { $0.hasEnded = true }
  }

  func stop() { state.withLock { $0.stopper }?.stop() }
  var hasEnded: Bool { state.withLock { $0.hasEnded } }
  var failure: BatonError? { state.withLock { $0.failure } }
}

@Suite("Embedding: what a program that holds a whole subsystem relies on")
struct EmbeddingTests {
  @Test("A host that a class holds attaches while its thread turns the controllers")
  func attachesInAClass() throws {
    let program = try Program()
    try program.host.waitUntilAttached { program.turn() }
    let isOfA = program.host.isAttached(to: .a)
    let isOfB = program.host.isAttached(to: .b)
    #expect(isOfA && isOfB)
  }

  @Test("Requests and management wait in a thread that turns the controllers")
  func turningForms() throws {
    let program = try Program()
    let turn = { program.turn() }
    try program.host.waitUntilAttached(turning: turn)
    let request = Request(.write, unit: 0, offset: 0, length: 4096, buffer: 0)
    let done = try program.host.perform(request, on: .b, turning: turn)
    #expect(done.status == .success)
    #expect("\(done)" == "success, 4096, by b in term 1, after a change of owner (cookie 0)")
    let identity = try program.host.identify(on: .a, turning: turn).controller
    #expect(identity == .a)
    let units = try program.host.units(turning: turn).map(\.size)
    #expect(units == [1 << 20])
    try program.host.setState(.readOnly, ofUnit: 0, turning: turn)
    let state = try program.host.state(ofUnit: 0, turning: turn)
    #expect(state == .readOnly)
    let refused = try program.host.perform(request, turning: turn).status
    #expect(refused == .readOnly)
    let counters = try program.host.statistics(turning: turn)[1][Counter.bytesWritten.rawValue]
    #expect(counters == 4096)
  }

  @Test("A controller in a thread of its own is stopped from another one, asleep or not")
  func stopsFromAnotherThread() throws {
    let folder = try ScratchFolder()
    let subsystem = try Subsystem.create(folder("subsystem"), units: [UnitSpecification(parsing: "mem:1M")])
    let a = RunningThread(.a, of: subsystem)
    let b = RunningThread(.b, of: subsystem)
    try subsystem.waitUntilServing(nanoseconds: 60_000_000_000)
    let view = try SubsystemView(of: subsystem)
    // Once it sleeps in the kernel, and once in any state.
    #expect(eventually { view.controller(.a).isParked })
    a.stop()
    #expect(eventually { a.hasEnded })
    b.stop()
    b.stop()
    #expect(eventually { b.hasEnded })
    #expect(a.failure == nil && b.failure == nil)
    #expect(!view.isRunning(.a) && !view.isRunning(.b))
    try subsystem.destroy()
  }

  @Test("The wake-up that stops a sleeping controller is the one that ends its sleep")
  func oneWakeUp() throws {
    let program = try Program()
    try program.host.waitUntilAttached { program.turn() }
    let stopper = try program.a.stopper()
    let again = try program.a.stopper()
    #expect(again === stopper)
    let view = try SubsystemView(of: program.subsystem)
    while program.a.poll() {}
    // Rung before it sleeps: the sleep of a second does not begin.
    stopper.stop()
    let before = view.count(.parks, of: .a)
    for _ in 0..<1000 where !program.a.isLeaving {
      program.a.poll()
      program.a.park()
    }
    let isLeaving = program.a.isLeaving
    #expect(isLeaving)
    #expect(view.count(.parks, of: .a) <= before + 1)
    while !program.a.isStopped { program.turn() }
    // Nothing to stop any more.
    stopper.stop()
    let hasWorked = program.a.poll()
    #expect(!hasWorked)
  }

  @Test("The next start does not wait for a host of this process that ended with requests outstanding")
  func endedHost() throws {
    var options = Laboratory.controllerOptions
    // As long as the process lives, and so the host for all that a controller knew.
    options.hostAbsenceNanoseconds = 3_600_000_000_000
    let laboratory = try Laboratory(units: ["%/file:1M"], controllers: options)
    let write = Request(.write, unit: 0, offset: 0, length: 4096, buffer: 0)
    // In the journal, and not answered: a turn completes nothing that it begins.
    #expect(laboratory.host.submit(write, to: .a))
    laboratory.poll(.a)
    let isInFlight = laboratory.count(.answered, of: .a) < laboratory.count(.requests, of: .a)
    try #require(isInFlight)
    laboratory.kill(laboratory.host)
    laboratory.drop(.a)
    laboratory.drop(.b)
    try laboratory.start(.a)
    try laboratory.start(.b)
    try laboratory.attach()
    // The same blocks: what the journal holds comes first.
    #expect(try laboratory.perform(write, on: .a).status == .success)
  }

  @Test("A view shows each moment, with enumerations, from one mapping")
  func view() throws {
    let program = try Program()
    try program.host.waitUntilAttached { program.turn() }
    let view = try SubsystemView(of: program.subsystem)
    #expect(view.unitCount == 1)
    #expect(view.ownership(ofUnit: 0) == view.ownership(ofUnit: 0))
    #expect(view.ownership(ofUnit: 0).owner == nil)
    _ = try program.host.perform(Request(.read, length: 512), on: .b) { program.turn() }
    #expect(view.ownership(ofUnit: 0).owner == .b)
    #expect(view.ownership(ofUnit: 0).term == 1)
    let controller = view.controller(.b)
    #expect(controller.phase == .serving && controller.standing == .member && controller.takeover == .none)
    #expect(controller.pid == UInt64(getpid()) && controller.incarnation == 1)
    #expect(view.unit(0).kind == .memory && view.unit(0).size == 1 << 20 && view.unit(0).state == .online)
    #expect(view.count(.bytesRead, of: .b) == 512)
    let status = try program.subsystem.status()
    #expect(status.generation == view.generation)
    #expect(status.controllers[1].phase == "\(controller.phase)")
  }

  @Test("Create replaces what a crash has left, and nothing that runs")
  func createReplaces() throws {
    let folder = try ScratchFolder()
    let units = [UnitSpecification(.memory, size: 1 << 20)]
    let first = try Subsystem.create(folder("subsystem"), units: units, replacing: true)
    #expect(throws: BatonError.self) { try Subsystem.create(folder("subsystem"), units: units) }
    let generation = try first.status().generation
    let second = try Subsystem.create(folder("subsystem"), units: units, replacing: true)
    #expect(try second.status().generation != generation)
    let controller = try Controller(.a, of: second, options: Laboratory.controllerOptions)
    let error = #expect(throws: BatonError.self) {
      try Subsystem.create(folder("subsystem"), units: units, replacing: true)
    }
    #expect(error?.code == .busy)
    #expect(controller.identity == .a)
  }

  @Test("Waiting for controllers that do not serve ends in time, and names them")
  func waitUntilServing() throws {
    let folder = try ScratchFolder()
    let subsystem = try Subsystem.create(folder("subsystem"), units: [UnitSpecification(.memory, size: 1 << 20)])
    var a = try Controller(.a, of: subsystem, options: Laboratory.controllerOptions)
    while !a.isServing { a.poll() }
    try subsystem.waitUntilServing([.a])
    let error = #expect(throws: BatonError.self) { try subsystem.waitUntilServing(nanoseconds: 1_000_000) }
    #expect(error?.problem == "controller b did not serve within 1 ms")
  }

  @Test("Another thread ends a host's wait")
  func waker() throws {
    let program = try Program()
    try program.host.waitUntilAttached { program.turn() }
    let waker = program.host.waker()
    // A call before the wait ends it; without one it lasts as long as it may.
    waker.wake()
    let wasCalled = program.host.waitUntilCalled(nanoseconds: 3_600_000_000_000)
    #expect(wasCalled)
    let isCalledAgain = program.host.waitUntilCalled(nanoseconds: 1_000_000)
    #expect(!isCalledAgain)
    let thread = TurningThread { waker.wake() }
    for _ in 0..<100 { while !program.host.waitUntilCalled() {} }
    thread.end()
    program.host = try Host(of: program.subsystem)
    // The host that it belonged to is gone.
    waker.wake()
  }

  @Test("A host sleeps on a descriptor, and every answer wakes it")
  func descriptor() throws {
    let folder = try ScratchFolder()
    let subsystem = try Subsystem.create(
      folder("subsystem"), units: [UnitSpecification(parsing: "fault:delay=1ms:mem:1M")])
    let a = RunningThread(.a, of: subsystem)
    let b = RunningThread(.b, of: subsystem)
    try subsystem.waitUntilServing(nanoseconds: 60_000_000_000)
    var host = try Host(of: subsystem)
    try host.waitUntilAttached(nanoseconds: 60_000_000_000)
    var look = pollfd(fd: try host.descriptor(), events: Int16(POLLIN), revents: 0)
    let same = try host.descriptor()
    #expect(same == look.fd)
    var woken = 0
    for request in 0..<200 {
      let isSubmitted = host.submit(Request(.read, length: 512), to: request / 10 % 2 == 0 ? .a : .b)
      #expect(isSubmitted)
      var answer: Completion?
      while answer == nil {
        answer = host.next()
        guard answer == nil, host.announceSleep() else { continue }
        // Longer than any test: only the descriptor ends it.
        if poll(&look, 1, 600_000) == 1 { woken += 1 }
        host.endSleep()
      }
      #expect(answer?.status == .success)
    }
    #expect(woken > 0)
    a.stop()
    b.stop()
    #expect(eventually { a.hasEnded && b.hasEnded })
    try subsystem.destroy()
  }
}
