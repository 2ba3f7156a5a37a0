import Baton
import BatonCommandKit
import BatonSystem
import Glibc

extension Bench {
  /// One request at a time, from a host to a controller and back, on null units: to the owner and to its peer,
  /// spinning and parked.
  mutating func dispatch() throws {
    try spinningDispatch()
    try parkedDispatch()
  }

  // MARK: Spinning

  /// The things of the comparison, in order.
  private enum Spinning: Int, CaseIterable {
    case oneLine, owner, other, twoLines, ring, nothing, timedLine, timedOwner
  }

  /// Two processes, each pinned to a CPU. In the partner the loop of controller b turns, and nothing else. In this one:
  /// - to the owner: a host alone, which spins for the answer;
  /// - to the one that is not the owner: a host and controller a, in one loop that looks for the answer and turns a
  ///   once, in alternation. Each timed request goes to b for a unit that a owns, so four lines cross in a row: the
  ///   request, the arbiter's word asking, the word granting, the answer. A third spinning process would measure the
  ///   scheduler of a machine with two CPUs.
  private mutating func spinningDispatch() throws {
    let turns = turns
    var latencies = Latencies()
    var lineLatencies = Latencies()
    progress.begin("dispatch: trying the peers")
    // Peers that go to sleep are compared with what parks.
    var peers = PeerThings(
      PeerBench(Peer.allCases.filter { $0.spins && $0 != .mutexSpinning }, .roundTrip, turns: turns, cpus: cpus),
      after: Spinning.allCases.count, goals: spinningGoals([.atomicQueue: 1]))
    let transferred = Array(repeating: UnitSpecification(.null, size: 1 << 20), count: TransferRig.units)
    let measured = try Self.withSubsystem("dispatch", [Self.nullUnit]) { owned in
      try Self.withSubsystem("transfer", transferred) { shared in
        var partner = try partner(BenchRole(controllers: [owned, shared]))
        return try pinned {
          progress.begin("dispatch: attaching")
          try partner.begin(.controller, argument: 0)
          var host = try Host(of: owned, options: Self.spinningHost)
          try host.waitUntilAttached()
          var owner = NullReader(host, of: .b)
          try partner.begin(.controller, argument: 1)
          var rig = try TransferRig(shared, partner.patience)
          var line = OneLine(partner.page)
          var uring = try BareUring()
          let step = "dispatch: one request at a time, spinning"
          return try interleaved(step, things: peers.count, control: Spinning.oneLine.rawValue) { thing, round in
            if peers.contains(thing) {
              try partner.rest()
              return peers.measure(thing)
            }
            // The first round is not kept, nor are its latencies.
            switch Spinning(rawValue: thing) {
            case .oneLine: return try partner.roundTrip(.loadStore, turns: turns)
            case .twoLines: return try partner.roundTrip(.twoLines, turns: turns)
            case .owner:
              try partner.begin(.controller, argument: 0)
              return try owner.nanosecondsPerRequest(turns, depth: 1, partner.patience)
            case .other:
              try partner.begin(.controller, argument: 1)
              return try rig.nanosecondsPerTransfer(max(turns / 4, UInt64(TransferRig.units)), partner.patience)
            case .ring:
              var ring = try BareRing(&partner, lines: 1)
              return try ring.nanosecondsPerRequest(turns, depth: 1, partner.patience)
            case .nothing:
              try partner.rest()
              return try uring.nanosecondsPerNothing(turns / 4, batch: 1)
            case .timedLine:
              var single = Latencies()
              // It plays as b until a has sent the last ball.
              try partner.begin(.loadStore, turns: turns)
              try line.time(turns, into: &single, partner.patience)
              if round > 0 { lineLatencies.add(single) }
              return Double(single.summary.p50)
            case .timedOwner:
              var single = Latencies()
              try partner.begin(.controller, argument: 0)
              try owner.time(turns, into: &single, partner.patience)
              if round > 0 { latencies.add(single) }
              return Double(single.summary.p50)
            case nil: preconditionFailure("there is no thing \(thing)")
            }
          }
        }
      }
    }
    let floor = "load-and-store ping-pong"
    report.append(
      measured.row(
        .dispatch, "host to owner and back", metric: "round trip", unit: "ns", ours: Spinning.owner.rawValue,
        floor: (floor, Spinning.oneLine.rawValue),
        peers: [
          .thing("two-line ping-pong", Spinning.twoLines.rawValue),
          .thing("bare request line", Spinning.ring.rawValue),
          .thing("io_uring no-op", Spinning.nothing.rawValue),
        ] + peers.rivals, goal: spinningGoal(1.4), waiting: .spinning))
    report.append(
      measured.row(
        .dispatch, "host to the other controller, which takes ownership", metric: "round trip", unit: "ns",
        ours: Spinning.other.rawValue, floor: (floor, Spinning.oneLine.rawValue), goal: spinningGoal(4),
        waiting: .spinning))
    report.append(
      measured.row(
        .dispatch, "host to owner and back, each request timed", metric: "round trip", unit: "ns",
        ours: Spinning.timedOwner.rawValue, floor: ("\(floor), each turn timed", Spinning.timedLine.rawValue),
        waiting: .spinning, latencies: latencies.summary,
        curves: [latencies.curve("host to owner and back"), lineLatencies.curve(floor)]))
    report.append(measured.controlRow(.dispatch, of: floor, metric: "round trip", unit: "ns", waiting: .spinning))
  }

  // MARK: Parked

  /// A host and a controller process that both park at once when they have nothing to do, on a CPU each, compared
  /// with two processes that sleep on a futex, pinned in the same way.
  private mutating func parkedDispatch() throws {
    let turns = sleepingTurns
    let scratch = try ScratchDirectory(in: directory, name: "parked")
    let log = "\(scratch.path)/log"
    var latencies = Latencies()
    progress.begin("dispatch: trying the peers")
    var peers = PeerThings(
      PeerBench(Peer.allCases.filter { !$0.spins && $0 != .futex }, .roundTrip, turns: turns, cpus: cpus), after: 2)
    let measured = try Self.withSubsystem("parked", [Self.nullUnit], scratch: scratch.path) { subsystem in
      progress.begin("dispatch: starting a controller that parks")
      var controller = try Self.pinned(to: cpus.there) {
        try ControllerProcess(.a, of: subsystem, by: .shipped(), arguments: ["--wait", "park"], log: log)
      }
      try controller.waitUntilServing(subsystem, log: log)
      var partner = try partner()
      let measured = try pinned {
        var options = HostOptions()
        options.waiting = .park
        var host = try Host(of: subsystem, options: options)
        try host.waitUntilAttached()
        return try interleaved("dispatch: one request at a time, parked", things: peers.count, control: 0) {
          thing, round in
          if thing == 0 { return try partner.roundTrip(.futex, turns: turns) }
          try partner.rest()
          if peers.contains(thing) { return peers.measure(thing) }
          var single = Latencies()
          let start = monotonicNanoseconds()
          for _ in 0..<turns {
            let submittedAt = monotonicNanoseconds()
            try host.perform(NullReader.request, on: .a).expectSuccess()
            single.record(monotonicNanoseconds() - submittedAt)
          }
          if round > 0 { latencies.add(single) }
          return Double(monotonicNanoseconds() - start) / Double(turns)
        }
      }
      try controller.stop()
      return measured
    }
    let floor = "futex ping-pong, blocking"
    report.append(
      measured.row(
        .dispatch, "host to owner and back, both parked", metric: "round trip", unit: "ns", ours: 1,
        floor: (floor, 0), peers: peers.rivals, goal: .ratio(1.2), waiting: .parking,
        curves: [latencies.curve("both parked")]))
    report.append(measured.controlRow(.dispatch, of: floor, metric: "round trip", unit: "ns", waiting: .parking))
  }
}

/// Requests that each need a change of owner: a host and controller a in this process, turned by one loop, and
/// controller b in the other.
private struct TransferRig: ~Copyable {
  private var a: Controller
  private var host: Host

  /// So many changes of owner are timed together: two readings of the clock cost little compared with them, and the
  /// units' words stay in the nearest cache.
  static let units = 64

  /// The worker turns b meanwhile.
  init(_ subsystem: Subsystem, _ patience: consuming Patience) throws {
    var a = try Controller(.a, of: subsystem, options: .benched)
    var host = try Host(of: subsystem, options: Bench.spinningHost)
    while !host.isAttached(to: .a) || !host.isAttached(to: .b) {
      a.poll()
      host.maintain()
      try patience.missed()
    }
    self.a = a
    self.host = host
  }

  /// Nanoseconds of a request to b for a unit that a owns, one at a time, over so many.
  mutating func nanosecondsPerTransfer(_ requests: UInt64, _ patience: consuming Patience) throws -> Double {
    var nanoseconds: UInt64 = 0
    var done: UInt64 = 0
    while done < requests {
      // All at once, not timed.
      for unit in 0..<Self.units { host.submit(Self.read(unit), to: .a) }
      for _ in 0..<Self.units { _ = try turnUntilAnswered(by: .a, &patience) }
      let start = monotonicNanoseconds()
      for unit in 0..<Self.units {
        host.submit(Self.read(unit), to: .b)
        let service = try turnUntilAnswered(by: .b, &patience)
        if !service.isTransferred {
          throw BatonError(.system, "unit \(unit)", "was served by controller b without a change of owner")
        }
      }
      nanoseconds += monotonicNanoseconds() - start
      done += UInt64(Self.units)
    }
    return Double(nanoseconds) / Double(done)
  }

  private static func read(_ unit: Int) -> Request { Request(.read, unit: UInt32(unit), length: 4096) }

  @inline(__always)
  private mutating func turnUntilAnswered(
    by controller: ControllerIdentity, _ patience: inout Patience
  ) throws -> Service {
    while true {
      if let completion = host.next() {
        try completion.expectSuccess()
        guard completion.service.controller == controller else {
          throw BatonError(.system, "controller \(controller)", "was asked, and its peer answered")
        }
        return completion.service
      }
      a.poll()
      try patience.missed()
    }
  }
}

extension ControllerOptions {
  /// Of a controller that this process turns between other things: the defaults, but that nobody takes it for dead
  /// when it is not turned for a while, and that it says nothing.
  static var benched: ControllerOptions {
    var options = ControllerOptions()
    options.deadlineNanoseconds = BenchWorkerCommand.deadlineNanoseconds
    options.logger.logLevel = .error
    return options
  }
}
