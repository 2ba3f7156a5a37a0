import Baton
import BatonCommandKit
import BatonSystem
import Glibc

extension Bench {
  /// Units and hosts of a large subsystem, here and in the takeover suite.
  static var crowdUnits: Int { 4096 }
  static var crowdHosts: Int { 64 }

  /// The cost of many units and hosts compared with one of each, and the cost of idling.
  mutating func scale() throws {
    let quiet = UnitSpecification(.null, size: 1 << 20)
    try Self.withSubsystem("small", [quiet]) { small in
      try Self.withSubsystem("large", Array(repeating: quiet, count: Self.crowdUnits)) { large in
        try costs(small, large)
        try idleness(small, large)
      }
    }
  }

  // MARK: Requests

  /// The first is of the small subsystem, the others are of the large one: which of its units and hosts take part.
  private static var spans: [Span] {
    [
      Span(units: 1, hosts: 1), Span(units: 1, hosts: 1), Span(units: crowdUnits, hosts: 1),
      Span(units: crowdUnits, hosts: crowdHosts),
    ]
  }

  /// Two processes, each pinned to a CPU: controllers b in the partner, controller a and all hosts in this one, which
  /// turns a and looks for the answer in alternation. Null units; one request at a time.
  ///
  /// For an owner's request all units are b's and one host asks b. For a handoff a host asks whichever controller does
  /// not own the unit, so that each request moves it, now this way, now that way: the mean of both. In the large
  /// subsystem with one unit and one host in use while the others exist; with all units in use, at random; and with
  /// all hosts too. The last has no goal: this process stands for 64, and finds none of them in its cache.
  private mutating func costs(_ small: Subsystem, _ large: Subsystem) throws {
    let turns = turns
    let spans = Self.spans
    var partner = try partner(BenchRole(controllers: [small, large]))
    let measured = try pinned {
      progress.begin("scale: attaching \(Self.crowdHosts) hosts")
      try partner.begin(.controller, argument: 0)
      var one = try ScaleRig(small, units: 1, hosts: 1)
      try partner.begin(.controller, argument: 1)
      var many = try ScaleRig(large, units: Self.crowdUnits, hosts: Self.crowdHosts)
      let step = "scale: requests and handoffs compared with those of one unit and one host"
      return try interleaved(step, things: 2 * spans.count, control: 0) { thing, _ in
        let span = spans[thing / 2]
        let isLarge = thing / 2 > 0
        try partner.begin(.controller, argument: isLarge ? 1 : 0)
        if thing & 1 == 0 {
          return isLarge
            ? try many.nanosecondsPerRequest(turns, over: span, partner.patience)
            : try one.nanosecondsPerRequest(turns, over: span, partner.patience)
        }
        return isLarge
          ? try many.nanosecondsPerHandoff(turns / 2, over: span, partner.patience)
          : try one.nanosecondsPerHandoff(turns / 2, over: span, partner.patience)
      }
    }
    let many = "\(Figure.count(UInt64(Self.crowdUnits))) units, \(Self.crowdHosts) hosts"
    let uses = ["one of each in use", "all units in use", "all units and hosts in use"]
    for (kind, what) in ["owner's request", "handoff"].enumerated() {
      for (index, use) in uses.enumerated() {
        report.append(
          measured.row(
            .scale, "\(what): \(many), \(use)", metric: "round trip", unit: "ns", ours: 2 * (index + 1) + kind,
            floor: ("one unit, one host", kind), goal: index < 2 ? spinningGoal(1.2) : nil, waiting: .spinning))
      }
    }
    report.append(
      measured.controlRow(
        .scale, of: "owner's request: one unit, one host", metric: "round trip", unit: "ns", waiting: .spinning))
  }

  // MARK: Doing nothing

  /// Controller processes with all defaults: their memory when every host has asked something of both and every unit
  /// has been asked for, and the CPU that they take while nobody asks anything. Of a pair the worse.
  private mutating func idleness(_ small: Subsystem, _ large: Subsystem) throws {
    let milliseconds = isQuick ? 2000 : 10_000
    let scratch = try ScratchDirectory(in: directory, name: "scale")
    let log = "\(scratch.path)/log"
    progress.begin("scale: starting controllers")
    var one = try IdlePair(small, units: 1, hosts: 1, log: log)
    var many = try IdlePair(large, units: Self.crowdUnits, hosts: Self.crowdHosts, log: log)
    let memory = try many.privateBytes()
    progress.begin("scale: watching idle controllers for \(milliseconds / 1000) s")
    // What was begun has ended by then.
    try watch.sleep(milliseconds: 200)
    let before = try (one.cpuNanoseconds(), many.cpuNanoseconds())
    let start = monotonicNanoseconds()
    try watch.sleep(milliseconds: milliseconds)
    let elapsed = Double(monotonicNanoseconds() - start)
    let after = try (one.cpuNanoseconds(), many.cpuNanoseconds())
    try one.stop()
    try many.stop()
    func share(_ before: [UInt64], _ after: [UInt64]) -> Double {
      zip(before, after).map { Double($1 - $0) / elapsed * 100 }.max() ?? 0
    }
    let idle = Interleaved(values: [[share(before.0, after.0)], [share(before.1, after.1)]])
    let crowd = "\(Figure.count(UInt64(Self.crowdUnits))) units, \(Self.crowdHosts) hosts"
    for (index, name) in ["one unit, one host", crowd].enumerated() {
      report.append(
        idle.row(
          .scale, "idle controller, \(name)", metric: "CPU over \(milliseconds / 1000) s", unit: "% of a CPU",
          ours: index, goal: .figure(0.1), waiting: .adaptive))
    }
    report.append(
      Interleaved(values: [[Double(memory) / 1_048_576]]).row(
        .scale, "controller, \(crowd)", metric: "private memory", unit: "MiB", ours: 0, goal: .figure(16)))
  }
}

/// The units and hosts that take part in a measurement: the first ones.
struct Span {
  let units: Int
  let hosts: Int
}

/// Hosts and controller a of a subsystem in this process, turned by one loop; its controller b is the worker's.
private struct ScaleRig: ~Copyable {
  private var a: Controller
  private let hosts: HostCrowd
  private let unitCount: Int
  /// Of each unit: whether a owns it.
  private var isOwnedByA: [Bool]
  private var random = SplitMix64(seed: 1)

  /// Requests outstanding while b is made the owner of all units.
  private static let claimDepth = 64

  /// The worker turns b meanwhile.
  init(_ subsystem: Subsystem, units: Int, hosts count: Int) throws {
    var a = try Controller(.a, of: subsystem, options: .benched)
    let hosts = try HostCrowd(count, of: subsystem, waiting: .spin)
    try hosts.attach { a.poll() }
    self.a = a
    self.hosts = hosts
    unitCount = units
    isOwnedByA = Array(repeating: false, count: units)
  }

  private static func read(_ unit: Int) -> Request { Request(.read, unit: UInt32(unit), length: 4096) }

  /// Makes b the owner of all units.
  private mutating func claim(_ patience: inout Patience) throws {
    var submitted = 0
    var answered = 0
    while answered < unitCount {
      while submitted < unitCount, submitted - answered < Self.claimDepth,
        hosts[0].submit(Self.read(submitted), to: .b)
      {
        submitted += 1
      }
      if let completion = hosts[0].next() {
        try completion.expectSuccess()
        answered += 1
      } else {
        a.poll()
        try patience.missed()
      }
    }
    for unit in 0..<unitCount { isOwnedByA[unit] = false }
  }

  /// A request of one host to b, which owns every unit.
  mutating func nanosecondsPerRequest(
    _ requests: UInt64, over span: Span, _ patience: consuming Patience
  ) throws -> Double {
    try claim(&patience)
    let start = monotonicNanoseconds()
    for _ in 0..<requests {
      let unit = Int(random.below(UInt64(span.units)))
      let host = Int(random.below(UInt64(span.hosts)))
      hosts[host].submit(Self.read(unit), to: .b)
      while true {
        guard let completion = hosts[host].next() else {
          try patience.missed()
          continue
        }
        try completion.expectSuccess()
        break
      }
    }
    return Double(monotonicNanoseconds() - start) / Double(requests)
  }

  /// A request of one host to whichever controller does not own the unit.
  mutating func nanosecondsPerHandoff(
    _ requests: UInt64, over span: Span, _ patience: consuming Patience
  ) throws -> Double {
    let start = monotonicNanoseconds()
    for _ in 0..<requests {
      let unit = Int(random.below(UInt64(span.units)))
      let host = Int(random.below(UInt64(span.hosts)))
      let other: ControllerIdentity = isOwnedByA[unit] ? .b : .a
      isOwnedByA[unit].toggle()
      hosts[host].submit(Self.read(unit), to: other)
      while true {
        guard let completion = hosts[host].next() else {
          a.poll()
          try patience.missed()
          continue
        }
        try completion.expectSuccess()
        if !completion.service.isTransferred {
          throw BatonError(.system, "unit \(unit)", "was served by controller \(other) without a change of owner")
        }
        break
      }
    }
    return Double(monotonicNanoseconds() - start) / Double(requests)
  }
}

/// Both controllers of a subsystem as processes with all defaults, and hosts that have asked them something and do
/// nothing more.
private struct IdlePair: ~Copyable {
  private var controllers: ControllerPair
  private let hosts: HostCrowd

  init(_ subsystem: Subsystem, units: Int, hosts count: Int, log: String) throws {
    let controllers = try ControllerPair(of: subsystem, by: .shipped(), log: log)
    let hosts = try HostCrowd(count, of: subsystem)
    try hosts.attach()
    for controller in ControllerIdentity.allCases {
      for unit in 0..<units {
        let completion = try hosts[unit % count].perform(
          Request(.read, unit: UInt32(unit), length: 4096), on: controller)
        try completion.expectSuccess()
      }
    }
    self.controllers = controllers
    self.hosts = hosts
  }

  /// Of both.
  func cpuNanoseconds() throws(BatonError) -> [UInt64] {
    [try figures(.a).cpuNanoseconds(), try figures(.b).cpuNanoseconds()]
  }

  /// Bytes of memory that is nobody else's, of the larger one: what it has in anonymous pages.
  func privateBytes() throws(BatonError) -> UInt64 {
    max(try figures(.a).bytes("RssAnon", in: "status"), try figures(.b).bytes("RssAnon", in: "status"))
  }

  private func figures(_ identity: ControllerIdentity) -> ProcessFigures {
    ProcessFigures(of: controllers.pid(of: identity))
  }

  mutating func stop() throws(BatonError) { try controllers.stop() }
}
