import Baton
import BatonCommandKit
import BatonOwnership
import BatonStorage
import BatonSystem
import CBatonShims
import Glibc

/// A subsystem whose controller a is killed again and again: two controller processes, and hosts in this one.
///
/// Unit 0 is a file that all work goes to, unit 1 a null unit. Before each death a owns every unit, and all hosts are
/// attached to both.
struct TakeoverRig: ~Copyable {
  private let subsystem: Subsystem
  private let unitCount: Int
  /// The file behind unit 0.
  private let path: String
  private let fileSize: UInt64
  /// All lives of a: this one is never reached.
  private let livesOfA: StorageLife
  private var controllers: ControllerPair
  private let hosts: HostCrowd
  private var random = SplitMix64(seed: 1)

  /// The hosts' view of a death, in microseconds since just before kill(2).
  struct Death {
    /// The first answer of the survivor, to a read that collides with nothing that was in flight.
    var firstAnswer = 0.0
    /// The last answer to what was outstanding at the dead one; 0 where nothing was.
    var lastAnswer = 0.0
    /// The exit, by this process's own pidfd.
    var exit = 0.0
    /// When the kernel had let go of the unit's file for the dead one, by the locks on it.
    var drain = 0.0
    /// How many of the requests that were outstanding the survivor answered.
    var recovered = 0
  }

  /// The unit that the survivor is asked for first: a null unit, owned by a like all others.
  private static let probedUnit = 1
  /// Requests that each host has answered by each controller before the first death.
  private static let warmUpRequests = 4
  /// Requests outstanding while a is made the owner of all units.
  private static let claimDepth = 64
  /// Work goes on for so long before a death, and for so many answers.
  private static let loadNanoseconds: UInt64 = 30_000_000
  private static let loadAnswers = 256
  /// Microseconds that both controllers have nothing to do before an idle death: longer than they spin.
  private static let idleMicroseconds: useconds_t = 5000
  /// Deaths that may find everything answered, until one counts.
  private static let attemptsMax = 8
  /// The cookie of the read that asks the survivor.
  private static let probe = UInt64.max

  /// Starts both controllers and attaches `hostCount` hosts.
  init(_ subsystem: Subsystem, hosts hostCount: Int, log: String) throws {
    let status = try subsystem.status()
    let controllers = try ControllerPair(of: subsystem, by: .shipped(), log: log)
    let hosts = try HostCrowd(hostCount, of: subsystem)
    try hosts.attach()
    for controller in ControllerIdentity.allCases {
      for _ in 0..<Self.warmUpRequests { try hosts.performEach(Self.read(0), on: controller) }
    }
    self.subsystem = subsystem
    unitCount = status.units.count
    path = status.units[0].path
    fileSize = status.units[0].size
    livesOfA = StorageLife(
      controllerIndex: 0, incarnation: MembershipWord.incarnationMax, subsystem: status.generation)
    self.controllers = controllers
    self.hosts = hosts
  }

  /// Kills a with that work in flight, says what the hosts saw, and makes everything as it was before.
  mutating func death(_ work: KilledWork) throws -> Death {
    for _ in 0..<Self.attemptsMax {
      let death = try once(work)
      try restore()
      if work == .none || death.recovered > 0 { return death }
    }
    throw BatonError(.system, "controller a", "had nothing in flight whenever it was killed")
  }

  /// Asks both to leave.
  mutating func stop() throws(BatonError) { try controllers.stop() }

  private mutating func once(_ work: KilledWork) throws -> Death {
    try claim()
    let handle = try controllers.handle(of: .a)
    if work == .none { usleep(Self.idleMicroseconds) } else { try load(work) }
    let file = OwnedDescriptor(try check(shim_open(path, true, false, false), path, doing: "opening it"))
    let quiet = Self.read(0, unit: Self.probedUnit, buffer: KilledWork.depth * KilledWork.transferSize)
    var isProbed = false
    var hasEnded = false
    var isDrained = false
    var death = Death()
    let lookout = Lookout("an answer after controller a's death")
    controllers.kill(.a)
    while true {
      // After the kill, so that a no longer grants the unit when it is asked.
      if !isProbed { isProbed = hosts[0].submit(quiet, to: .b, cookie: Self.probe) }
      var isIdle = true
      while let completion = hosts[0].next() {
        isIdle = false
        try completion.expectSuccess()
        if completion.service.controller == .b, death.firstAnswer == 0 { death.firstAnswer = lookout.microseconds }
        if completion.cookie == Self.probe { continue }
        death.lastAnswer = lookout.microseconds
        if completion.service.controller == .b { death.recovered += 1 }
      }
      if death.firstAnswer == 0 {
        // Nothing but that is looked for as yet.
      } else if !hasEnded {
        hasEnded = Lookout.hasEnded(handle)
        if hasEnded { death.exit = lookout.microseconds }
      } else if !isDrained {
        isDrained = livesOfA.areEarlierOnesDrained(file)
        if isDrained { death.drain = lookout.microseconds }
      }
      if isProbed, isDrained, hosts[0].outstanding == 0 { return death }
      if !isIdle { continue }
      if isProbed, death.firstAnswer == 0 {
        // Asleep, like the process that waits for the death of a bare process.
        hosts[0].wait()
        try lookout.check()
      } else {
        try lookout.pause()
      }
    }
  }

  /// Keeps transfers outstanding at a until it has answered enough of them; all places are taken when this returns.
  private mutating func load(_ work: KilledWork) throws {
    var answers = 0
    var free = Array(0..<KilledWork.depth)
    let lookout = Lookout("controller a's answer")
    while true {
      while let entry = free.popLast() {
        let request = Request(
          work == .reads ? .read : .write, unit: 0,
          offset: KilledWork.offset(of: entry, size: fileSize, &random), length: UInt64(KilledWork.transferSize),
          buffer: UInt64(entry * KilledWork.transferSize))
        guard hosts[0].submit(request, to: .a, cookie: UInt64(entry)) else {
          throw BatonError(.system, "controller a", "has no room for a request")
        }
      }
      if answers >= Self.loadAnswers, lookout.microseconds * 1e3 > Double(Self.loadNanoseconds) { return }
      while let completion = hosts[0].next() {
        try completion.expectSuccess()
        free.append(Int(completion.cookie))
        answers += 1
      }
      if free.isEmpty { try lookout.pause() }
    }
  }

  /// A new a, to which all hosts are attached and of which each has asked something.
  private mutating func restore() throws {
    try controllers.waitUntilGone(.a)
    try hosts.notice()
    try controllers.restart(.a)
    try controllers.waitUntilServing(.a)
    try hosts.attach()
    try hosts.performEach(Self.read(0), on: .a)
  }

  /// Makes a the owner of every unit: reads a block of each through it.
  private mutating func claim() throws {
    var submitted = 0
    var answered = 0
    let lookout = Lookout("the ownership of all units")
    while answered < unitCount {
      while submitted < unitCount, submitted - answered < Self.claimDepth,
        hosts[0].submit(Self.read(0, unit: submitted), to: .a)
      {
        submitted += 1
      }
      var isIdle = true
      while let completion = hosts[0].next() {
        isIdle = false
        try completion.expectSuccess()
        answered += 1
      }
      if isIdle { try lookout.pause() }
    }
    let status = try subsystem.status()
    for function in status.functions where function.unit != nil && function.owner != .a {
      let owner = function.owner.map { "controller \($0)" } ?? "nobody"
      throw BatonError(.system, function.name, "is owned by \(owner) though all that asked for it asked controller a")
    }
  }

  /// A read of one transfer.
  private static func read(_ offset: UInt64, unit: Int = 0, buffer: Int = 0) -> Request {
    Request(
      .read, unit: UInt32(unit), offset: offset, length: UInt64(KilledWork.transferSize), buffer: UInt64(buffer))
  }
}
