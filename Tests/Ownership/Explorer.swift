import BatonOwnership
import BatonSharedMemory

/// Runs two controllers on one ownership word in every interleaving of their loads and compare-and-swaps.
///
/// A controller is a small step machine over the real `Arbiter`: it asks, waits, serves, withdraws, grants,
/// grants and asks, vacates, in every order in which it may. The arbiter's calls are cut into single memory
/// steps without being rewritten: a call is a function of what its steps return, so it is run again from its
/// beginning with the results that it has had so far, takes one more step on the shared word, and runs on to
/// its end on a word of its own that nobody sees; if it needed no further step it is over. The state between
/// two steps is therefore a small value, and a breadth-first search visits each state once.
///
/// A controller may die between any two steps, in the middle of a call too. Its peer then takes over and
/// dismisses; once the word does not speak of the dead one any more, a new life of it begins. How that is decided is
/// another explorer's (`TakeoverExplorer`).
///
/// Invariants, checked after every step (those of `OwnershipWord.swift`):
/// - at most one controller serves at a time, and one term is served by one controller;
/// - terms never fall, and the owner never changes within one;
/// - a request stands until it is granted or withdrawn: a waiter owns the function or has its request in
///   the word;
/// - what is owned is owned by a controller that knows or is about to find out: an owner serves, waits, or is in
///   a call.
struct Explorer {
  /// A way in which the arbiter is broken on purpose, to show that the explorer sees it.
  enum Defect {
    case none, grantIsStore, claimIsStore, requestIsStore, grantKeepsTerm, takesOverFromLiving, dismissesLiving
  }

  /// One step on the shared word, and what came of it.
  enum Step: Hashable {
    case load(UInt64)
    case compareExchange(exchanged: Bool, original: UInt64)
    case store
  }

  /// What a controller calls.
  enum Call: Hashable { case request, look, withdraw, grant, grantAndAsk, vacate, takeOver, dismiss }

  /// What came of a call.
  enum Result: Hashable {
    case owned(term: UInt64)
    case waiting
    case done(Bool)
    case looked(UInt64)
  }

  /// Where a controller is between two of its calls.
  enum Standing: Hashable {
    /// Has no use for the function.
    case idle
    /// Has asked, and looks.
    case waiting
    /// Serves, in this term.
    case serving(term: UInt64)
    /// Has served and stopped admitting: on its way to grant or vacate.
    case relinquishing
    /// Not there.
    case dead
  }

  struct Process: Hashable {
    let identity: ControllerIdentity
    var standing = Standing.idle
    var call: Call?
    var steps: [Step] = []
  }

  struct State: Hashable {
    var word: UInt64
    var processes: [Process]
    /// Which controller served which term.
    var served: [UInt64: ControllerIdentity] = [:]
    /// How many may still die.
    var deaths: Int
  }

  let defect: Defect
  /// Terms are explored up to here.
  let termMax: UInt64
  let deaths: Int
  private(set) var statesVisited = 0
  private(set) var violations: [String] = []
  /// Loads and swaps that lay between the two halves of another's step: how much was interleaved.
  private(set) var swapsLost = 0

  init(defect: Defect, termMax: UInt64, deaths: Int = 0) {
    self.defect = defect
    self.termMax = termMax
    self.deaths = deaths
  }

  /// Visits everything that can be reached. Ends at the first violation.
  mutating func run() {
    let first = State(
      word: OwnershipWord.initial.rawValue, processes: ControllerIdentity.allCases.map { Process(identity: $0) },
      deaths: deaths)
    var visited: Set<State> = [first]
    var queue = [first]
    var position = 0
    while position < queue.count {
      let state = queue[position]
      position += 1
      for next in successors(of: state) where violations.isEmpty {
        if visited.insert(next).inserted { queue.append(next) }
      }
      if !violations.isEmpty { break }
    }
    statesVisited = visited.count
  }

  private mutating func successors(of state: State) -> [State] {
    var next: [State] = []
    for index in state.processes.indices {
      for call in calls(of: state.processes[index], peer: state.processes[1 - index]) {
        if let reached = stepped(state, index, call) { next.append(reached) }
      }
      if let reached = diedOrBegan(state, index) { next.append(reached) }
    }
    return next
  }

  /// A controller dies where it is; a dead one begins again, when its peer has seen to it that nothing is left.
  private func diedOrBegan(_ state: State, _ index: Int) -> State? {
    var next = state
    next.processes[index] = Process(identity: state.processes[index].identity)
    if state.processes[index].standing == .dead {
      let word = OwnershipWord(rawValue: state.word)
      let other = state.processes[1 - index]
      let isBusy = other.call == .takeOver || other.call == .dismiss
      let speaks = word.isOwned(by: next.processes[index].identity) || word.isRequested
      return isBusy || speaks || other.standing == .dead ? nil : next
    }
    if state.deaths == 0 { return nil }
    next.deaths -= 1
    next.processes[index].standing = .dead
    return next
  }

  /// What a controller may do next: go on with its call, or begin any that makes sense where it stands.
  private func calls(of process: Process, peer other: Process) -> [Call] {
    if process.standing == .dead { return [] }
    if let call = process.call { return [call] }
    return ownCalls(of: process)
      + (other.standing == .dead || defect == .takesOverFromLiving ? [.takeOver] : [])
      + (other.standing == .dead || defect == .dismissesLiving ? [.dismiss] : [])
  }

  private func ownCalls(of process: Process) -> [Call] {
    switch process.standing {
    case .dead: return []
    case .idle: return [.request, .look]
    case .waiting: return [.look, .withdraw]
    case .serving: return [.look, .grant, .grantAndAsk, .vacate]
    case .relinquishing: return [.grant, .grantAndAsk, .vacate]
    }
  }

  /// The state after one memory step of one controller. Nil where the terms end.
  private mutating func stepped(_ state: State, _ index: Int, _ call: Call) -> State? {
    var next = state
    var process = next.processes[index]
    if process.call == nil {
      process.call = call
      process.steps = []
      // Beginning to grant or to vacate is ceasing to serve.
      if case .serving = process.standing, [.grant, .grantAndAsk, .vacate].contains(call) {
        process.standing = .relinquishing
      }
    }
    let word = ReplayedWord(process.steps, shared: state.word)
    let result = perform(call, by: process.identity, on: word)
    let before = OwnershipWord(rawValue: state.word)
    next.word = word.shared
    let after = OwnershipWord(rawValue: next.word)
    if after.term > termMax { return nil }
    process.steps.append(word.taken!)
    if case .compareExchange(false, _) = word.taken! { swapsLost += 1 }
    if word.isOver {
      process.call = nil
      process.steps = []
      settle(&process, call, result)
    }
    next.processes[index] = process
    if case .serving(let term) = process.standing {
      if let other = next.served[term], other != process.identity {
        violations.append("term \(term) is served by \(other) and by \(process.identity)")
      }
      next.served[term] = process.identity
    }
    check(before, after, next)
    return next
  }

  /// What a controller makes of a call's result.
  private func settle(_ process: inout Process, _ call: Call, _ result: Result) {
    switch (call, result) {
    case (.request, .owned(let term)): process.standing = .serving(term: term)
    case (.request, _): process.standing = .waiting
    case (.look, .looked(let value)):
      let word = OwnershipWord(rawValue: value)
      if process.standing == .waiting, word.isOwned(by: process.identity) {
        process.standing = .serving(term: word.term)
      }
    // A request that cannot be withdrawn has been granted: the waiter looks again and finds that out.
    case (.withdraw, .done(let done)): if done { process.standing = .idle }
    // What cannot be granted because nobody asks any more is still owned; so is what cannot be vacated.
    case (.grant, .done(true)), (.vacate, .done(true)): process.standing = .idle
    case (.grantAndAsk, .done(true)): process.standing = .waiting
    // What has been taken over is found by the next look, like a grant.
    case (.takeOver, .done(true)): process.standing = .waiting
    default: break
    }
  }

  private mutating func check(_ before: OwnershipWord, _ after: OwnershipWord, _ state: State) {
    if !after.isValid { violations.append("\(after) is no valid word") }
    if after.term < before.term { violations.append("the term falls: \(before) becomes \(after)") }
    if after.owner != before.owner, after.term == before.term {
      violations.append("the owner changes within a term: \(before) becomes \(after)")
    }
    let serving = state.processes.filter { if case .serving = $0.standing { true } else { false } }
    if serving.count > 1 { violations.append("both serve: \(after)") }
    for process in serving where !after.isOwned(by: process.identity) {
      violations.append("\(process.identity) serves what it does not own: \(after)")
    }
    for process in state.processes where process.call == nil {
      switch process.standing {
      case .waiting:
        let isStanding = after.isOwned(by: process.identity.peer) && after.isRequested
        if !after.isOwned(by: process.identity), !isStanding {
          violations.append("the request of \(process.identity) is lost: \(after)")
        }
      case .idle:
        if after.isOwned(by: process.identity) {
          violations.append("\(process.identity) owns the function and does not know: \(after)")
        }
        if after.isOwned(by: process.identity.peer), after.isRequested {
          violations.append(
            "a request of \(process.identity) stands that it has withdrawn or not made: \(after)")
        }
      case .serving, .relinquishing, .dead: break
      }
    }
  }

  private func perform(_ call: Call, by identity: ControllerIdentity, on word: ReplayedWord) -> Result {
    let arbiter = Arbiter<ReplayedWord>(for: identity)
    switch (call, defect) {
    case (.look, _): return .looked(arbiter.look(word).rawValue)
    case (.request, .claimIsStore), (.request, .requestIsStore):
      return brokenRequest(arbiter, by: identity, on: word)
    case (.grant, .grantIsStore):
      guard let next = OwnershipWord(rawValue: word.loadAcquiring()).granted(by: identity, asking: false) else {
        return .done(false)
      }
      word.storeReleasing(next.rawValue)
      return .done(true)
    case (.grant, .grantKeepsTerm):
      let seen = word.loadAcquiring()
      guard let next = OwnershipWord(rawValue: seen).granted(by: identity, asking: false) else {
        return .done(false)
      }
      let value = next.rawValue - 1 << 16
      return .done(word.compareExchange(expected: seen, desired: value).exchanged)
    case (.request, _):
      switch arbiter.request(word) {
      case .owned(let term): return .owned(term: term)
      case .waiting: return .waiting
      }
    case (.withdraw, _): return .done(arbiter.withdraw(word))
    case (.grant, _): return .done(arbiter.grant(word, asking: false))
    case (.grantAndAsk, _): return .done(arbiter.grant(word, asking: true))
    case (.vacate, _): return .done(arbiter.vacate(word))
    case (.takeOver, _): return .done(arbiter.takeOver(word))
    case (.dismiss, _): return .done(arbiter.dismiss(word))
    }
  }

  private func brokenRequest(
    _ arbiter: Arbiter<ReplayedWord>, by identity: ControllerIdentity, on word: ReplayedWord
  ) -> Result {
    let seen = OwnershipWord(rawValue: word.loadAcquiring())
    if seen.isOwned(by: identity) { return .owned(term: seen.term) }
    if let claimed = seen.claimed(by: identity) {
      if defect == .claimIsStore {
        word.storeReleasing(claimed.rawValue)
        return .owned(term: claimed.term)
      }
      let isClaimed = word.compareExchange(expected: seen.rawValue, desired: claimed.rawValue).exchanged
      return isClaimed ? .owned(term: claimed.term) : brokenRequest(arbiter, by: identity, on: word)
    }
    guard let requested = seen.requested(by: identity) else { return .waiting }
    if defect == .requestIsStore {
      word.storeReleasing(requested.rawValue)
      return .waiting
    }
    let isRequested = word.compareExchange(expected: seen.rawValue, desired: requested.rawValue).exchanged
    return isRequested ? .waiting : brokenRequest(arbiter, by: identity, on: word)
  }
}

/// A word for a call that is run again: gives the results that the call has had, lets it take one step on the
/// shared value, and the rest on a copy.
final class ReplayedWord: AtomicWord {
  private let steps: [Explorer.Step]
  private var position = 0
  /// The shared value after the one new step.
  private(set) var shared: UInt64
  /// That step.
  private(set) var taken: Explorer.Step?
  /// Whether the call needed no step after it.
  private(set) var isOver = true
  private var copy: UInt64 = 0

  init(_ steps: [Explorer.Step], shared: UInt64) {
    self.steps = steps
    self.shared = shared
  }

  /// One step: `act` changes the value that it is given.
  private func step(_ act: (inout UInt64) -> Explorer.Step) -> Explorer.Step {
    if position < steps.count {
      position += 1
      return steps[position - 1]
    }
    if taken == nil {
      taken = act(&shared)
      copy = shared
      return taken!
    }
    isOver = false
    return act(&copy)
  }

  func loadAcquiring() -> UInt64 {
    guard case .load(let value) = step({ .load($0) }) else {
      preconditionFailure("a call that is not repeatable")
    }
    return value
  }

  func storeReleasing(_ value: UInt64) {
    _ = step {
      $0 = value
      return .store
    }
  }

  func compareExchange(expected: UInt64, desired: UInt64) -> (exchanged: Bool, original: UInt64) {
    let step = step {
      let original = $0
      if original == expected { $0 = desired }
      return .compareExchange(exchanged: original == expected, original: original)
    }
    guard case .compareExchange(let exchanged, let original) = step else {
      preconditionFailure("a call that is not repeatable")
    }
    return (exchanged, original)
  }

  func loadRelaxed() -> UInt64 { loadAcquiring() }
  func storeRelaxed(_ value: UInt64) { storeReleasing(value) }

  func exchange(_ value: UInt64) -> UInt64 { preconditionFailure("the arbiter does not exchange") }
  func fence() { preconditionFailure("the arbiter does not fence") }
}
