import BatonOwnership
import BatonTestSupport

/// Runs takeover in every interleaving: two controllers that die, are taken to be dead and start again, on the real
/// membership word, ownership words and arbiter, over a storage where what the dead have submitted lands late.
///
/// A controller is here what it can do next (`controllerSteps`), not a loop that does it in some order, so it is
/// frozen wherever it is not the next to step. A step is what is atomic for the others: one access to what is shared,
/// together with private steps before it. Frozen means silent: each suspicion of a peer that lives is counted, and
/// so are deaths, so that the states end.
///
/// Invariants, in every state:
/// - a function is submitted for by its owner only, and has one at a time; its term grows with each;
/// - no member is killed, and never are both fenced;
/// - a life that joins finds nothing of its earlier life: no journal entry, no ownership, no request for it;
/// - a request is answered once, with something that a register can have answered (`RegisterHistory`), and at the end
///   each block holds what it can hold;
/// - nothing of the dead lands after a request has been served that it overlaps;
/// - from each state everything is answered in the end without anything more going wrong.
struct TakeoverExplorer {
  let requests: [ModelRequest]
  let defect: TakeoverDefect
  private(set) var states: [TakeoverState] = []
  /// What is wrong, and the steps that lead there. Nil: nothing.
  private(set) var violation: String?
  /// How often each step was taken: that the exploration has been where it should have been.
  private(set) var taken: [TakeoverStep.Name: Int] = [:]

  private var numbers: [TakeoverState: Int] = [:]
  private var origins: [(state: Int, step: TakeoverStep)] = []
  private var edges: [(from: Int, to: Int)] = []
  var histories: [RegisterHistory] = [RegisterHistory()]
  var historyNumbers: [RegisterHistory: UInt16] = [RegisterHistory(): 0]
  /// Found while a step is taken.
  var finding: String?

  private let all: UInt8
  let functions: Range<Int>
  /// Whether b never ran and never starts.
  let isAlone: Bool

  /// Lives end with what may go wrong; only a mistake can make more of them.
  static var incarnationMax: UInt8 { 9 }

  /// At most seven requests, of two functions and two blocks: what the sets and rows of a state have room for.
  init(_ requests: [ModelRequest], defect: TakeoverDefect = .none, isAlone: Bool = false) {
    precondition(requests.count <= 7 && requests.allSatisfy { $0.function < 2 && $0.block < 2 })
    self.requests = requests
    self.defect = defect
    self.isAlone = isAlone
    all = UInt8(1 << requests.count - 1)
    functions = 0..<(requests.map(\.function).max() ?? 0) + 1
  }

  /// Visits everything that can be reached from members, or from the beginning, when that many things may go
  /// wrong. Ends at the first violation.
  mutating func run(fromStart: Bool = false, deaths: UInt8 = 0, silences: UInt8 = 0, leavings: UInt8 = 0) {
    var first = TakeoverState(
      membership: 0, lives: Pair(a: Life(), b: Life()), deaths: deaths, silences: silences, leavings: leavings)
    if !fromStart {
      let isBegun =
        first.step { $0.resumed(by: .a, 1) }
        && (isAlone || first.step { $0.released(by: .a) } && first.step { $0.joined(by: .b, 1) })
      precondition(isBegun)
      first.lives.a = Life(stage: isAlone ? .standingIn : .paired, incarnation: 1)
      if !isAlone { first.lives.b = Life(stage: .paired, incarnation: 1) }
    }
    _ = number(first, from: 0, by: TakeoverStep(name: .start, controller: .a))
    var position = 0
    while position < states.count, violation == nil {
      let state = states[position]
      if !isOver(state) {
        for step in steps(of: state) {
          finding = nil
          guard let next = taking(step, from: state) else { continue }
          taken[step.name, default: 0] += 1
          let reached = number(next, from: position, by: step)
          if !step.isFault { edges.append((position, reached)) }
          if let finding = finding ?? wrong(with: next) {
            violation = finding + trace(to: position) + "\n\(step)"
            break
          }
        }
      }
      position += 1
    }
    if violation == nil, let stuck = firstStuck() { violation = "nothing more happens" + trace(to: stuck) }
  }

  private mutating func number(_ state: TakeoverState, from: Int, by step: TakeoverStep) -> Int {
    if let number = numbers[state] { return number }
    numbers[state] = states.count
    states.append(state)
    origins.append((from, step))
    return states.count - 1
  }

  private func trace(to state: Int) -> String {
    var steps: [String] = []
    var position = state
    while position > 0 {
      steps.append("\n\(origins[position].step)")
      position = origins[position].state
    }
    return steps.reversed().joined()
  }

  /// Everything is answered, and nothing is left of it.
  private func isOver(_ state: TakeoverState) -> Bool {
    state.answered == all && state.journals.a | state.journals.b | state.late.a | state.late.b == 0
  }

  /// A state from which the end cannot be reached without faults.
  private func firstStuck() -> Int? {
    var counts = [Int](repeating: 0, count: states.count + 1)
    for edge in edges { counts[edge.to + 1] += 1 }
    for index in states.indices { counts[index + 1] += counts[index] }
    var sources = [Int](repeating: 0, count: edges.count)
    var cursors = counts
    for edge in edges {
      sources[cursors[edge.to]] = edge.from
      cursors[edge.to] += 1
    }
    var ends = states.map(isOver)
    var queue = states.indices.filter { ends[$0] }
    while let state = queue.popLast() {
      for position in counts[state]..<counts[state + 1] where !ends[sources[position]] {
        ends[sources[position]] = true
        queue.append(sources[position])
      }
    }
    return ends.firstIndex(of: false)
  }

  /// What holds in every state.
  private func wrong(with state: TakeoverState) -> String? {
    let word = state.word
    if word.standing(.a) == .fenced, word.standing(.b) == .fenced { return "both are fenced: \(word)" }
    if isOver(state), state.lives.a.inFlight | state.lives.b.inFlight == 0 {
      for block in 0..<2 where !histories[Int(state.histories[block])].canEnd(with: state.blocks[block]) {
        return "block \(block) ends with an older value"
      }
    }
    return nil
  }
}
