#if Simulation
  import BatonChannel
  import BatonChecker
  import BatonHost
  import BatonOwnership
  import BatonSubsystem
  import BatonTestSupport
  import CBatonMachine
  import Glibc

  /// A host in a process of its own: submits what its plan says, and notes what it was told.
  final class SimulatedHost {
    let world: World
    let index: Int
    let plan: Scenario.HostPlan
    /// Reads every block once through each controller, after everything else.
    let isAuditor: Bool
    var process: CInt = 0
    var isDone = false
    var thawsAt: UInt64 = .max
    /// Its last absence, and the lives of controllers that must end before it comes back.
    var absence: Scenario.Absence?
    var livesLeft = 0
    /// The numbers, in the history, of the requests that wait for their answer.
    var outstanding: [UInt64: Int] = [:]
    private var random: SeededRandom
    private var made = 0
    private var slots: [Slot] = []
    private var free: [Int] = []

    /// A part of the arena for one request.
    private struct Slot {
      /// What it held when its request was answered: nobody may write there after that.
      var digest: UInt64?
    }

    static let blocksMax = 8

    init(_ world: World, _ index: Int, _ plan: Scenario.HostPlan, isAuditor: Bool = false) {
      self.world = world
      self.index = index
      self.plan = plan
      self.isAuditor = isAuditor
      random = SeededRandom(seed: plan.seed)
    }

    private var requestsMax: Int {
      let readsPerUnit = (world.scenario.blocks + Self.blocksMax - 1) / Self.blocksMax
      return isAuditor ? 2 * readsPerUnit * world.scenario.units.count : plan.requests
    }

    /// The process.
    func main() {
      guard var host = attach() else { return }
      slots = Array(repeating: Slot(digest: nil), count: plan.depth + 2)
      free = Array(slots.indices)
      var waitsInVain = 0
      while made < requestsMax || host.outstanding > 0 {
        while made < requestsMax, host.outstanding < plan.depth, !free.isEmpty, submit(&host) {}
        if let completion = host.next() {
          take(completion, host.arena)
          if plan.restMicroseconds > 0, !isAuditor, !world.hasHealed, below(4) == 0 {
            usleep(UInt32(1 + below(Int(plan.restMicroseconds))))
          }
          continue
        }
        let (before, disturbances) = (machine_now(), world.disturbanceCount)
        let attached = attachments(host)
        host.wait(nanoseconds: 90_000_000)
        let isLong = machine_now() - before >= 90_000_000
        // Nobody wakes a host whose connections have ended.
        let isHeard = attached != 0 && attachments(host) == attached
        waitsInVain =
          isLong && isHeard && host.hasAnswer && disturbances == world.disturbanceCount ? waitsInVain + 1 : 0
        if waitsInVain == 2 { world.find("host \(index) slept twice for 90 ms with an answer in its lines") }
        if let loss = host.subsystemLoss { return world.find("host \(index): \(loss)") }
      }
      for slot in slots.indices { check(slot, host.arena) }
      if host.strayAnswers > 0 { world.find("host \(index) got \(host.strayAnswers) answers that belong to nothing") }
      isDone = true
      machine_call()
      // It stays attached, as hosts do.
      while !world.isOver {
        _ = host.next()
        host.wait(nanoseconds: 50_000_000)
        for slot in slots.indices { check(slot, host.arena) }
      }
    }

    /// The controllers that it is attached to, a bit for each.
    private func attachments(_ host: borrowing Host) -> Int {
      (host.isAttached(to: .a) ? 1 : 0) | (host.isAttached(to: .b) ? 2 : 0)
    }

    private func attach() -> Host? {
      var options = HostOptions()
      options.linesPerChannel = plan.lines
      options.arenaSize = UInt64(((plan.depth + 2) * Self.blocksMax * 512 + 4095) / 4096 * 4096)
      options.waiting = plan.waiting
      while !world.isOver {
        do {
          var host = try Host(of: world.subsystem, options: options)
          if waitUntilAttached(&host) {
            world.count("host attached")
            return host
          }
        } catch {
          world.note("host \(index)", "\(error)")
        }
        world.count("host tried again to attach")
        usleep(1000)
      }
      return nil
    }

    /// Waits for its time, unless it is refused: not only until the one controller that it has reached is gone.
    private func waitUntilAttached(_ host: inout Host) -> Bool {
      let (began, nanoseconds) = (machine_now(), 200_000_000 as UInt64)
      do {
        try host.waitUntilAttached(nanoseconds: nanoseconds)
        return true
      } catch {
        world.note("host \(index)", "\(error)")
        let waited = machine_now() - began
        if waited < nanoseconds, host.refusal == nil, host.subsystemLoss == nil {
          world.find("host \(index) gave up attaching after \(waited / 1000) us, and nobody had refused it: \(error)")
        }
        return false
      }
    }

    // MARK: Asking

    private func below(_ limit: Int) -> Int { Int(random.next() % UInt64(max(limit, 1))) }

    private func drawKind() -> RequestKind {
      var draw = random.next() % max(plan.weights.reduce(0, +), 1)
      for (index, weight) in plan.weights.enumerated() {
        if draw < weight { return RequestKind(rawValue: index) ?? .read }
        draw -= weight
      }
      return .read
    }

    private func submit(_ host: inout Host) -> Bool {
      let slotPosition = plan.reusesBuffers ? free.count - 1 : 0
      let slot = free[slotPosition]
      check(slot, host.arena)
      slots[slot].digest = nil
      let buffer = slot * Self.blocksMax * 512
      var (kind, unit, block, count) = (drawKind(), below(world.scenario.units.count), 0, 0)
      if isAuditor {
        let readsPerUnit = (world.scenario.blocks + Self.blocksMax - 1) / Self.blocksMax
        kind = .read
        unit = made / 2 / readsPerUnit
        block = made / 2 % readsPerUnit * Self.blocksMax
        count = min(Self.blocksMax, world.scenario.blocks - block)
      } else {
        let area = UInt64(below(100)) < plan.crowded ? 4 : world.scenario.blocks
        count = 1 + below(min(Self.blocksMax, area))
        block = below(area - count + 1)
      }
      let number = UInt64(made + 1)
      let value = UInt64(index + 1) << 32 | number
      var request = Request(
        .read, unit: UInt32(unit), offset: UInt64(block * 512), length: UInt64(count * 512), buffer: UInt64(buffer))
      request.isDurable = UInt64(below(100)) < plan.durable
      var noted = History.Request(
        host: index, number: number, .other, unit: unit, block: block, count: count, value: value, calledAt: 0)
      var expected: Status?
      switch kind {
      case .read:
        noted.kind = .read
        request.isDurable = false
        memset(host.arena.baseAddress! + buffer, 0xa5, count * 512)
      case .write:
        request.operation = .write
        noted.kind = .write
        for index in 0..<count { stamp(host.arena.baseAddress! + buffer + index * 512, value, unit, block + index) }
      case .flush:
        request = Request(.flush, unit: UInt32(unit))
        noted.kind = .flush
        noted.count = 0
      case .discard:
        request.operation = .discard
        request.isDurable = false
        noted.kind = .discard
      case .writeZeroes, .fillZeroes, .fastZeroes:
        request.operation = kind == .fillZeroes ? .fillZeroes : .writeZeroes
        request.mustBeFast = kind == .fastZeroes
        noted.kind = .zero
      case .makeReadOnly, .takeOffline, .putOnline:
        let state: UnitState = kind == .makeReadOnly ? .readOnly : kind == .takeOffline ? .offline : .online
        request = Request(.setUnitState, unit: UInt32(unit), offset: state.rawValue)
        noted.kind = .setState(state.rawValue)
        noted.count = 0
      case .identify: request = Request(.identify, length: 512, buffer: UInt64(buffer))
      case .listUnits: request = Request(.listUnits, length: 512, buffer: UInt64(buffer))
      case .unitState: request = Request(.unitState, unit: UInt32(unit))
      case .statistics: request = Request(.statistics, length: 1024, buffer: UInt64(buffer))
      case .misaligned:
        request.offset = 8
        request.length = 512
        expected = .misaligned
      case .outOfRange:
        request.offset = UInt64(world.scenario.blocks * 512)
        expected = .outOfRange
      case .empty:
        request.length = 0
        expected = .zeroLength
      case .badBuffer:
        request.buffer = UInt64(host.arena.count)
        expected = .badBuffer
      case .noSuchUnit:
        request.unit = 77
        expected = .noSuchUnit
      case .badState:
        request = Request(.setUnitState, unit: UInt32(unit), offset: 9)
        expected = .invalidValue
      }
      if noted.kind == .other { noted.count = 0 }
      noted.isDurable = request.isDurable
      let position = world.history.requests.count
      let controller: ControllerIdentity =
        isAuditor ? (made % 2 == 0 ? .a : .b) : UInt64(below(100)) < plan.prefersA ? .a : .b
      noted.calledAt = machine_now()
      // Before it is submitted: this process may end in the middle of that.
      world.history.requests.append(noted)
      outstanding[number] = position
      world.expected[position] = expected
      let cookie = number << 16 | UInt64(slot)
      guard host.submit(request, to: isAuditor || below(3) > 0 ? controller : nil, cookie: cookie) else {
        outstanding[number] = nil
        world.history.requests[position].answer = .refused
        return false
      }
      free.remove(at: slotPosition)
      made += 1
      world.count("request \(kind)")
      if world.isTraced { world.note("host \(index)", "asks \(controller): \(world.history.describe(noted))") }
      return true
    }

    // MARK: Answers

    private func take(_ completion: Completion, _ arena: UnsafeMutableRawBufferPointer) {
      let number = completion.cookie >> 16
      let slot = Int(completion.cookie & 0xffff)
      guard let position = outstanding.removeValue(forKey: number) else {
        return world.find("host \(index) got a second answer to request \(number): \(completion)")
      }
      let buffer = slot * Self.blocksMax * 512
      var noted = world.history.requests[position]
      noted.answeredAt = machine_now()
      noted.answer = answer(completion, noted, world.expected[position] ?? nil)
      if noted.kind == .read, noted.answer == .done {
        noted.found = (0..<noted.count).map {
          value(arena.baseAddress! + buffer + $0 * 512, noted.unit, noted.block + $0)
        }
      }
      world.history.requests[position] = noted
      if world.isTraced {
        world.note("host \(index)", "request \(number) of unit \(noted.unit): \(completion) \(noted.found)")
      }
      slots[slot].digest = digest(slot, arena)
      free.append(slot)
      world.count("status \(completion.status)")
      world.answered()
    }

    private func answer(_ completion: Completion, _ noted: History.Request, _ expected: Status?)
      -> History.Request.Answer
    {
      if let expected {
        switch completion.status {
        case expected, .readOnly, .offline, .leaving, .controllerLost: return .refused
        default: return .wrong("answered \(completion.status), though it is \(expected)")
        }
      }
      switch completion.status {
      case .success:
        let isTransfer = noted.kind == .read || noted.kind == .write
        if isTransfer, completion.value != UInt64(noted.count * 512) {
          return .wrong("answered with \(completion.value) bytes")
        }
        return .done
      case .leaving: return .refused
      case .controllerLost: return .unknown
      case .inputOutputError where world.scenario.machine.error_odds > 0: return .unknown
      case .readOnly: return .refusedInState(UnitState.readOnly.rawValue)
      case .offline: return .refusedInState(UnitState.offline.rawValue)
      case .unsupported where noted.kind == .zero: return .refused
      default: return .wrong("answered \(completion.status)")
      }
    }

    // MARK: Data

    /// A block of a write: its value and its place, over and over.
    private func stamp(_ address: UnsafeMutableRawPointer, _ value: UInt64, _ unit: Int, _ block: Int) {
      for index in 0..<32 {
        address.storeBytes(of: value, toByteOffset: index * 16, as: UInt64.self)
        address.storeBytes(of: UInt64(unit) << 32 | UInt64(block + 1), toByteOffset: index * 16 + 8, as: UInt64.self)
      }
    }

    private func value(_ address: UnsafeRawPointer, _ unit: Int, _ block: Int) -> UInt64 {
      World.value(address, unit, block)
    }

    private func digest(_ slot: Int, _ arena: UnsafeMutableRawBufferPointer) -> UInt64 {
      let base = arena.baseAddress! + slot * Self.blocksMax * 512
      var digest: UInt64 = 0xcbf2_9ce4_8422_2325
      for index in 0..<Self.blocksMax * 64 {
        digest = (digest ^ base.load(fromByteOffset: index * 8, as: UInt64.self)) &* 0x100_0000_01b3
      }
      return digest
    }

    private func check(_ slot: Int, _ arena: UnsafeMutableRawBufferPointer) {
      guard let before = slots[slot].digest else { return }
      if digest(slot, arena) != before {
        world.find("host \(index): buffer \(slot) was written to after its request had been answered")
        slots[slot].digest = nil
      }
    }
  }
#endif
