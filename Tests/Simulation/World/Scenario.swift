#if Simulation
  import BatonController
  import BatonOwnership
  import BatonSharedMemory
  import BatonTestSupport
  import CBatonMachine

  /// What happens in one run: everything that is drawn from the seed before it begins. Each run draws which kinds of
  /// faults and requests it has, and how often: a mean of everything finds less than many extremes.
  struct Scenario {
    /// Where a process meets its fate.
    enum Trigger: Equatable {
      /// After so many of its steps.
      case steps(UInt64)
      /// At its nth store to its own journal, or to the peer's.
      case journalStore(UInt32, ofPeer: Bool)
      /// At a protocol point, at the nth pass.
      case point(ProtocolPoint, UInt32)
      /// When the hosts have had so many answers since it started.
      case answers(Int)
    }

    /// What happens to a life of a controller.
    enum Fate: Equatable {
      case none
      case dies
      /// For so many nanoseconds, if it is not killed meanwhile.
      case freezes(UInt64)
      /// SIGTERM.
      case isTold
    }

    /// One life of a controller.
    struct Life: Equatable {
      /// From the end of the last one to its start.
      var delayNanoseconds: UInt64
      var fate: Fate
      var trigger: Trigger
      /// Whether it gets the process number of an earlier one.
      var reusesNumber: Bool
      /// When it dies: so many nanoseconds later its peer dies too, whichever life that is in by then.
      var peerFollowsAfter: UInt64?

      /// Whether only a controller that leaves comes by there.
      var isMetWhileLeaving: Bool {
        guard case .point(let point, _) = trigger else { return false }
        return [.vacateBefore, .vacateAfter, .leaveBefore, .leaveAfter].contains(point)
      }
    }

    /// What else happens, when the hosts have had so many answers.
    struct Disturbance: Equatable {
      enum Kind: Equatable {
        case hostDies(Int)
        case hostFreezes(Int, UInt64)
        /// Its connections end.
        case hostIsCutOff(Int)
        /// They end, and it comes back.
        case hostIsAway(Absence)
        /// Both controllers die, the second one so many nanoseconds after the first.
        case bothDie(first: Int, UInt64)
        /// The whole machine stands still.
        case pause(UInt64)
      }
      var afterAnswers: Int
      var kind: Kind

      /// The host that it happens to.
      var host: Int? {
        switch kind {
        case .hostDies(let host), .hostFreezes(let host, _), .hostIsCutOff(let host): host
        case .hostIsAway(let absence): absence.host
        case .bothDie, .pause: nil
        }
      }
    }

    /// A host that is away for a while.
    struct Absence: Equatable {
      var host: Int
      /// When it goes, this controller dies.
      var kills: Int?
      /// It comes back when so many lives of controllers have ended since it went, and this time has passed as well.
      var lives: Int
      var nanoseconds: UInt64
      /// What happens to a controller as it comes back.
      var meanwhile: Meanwhile?
      /// It does not get far then.
      var setback: Setback?
    }

    /// What happens to a controller as a host comes back. One that stands still attaches no host, and is killed for it.
    enum Meanwhile: Equatable {
      case dies(Int)
      case freezes(Int)
    }

    /// What happens to a host that has just come back.
    enum Setback: Equatable {
      /// It dies after so many steps.
      case dies(UInt64)
      /// It dies, or its connections end, so many steps after it asked to be attached, for the nth time.
      case diesAttaching(UInt32, UInt64)
      case isCutOffAttaching(UInt32, UInt64)
    }

    /// How a host behaves.
    struct HostPlan {
      var requests: Int
      var depth: Int
      var lines: Int
      var waiting: WaitStrategy
      /// Chance of 100 that a request goes to controller a.
      var prefersA: UInt64
      /// Whether a buffer is used again as soon as it is free.
      var reusesBuffers: Bool
      /// Weights of the kinds of requests, in the order of `RequestKind`.
      var weights: [UInt64]
      /// Of 100: FUA; transfers in the same few blocks.
      var durable: UInt64
      var crowded: UInt64
      /// How long it does nothing now and then, at most.
      var restMicroseconds: UInt64
      var seed: UInt64
    }

    /// Where a unit's blocks lie.
    enum UnitKind: CaseIterable { case ring, memory }

    var seed: UInt64
    var machine: machine_options
    var units: [UnitKind]
    var blocks: Int
    var hosts: [HostPlan]
    var lives: [[Life]]
    var disturbances: [Disturbance]
    /// Whether a controller is not started again until every request has been answered: its peer alone must do. What a
    /// peer's next life would free stays stuck. It is the first that ends while a host comes back, or that comes to the
    /// end of its lives.
    var oneStaysAway: Bool
    var waiting: [WaitStrategy]
    var deadlineNanoseconds: UInt64
    var absenceNanoseconds: UInt64
    /// Entries of a dead controller's journal that are moved in one turn.
    var journalEntriesPerTurn: Int
    var residency: ResidencyPolicy
    var listensToWords: Bool
    var defect: PlantedDefect?

    /// The scenario of a seed.
    init(seed: UInt64, defect: PlantedDefect? = nil) {
      var random = SeededRandom(seed: seed &* 0x2545_f491_4f6c_dd1d)
      func below(_ limit: UInt64) -> UInt64 { random.below(limit) }
      func oneIn(_ n: UInt64) -> Bool { random.oneIn(n) }
      func pick<T>(_ choices: [T]) -> T { random.pick(choices) }
      func spread(_ limit: UInt64) -> UInt64 { random.spread(limit) }
      func setback() -> Setback? { Self.setback(&random) }
      func meanwhile() -> Meanwhile? {
        switch below(6) {
        case 0: .dies(Int(below(2)))
        case 1: .freezes(Int(below(2)))
        default: nil
        }
      }
      self.seed = seed
      self.defect = defect
      var machine = machine_options()
      machine.seed = seed
      machine.switch_odds = pick([65536, 32768, 13107, 6554, 1311, 655, 131])
      machine.buffer_stores = oneIn(3) ? UInt32(pick([2, 8, 42])) : 0
      machine.uses_priorities = oneIn(6)
      machine.transfer_delay_max = pick([2_000, 20_000, 200_000, 2_000_000, 20_000_000])
      machine.late_delay_max = pick([10_000, 1_000_000, 20_000_000, 60_000_000])
      machine.tear_odds = pick([0, 0, 6554, 32768])
      machine.error_odds = pick([0, 0, 0, 655, 6554])
      machine.retry_odds = pick([0, 0, 655, 6554])
      machine.short_odds = pick([0, 0, 3277, 20000])
      machine.exit_delay_max = pick([0, 50_000, 1_000_000, 20_000_000])
      machine.is_memory_file_system = oneIn(6)
      machine.has_zero_range = oneIn(2)
      machine.has_holes = !oneIn(4)
      self.machine = machine
      units = pick([[.ring], [.ring], [.ring, .ring], [.ring, .memory], [.memory]])
      blocks = Int(pick([8, 16, 32]))
      deadlineNanoseconds = pick([20_000_000, 50_000_000, 200_000_000])
      absenceNanoseconds = pick([5_000_000, 20_000_000, 60_000_000, 200_000_000, 10_000_000_000])
      journalEntriesPerTurn = pick([1, 1, 3, 1024])
      residency = pick([.standard, .pendingOnly, .fixed(nanoseconds: 20_000), .fixed(nanoseconds: 400_000)])
      listensToWords = !oneIn(5)
      let strategies: [WaitStrategy] = [
        .park, .park, .adaptive(spinNanoseconds: 2_000), .adaptive(spinNanoseconds: 20_000),
      ]
      waiting = [pick(strategies), pick(strategies)]

      let hostCount = Int(pick([1, 1, 2, 2, 3]))
      let total = pick([300, 400, 500, 700])
      var weights = RequestKind.allCases.map { _ in below(8) }
      weights[0] = 10 + below(20)
      weights[1] = 10 + below(20)
      // Some runs have nothing but reads and writes.
      let isPlain = oneIn(3)
      if isPlain { for index in 2..<weights.count { weights[index] = 0 } }
      if oneIn(2) { for kind in RequestKind.allCases where kind.setsState { weights[kind.rawValue] = 0 } }
      let (durable, crowded) = (pick([0, 10, 50] as [UInt64]), pick([0, 30, 90] as [UInt64]))
      // So many requests for a block at once that the checker still knows their order in time.
      let depth = Int(crowded == 90 ? pick([1, 2, 4, 6]) : pick([1, 2, 4, 8, 12]))
      let rest = pick([0, 50, 500, 500, 2_000, 10_000] as [UInt64])
      hosts = []
      for _ in 0..<hostCount {
        hosts.append(
          HostPlan(
            requests: total / hostCount, depth: depth, lines: Int(pick([4, 16, 32])), waiting: pick(strategies),
            prefersA: pick([0, 10, 50, 50, 90, 100]), reusesBuffers: oneIn(2), weights: weights, durable: durable,
            crowded: crowded, restMicroseconds: rest, seed: random.next()))
      }

      lives = []
      // How lives end, in this run.
      let (deathWeight, freezeWeight, stopWeight) = (2 + below(6), below(4), below(3))
      let triggerWeights = (steps: below(4), stores: below(3), points: 2 + below(8), answers: 1 + below(3))
      let points = ProtocolPoint.allCases
      let seldom: Set<ProtocolPoint> = [
        .joinBefore, .joinAfter, .resumeBefore, .resumeAfter, .fenceBefore, .fenceAfter, .leaveBefore, .leaveAfter,
        .releaseBefore, .releaseAfter, .killBefore, .killAfter, .exitSeen, .vacateBefore, .vacateAfter, .drainProved,
        .takeOverBefore, .takeOverAfter, .journalCopied, .journalMoved, .replayBefore,
      ]
      for _ in 0..<2 {
        var ofSeat: [Life] = []
        for index in 0..<Int(2 + below(6)) {
          let fate: Fate
          let draw = below(deathWeight + freezeWeight + stopWeight)
          if draw < deathWeight {
            fate = .dies
          } else if draw < deathWeight + freezeWeight {
            fate = .freezes(
              pick([1_000_000, 10_000_000, deadlineNanoseconds, 3 * deadlineNanoseconds]) + below(1_000_000))
          } else {
            fate = .isTold
          }
          let trigger: Trigger
          let kind = below(
            triggerWeights.steps + triggerWeights.stores + triggerWeights.points + triggerWeights.answers)
          if kind < triggerWeights.steps {
            trigger = .steps(spread(60_000))
          } else if kind < triggerWeights.steps + triggerWeights.stores {
            trigger = .journalStore(UInt32(spread(200)), ofPeer: oneIn(4))
          } else if kind < triggerWeights.steps + triggerWeights.stores + triggerWeights.points, fate != .isTold {
            // Half of them where few lives come by.
            let point = oneIn(2) ? pick(points) : pick(points.filter { seldom.contains($0) })
            // What few lives come by, they come by once or twice; management requests are few.
            let most: UInt64 = point == .effectBefore || point == .effectAfter ? 8 : 60
            trigger = .point(point, UInt32(seldom.contains(point) ? (oneIn(4) ? 2 : 1) : spread(most)))
          } else {
            trigger = .answers(Int(below(UInt64(total / 3))))
          }
          ofSeat.append(
            Life(
              delayNanoseconds: index == 0
                ? below(2) * spread(3_000_000) : spread(pick([100_000, 5_000_000, 80_000_000])),
              fate: fate, trigger: trigger, reusesNumber: oneIn(3),
              peerFollowsAfter: oneIn(8) ? spread(5_000_000) : nil))
        }
        lives.append(ofSeat)
      }

      oneStaysAway = oneIn(2)
      disturbances = []
      if !oneIn(3) {
        for _ in 0..<Int(1 + below(5)) {
          let host = Int(below(UInt64(hostCount)))
          let kind: Disturbance.Kind =
            switch below(10) {
            case 0: .hostDies(host)
            case 1: .hostFreezes(host, spread(2 * absenceNanoseconds))
            case 2: .hostIsCutOff(host)
            case 3, 4: .bothDie(first: Int(below(2)), below(2) * spread(20_000_000))
            case 5: .pause(spread(3 * deadlineNanoseconds))
            default:
              .hostIsAway(
                Absence(
                  host: host, kills: oneIn(3) ? nil : Int(below(2)), lives: oneIn(3) ? Int(1 + below(3)) : 0,
                  nanoseconds: oneIn(3) ? spread(20_000_000) : absenceNanoseconds / 2 + below(3 * absenceNanoseconds),
                  meanwhile: meanwhile(), setback: setback()))
            }
          disturbances.append(Disturbance(afterAnswers: Int(below(UInt64(total))), kind: kind))
        }
      }
      switch below(6) {
      case 0, 1: beAboutAbsence(&random)
      case 2: beAboutDeathsInARow(&random)
      default: break
      }
      disturbances.sort { $0.afterAnswers < $1.afterAnswers }
    }

    /// Two of three hosts that come back stay.
    private static func setback(_ random: inout SeededRandom) -> Setback? {
      switch random.below(9) {
      case 0: .dies(random.spread(3_000))
      case 1: .diesAttaching(UInt32(1 + random.below(2)), random.below(80))
      case 2: .isCutOffAttaching(UInt32(1 + random.below(2)), random.below(80))
      default: nil
      }
    }

    /// About hosts that stay away for longer than controllers wait for them, and lives that do not get far: what is
    /// given up, handed over, and found again.
    private mutating func beAboutAbsence(_ random: inout SeededRandom) {
      machine.transfer_delay_max = random.pick([500_000, 2_000_000, 10_000_000])
      machine.late_delay_max = random.pick([10_000, 1_000_000, 5_000_000])
      machine.exit_delay_max = random.pick([0, 50_000, 1_000_000])
      machine.tear_odds = random.pick([6554, 32768])
      machine.error_odds = 0
      machine.is_memory_file_system = false
      units = random.pick([[.ring], [.ring, .ring]])
      blocks = 8
      absenceNanoseconds = random.pick([2_000_000, 5_000_000, 20_000_000])
      deadlineNanoseconds = 20_000_000
      haveTwoHosts(&random)
      let rest = random.pick([20, 200, 1_000] as [UInt64])
      for index in hosts.indices {
        hosts[index].crowded = 90
        hosts[index].restMicroseconds = rest
        hosts[index].depth = Int(random.pick([3, 4, 6]))
      }
      for seat in lives.indices {
        for index in lives[seat].indices {
          lives[seat][index].delayNanoseconds = random.spread(
            random.oneIn(3) ? 8 * absenceNanoseconds : 3_000_000)
          if index == 0 || random.oneIn(2) { continue }
          lives[seat][index].fate = .dies
          lives[seat][index].trigger =
            switch random.below(4) {
            case 0: .point(random.pick([.joinBefore, .joinBefore, .joinAfter, .resumeBefore, .resumeAfter]), 1)
            case 1: .steps(random.spread(4_000))
            case 2: .journalStore(UInt32(random.spread(20)), ofPeer: random.oneIn(2))
            default: .answers(Int(random.below(20)))
            }
        }
      }
      let total = UInt64(hosts.reduce(0) { $0 + $1.requests })
      disturbances = []
      for _ in 0..<Int(1 + random.below(5)) {
        let isBoth = random.oneIn(5)
        disturbances.append(
          Disturbance(
            afterAnswers: Int(random.below(total)),
            kind: isBoth
              ? .bothDie(first: Int(random.below(2)), random.spread(5_000_000)) : .hostIsAway(longAbsence(&random))))
      }
    }

    private func longAbsence(_ random: inout SeededRandom) -> Absence {
      let victim = Int(random.below(2))
      var absence = Absence(
        host: Int(random.below(UInt64(hosts.count))), kills: random.oneIn(5) ? nil : victim, lives: 0,
        nanoseconds: random.spread(4 * absenceNanoseconds) + random.below(2) * 4 * absenceNanoseconds,
        setback: Self.setback(&random))
      switch random.below(6) {
      case 0, 1:
        // It comes back while the end of a life is being noticed.
        absence.lives = Int(1 + random.below(3))
        absence.nanoseconds = random.below(2) * random.spread(absenceNanoseconds)
      case 2: absence.meanwhile = .dies(victim)
      case 3: absence.meanwhile = .freezes(victim)
      default: break
      }
      return absence
    }

    /// About controllers that die one after the other, the second one while it recovers from the end of the first: an
    /// entry of a journal may be in both, be over, or have a successor in its line.
    private mutating func beAboutDeathsInARow(_ random: inout SeededRandom) {
      machine.transfer_delay_max = random.pick([500_000, 2_000_000, 10_000_000])
      machine.late_delay_max = random.pick([1_000_000, 5_000_000, 20_000_000])
      machine.exit_delay_max = random.pick([0, 0, 50_000])
      machine.error_odds = 0
      machine.is_memory_file_system = false
      units = random.pick([[.ring], [.ring], [.ring, .ring]])
      blocks = Int(random.pick([16, 32]))
      deadlineNanoseconds = 20_000_000
      haveTwoHosts(&random)
      let rest = random.pick([0, 20, 200] as [UInt64])
      let isPlain = random.oneIn(2)
      for index in hosts.indices {
        hosts[index].crowded = random.pick([0, 30])
        hosts[index].restMicroseconds = rest
        // One that uses a line again at once, and others that have something in flight.
        hosts[index].depth = Int(random.pick(index == 0 ? [1, 1, 2] : [1, 2, 3, 6]))
        hosts[index].lines = 4
        if isPlain { for kind in 2..<hosts[index].weights.count { hosts[index].weights[kind] = 0 } }
      }
      for seat in lives.indices {
        for index in lives[seat].indices {
          lives[seat][index].delayNanoseconds = random.spread(random.oneIn(3) ? 20_000_000 : 2_000_000)
          if random.oneIn(4) { continue }
          lives[seat][index].fate = .dies
          lives[seat][index].trigger =
            random.oneIn(2)
            ? .point(
              random.pick([.responseAfter, .responseAfter, .responseAfter, .journalCleared, .drainProved]),
              UInt32(1 + random.below(60)))
            : .journalStore(UInt32(random.spread(200)), ofPeer: random.oneIn(4))
          lives[seat][index].peerFollowsAfter =
            random.oneIn(5) ? nil : 20_000 + random.spread(machine.late_delay_max)
        }
      }
      disturbances = Array(disturbances.prefix(1))
    }

    private mutating func haveTwoHosts(_ random: inout SeededRandom) {
      if hosts.count > 1 { return }
      hosts[0].requests /= 2
      hosts.append(hosts[0])
      hosts[1].seed = random.next()
    }

    /// For people: what is special about this run.
    var description: String {
      var lines = [
        "units \(units), \(blocks) blocks of 512 bytes; hosts \(hosts.count), requests "
          + "\(hosts.reduce(0) { $0 + $1.requests }),"
          + " depth \(hosts[0].depth); controllers wait: \(waiting.map(\.name))",
        "switch odds \(machine.switch_odds)/65536\(machine.uses_priorities ? ", priorities" : ""), stores kept back "
          + "\(machine.buffer_stores), transfers up to \(machine.transfer_delay_max / 1000) us, late ones up to "
          + "\(machine.late_delay_max / 1000) us, exits up to \(machine.exit_delay_max / 1000) us a stage",
        "odds of errors \(machine.error_odds), retries \(machine.retry_odds), short \(machine.short_odds), torn "
          + "\(machine.tear_odds); deadline \(deadlineNanoseconds / 1_000_000) ms, absence "
          + "\(absenceNanoseconds / 1_000_000) ms",
      ]
      for (seat, ofSeat) in lives.enumerated() {
        for (number, life) in ofSeat.enumerated() {
          lines.append(
            "controller \(seat == 0 ? "a" : "b"), life \(number + 1): starts after \(life.delayNanoseconds / 1000) us, "
              + "\(life.fate) at \(life.trigger)"
              + (life.peerFollowsAfter.map { ", and its peer \($0 / 1000) us later" } ?? ""))
        }
      }
      if oneStaysAway { lines.append("one controller will stay away") }
      for each in disturbances { lines.append("after \(each.afterAnswers) answers: \(each.kind)") }
      return lines.map { "  \($0)\n" }.joined()
    }
  }

  extension SeededRandom {
    mutating func below(_ limit: UInt64) -> UInt64 { next() % max(limit, 1) }
    mutating func oneIn(_ n: UInt64) -> Bool { below(n) == 0 }
    mutating func pick<T>(_ choices: [T]) -> T { choices[Int(below(UInt64(choices.count)))] }
    /// Between 1 and a limit, each order of magnitude as likely as the next.
    mutating func spread(_ limit: UInt64) -> UInt64 {
      var high: UInt64 = 2
      while high < limit, below(8) != 0 { high *= 2 }
      return 1 + below(min(high, limit))
    }
  }

  /// What hosts ask for.
  enum RequestKind: Int, CaseIterable {
    case read, write, flush, discard, writeZeroes, fillZeroes, fastZeroes
    case makeReadOnly, takeOffline, putOnline
    case identify, listUnits, unitState, statistics
    case misaligned, outOfRange, empty, badBuffer, noSuchUnit, badState

    var setsState: Bool { self == .makeReadOnly || self == .takeOffline || self == .putOnline }
  }
#endif
