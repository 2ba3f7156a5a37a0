import Baton
import BatonController
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import Glibc
import Logging

@testable import BatonHost

/// A subsystem with both controllers and hosts, in one process and on one thread: the test's own loop polls
/// them.
final class Laboratory {
  let folder: ScratchFolder
  let subsystem: Subsystem
  /// The region as a bystander sees it.
  let region: Region
  private let options: ControllerOptions
  var a: TestController?
  var b: TestController?
  private(set) var hosts: [TestHost] = []
  /// Called after each controller's turn.
  var afterTurn: () -> Void = {}

  /// The host that is attached from the start.
  var host: TestHost { hosts[0] }

  static var controllerOptions: ControllerOptions {
    var options = ControllerOptions()
    options.logger.logLevel = getenv("BATON_TEST_LOG") == nil ? .critical : .debug
    // A controller that is not turned for a while is not to be taken for dead.
    options.deadlineNanoseconds = 60_000_000_000
    return options
  }

  /// Units as `UnitSpecification` has them, with `%` for the test's own folder.
  init(
    units: [String] = ["mem:1M"], controllers: ControllerOptions = controllerOptions,
    hosts: HostOptions = HostOptions()
  ) throws {
    let folder = try ScratchFolder()
    self.folder = folder
    options = controllers
    subsystem = try Subsystem.create(
      folder("subsystem"),
      units: units.map { try UnitSpecification(parsing: $0.replacing("%", with: folder.path)) })
    region = try Region(opening: subsystem.location, writable: false)
    try start(.a)
    try start(.b)
    try attach(hosts)
  }

  /// Attaches another host to both controllers.
  @discardableResult
  func attach(_ options: HostOptions = HostOptions()) throws -> TestHost {
    let host = TestHost(try Host(of: subsystem, options: options))
    hosts.append(host)
    try turn { host.isAttached(to: .a) && host.isAttached(to: .b) }
    return host
  }

  /// Takes over a host that is attached already.
  func adopt(_ host: TestHost) { hosts.append(host) }

  /// Lets go of a host, whatever it has outstanding: as if it had died.
  func kill(_ host: TestHost) { hosts.removeAll { $0 === host } }

  /// Turns both controllers' loops once.
  func poll() {
    a?.poll()
    afterTurn()
    b?.poll()
    afterTurn()
  }

  /// Turns one controller's loop once.
  func poll(_ controller: ControllerIdentity) {
    (controller == .a ? a : b)?.poll()
    afterTurn()
  }

  /// Has a controller go to sleep, for as long as a slow operation takes that is all it has to do. `slow` is a unit
  /// that takes its time, served by this controller.
  func sleep(_ controller: ControllerIdentity, over slow: UInt32) throws {
    let before = count(.parks, of: controller)
    // On a busy machine the operation is over before the controller has got to sleep.
    for _ in 0..<1000 {
      guard host.submit(Request(.read, unit: slow, length: 512), to: controller) else { break }
      for _ in 0..<2 { poll(controller) }
      (controller == .a ? a : b)?.park()
      while host.outstanding > 0 {
        poll()
        _ = host.next()
      }
      if count(.parks, of: controller) > before { return }
    }
    throw BatonError(.system, "laboratory", "controller \(controller) does not go to sleep")
  }

  /// Turns every loop until the condition holds. Bounded by turns, not by time.
  func turn(turnsMax: Int = 10_000_000, until condition: () throws -> Bool) throws {
    for _ in 0..<turnsMax {
      poll()
      for host in hosts { host.maintain() }
      if try condition() { return }
    }
    throw BatonError(.system, "laboratory", "nothing came of \(turnsMax) turns")
  }

  /// Submits one request and turns the loops until it is answered. Nothing else may be outstanding.
  func perform(
    _ request: Request, on controller: ControllerIdentity, from host: TestHost? = nil
  ) throws -> Completion {
    let host = host ?? self.host
    guard host.submit(request, to: controller) else {
      throw BatonError(.system, "laboratory", "no room for a request")
    }
    return try complete(host)
  }

  /// Turns the loops until something is answered.
  func complete(_ host: TestHost? = nil, turnsMax: Int = 10_000_000) throws -> Completion {
    let host = host ?? self.host
    for _ in 0..<turnsMax {
      poll()
      if let completion = host.next() { return completion }
    }
    throw BatonError(.system, "laboratory", "no answer in \(turnsMax) turns")
  }

  /// Fills a part of the first host's arena.
  func fill(_ range: Range<Int>, with byte: UInt8) { host.fill(range, with: byte) }

  /// What a controller has counted.
  func count(_ counter: Counter, of controller: ControllerIdentity) -> UInt64 {
    region.controller(controller).counters[counter].loadRelaxed()
  }

  /// What a function's ownership word says.
  func owner(of function: Function) -> OwnershipWord {
    OwnershipWord(rawValue: region.ownership.word(function.index).loadAcquiring())
  }

  func isSeatTaken(of controller: ControllerIdentity) -> Bool { region.isSeatTaken(of: controller) }

  // MARK: Controllers that come and go

  /// Stops a controller gracefully and lets go of it.
  func stop(_ controller: ControllerIdentity) throws {
    beginStop(controller)
    try turn { isStopped(controller) }
    drop(controller)
  }

  func beginStop(_ controller: ControllerIdentity) {
    (controller == .a ? a : b)?.beginStop()
  }

  func isStopped(_ controller: ControllerIdentity) -> Bool {
    (controller == .a ? a : b)?.isStopped ?? true
  }

  /// Lets go of a controller where it stands: as if it had died, except that its I/O has ended.
  func drop(_ controller: ControllerIdentity) {
    if controller == .a { a = nil } else { b = nil }
    // A test that wants it free finds out if it is not.
    _ = eventually { !isSeatTaken(of: controller) }
  }

  /// Starts a controller that is not running.
  func start(_ controller: ControllerIdentity) throws {
    let new = TestController(try Controller(controller, of: subsystem, options: options))
    if controller == .a { a = new } else { b = new }
  }
}

/// A controller that a test can drop and create again.
final class TestController {
  private var controller: Controller

  init(_ controller: consuming Controller) { self.controller = controller }

  var incarnation: UInt64 { controller.incarnation }
  var isStopped: Bool { controller.isStopped }
  func beginStop() { controller.beginStop() }

  @discardableResult
  func poll() -> Bool { controller.poll() }

  func park() { controller.park() }
}

/// A host that a test can hold several of.
final class TestHost {
  private var host: Host

  init(_ host: consuming Host) { self.host = host }

  var arena: UnsafeMutableRawBufferPointer { host.arena }
  var outstanding: Int { host.outstanding }
  var rerouted: UInt64 { host.rerouted }
  var strayAnswers: UInt64 { host.strayAnswers }
  /// The number of the trace that it writes; 0: none.
  var tracing: UInt64 { host.trace.isOn ? host.trace.number : 0 }
  var hasAnswer: Bool { host.hasAnswer }
  var subsystemLoss: BatonError? { host.subsystemLoss }
  var unitCount: Int { host.unitCount }
  func isAttached(to controller: ControllerIdentity) -> Bool { host.isAttached(to: controller) }
  func room(to controller: ControllerIdentity) -> Int { host.room(to: controller) }
  func next() -> Completion? { host.next() }
  func maintain() { host.maintain() }
  func waitUntilAttached(nanoseconds: UInt64 = 60_000_000_000) throws {
    try host.waitUntilAttached(nanoseconds: nanoseconds)
  }
  func wait(nanoseconds: Int64 = 100_000_000) { host.wait(nanoseconds: nanoseconds) }
  func controllerParked(_ controller: ControllerIdentity) -> SharedSleepWord {
    host.memory.controllerParked(controller)
  }

  func submit(_ request: Request, to controller: ControllerIdentity? = nil, cookie: UInt64 = 0) -> Bool {
    host.submit(request, to: controller, cookie: cookie)
  }

  func submit(
    _ count: Int, to controller: ControllerIdentity, _ request: (Int) -> (request: Request, cookie: UInt64)
  ) -> Int {
    host.submit(count, to: controller, request)
  }

  @discardableResult
  func takeAnswers(most: Int = 64, _ body: (Completion) throws -> Void) rethrows -> Int {
    try host.takeAnswers(most: most, body)
  }

  func fill(_ range: Range<Int>, with byte: UInt8) {
    UnsafeMutableRawBufferPointer(rebasing: arena[range]).initializeMemory(as: UInt8.self, repeating: byte)
  }

  /// Whether a part of the arena holds this byte and nothing else.
  func holds(_ range: Range<Int>, _ byte: UInt8) -> Bool {
    // Each byte is the same as the one before it, and the first one is right.
    arena[range.lowerBound] == byte
      && memcmp(
        arena.baseAddress! + range.lowerBound, arena.baseAddress! + range.lowerBound + 1, range.count - 1) == 0
  }
}
