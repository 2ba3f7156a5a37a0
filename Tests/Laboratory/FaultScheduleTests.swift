import Baton
import BatonCommandKit
import BatonController
import Testing

@testable import BatonLaboratory

@Suite("Fault schedule: what is done next")
struct FaultScheduleTests {
  private func schedule(_ kinds: Set<FaultKind> = [], late: Bool = false, seed: UInt64 = 1) -> FaultSchedule {
    FaultSchedule(kinds: kinds, deadline: 50_000_000, pressesDisk: late, seed: seed)
  }

  /// The lives that follow from a fault, when every controller that is told to stop comes to its point in the next.
  private func facts(after fault: Fault) -> [LifeFacts] {
    var facts = [LifeFacts(), LifeFacts()]
    for case .start(let controller, let order, let isPatient) in fault.end {
      facts[controller.index] = LifeFacts(stopOrder: order, isPatient: isPatient)
    }
    return facts
  }

  @Test("The same seed gives the same faults, another one others")
  func repeatable() {
    func names(_ seed: UInt64) -> [String] {
      var schedule = schedule(seed: seed)
      return (0..<50).map { _ in schedule.next(LifeFacts(), LifeFacts()).name }
    }
    #expect(names(3) == names(3))
    #expect(names(3) != names(4))
  }

  @Test("Each kind alone stays alone, and all come when none is named")
  func kinds() {
    for kind in FaultKind.allCases where kind != .leave {
      var schedule = schedule([kind])
      var lives = [LifeFacts(), LifeFacts()]
      for _ in 0..<200 {
        let fault = schedule.next(lives[0], lives[1])
        #expect(fault.kind == kind, "\(fault.name)")
        lives = facts(after: fault)
      }
    }
    var schedule = schedule()
    #expect(Set((0..<500).map { _ in schedule.next(LifeFacts(), LifeFacts()).kind }) == Set(FaultKind.allCases))
  }

  @Test("Every point is led to, and those that were hit come no more often than those that were not")
  func points() {
    var schedule = schedule()
    var lives = [LifeFacts(), LifeFacts()]
    for _ in 0..<1500 {
      lives = facts(after: schedule.next(lives[0], lives[1]))
      for life in lives { if let order = life.stopOrder { schedule.hit(order.point) } }
    }
    // Those of a life that starts alone stand in the middle of a fault.
    let missed = ProtocolPoint.allCases.filter { schedule.hits[$0] == nil && PointPlace(of: $0) != .resuming }
    #expect(missed.isEmpty)
  }

  @Test("In the end both are started, and nobody stays frozen")
  func ends() {
    for late in [false, true] {
      var schedule = schedule(late: late)
      var lives = [LifeFacts(), LifeFacts()]
      for _ in 0..<500 {
        let fault = schedule.next(lives[0], lives[1])
        lives = facts(after: fault)
        for controller in ControllerIdentity.allCases {
          #expect(fault.end.contains(.proceed(controller)))
          #expect(fault.end.contains { if case .start(controller, _, _) = $0 { true } else { false } })
        }
      }
    }
  }
}

@Suite("Fault record: a schedule that another run repeats")
struct FaultRecordTests {
  /// Faults as a run would have them.
  private func faults(_ count: Int) -> [Fault] {
    var schedule = FaultSchedule(kinds: [], deadline: 50_000_000, pressesDisk: true, seed: 7)
    var lives = [LifeFacts(), LifeFacts()]
    return (0..<count).map { _ in
      let fault = schedule.next(lives[0], lives[1])
      for case .start(let controller, let order, let isPatient) in fault.end {
        lives[controller.index] = LifeFacts(stopOrder: order, isPatient: isPatient)
      }
      return fault
    }
  }

  @Test("What is written is read back, with every step of every fault, done or not")
  func roundTrip() throws {
    let faults = faults(500)
    var record = FaultRecord()
    for fault in faults {
      record.begin(fault)
      for step in 0..<fault.steps.count { record.done(step, at: UInt64(step) * 1_000_000) }
    }
    let text = record.text
    #expect(text.contains("# done at 0.001000 s"))
    #expect(try FaultRecord.parse(text, file: "schedule") == faults)
    // Every sort of step has come.
    for word in ["kill", "freeze", "continue", "terminate", "start", "press", "sleep", "await-stop", "await-death"] {
      #expect(text.contains("\n  \(word) "), "\(word)")
    }
    for words in ["await-serving", "await-calm", "patient", "stop-at", "owed"] { #expect(text.contains(words)) }
  }

  @Test("A schedule that is repeated gives its faults in their order, whatever the lives are, and then ends")
  func repeated() {
    let faults = faults(50)
    var schedule = FaultSchedule(kinds: [], deadline: 1, seed: 99, repeating: faults)
    for fault in faults {
      #expect(schedule.hasNext)
      #expect(schedule.next(LifeFacts(), LifeFacts(isAtPoint: true)) == fault)
    }
    #expect(!schedule.hasNext)
  }

  @Test(
    "What is no schedule is refused, with its line",
    arguments: [
      "", "# nothing", "kill a", "fault kill kill a", "fault melt: kill a", "fault kill: x\n  kill c",
      "fault kill: x\n  sleep", "fault kill: x\n  sleep -1", "fault kill: x\n  sleep 99999999999999999999",
      "fault kill: x\n  sleep 5 6", "fault kill: x\n  start a stop-at nowhere:1\nthen\n",
      "fault kill: x\n  kill a\nthen\n  continue a\n  start a\n  continue b",
    ])
  func nonsense(_ text: String) {
    #expect(throws: BatonError.self) { try FaultRecord.parse(text, file: "schedule") }
  }

  @Test("One deadline for every life is everybody's patience, and then a short pause need not be survived")
  func oneDeadline() {
    var schedule = FaultSchedule(kinds: [.pause], deadline: 20_000_000, patience: 20_000_000, seed: 3)
    #expect(!schedule.isPauseOwed)
    for _ in 0..<100 {
      let fault = schedule.next(LifeFacts(isPatient: true), LifeFacts(isPatient: true))
      for case .sleep(let nanoseconds) in fault.steps.dropFirst(2) { #expect(nanoseconds <= 20_000_000) }
    }
    #expect(FaultSchedule(kinds: [], deadline: 50_000_000, seed: 3).isPauseOwed)
  }
}

@Suite("Trail of operations on a block")
struct OperationTrailTests {
  @Test("The last ones stay, oldest first")
  func last() {
    var trail = OperationTrail()
    for moment in 1...200 as ClosedRange<UInt64> {
      trail.append(
        StressOperation(host: 0, kind: .write, sequence: UInt32(moment), path: .a, moment: moment, at: moment * 1000))
    }
    let moments = trail.operations.map(\.moment)
    #expect(moments == Array(137...200))
    let line = "host 0  write 137  submitted to a as event 137 at 0.000137 s; not answered"
    #expect(trail.operations[0].line(since: 0) == line)
  }
}
