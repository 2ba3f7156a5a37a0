import Baton
import BatonCommandKit
import Glibc

extension Bench {
  /// Many requests at a time: how many per second, how late they are when they arrive at a given rate, and what is left
  /// of the rate when two hosts fight.
  mutating func throughput() throws {
    try rates()
    try fighting()
  }

  /// Requests outstanding at a time.
  private static var depths: [UInt64] { [1, 8, 32, 64] }
  /// Of what can be answered, in hundredths: the arrivals of the open loop.
  private static var loads: [Int] { [25, 50, 75, 90] }
  /// How long arrivals last in a round.
  private var arrivalSeconds: Double { isQuick ? 0.05 : 0.25 }

  // MARK: One host, one controller

  /// The measurements of a comparison at several depths.
  private enum RateThing: Equatable {
    /// A bare ring of request lines, as many as there are requests outstanding.
    case ring(depth: UInt64, inBatches: Bool)
    /// A host and a controller.
    case owner(depth: UInt64, inBatches: Bool)
    /// A bare ring of as many lines as a channel has by default, whatever the depth.
    case longRing(depth: UInt64)
    /// No-ops of an io_uring, so many at a time.
    case nothing(depth: UInt64)
  }

  /// One host and one controller, each spinning on a CPU of its own, and requests on a null unit. The floor is a bare
  /// ring of 64-byte request lines that the other process answers in place, with nothing in between.
  ///
  /// Host and ring are asked in two ways, taking answers one by one or all that have come. Of either the better way
  /// counts: a floor that could be faster for another loop around it would be none.
  private mutating func rates() throws {
    let turns = turns
    let depths = Self.depths
    let deepest = depths[depths.count - 1]
    var things: [RateThing] = [.nothing(depth: deepest), .longRing(depth: deepest)]
    for depth in depths {
      for inBatches in depth == 1 ? [false] : [false, true] {
        things += [.ring(depth: depth, inBatches: inBatches), .owner(depth: depth, inBatches: inBatches)]
      }
    }
    progress.begin("throughput: trying the peers")
    var peers = PeerThings(
      PeerBench(
        Peer.allCases.filter { $0.spins && $0 != .mutexSpinning }, .throughput, turns: turns, depth: Int(deepest),
        cpus: cpus), after: things.count, goals: spinningGoals([.boostQueue: 1 / 1.5]), isRate: true)
    try Self.withSubsystem("throughput", [Self.nullUnit]) { subsystem in
      var partner = try partner(BenchRole(controllers: [subsystem]))
      try pinned {
        try partner.begin(.controller)
        var host = try Host(of: subsystem, options: Self.spinningHost)
        try host.waitUntilAttached()
        var owner = NullReader(host, of: .b)
        var uring = try BareUring()
        let step = "throughput: one host, one controller"
        let measured = try interleaved(step, things: peers.count, control: 1) { thing, _ in
          if peers.contains(thing) {
            try partner.rest()
            return peers.measure(thing)
          }
          switch things[thing] {
          case .nothing(let depth):
            try partner.rest()
            return 1e9 / (try uring.nanosecondsPerNothing(turns, batch: Int(depth)))
          case .ring(let depth, let inBatches):
            var ring = try BareRing(&partner, lines: depth)
            return 1e9
              / (try ring.nanosecondsPerRequest(turns, depth: depth, inBatches: inBatches, partner.patience))
          case .longRing(let depth):
            var ring = try BareRing(&partner, lines: UInt64(BenchPage.ringLinesMax))
            return 1e9 / (try ring.nanosecondsPerRequest(turns, depth: depth, partner.patience))
          case .owner(let depth, let inBatches):
            try partner.begin(.controller)
            return 1e9
              / (try owner.nanosecondsPerRequest(turns, depth: depth, inBatches: inBatches, partner.patience))
          }
        }
        /// The place of the better of two ways.
        func better(_ one: RateThing, _ other: RateThing) -> Int {
          let places = [one, other].compactMap { things.firstIndex(of: $0) }
          return places.max { measured.percentile($0, 50) < measured.percentile($1, 50) } ?? 0
        }
        for depth in depths {
          let ours = better(.owner(depth: depth, inBatches: false), .owner(depth: depth, inBatches: true))
          let floor = better(.ring(depth: depth, inBatches: false), .ring(depth: depth, inBatches: true))
          var rivals: [Interleaved.Rival] = []
          if depth == deepest {
            rivals =
              [
                .thing("bare ring of \(BenchPage.ringLinesMax) lines, answers taken one by one", 1),
                .thing("io_uring no-op, \(depth) at a time", 0),
              ] + peers.rivals
          }
          report.append(
            measured.row(
              .throughput, "null requests, depth \(depth)", metric: "rate", unit: "requests/s", ours: ours,
              floor: ("bare ring of request lines", floor), peers: rivals,
              goal: depth == deepest ? spinningGoal(2) : nil, better: .more, waiting: .spinning))
        }
        report.append(
          measured.controlRow(
            .throughput, of: "bare ring of \(BenchPage.ringLinesMax) lines, depth \(deepest)", metric: "rate",
            unit: "requests/s", better: .more, waiting: .spinning))
        try openLoop(&partner, &owner)
      }
    }
  }

  /// Requests that arrive at fixed rates, whatever becomes of them, each timed from the moment when it was due.
  ///
  /// The rates are shares of what the controller can answer when all are due at once, through the very same loop, which
  /// reads the clock once a turn. The bare ring gets the same arrivals.
  private mutating func openLoop(
    _ partner: inout BenchPartner, _ owner: inout NullReader
  ) throws {
    progress.begin("throughput: how much can be answered")
    var capacities: [Double] = []
    for _ in 0...Interleaved.roundsMin {
      var none = Latencies()
      try partner.begin(.controller)
      capacities.append(try owner.answerArrivals(turns, every: 0, into: &none, partner.patience))
    }
    // The first one warms up.
    let capacity = capacities.dropFirst().sorted()[Interleaved.roundsMin / 2]
    let loads = Self.loads
    let seconds = arrivalSeconds
    var latencies = Array(repeating: Latencies(), count: 2 * loads.count)
    let step = "throughput: requests that arrive at a fixed rate"
    let measured = try interleaved(step, things: 2 * loads.count) { thing, round in
      let rate = capacity * Double(loads[thing / 2]) / 100
      var single = Latencies()
      let requests = UInt64(rate * seconds)
      if thing & 1 == 0 {
        var ring = try BareRing(&partner, lines: UInt64(BenchPage.ringLinesMax))
        _ = try ring.answerArrivals(requests, every: 1e9 / rate, into: &single, partner.patience)
      } else {
        try partner.begin(.controller)
        _ = try owner.answerArrivals(requests, every: 1e9 / rate, into: &single, partner.patience)
      }
      if round > 0 { latencies[thing].add(single) }
      return Double(single.summary.p50)
    }
    let floor = "bare ring, same arrivals"
    for (index, load) in loads.enumerated() {
      let rate = Figure.fixed(capacity * Double(load) / 100 / 1e6, 2)
      report.append(
        measured.row(
          .throughput, "latency at \(load) % of the rate that can be answered (\(rate) million/s)",
          metric: "latency since due", unit: "ns", ours: 2 * index + 1, floor: (floor, 2 * index), waiting: .spinning,
          latencies: latencies[2 * index + 1].summary,
          curves: [latencies[2 * index + 1].curve("host to owner and back"), latencies[2 * index].curve(floor)]))
    }
  }

  // MARK: Two hosts

  /// Requests that each of the fighting hosts keeps outstanding.
  private static var fightingDepth: UInt64 { 32 }

  /// Two hosts on one unit, each through its own controller, so that ownership has to move for the host that is next;
  /// compared with the same two through one controller. Four processes, none pinned, all with the default wait strategy
  /// and residency. On a null unit, where nothing but the dispatch costs anything, and on a file.
  private mutating func fighting() throws {
    let scratch = try ScratchDirectory(in: directory, name: "fighting")
    let log = "\(scratch.path)/log"
    let size: UInt64 = 64 << 20
    progress.begin("throughput: making a file")
    try NoiseFile.make(at: "\(scratch.path)/unit", count: size, seed: 1)
    try fighting(over: "a null unit", UnitSpecification(.null, size: size), size, log: log)
    try fighting(over: "a file", UnitSpecification(.path("\(scratch.path)/unit")), size, log: log)
  }

  private mutating func fighting(over what: String, _ unit: UnitSpecification, _ size: UInt64, log: String) throws {
    let watch = watch
    let milliseconds = isQuick ? 150 : 500
    let rounds = isQuick ? Interleaved.roundsMin : min(rounds, 15)
    let measured = try Self.withSubsystem("fighting", [unit]) { subsystem in
      progress.begin("throughput: starting two controllers and two hosts")
      var controllers = try ControllerPair(of: subsystem, by: .shipped(), log: log)
      var one = try BenchPartner(BenchRole(host: subsystem), isCrowded: isCrowded, watch)
      var other = try BenchPartner(BenchRole(host: subsystem), isCrowded: isCrowded, watch)
      let step = "throughput: two hosts fight over \(what)"
      let measured = try interleaved(step, things: 2, control: 0, rounds: rounds) { thing, _ in
        one.announce(.host, argument: 0, turns: size / 4096, depth: Self.fightingDepth)
        other.announce(.host, argument: thing == 0 ? 0 : 1, turns: size / 4096, depth: Self.fightingDepth)
        try one.waitUntilBegun()
        try other.waitUntilBegun()
        try watch.sleep(milliseconds: milliseconds)
        try one.rest()
        try other.rest()
        return one.answersPerSecond + other.answersPerSecond
      }
      try controllers.stop()
      return measured
    }
    let floor = "both through one controller"
    report.append(
      measured.row(
        .throughput, "two hosts, one unit (\(what)), a controller each", metric: "rate", unit: "requests/s", ours: 1,
        floor: (floor, 0), goal: .ratio(1 / 0.7), better: .more, waiting: .adaptive))
    report.append(
      measured.controlRow(
        .throughput, of: "two hosts through one controller", metric: "rate", unit: "requests/s", better: .more,
        waiting: .adaptive))
  }
}
