#if Simulation
  import BatonChannel
  import BatonChecker
  import BatonController
  import BatonHost
  import BatonOwnership
  import BatonStorage
  import BatonSubsystem
  import BatonSystem
  import BatonTestSupport
  import CBatonMachine
  import Glibc
  import Logging

  /// One run: two controllers with their lives, hosts, and what happens to them.
  ///
  /// First come the faults, then everything heals: from then on no process dies or stands still, storage works, and
  /// every request of a host that lives must be answered. Then an auditor reads every block, the controllers are told
  /// to leave, and the checker has the history.
  final class World {
    let scenario: Scenario
    let subsystem: Subsystem
    let region: Region
    private let folder: String
    var history = History()
    var expected: [Int: Status?] = [:]
    private(set) var findings: [String] = []
    private(set) var counts: [String: UInt64] = [:]
    let isTraced: Bool
    private(set) var isOver = false
    /// Faults so far.
    private(set) var disturbanceCount = 0
    private var answers = 0
    private var seats: [Seat] = [Seat(), Seat()]
    private var hosts: [SimulatedHost] = []
    private var nextDisturbance = 0
    private(set) var hasHealed = false
    /// Every request has been answered: a controller that has stayed away is started again.
    private var isAudited = false
    /// The controller that stays away.
    private var away: Int?
    private var journalOffset: [UInt64] = []

    /// What the world knows of one controller.
    private struct Seat {
      var process: CInt = 0
      var isAlive = false
      /// Which life of its plan it is in, or is to begin.
      var life = 0
      var startsAt: UInt64 = 0
      var thawsAt: UInt64 = .max
      /// It follows its peer, whichever life it is in by then.
      var diesAt: UInt64 = .max
      var hasMetFate = false
      /// It is told to leave in good time to come by where it meets its fate.
      var isToBeTold = false
      /// The answers until its start.
      var answersBefore = 0
      /// It was told to leave for good.
      var isDismissed = false
    }

    private static let faultNanosecondsMax: UInt64 = 20_000_000_000
    private static let healNanosecondsMax: UInt64 = 60_000_000_000

    init(_ scenario: Scenario, folder: String, isTraced: Bool) throws {
      self.scenario = scenario
      self.folder = folder
      self.isTraced = isTraced
      var machine = scenario.machine
      machine_begin(&machine)
      if isTraced {
        machine_trace_to { name, now, text in
          print(World.line(String(cString: name!), now, String(cString: text!)))
        }
      }
      guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
        throw BatonError(result: -Int(errno), folder, doing: "making it")
      }
      var units: [UnitSpecification] = []
      for (index, kind) in scenario.units.enumerated() {
        let size = UInt64(scenario.blocks * 512)
        switch kind {
        case .ring: units.append(UnitSpecification(.path("\(folder)/unit\(index)"), size: size, isBuffered: true))
        case .memory: units.append(UnitSpecification(.memory, size: size))
        }
      }
      subsystem = try Subsystem.create("\(folder)/s", units: units)
      region = try Region(opening: subsystem.location)
      for controller in ControllerIdentity.allCases {
        journalOffset.append(region.journalOffset(of: controller))
      }
    }

    func find(_ text: String) {
      if findings.count < 20 { findings.append(text) }
      note("world", "FOUND: \(text)")
    }

    func count(_ what: String, _ amount: UInt64 = 1) { counts[what, default: 0] += amount }

    func note(_ name: String, _ text: String) {
      if isTraced { print(Self.line(name, machine_now(), text)) }
    }

    static func line(_ name: String, _ now: UInt64, _ text: String) -> String {
      let microseconds = (now &- 1_000_000_000) / 1000
      let time = "\(microseconds / 1000).\(String(1000 + microseconds % 1000).dropFirst())"
      return String(repeating: " ", count: max(0, 10 - time.count)) + "\(time) ms  \(name): \(text)"
    }

    /// A host has had an answer.
    func answered() {
      answers += 1
      let isDue =
        nextDisturbance < scenario.disturbances.count && answers >= scenario.disturbances[nextDisturbance].afterAnswers
      let isFateDue = seats.contains { seat in
        if seat.isAlive, seat.isToBeTold, answers >= seat.answersBefore + 10 { return true }
        guard seat.isAlive, !seat.hasMetFate, let life = plan(seat, of: seat) else { return false }
        if case .answers(let count) = life.trigger { return answers >= seat.answersBefore + count }
        return false
      }
      if !hasHealed, isDue || isFateDue { machine_call() }
    }

    private func plan(_ seat: Seat, of: Seat) -> Scenario.Life? {
      guard !hasHealed, let which = seats.firstIndex(where: { $0.process == seat.process }) else { return nil }
      let lives = scenario.lives[which]
      return seat.life < lives.count ? lives[seat.life] : nil
    }

    // MARK: Processes

    private final class Body {
      let run: () -> Void
      init(_ run: @escaping () -> Void) { self.run = run }
    }

    private func spawn(_ name: String, reusesNumber: Bool, _ run: @escaping () -> Void) -> CInt {
      machine_spawn(
        name, reusesNumber, { Unmanaged<Body>.fromOpaque($0!).takeUnretainedValue().run() },
        Unmanaged.passRetained(Body(run)).toOpaque())
    }

    private func startController(_ which: Int) {
      let identity: ControllerIdentity = which == 0 ? .a : .b
      let seat = seats[which]
      let life = hasHealed || seat.life >= scenario.lives[which].count ? nil : scenario.lives[which][seat.life]
      var options = ControllerOptions()
      options.waiting = scenario.waiting[which]
      options.deadlineNanoseconds = scenario.deadlineNanoseconds
      options.hostAbsenceNanoseconds = scenario.absenceNanoseconds
      options.journalEntriesPerTurn = scenario.journalEntriesPerTurn
      options.residency = scenario.residency
      options.listensToWords = scenario.listensToWords
      options.defect = scenario.defect
      options.logger = Logger(label: "\(identity)") { [unowned self] _ in TraceLog(world: self, name: "\(identity)") }
      // Always: what a message says is read from shared memory, which takes steps.
      options.logger.logLevel = .debug
      if let life, life.fate != .none, case .point(let point, let occurrence) = life.trigger {
        options.stopOrder = StopOrder(point, occurrence: occurrence)
      }
      let settled = options
      let process = spawn("\(identity)\(seat.life + 1)", reusesNumber: life?.reusesNumber ?? false) { [unowned self] in
        do throws(BatonError) {
          // On this stack, as in a process: nothing of it is seen again when the process is killed.
          var controller = try Controller(identity, of: subsystem, options: settled)
          try controller.run()
          count("controller left")
        } catch {
          count(error.description.contains("fenced") ? "controller fenced while alive" : "controller could not start")
          note("\(identity)", "\(error)")
        }
      }
      seats[which].process = process
      seats[which].isAlive = true
      seats[which].answersBefore = answers
      seats[which].hasMetFate = false
      seats[which].thawsAt = .max
      seats[which].isToBeTold = life?.isMetWhileLeaving ?? false
      count("life started")
      note(
        "world",
        "controller \(identity) starts as process \(process)\(life.map { ", \($0.fate) at \($0.trigger)" } ?? "")")
      guard let life, life.fate != .none else { return }
      switch life.trigger {
      case .steps(let steps): machine_trigger_after(process, steps)
      case .journalStore(let nth, let ofPeer):
        machine_trigger_at_store(
          process, subsystem.location.region, journalOffset[ofPeer ? 1 - which : which], UInt64(Journal.byteCount), nth)
      case .point, .answers: break
      }
    }

    private func meetFate(_ which: Int) {
      guard !hasHealed, seats[which].isAlive, !seats[which].hasMetFate,
        seats[which].life < scenario.lives[which].count
      else { return }
      let life = scenario.lives[which][seats[which].life]
      seats[which].hasMetFate = true
      disturbanceCount += 1
      let place =
        switch life.trigger {
        case .steps: "step"
        case .journalStore: "journal store"
        case .point(let point, _): "point \(point)"
        case .answers: "answer"
        }
      switch life.fate {
      case .none: break
      case .dies:
        count("fault death at \(place)")
        killController(which)
        if let nanoseconds = life.peerFollowsAfter {
          count("fault the peer dies soon after")
          seats[1 - which].diesAt = machine_now() + nanoseconds
        }
      case .freezes(let nanoseconds):
        count("fault freeze at \(place)")
        note("world", "controller \(which == 0 ? "a" : "b") freezes")
        machine_freeze(seats[which].process)
        seats[which].thawsAt = machine_now() + nanoseconds
      case .isTold:
        count("fault SIGTERM at \(place)")
        note("world", "controller \(which == 0 ? "a" : "b") is told to leave")
        machine_terminate(seats[which].process)
      }
    }

    private func killController(_ which: Int) {
      guard seats[which].isAlive else { return }
      note("world", "controller \(which == 0 ? "a" : "b") dies")
      machine_kill(seats[which].process)
    }

    /// Whatever has ended is known, and is to be started again.
    private func lookAtEnds() {
      for which in 0..<2 where seats[which].isAlive && machine_state(seats[which].process).rawValue >= 3 {
        seats[which].isAlive = false
        seats[which].thawsAt = .max
        disturbanceCount += 1
        var comesBack = false
        for host in hosts where host.livesLeft > 0 {
          host.livesLeft -= 1
          guard host.livesLeft == 0, let absence = host.absence, host.thawsAt != .max else { continue }
          count("fault host comes back as a life ends")
          comesBack = true
          host.thawsAt = machine_now() + absence.nanoseconds
        }
        gatherCounters(which)
        seats[which].life += 1
        let lives = scenario.lives[which]
        let delay =
          hasHealed || seats[which].life >= lives.count ? 2_000_000 : lives[seats[which].life].delayNanoseconds
        seats[which].startsAt = machine_now() + delay
        if seats[which].life >= lives.count || comesBack { letStayAway(which) }
        if which == away, !isAudited { seats[which].startsAt = .max }
      }
    }

    /// One controller may be gone for good, until every request has been answered.
    private func letStayAway(_ which: Int) {
      if !scenario.oneStaysAway || away != nil || hasHealed { return }
      away = which
      count("fault a controller stays away")
    }

    private func gatherCounters(_ which: Int) {
      let counters = region.controller(which == 0 ? .a : .b).counters
      for counter in Counter.allCases { count("counter \(counter.name)", counters[counter].loadRelaxed()) }
    }

    private func startHost(_ plan: Scenario.HostPlan, isAuditor: Bool = false) {
      let host = SimulatedHost(self, hosts.count, plan, isAuditor: isAuditor)
      hosts.append(host)
      host.process = spawn("host\(host.index)", reusesNumber: false) { host.main() }
    }

    private func disturb(_ kind: Scenario.Disturbance.Kind) {
      disturbanceCount += 1
      note("world", "\(kind)")
      switch kind {
      case .hostDies(let index):
        guard machine_state(hosts[index].process).rawValue < 3, hosts.count < 8 else { return }
        count("fault host dies")
        machine_kill(hosts[index].process)
        // Another one takes its place, with memory and a number of its own.
        var plan = scenario.hosts[index % scenario.hosts.count]
        plan.requests = max(plan.requests - answers, 20)
        plan.seed ^= 0x5eed
        startHost(plan)
      case .hostFreezes(let index, let nanoseconds):
        count("fault host freezes")
        machine_freeze(hosts[index].process)
        hosts[index].thawsAt = machine_now() + nanoseconds
      case .hostIsCutOff(let index):
        count("fault host cut off")
        machine_cut(hosts[index].process)
      case .hostIsAway(let absence):
        let host = hosts[absence.host]
        guard machine_state(host.process).rawValue < 3 else { return }
        count("fault host is away")
        machine_cut(host.process)
        machine_freeze(host.process)
        host.absence = absence
        host.livesLeft = absence.lives
        // If those lives do not end, it comes back all the same.
        host.thawsAt =
          machine_now() + absence.nanoseconds + (absence.lives > 0 ? 20 * scenario.absenceNanoseconds : 0)
        if let victim = absence.kills { killController(victim) }
      case .bothDie(let first, let nanoseconds):
        count("fault both die")
        killController(first)
        if nanoseconds > 0 {
          seats[1 - first].diesAt = machine_now() + nanoseconds
        } else {
          killController(1 - first)
        }
      case .pause(let nanoseconds):
        count("fault pause")
        machine_pause(nanoseconds)
      }
    }

    // MARK: The run

    /// Everything. Returns what is wrong; nothing: all is well.
    func run() -> [String] {
      for which in 0..<2 { seats[which].startsAt = machine_now() + scenario.lives[which][0].delayNanoseconds }
      for plan in scenario.hosts { startHost(plan) }
      let begin = machine_now()
      turn(until: begin + Self.faultNanosecondsMax) { [self] in hosts.allSatisfy(isSettled) }
      heal()
      let healed = machine_now()
      turn(until: healed + Self.healNanosecondsMax) { [self] in hosts.allSatisfy(isSettled) }
      if findings.isEmpty { audit() }
      noteMissing()
      dismiss()
      findings += history.findings()
      if findings.isEmpty { losePower() }
      summarize()
      return findings
    }

    private func isSettled(_ host: SimulatedHost) -> Bool {
      host.isDone || machine_state(host.process).rawValue >= 3
    }

    /// Lets everybody run, and does what is due, until that is so or the time is over.
    private func turn(until end: UInt64, _ isEnough: () -> Bool) {
      while machine_now() < end, !isEnough(), findings.isEmpty {
        let now = machine_now()
        for which in 0..<2 {
          if !seats[which].isAlive, !seats[which].isDismissed, seats[which].startsAt <= now { startController(which) }
          if seats[which].diesAt <= now {
            seats[which].diesAt = .max
            killController(which)
          }
          if seats[which].thawsAt <= now {
            seats[which].thawsAt = .max
            note("world", "controller \(which == 0 ? "a" : "b") goes on")
            machine_thaw(seats[which].process)
          }
          if seats[which].isAlive, seats[which].isToBeTold, answers >= seats[which].answersBefore + 10 {
            seats[which].isToBeTold = false
            machine_terminate(seats[which].process)
          }
          if seats[which].isAlive, !seats[which].hasMetFate, let life = plan(seats[which], of: seats[which]),
            case .answers(let count) = life.trigger, answers >= seats[which].answersBefore + count
          {
            meetFate(which)
          }
        }
        for host in hosts where host.thawsAt <= now {
          host.thawsAt = .max
          disturbanceCount += 1
          machine_thaw(host.process)
          switch host.absence?.meanwhile {
          case .dies(let which) where seats[which].isAlive:
            count("fault a controller dies as a host comes back")
            letStayAway(which)
            killController(which)
          case .freezes(let which) where seats[which].isAlive:
            count("fault a controller freezes as a host comes back")
            letStayAway(which)
            machine_freeze(seats[which].process)
            seats[which].thawsAt = machine_now() + 3 * scenario.deadlineNanoseconds
          default: break
          }
          switch host.absence?.setback {
          case .dies(let steps): machine_trigger_after(host.process, steps)
          case .diesAttaching(let nth, let steps), .isCutOffAttaching(let nth, let steps):
            machine_trigger_after_handing(host.process, nth, steps)
          case nil: break
          }
        }
        while !hasHealed, nextDisturbance < scenario.disturbances.count,
          answers >= scenario.disturbances[nextDisturbance].afterAnswers
        {
          disturb(scenario.disturbances[nextDisturbance].kind)
          nextDisturbance += 1
        }
        lookAtEnds()
        var next = end
        for seat in seats {
          if !seat.isAlive, !seat.isDismissed { next = min(next, seat.startsAt) }
          next = min(next, seat.thawsAt, seat.diesAt)
        }
        for host in hosts { next = min(next, host.thawsAt) }
        var process: CInt = 0
        let event = machine_run(max(next, machine_now() + 1), &process)
        switch event {
        case MACHINE_TRIGGER:
          if let which = seats.firstIndex(where: { $0.process == process && $0.isAlive }) {
            meetFate(which)
          } else if !hasHealed, let host = hosts.first(where: { $0.process == process }) {
            meetSetback(host)
          }
        case MACHINE_STOPPED:
          guard let which = seats.firstIndex(where: { $0.process == process && $0.isAlive }) else { break }
          if !hasHealed, seats[which].life < scenario.lives[which].count,
            case .point(let point, _) = scenario.lives[which][seats[which].life].trigger
          {
            count("point \(point)")
            meetFate(which)
          } else {
            machine_thaw(process)
          }
        case MACHINE_IDLE: return find("nothing happens any more")
        default: break
        }
        lookAtEnds()
        if findings.isEmpty, let complaint = machine_complaint() { find(String(cString: complaint)) }
      }
    }

    /// A host that has just come back comes to its trigger.
    private func meetSetback(_ host: SimulatedHost) {
      defer { host.absence = nil }
      switch host.absence?.setback {
      case .dies: disturb(.hostDies(host.index))
      case .diesAttaching:
        count("fault host dies as it attaches")
        disturb(.hostDies(host.index))
      case .isCutOffAttaching:
        count("fault host is cut off as it attaches")
        disturb(.hostIsCutOff(host.index))
      case nil: break
      }
    }

    private func heal() {
      hasHealed = true
      disturbanceCount += 1
      note("world", "everything heals")
      machine_calm()
      for which in 0..<2 {
        seats[which].thawsAt = .max
        seats[which].diesAt = .max
        if seats[which].isAlive {
          machine_trigger_after(seats[which].process, 0)
          machine_thaw(seats[which].process)
        } else if which != away {
          seats[which].startsAt = min(seats[which].startsAt, machine_now() + 5_000_000)
        }
      }
      for host in hosts {
        host.thawsAt = .max
        machine_thaw(host.process)
      }
    }

    private func audit() {
      isAudited = true
      if let away { seats[away].startsAt = machine_now() }
      // A unit that is offline answers no reads: put it online first. The auditor's reads come after that.
      var plan = scenario.hosts[0]
      plan.depth = 2
      plan.prefersA = 50
      plan.requests = 6 * scenario.units.count
      plan.weights = RequestKind.allCases.map { $0 == .putOnline ? 1 : 0 }
      plan.seed = scenario.seed
      startHost(plan)
      turn(until: machine_now() + Self.healNanosecondsMax) { [self] in hosts.allSatisfy(isSettled) }
      startHost(plan, isAuditor: true)
      turn(until: machine_now() + Self.healNanosecondsMax) { [self] in hosts.allSatisfy(isSettled) }
    }

    private func noteMissing() {
      // A run that was broken off has not waited for them.
      if !findings.isEmpty { return }
      for host in hosts where machine_state(host.process).rawValue < 3 {
        for position in host.outstanding.values { history.requests[position].answer = .missing }
        if !host.isDone, host.outstanding.isEmpty, findings.isEmpty { find("host \(host.index) never got attached") }
      }
    }

    /// Both controllers are told to leave, one after the other, and must.
    private func dismiss() {
      for which in 0..<2 {
        if !findings.isEmpty { return }
        seats[which].isDismissed = true
        guard seats[which].isAlive else { continue }
        machine_terminate(seats[which].process)
        turn(until: machine_now() + 30_000_000_000) { [self] in !seats[which].isAlive }
        if findings.isEmpty, seats[which].isAlive { find("controller \(which == 0 ? "a" : "b") does not leave") }
      }
      isOver = true
    }

    private func losePower() {
      // What lies in memory is lost as a whole.
      if scenario.machine.is_memory_file_system { return }
      for (unit, kind) in scenario.units.enumerated() where kind == .ring {
        var bytes = [UInt8](repeating: 0, count: scenario.blocks * 512)
        machine_lose_power("\(folder)/unit\(unit)", scenario.seed, &bytes, bytes.count)
        let values = bytes.withUnsafeBytes { bytes in
          (0..<scenario.blocks).map { Self.value(bytes.baseAddress! + $0 * 512, unit, $0) }
        }
        findings += history.findings(ofUnit: unit, afterLoss: values)
      }
    }

    /// The value in a block; `garbage` if it is no whole block of any write to that place.
    static func value(_ address: UnsafeRawPointer, _ unit: Int, _ block: Int) -> UInt64 {
      let value = address.load(as: UInt64.self)
      let place = value == 0 ? 0 : UInt64(unit) << 32 | UInt64(block + 1)
      for index in 0..<32 {
        if address.load(fromByteOffset: index * 16, as: UInt64.self) != value
          || address.load(fromByteOffset: index * 16 + 8, as: UInt64.self) != place
        {
          return History.Request.garbage
        }
      }
      return value
    }

    private func summarize() {
      let names: [(String, machine_count)] = [
        ("steps", MACHINE_STEPS), ("switches", MACHINE_SWITCHES), ("reads", MACHINE_READS), ("writes", MACHINE_WRITES),
        ("durable writes", MACHINE_DURABLE_WRITES), ("syncs", MACHINE_SYNCS), ("holes and zeroes", MACHINE_HOLES),
        ("torn transfers", MACHINE_TORN), ("late writes of the dead", MACHINE_LATE),
        ("transfers that never landed", MACHINE_NEVER_LANDED), ("I/O errors", MACHINE_ERRORS),
        ("retries", MACHINE_RETRIES), ("short transfers", MACHINE_SHORT), ("kills by pidfd", MACHINE_SIGNALS),
        ("futex waits", MACHINE_FUTEX_WAITS), ("futex wakes", MACHINE_FUTEX_WAKES),
        ("futex waits in a ring", MACHINE_RING_FUTEX_WAITS), ("stores kept back", MACHINE_DELAYED_STORES),
        ("membarriers", MACHINE_FENCES_FOR_OTHERS), ("process numbers used again", MACHINE_REUSED_NUMBERS),
      ]
      for (name, what) in names { count("machine \(name)", machine_counted(what)) }
      count("answers", UInt64(answers))
    }
  }

  /// A controller's log, among everything else that happens.
  ///
  /// Unchecked: all of the simulation is one thread.
  struct TraceLog: LogHandler, @unchecked Sendable {
    unowned let world: World
    let name: String
    var metadata = Logger.Metadata()
    var logLevel = Logger.Level.debug

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      world.note(name, "\(event.message)")
      let text = "\(event.message)"
      for branch in Coverage.logged where text.contains(branch) { world.count("log \(branch)") }
    }
  }
#endif
