import Baton
import BatonCommandKit
import BatonController

/// The faults that `baton stress` does to the controllers.
enum FaultKind: String, CaseIterable, Comparable {
  /// One is killed.
  case kill
  /// One is frozen and left so; its peer kills it.
  case freeze
  /// One is frozen and continues before its peer may kill it.
  case pause
  /// Both are hit.
  case both
  /// One is asked to leave.
  case leave

  /// In the order of the table.
  static func < (left: FaultKind, right: FaultKind) -> Bool {
    allCases.firstIndex(of: left)! < allCases.firstIndex(of: right)!
  }

  /// The frequency of each kind, if all are used.
  fileprivate var weight: UInt64 {
    switch self {
    case .kill: 35
    case .freeze: 15
    case .pause: 15
    case .both: 25
    case .leave: 10
    }
  }
}

/// One thing that the driver does, or waits for.
enum FaultStep: Equatable {
  /// SIGKILL, SIGSTOP, SIGCONT, SIGTERM; nothing if the controller is not running.
  case kill(ControllerIdentity)
  case freeze(ControllerIdentity)
  case proceed(ControllerIdentity)
  case terminate(ControllerIdentity)
  /// Starts a life where there is none. A patient one leaves the other a long time to answer.
  case start(ControllerIdentity, stopAt: StopOrder?, isPatient: Bool)
  /// Keeps the disk busy for so many nanoseconds from now on, whatever else is waited for.
  case press(UInt64)
  /// Nanoseconds.
  case sleep(UInt64)
  /// Until it has stopped itself at its point. If it does not come there, it is killed, and the fault is over.
  case awaitStop(ControllerIdentity)
  /// Until it is dead. `isOwed`: its peer must kill it; else the driver does when it takes long.
  case awaitDeath(ControllerIdentity, isOwed: Bool)
  /// Until both serve.
  case awaitServing
  /// Until what was outstanding at the fault has been answered, and new requests are.
  case awaitCalm
}

/// A fault as it is meant to go. The steps of the end bring both controllers back.
struct Fault: Equatable {
  /// The kind of fault.
  let kind: FaultKind
  /// For messages.
  let name: String
  /// Up to the last harm.
  let steps: [FaultStep]
  /// Back to two controllers that serve.
  let end: [FaultStep]
}

/// What the schedule knows of a life.
struct LifeFacts {
  /// Where it will stop itself.
  var stopOrder: StopOrder?
  /// Whether it stands there.
  var isAtPoint = false
  /// Whether it leaves its peer a long time to answer.
  var isPatient = false
}

/// When a controller passes a point.
enum PointPlace {
  /// Whenever requests go.
  case traffic
  /// When it starts while its peer runs; when it starts alone.
  case joining, resuming
  /// When its peer has died or is silent; when the dead peer comes back.
  case surviving, releasing
  /// When it was asked to leave.
  case leaving

  /// The situation that a point belongs to.
  init(of point: ProtocolPoint) {
    switch point {
    case .joinBefore, .joinAfter: self = .joining
    case .resumeBefore, .resumeAfter: self = .resuming
    case .releaseBefore, .releaseAfter: self = .releasing
    case .leaveBefore, .leaveAfter, .vacateBefore, .vacateAfter: self = .leaving
    case .fenceBefore, .fenceAfter, .killBefore, .killAfter, .exitSeen, .journalCopied, .journalMoved, .drainProved,
      .replayBefore, .takeOverBefore, .takeOverAfter:
      self = .surviving
    default: self = .traffic
    }
  }
}

/// Chooses the faults: kinds by weight, moments and points at random, points that were tried least first.
///
/// Pure: the same seed and the same facts give the same faults.
struct FaultSchedule {
  private let kinds: [FaultKind]
  private let deadline: UInt64
  /// How long a patient life lets its peer be silent.
  let patience: UInt64
  /// The faults of an earlier run, and how many of them have been done again; nil: they are chosen.
  private let recorded: [Fault]?
  private var position = 0
  private let pressesDisk: Bool
  private var random: SplitMix64
  private var tries: [ProtocolPoint: Int] = [:]
  /// How many times a controller stopped at each point.
  private(set) var hits: [ProtocolPoint: Int] = [:]

  /// A life that is patient waits so long, unless every life has the same deadline: no loaded machine is expected to
  /// keep a process from running for a quarter of it.
  static let patientNanoseconds: UInt64 = 2_000_000_000
  /// A pause that must be survived is at most this part of what the peer allows.
  static let pausePart: UInt64 = 4

  /// Whose I/O waits behind everybody else's where the disk is kept busy.
  static let late = ControllerIdentity.a

  /// Of these kinds, all if there is none; `deadline` is that of an impatient controller, `patience` that of a patient
  /// one. `pressesDisk`: the disk is kept busy around most faults that hit `late`. `repeating`: those faults, in their
  /// order, and then no more.
  init(
    kinds: Set<FaultKind>, deadline: UInt64, patience: UInt64 = patientNanoseconds, pressesDisk: Bool = false,
    seed: UInt64, repeating recorded: [Fault]? = nil
  ) {
    self.pressesDisk = pressesDisk
    self.patience = patience
    self.recorded = recorded
    let kinds = recorded.map { Set($0.map(\.kind)) } ?? kinds
    self.kinds = kinds.isEmpty ? FaultKind.allCases : kinds.sorted()
    self.deadline = deadline
    random = SplitMix64(seed: seed)
  }

  /// Whether a patient life is so patient that a short pause must be survived.
  var isPauseOwed: Bool { patience >= Self.patientNanoseconds }

  /// Whether there is another fault.
  var hasNext: Bool { recorded.map { position < $0.count } ?? true }

  /// A controller stood at that point.
  mutating func hit(_ point: ProtocolPoint) { hits[point, default: 0] += 1 }

  /// Points that this schedule's kinds lead to.
  var points: [ProtocolPoint] { ProtocolPoint.allCases.filter { leads(to: $0) } }

  private func leads(to point: ProtocolPoint) -> Bool {
    switch PointPlace(of: point) {
    case .traffic, .joining: kinds != [.leave]
    case .resuming, .surviving, .releasing: kinds.contains(.both)
    case .leaving: kinds.contains(.leave)
    }
  }

  // MARK: Faults

  /// The next fault, for two lives as they are. There must be one.
  mutating func next(_ a: LifeFacts, _ b: LifeFacts) -> Fault {
    if let recorded {
      precondition(hasNext, "a fault that nobody has recorded")
      position += 1
      return recorded[position - 1]
    }
    let facts = [a, b]
    let ordered = ControllerIdentity.allCases.filter { facts[$0.index].stopOrder != nil }
    // A controller that has reached its point goes first.
    if let stopper = ordered.first(where: { facts[$0.index].isAtPoint }) ?? ordered.first,
      let order = facts[stopper.index].stopOrder
    {
      return atPoint(stopper, order, facts)
    }
    let victim: ControllerIdentity = random.below(2) == 0 ? .a : .b
    let calm = FaultStep.sleep(between(5_000_000, 100_000_000))
    switch chooseKind() {
    case .kill: return fault(.kill, "kill \(victim)", victim, [.awaitServing, calm, .kill(victim)])
    case .freeze:
      // A patient controller keeps everybody waiting: freeze that one, if there is one.
      let frozen = facts[victim.peer.index].isPatient && !facts[victim.index].isPatient ? victim.peer : victim
      return fault(
        .freeze, "freeze \(frozen)", frozen,
        [.awaitServing, calm, .freeze(frozen), .awaitDeath(frozen, isOwed: true)])
    case .pause:
      let paused = !facts[victim.peer.index].isPatient && facts[victim.index].isPatient ? victim.peer : victim
      let allowed = facts[paused.peer.index].isPatient ? patience : deadline
      let time = between(100_000, allowed / Self.pausePart - allowed / 32)
      return fault(
        .pause, "pause \(paused) for \(Figure.duration(time))", paused,
        [.awaitServing, calm, .freeze(paused), .sleep(time), .proceed(paused), .sleep(between(1_000_000, deadline))])
    case .leave:
      if random.below(4) == 0 {
        return fault(
          .leave, "kill \(victim.peer), \(victim) leaves", victim,
          [.awaitServing, calm, .kill(victim.peer), .sleep(between(10_000, 2 * deadline)), .terminate(victim)]
            + [.awaitDeath(victim, isOwed: false)])
      }
      return fault(
        .leave, "\(victim) leaves", victim,
        [.awaitServing, calm, .terminate(victim), .awaitDeath(victim, isOwed: false)])
    case .both: return hitBoth(victim, calm)
    }
  }

  private mutating func chooseKind() -> FaultKind {
    var ticket = random.below(kinds.reduce(0) { $0 + $1.weight })
    for kind in kinds {
      if ticket < kind.weight { return kind }
      ticket -= kind.weight
    }
    return kinds[0]
  }

  /// Both, in one of the ways in which two can go.
  private mutating func hitBoth(_ first: ControllerIdentity, _ calm: FaultStep) -> Fault {
    let second = first.peer
    let soon = FaultStep.sleep(between(1000, 3_000_000))
    let late = FaultStep.sleep(between(1_000_000, deadline))
    let begin: [FaultStep] = [.awaitServing, calm]
    switch random.below(6) {
    case 0:
      return fault(.both, "kill \(first), then \(second)", first, begin + [.kill(first), soon, .kill(second)])
    case 1:
      // While the takeover is under way, or just over.
      return fault(
        .both, "kill \(first), \(second) while it takes over", first, begin + [.kill(first), late, .kill(second)])
    case 2:
      // Frozen and alone; continues while no other runs, or after another has come.
      return fault(
        .both, "freeze \(first), kill \(second), \(first) goes on", first,
        begin + [.freeze(first), soon, .kill(second), late, .proceed(first), soon])
    case 3:
      let start = start(second, mayStopAt: [])
      return fault(
        .both, "freeze \(first), kill \(second), which displaces \(first)", first,
        begin + [.freeze(first), soon, .kill(second), soon, start, .awaitDeath(first, isOwed: true)])
    case 4:
      return fault(
        .both, "freeze both beyond the deadline", first,
        begin + [.freeze(first), soon, .freeze(second), .sleep(deadline + deadline / 2)]
          + [.proceed(first), soon, .proceed(second), late])
    default:
      // The first to start finds nobody, and recovers what both left.
      let start = start(first, mayStopAt: [.resuming, .surviving])
      var steps = begin + [.kill(first), soon, .kill(second), soon, start]
      if case .start(_, .some, _) = start { steps += [.awaitStop(first)] + act(on: first) }
      return fault(.both, "kill both, \(first) resumes\(Self.name(start))", first, steps)
    }
  }

  /// A life that stops itself: what leads it to its point, and what happens to it there.
  private mutating func atPoint(_ stopper: ControllerIdentity, _ order: StopOrder, _ facts: [LifeFacts]) -> Fault {
    let other = stopper.peer
    let name = "\(stopper) at \(order.point):\(order.occurrence)"
    let soon = FaultStep.sleep(between(1000, 2_000_000))
    var steps: [FaultStep] = []
    switch PointPlace(of: order.point) {
    case .traffic, .joining, .resuming:
      steps = [.awaitStop(stopper)]
      switch chooseKind() {
      case .kill, .leave: return fault(.kill, "kill \(name)", stopper, steps + [soon, .kill(stopper)])
      case .freeze:
        return fault(.freeze, "leave \(name)", stopper, steps + [.awaitDeath(stopper, isOwed: false)])
      case .pause:
        return fault(
          .pause, "pause \(name)", stopper,
          steps + [.sleep(between(100_000, deadline / Self.pausePart)), .proceed(stopper), soon])
      case .both:
        return fault(
          .both, "kill \(other), and \(name)", stopper, steps + [soon, .kill(other)] + act(on: stopper))
      }
    case .surviving:
      // The survivor does not kill a controller that is dead already.
      let mustFreeze = order.point == .killBefore || order.point == .killAfter
      let harm: FaultStep = mustFreeze || random.below(4) == 0 ? .freeze(other) : .kill(other)
      if !facts[stopper.index].isAtPoint { steps = [.awaitServing, harm] }
      return fault(
        .both, "\(harm == .kill(other) ? "kill" : "freeze") \(other), and \(name)", stopper,
        steps + [.awaitStop(stopper)] + act(on: stopper))
    case .releasing:
      if !facts[stopper.index].isAtPoint {
        steps = [.awaitServing, .kill(other), soon, .start(other, stopAt: nil, isPatient: false)]
      }
      return fault(
        .both, "kill \(other), start it, and \(name)", stopper, steps + [.awaitStop(stopper)] + act(on: stopper))
    case .leaving:
      if !facts[stopper.index].isAtPoint {
        steps = [.awaitServing]
        // Functions that the peer asks for are granted to it; only those that nobody asks for are vacated.
        if order.point == .vacateBefore || order.point == .vacateAfter { steps += [.kill(other), .awaitCalm] }
        steps.append(.terminate(stopper))
      }
      return fault(.leave, "leaving \(name)", stopper, steps + [.awaitStop(stopper)] + act(on: stopper))
    }
  }

  /// What happens to a controller that stands at its point while its peer is in trouble.
  private mutating func act(on stopper: ControllerIdentity) -> [FaultStep] {
    let soon = FaultStep.sleep(between(1000, 2_000_000))
    switch random.below(4) {
    case 0: return [soon, .proceed(stopper), soon]
    case 1:
      // Only the next life of its peer can kill it, by displacing it.
      return [
        soon, .kill(stopper.peer), soon, .start(stopper.peer, stopAt: nil, isPatient: false),
        .awaitDeath(stopper, isOwed: false),
      ]
    case 2: return [.sleep(deadline + deadline / 4), .proceed(stopper), soon]
    default: return [soon, .kill(stopper)]
    }
  }

  // MARK: The end of a fault

  private mutating func fault(
    _ kind: FaultKind, _ name: String, _ victim: ControllerIdentity, _ steps: [FaultStep]
  ) -> Fault {
    var steps = steps
    var end: [FaultStep] = [.proceed(.a), .proceed(.b)]
    if pressesDisk, random.below(4) != 0,
      let harm = steps.firstIndex(where: { $0 == .kill(Self.late) || $0 == .freeze(Self.late) })
    {
      // Long enough that much of its I/O waits; then long enough that its peer could do it again meanwhile. A
      // killed process cannot end while the kernel waits for its I/O, so this has to end by itself.
      let lead = between(10_000_000, 40_000_000)
      steps.insert(contentsOf: [.press(lead + between(100_000_000, 400_000_000)), .sleep(lead)], at: harm)
    }
    // At once, after a moment, or not until everything goes on without it and for a while after.
    switch random.below(5) {
    case 0, 1: break
    case 2, 3: end.append(.sleep(between(10_000, 5_000_000)))
    default: if kind != .both { end += [.awaitCalm, .sleep(between(1_000_000, 200_000_000))] }
    }
    let first: ControllerIdentity = random.below(2) == 0 ? .a : .b
    for controller in [first, first.peer] {
      let places: [PointPlace] = [.traffic, .joining, .surviving, .releasing, .leaving]
      // Of two that may be started only one is to stop: what the other does is then known.
      end.append(start(controller, mayStopAt: controller == victim ? places : []))
      if random.below(3) == 0 { end.append(.sleep(between(10_000, 5_000_000))) }
    }
    // Mostly the next fault waits until this one is over.
    if random.below(6) != 0 { end += [.awaitServing, .awaitCalm] }
    return Fault(kind: kind, name: name, steps: steps, end: end)
  }

  /// The start of a life, in half of all cases of one that stops itself at a point of these places.
  private mutating func start(_ controller: ControllerIdentity, mayStopAt places: [PointPlace]) -> FaultStep {
    let isPatient = kinds.contains(.pause) && random.below(4) == 0
    guard random.below(2) == 0 else { return .start(controller, stopAt: nil, isPatient: isPatient) }
    let candidates = points.filter { places.contains(PointPlace(of: $0)) }
    // Fewest tries first; of one that was never hit, two tries count as one.
    func rank(_ point: ProtocolPoint) -> Int { (hits[point] ?? 0) == 0 ? (tries[point] ?? 0) / 2 : tries[point] ?? 0 }
    guard let least = candidates.map(rank).min() else {
      return .start(controller, stopAt: nil, isPatient: isPatient)
    }
    let best = candidates.filter { rank($0) == least }
    let point = best[Int(random.below(UInt64(best.count)))]
    tries[point, default: 0] += 1
    return .start(controller, stopAt: StopOrder(point, occurrence: occurrence(of: point)), isPatient: false)
  }

  /// At which time of passing: as many as are likely to come within a moment.
  private mutating func occurrence(of point: ProtocolPoint) -> UInt32 {
    let bits: UInt64 =
      switch point {
      case .requestTaken, .journalBefore, .journalAfter, .submissionBefore, .submissionAfter, .completionTaken,
        .responseBefore, .responseAfter, .journalCleared:
        11
      case .requestBefore, .requestAfter, .grantBefore, .grantAfter: 7
      case .effectBefore, .effectAfter: 5
      case .journalCopied, .journalMoved, .replayBefore: 4
      case .takeOverBefore, .takeOverAfter, .drainProved, .vacateBefore, .vacateAfter: 2
      default: 1
      }
    // As many small ones as large ones.
    let top = UInt64(1) << random.below(bits)
    return UInt32(top + random.below(top))
  }

  /// In between, as many short ones as long ones.
  private mutating func between(_ least: UInt64, _ most: UInt64) -> UInt64 {
    var top = least
    var doublings: UInt64 = 0
    while top < most / 2 {
      top *= 2
      doublings += 1
    }
    let base = least << random.below(doublings + 1)
    return min(base + random.below(base), most)
  }

  private static func name(_ start: FaultStep) -> String {
    guard case .start(_, let order?, _) = start else { return "" }
    return " and stops at \(order.point):\(order.occurrence)"
  }
}
