import Baton
import BatonChannel
import BatonController
import BatonHost
import BatonOwnership
import BatonRing
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import BatonTestSupport
import CBatonShims
import Glibc
import Testing

/// Controllers that sleep, and what wakes them. Where the kernel cannot wait for a futex in a ring (before 6.7), none
/// listens to words, and the tests of that are left out.
@Suite("Parking")
struct ParkingTests {
  /// Unit 0 is at once, unit 1 takes long enough to sleep over.
  private static let units = ["null:1M", "fault:delay=2ms:mem:1M"]

  /// Whether this kernel can wait for a futex in a ring: it says then that the word holds another value.
  private static let canListen: Bool = {
    let word = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
    word.initialize(to: 0)
    defer { word.deallocate() }
    do {
      let ring = try Ring()
      guard ring.watchFutex(word, while: 1, for: .doorbell, index: 0), ring.submit() == 1 else { return false }
      return ring.next()?.result == -EAGAIN
    } catch {
      return false
    }
  }()

  /// A host whose words the test can reach.
  private static func attached(_ laboratory: Laboratory, to controller: ControllerIdentity) throws -> RawHost {
    let raw = try RawHost(laboratory, to: controller)
    #expect(try reply(over: raw.socket, laboratory) == .attached)
    return raw
  }

  @Test(
    "A wait for a word outlives a sleep that storage ends, hears a ring, and is set again by the next sleep",
    .enabled(if: canListen), arguments: ControllerIdentity.allCases)
  func waitOutlivesSleep(controller: ControllerIdentity) throws {
    let laboratory = try Laboratory(units: Self.units)
    let host = try Self.attached(laboratory, to: controller)
    #expect(!host.rings(controller), "nobody has slept")
    for round in 1...3 {
      try laboratory.sleep(controller, over: 1)
      try laboratory.sleep(controller, over: 1)
      #expect(laboratory.count(.doorbells, of: controller) == UInt64(round) - 1)
      #expect(!host.memory.controllerParked(controller).saysAsleep)
      #expect(host.rings(controller))
      #expect(!host.rings(controller), "one wait a word")
      laboratory.poll(controller)
      #expect(laboratory.count(.doorbells, of: controller) == UInt64(round))
    }
  }

  @Test("A host that goes leaves no wait behind, and the next one in its place is listened to", .enabled(if: canListen))
  func hostGoes() throws {
    let laboratory = try Laboratory(units: Self.units)
    for _ in 0..<3 {
      let raw = try Self.attached(laboratory, to: .a)
      try laboratory.sleep(.a, over: 1)
      let attached = laboratory.count(.hosts, of: .a)
      shutdown(raw.socket.number, CInt(SHUT_RDWR))
      try laboratory.turn { laboratory.count(.hosts, of: .a) < attached }
      // One turn gives the end of the wait to the kernel, and the next one hears of it.
      for _ in 0..<4 { laboratory.poll() }
      #expect(!raw.rings(.a))
    }
    let next = try Self.attached(laboratory, to: .a)
    try laboratory.sleep(.a, over: 1)
    #expect(next.rings(.a))
    laboratory.poll(.a)
    #expect(laboratory.count(.doorbells, of: .a) == 1)
  }

  @Test("A survivor listens in its peer's place until the peer comes back", .enabled(if: canListen))
  func standsIn() throws {
    let laboratory = try Laboratory(units: Self.units)
    let raw = try Self.attached(laboratory, to: .a)
    try laboratory.stop(.b)
    try laboratory.turn {
      laboratory.region.controller(.a).takeover.loadRelaxed() == TakeoverStage.standsIn.rawValue
    }
    try laboratory.sleep(.a, over: 1)
    #expect(raw.rings(.b))
    laboratory.poll(.a)
    try laboratory.sleep(.a, over: 1)
    try laboratory.start(.b)
    try laboratory.turn { laboratory.host.isAttached(to: .b) }
    let socket = try raw.attach(laboratory, to: .b)
    #expect(try reply(over: socket, laboratory) == .attached)
    for _ in 0..<4 { laboratory.poll() }
    #expect(!raw.rings(.b), "b has not slept, and a listens to its own word only")
    #expect(raw.rings(.a))
    try laboratory.sleep(.b, over: 1)
    #expect(raw.rings(.b))
  }

  @Test("A host that overwrites its sleep words gets its own requests late, and that is all")
  func hostileWord() throws {
    let laboratory = try Laboratory(units: Self.units)
    let raw = try Self.attached(laboratory, to: .a)
    var random = SeededRandom(seed: 5)
    for _ in 0..<50 {
      _ = raw.memory.controllerParked(.a).futex.exchange(UInt32.random(in: 0...6, using: &random))
      _ = raw.memory.hostParked.futex.exchange(UInt32.random(in: 0...UInt32.max, using: &random))
      _ = raw.rings(.a)
      try laboratory.sleep(.a, over: 1)
      #expect(try laboratory.perform(Request(.read, length: 512), on: .a).status == .success)
    }
    #expect(laboratory.count(.doorbells, of: .a) <= 50)
  }

  @Test(
    "Sleeping host, sleeping controllers: each request wakes the controller that must serve it, each answer its host",
    arguments: [true, false], [WaitStrategy.park, .adaptive(spinNanoseconds: 1000)])
  func everybodySleeps(listens: Bool, waiting: WaitStrategy) throws {
    let folder = try ScratchFolder()
    // Unit 2 takes longer than the host looks for an answer before it sleeps.
    let subsystem = try Subsystem.create(
      folder("subsystem"), units: (Self.units + ["fault:delay=20ms:mem:1M"]).map { try UnitSpecification(parsing: $0) })
    let region = try Region(opening: subsystem.location, writable: false)
    var options = Laboratory.controllerOptions
    options.listensToWords = listens
    options.residency = .pendingOnly
    // A connecting client wakes it.
    func wake(_ controller: ControllerIdentity) {
      _ = try? ControlMessage.connect(path: subsystem.location.socket(of: controller), to: controller)
    }
    let a = try sleeping(.a, of: subsystem, options)
    defer { a.end { wake(.a) } }
    let b = try sleeping(.b, of: subsystem, options)
    defer { b.end { wake(.b) } }
    var hostOptions = HostOptions()
    hostOptions.waiting = waiting
    let host = TestHost(try Host(of: subsystem, options: hostOptions))
    while !(host.isAttached(to: .a) && host.isAttached(to: .b)) { host.maintain() }
    let rounds = 400
    var waits = 0
    func perform(_ unit: UInt32, on controller: ControllerIdentity) {
      #expect(host.submit(Request(.read, unit: unit, length: 512), to: controller))
      var completion: Completion?
      while completion == nil {
        completion = host.next()
        if completion != nil { break }
        host.wait()
        waits += 1
      }
      #expect(completion?.status == .success)
    }
    for round in 0..<rounds {
      // Both of them sleep as a rule: the one that is asked wakes the one that owns, and both at different things.
      let controller: ControllerIdentity = round % 3 == 0 ? .a : .b
      perform(round % 8 == 0 ? 1 : 0, on: controller)
      // Until somebody sleeps for certain, now and then.
      if round % 16 == 0 {
        var yields = 0
        while !region.controller(controller).parked.saysAsleep, yields < 10_000_000 {
          sched_yield()
          yields += 1
        }
      }
    }
    // A host that nobody wakes sleeps for 100 ms, a controller for ten times as long.
    #expect(waits < 2 * rounds, "sleeps that ended by time")
    func count(_ counter: Counter, of controller: ControllerIdentity) -> UInt64 {
      region.controller(controller).counters[counter].loadRelaxed()
    }
    let rings = listens && Self.canListen
    func haveAllBeenWoken() -> Bool {
      ControllerIdentity.allCases.allSatisfy {
        count(.hostWakes, of: $0) > 0 && (count(.doorbells, of: $0) > 0 || !rings)
      }
    }
    // The order in which they get a CPU decides whether a host that spins for a while sleeps before it is answered, and
    // whether a controller is in its sleep already when it is rung: again until each has been woken once.
    var more = 0
    while !haveAllBeenWoken(), more < 1000 {
      for controller in ControllerIdentity.allCases { perform(2, on: controller) }
      more += 1
    }
    for controller in ControllerIdentity.allCases {
      #expect(count(.parks, of: controller) > 0)
      #expect(count(.hostWakes, of: controller) > 0)
      #expect(count(.peerDoorbells, of: controller) > 0)
      #expect((count(.doorbells, of: controller) > 0) == rings)
    }
  }

  @Test("A request that is alone wakes its controller at once, one of several with those that come with it")
  func ringsTogether() throws {
    let laboratory = try Laboratory(units: ["null:1M"])
    let host = laboratory.host
    let word = host.controllerParked(.a)
    func submit() { #expect(host.submit(Request(.read, unit: 0, length: 512), to: .a)) }
    // As a controller does that sleeps. This one is turned by hand, and knows nothing of it.
    func sleeps() { word.say(.asleep) }
    func isRung() -> Bool { !word.saysAsleep }

    sleeps()
    submit()
    #expect(isRung())
    sleeps()
    for _ in 0..<8 { submit() }
    #expect(!isRung(), "there may be more to come")
    #expect(host.next() == nil)
    #expect(isRung(), "no more came")
    sleeps()
    submit()
    #expect(!isRung())
    host.wait(nanoseconds: 0)
    #expect(isRung(), "the host is about to sleep")
    // Of many requests it is not the last that wakes, and a host that never looks for answers is served too.
    sleeps()
    var submitted = 0
    while !isRung(), submitted < 40 {
      submit()
      submitted += 1
    }
    #expect(submitted < 40)
    var answers = 0
    for _ in 0..<1000 {
      laboratory.poll()
      while host.next() != nil { answers += 1 }
    }
    #expect(answers == 10 + submitted)
  }
}

extension RawHost {
  /// Wakes the listener to the word of its channel to this controller. False if nobody listens.
  fileprivate func rings(_ controller: ControllerIdentity) -> Bool { memory.controllerParked(controller).ring() }
}

/// A controller that runs on a thread of its own, as in a process of its own. To be woken when it is ended: by itself
/// it wakes in a second.
private func sleeping(
  _ identity: ControllerIdentity, of subsystem: Subsystem, _ options: ControllerOptions
) throws -> TurningThread {
  final class Box {
    var controller: Controller
    init(_ controller: consuming Controller) { self.controller = controller }
  }
  let box = Box(try Controller(identity, of: subsystem, options: options))
  return TurningThread { if !box.controller.poll() { box.controller.park() } }
}
