import Glibc
import Testing

/// What hosts ask for, where it begins, and how much may go wrong.
struct TakeoverScenario: Sendable, CustomTestStringConvertible {
  let name: String
  let requests: [ModelRequest]
  /// Two members when false.
  var fromStart = false
  /// One controller, and never another one.
  var isAlone = false
  var deaths: UInt8 = 0
  var silences: UInt8 = 0
  var leavings: UInt8 = 0

  var testDescription: String { name }

  func explored(_ defect: TakeoverDefect = .none) -> TakeoverExplorer {
    var explorer = TakeoverExplorer(requests, defect: defect, isAlone: isAlone)
    explorer.run(fromStart: fromStart, deaths: deaths, silences: silences, leavings: leavings)
    return explorer
  }

  static let write: [ModelRequest] = [.write(.a)]
  /// By both controllers, on one block.
  static let contended: [ModelRequest] = [.write(.a), .write(.b)]
  /// A write whose effect is seen, and another one over it.
  static let overwritten: [ModelRequest] = [.write(.a), .read(.a), .write(.a)]

  static let everything = TakeoverScenario(
    name: "one write, from the beginning, one of everything", requests: write, fromStart: true, deaths: 1, silences: 1,
    leavings: 1)

  static let short = [
    everything,
    TakeoverScenario(name: "one write, three deaths", requests: write, deaths: 3),
    TakeoverScenario(name: "one write, three suspicions", requests: write, silences: 3),
    TakeoverScenario(name: "one write, a death and two suspicions", requests: write, deaths: 1, silences: 2),
    TakeoverScenario(name: "one write, two leave and one dies", requests: write, deaths: 1, leavings: 2),
    TakeoverScenario(name: "two writes by both, a death and a suspicion", requests: contended, deaths: 1, silences: 1),
    TakeoverScenario(name: "two writes by both, two deaths", requests: contended, deaths: 2),
    TakeoverScenario(name: "two writes by both, one leaves and one dies", requests: contended, deaths: 1, leavings: 1),
    TakeoverScenario(name: "write and read by both, two deaths", requests: [.write(.a), .read(.b)], deaths: 2),
    TakeoverScenario(
      name: "two functions, a death and a suspicion", requests: [.write(.a), .write(.b, function: 1, block: 1)],
      deaths: 1, silences: 1),
    TakeoverScenario(
      name: "two blocks, a death", requests: [.write(.a), .read(.b, block: 1), .write(.b)], deaths: 1),
    TakeoverScenario(
      name: "a write seen and overwritten, alone, a death", requests: overwritten, isAlone: true, deaths: 1),
  ]

  static let long = [
    TakeoverScenario(
      name: "one write, from the beginning, two deaths, a suspicion, a leaving", requests: write, fromStart: true,
      deaths: 2, silences: 1, leavings: 1),
    TakeoverScenario(name: "a write seen and overwritten, a death", requests: overwritten, deaths: 1),
    TakeoverScenario(
      name: "a write seen and overwritten by the other, a death", requests: [.write(.a), .read(.a), .write(.b)],
      deaths: 1),
    TakeoverScenario(
      name: "two writes, read by the other, a death", requests: [.write(.a), .write(.a), .read(.b)], deaths: 1),
    TakeoverScenario(
      name: "a write seen and overwritten, alone, two deaths", requests: overwritten, isAlone: true, deaths: 2),
    TakeoverScenario(
      name: "two writes by both, two deaths and a suspicion", requests: contended, deaths: 2, silences: 1),
    TakeoverScenario(
      name: "two functions, two deaths and a suspicion", requests: [.write(.a), .write(.b, function: 1, block: 1)],
      deaths: 2, silences: 1),
    TakeoverScenario(
      name: "two writes by both, from the beginning, two deaths", requests: contended, fromStart: true, deaths: 2),
  ]

  static var chosen: [TakeoverScenario] {
    getenv("BATON_TEST_LONG").map { String(cString: $0) } == "1" ? short + long : short
  }
}

@Suite("Takeover explorer: two controllers that die and come back, every interleaving")
struct TakeoverExplorerTests {
  @Test("No death, no suspicion and no leaving breaks an invariant", arguments: TakeoverScenario.chosen)
  func everyInterleaving(scenario: TakeoverScenario) {
    let explorer = scenario.explored()
    #expect(explorer.violation == nil, "\(explorer.violation ?? "")")
    #expect(explorer.states.count > 1000)
  }

  @Test("Each step is taken somewhere")
  func everyStep() {
    let taken = TakeoverScenario.everything.explored().taken
    for name in TakeoverStep.Name.allCases { #expect(taken[name, default: 0] > 0, "\(name)") }
  }

  static let deadly = TakeoverScenario(
    name: "death and suspicion", requests: TakeoverScenario.write, deaths: 1, silences: 1)
  static let contended = TakeoverScenario(name: "contended", requests: TakeoverScenario.contended, deaths: 1)
  static let overwritten = TakeoverScenario(
    name: "overwritten", requests: TakeoverScenario.overwritten, isAlone: true, deaths: 1)

  @Test(
    "A mistake is found",
    arguments: [
      (TakeoverDefect.noFence, deadly), (.servesBeforeExit, deadly), (.noDrainProof, deadly), (.noJournal, deadly),
      (.replayTwice, contended), (.servesOverlapping, contended), (.overlapsOwnWrites, overwritten),
      (.drainsFinderOnly, deadly), (.ignoresOwnJournal, deadly), (.trustsFence, deadly), (.killsByName, deadly),
      (.clearsBeforeCopy, deadly), (.clearsBeforeAnswer, overwritten), (.releasesEarly, deadly),
      (.releasesOwned, deadly), (.opensEarly, deadly),
    ])
  func mistake(defect: TakeoverDefect, scenario: TakeoverScenario) {
    let explorer = scenario.explored(defect)
    #expect(explorer.violation != nil, "\(defect) was not seen in \(explorer.states.count) states")
  }
}
