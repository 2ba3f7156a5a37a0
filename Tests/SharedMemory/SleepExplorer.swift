import BatonSharedMemory

/// Runs a sleeper and its callers on a `SleepWord` in every interleaving, on a memory where a store is visible to
/// others only after a while.
///
/// The memory is x86's (total store order): each process has a queue of stores that are not visible yet, a load finds
/// what its own process has stored last, a fence or a compare-and-swap empties the queue first, and whatever stands in
/// it may become visible at any moment, in its order. The heavy fence empties everybody's. Besides the memory there is
/// the kernel's side of a sleep: a wait for the word, which begins only if the word says `listening` at that moment,
/// and which a caller's wake ends.
///
/// A process is a function of what its steps return, so it is run again from its beginning with the results that it
/// has had so far, and the next thing that it does is its next step. The state between two steps is a small value, and
/// a breadth-first search visits each state once. What the callers and the sleeper do with the word is the real code.
///
/// The invariant: when nothing more can happen, the sleeper does not sleep over something that was published.
struct SleepExplorer {
  /// A way in which a side is broken on purpose, to show that the explorer sees it.
  enum Defect: CaseIterable {
    case none
    /// The sleeper does not fence between saying that it sleeps and looking.
    case sleeperDoesNotFence
    /// The sleeper goes from awake to sleeping without the heavy fence.
    case noHeavyFence
    /// The sleeper has said that it is awake, and takes its callers to fence nevertheless.
    case awakeAndHeeded
    /// The caller does not look again behind a fence.
    case callerLooksOnce
    /// The kernel does not look at the word when a wait begins.
    case waitsWhateverTheWordSays
    /// The sleeper does not look between saying that it sleeps and the sleep.
    case sleeperDoesNotLook
  }

  /// One thing that a process does.
  enum Step: Hashable {
    case load(Int)
    case store(Int, UInt64)
    case compareExchange(Int, expected: UInt64, desired: UInt64)
    case fence
    case heavyFence
    /// Sleeper: waits for the word from now on, unless it does already.
    case beginWait
    /// Sleeper: goes on when the wait has ended, or something else has happened.
    case sleep
    /// Caller: wakes the sleeper that waits for the word.
    case wake
  }

  struct Store: Hashable {
    let address: Int
    let value: UInt64
  }

  struct State: Hashable {
    var memory: [UInt64]
    /// What each process has stored and others do not see yet.
    var queues: [[Store]]
    /// What the steps of each process have returned.
    var results: [[UInt64]]
    var isWaiting = false
    /// What the sleeper has to wake for.
    var events = 0
    /// How often something may still happen that no caller has rung for.
    var strays: Int
  }

  let defect: Defect
  /// What each caller publishes, one after the other.
  let items: [UInt64]
  let strays: Int
  /// The sleeper says that it is awake after so many sleeps.
  let rousesAfter: Int
  /// Whether a wait outlives a sleep that something else has ended, as in a ring.
  let waitOutlivesSleep: Bool
  private(set) var statesVisited = 0
  private(set) var violations: [String] = []

  /// The word's address; the callers' follow.
  private static let word = 0
  private static let sleepsMax = 6

  init(_ defect: Defect, items: [UInt64], strays: Int, rousesAfter: Int, waitOutlivesSleep: Bool) {
    self.defect = defect
    self.items = items
    self.strays = strays
    self.rousesAfter = rousesAfter
    self.waitOutlivesSleep = waitOutlivesSleep
  }

  /// Visits everything that can be reached. Ends at the first violation.
  mutating func run() {
    let count = items.count + 1
    let first = State(
      memory: Array(repeating: 0, count: count), queues: Array(repeating: [], count: count),
      results: Array(repeating: [], count: count), strays: strays)
    var visited: Set<State> = [first]
    var queue = [first]
    var position = 0
    while position < queue.count, violations.isEmpty {
      let state = queue[position]
      position += 1
      let steps = (0..<count).map { nextStep(state, $0) }
      var next = steps.indices.compactMap { index in steps[index].flatMap { perform($0, by: index, in: state) } }
      for index in 0..<count where !state.queues[index].isEmpty {
        var later = state
        Self.publish(1, of: index, in: &later)
        next.append(later)
      }
      // The sleeper is process 0. When nothing goes on but for what may never happen, it should not be asleep.
      if next.isEmpty, steps[0] == .sleep {
        let untaken = items.indices.filter { state.memory[$0 + 1] > taken(state)[$0] }
        if !untaken.isEmpty { violations.append("asleep over what callers \(untaken) have published: \(state)") }
      }
      if state.strays > 0, steps[0] == .sleep {
        var later = state
        later.strays -= 1
        later.events += 1
        next.append(later)
      }
      for state in next where visited.insert(state).inserted { queue.append(state) }
    }
    statesVisited = visited.count
  }

  // MARK: Memory and kernel

  private static func publish(_ count: Int, of process: Int, in state: inout State) {
    for store in state.queues[process].prefix(count) { state.memory[store.address] = store.value }
    state.queues[process].removeFirst(count)
  }

  /// The state after a step; nil where it cannot be taken yet.
  private func perform(_ step: Step, by process: Int, in state: State) -> State? {
    var next = state
    var result: UInt64 = 0
    switch step {
    case .load, .store: break
    default: Self.publish(next.queues[process].count, of: process, in: &next)
    }
    switch step {
    case .load(let address):
      result = next.queues[process].last { $0.address == address }?.value ?? next.memory[address]
    case .store(let address, let value): next.queues[process].append(Store(address: address, value: value))
    case .compareExchange(let address, let expected, let desired):
      result = next.memory[address]
      if result == expected { next.memory[address] = desired }
    case .fence: break
    case .heavyFence:
      for other in next.queues.indices { Self.publish(next.queues[other].count, of: other, in: &next) }
    case .beginWait:
      let listening = SleepWord<ExploredWord>.State.listening.rawValue
      if next.isWaiting {
        break
      } else if next.memory[Self.word] == listening || defect == .waitsWhateverTheWordSays {
        next.isWaiting = true
      } else {
        next.events += 1
      }
    case .sleep:
      if next.events == 0 { return nil }
      next.events = 0
      if !waitOutlivesSleep { next.isWaiting = false }
    case .wake:
      if next.isWaiting {
        next.isWaiting = false
        next.events += 1
      }
    }
    next.results[process].append(result)
    return next
  }

  // MARK: Processes

  private func nextStep(_ state: State, _ process: Int) -> Step? {
    let run = ProcessRun(state.results[process])
    if process == 0 { _ = sleeper(run) } else { caller(run, process) }
    return run.next
  }

  /// What the sleeper has seen of each caller's.
  private func taken(_ state: State) -> [UInt64] { sleeper(ProcessRun(state.results[0])) }

  private func caller(_ run: ProcessRun, _ process: Int) {
    let word = SleepWord(ExploredWord(run, Self.word))
    let line = ExploredWord(run, process)
    for item in 1...items[process - 1] {
      line.storeReleasing(item)
      // The light fence is the compiler's: there is none here.
      if word.isAwake { continue }
      if defect == .callerLooksOnce {
        let seen = ExploredWord(run, Self.word).loadRelaxed()
        let drowsy = SleepWord<ExploredWord>.State.drowsy.rawValue
        if seen > drowsy,
          ExploredWord(run, Self.word).compareExchange(expected: seen, desired: drowsy).exchanged
        {
          run.perform(.wake)
        }
      } else if word.takeSleep() != nil {
        run.perform(.wake)
      }
    }
  }

  /// A loop as the controller's and the host's: lies down, looks, sleeps, gets up, looks.
  private func sleeper(_ run: ProcessRun) -> [UInt64] {
    let word = SleepWord(ExploredWord(run, Self.word))
    var taken = Array(repeating: UInt64(0), count: items.count)
    var isHeeded = false
    func look() -> Bool {
      var found = false
      for index in items.indices {
        let item = ExploredWord(run, index + 1).loadAcquiring()
        if run.next != nil { return false }
        if item > taken[index] {
          taken[index] = item
          found = true
        }
      }
      return found
    }
    for sleep in 1...Self.sleepsMax {
      if !isHeeded {
        word.say(.drowsy)
        if defect != .noHeavyFence { run.perform(.heavyFence) }
        isHeeded = true
      }
      word.say(.listening)
      if defect != .sleeperDoesNotFence { word.fence() }
      if defect == .sleeperDoesNotLook || !look() {
        run.perform(.beginWait)
        run.perform(.sleep)
      }
      word.say(.drowsy)
      _ = look()
      if run.next != nil || taken == items { break }
      if sleep == rousesAfter {
        word.say(.awake)
        isHeeded = defect == .awakeAndHeeded
      }
    }
    return taken
  }
}

/// A process that is run again with the results that its steps have had, until it takes one more.
final class ProcessRun {
  private let results: [UInt64]
  private var position = 0
  /// The step after those that have been taken; nil when it takes none.
  private(set) var next: SleepExplorer.Step?

  init(_ results: [UInt64]) { self.results = results }

  @discardableResult
  func perform(_ step: SleepExplorer.Step) -> UInt64 {
    if position < results.count {
      position += 1
      return results[position - 1]
    }
    // What comes after the next step is nobody's business yet.
    if next == nil { next = step }
    return 0
  }
}

/// A word of the explored memory, as one process sees it.
struct ExploredWord: AtomicWord {
  private let run: ProcessRun
  private let address: Int

  init(_ run: ProcessRun, _ address: Int) {
    self.run = run
    self.address = address
  }

  func loadRelaxed() -> UInt64 { run.perform(.load(address)) }
  func loadAcquiring() -> UInt64 { run.perform(.load(address)) }
  func storeRelaxed(_ value: UInt64) { run.perform(.store(address, value)) }
  func storeReleasing(_ value: UInt64) { run.perform(.store(address, value)) }
  func compareExchange(expected: UInt64, desired: UInt64) -> (exchanged: Bool, original: UInt64) {
    let original = run.perform(.compareExchange(address, expected: expected, desired: desired))
    return (original == expected, original)
  }
  func exchange(_ value: UInt64) -> UInt64 { preconditionFailure("nobody exchanges") }
  func fence() { run.perform(.fence) }
}
