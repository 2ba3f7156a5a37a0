import BatonSharedMemory
import BatonTestSupport
import Glibc
import Testing

@Suite("Sleep words")
struct SleepWordTests {
  @Test("Nobody sleeps over what was published, in any interleaving", arguments: [true, false])
  func everyInterleaving(waitOutlivesSleep: Bool) {
    let isLong = getenv("BATON_TEST_LONG").map { String(cString: $0) } == "1"
    for (items, strays) in [([2], 1), ([1, 1], 0)] + (isLong ? [([3], 2), ([2, 1], 1)] : []) {
      for rousesAfter in 0...1 {
        var explorer = SleepExplorer(
          .none, items: items.map { UInt64($0) }, strays: strays, rousesAfter: rousesAfter,
          waitOutlivesSleep: waitOutlivesSleep)
        explorer.run()
        #expect(explorer.violations == [])
        #expect(explorer.statesVisited > 1000)
      }
    }
  }

  @Test("Whatever of it is left out, the explorer finds somebody asleep", arguments: SleepExplorer.Defect.allCases)
  func defects(defect: SleepExplorer.Defect) {
    if defect == .none { return }
    var explorer = SleepExplorer(defect, items: [2], strays: 1, rousesAfter: 1, waitOutlivesSleep: true)
    explorer.run()
    #expect(explorer.violations.count == 1)
  }

  @Test("One caller a sleep rings, and what the sleeper listens to")
  func oneRings() {
    let plain = PlainWord()
    let word = SleepWord(plain)
    #expect(word.isAwake)
    #expect(word.takeSleep() == nil)
    word.say(.drowsy)
    #expect(!word.isAwake)
    #expect(!word.saysAsleep)
    #expect(word.takeSleep() == nil)
    for (state, bell) in [(SleepWord<PlainWord>.State.asleep, SleepWord<PlainWord>.Bell.other), (.listening, .word)] {
      word.say(state)
      #expect(word.saysAsleep)
      #expect(word.takeSleep() == bell)
      #expect(word.takeSleep() == nil)
      #expect(plain.value == SleepWord<PlainWord>.State.drowsy.rawValue)
      // Somebody else, or the sleeper itself, is in between the look and the change.
      word.say(state)
      plain.before = { step, _ in
        if step == .compareExchange { plain.value = SleepWord<PlainWord>.State.drowsy.rawValue }
      }
      #expect(word.takeSleep() == nil)
      plain.before = { _, _ in }
    }
  }

  @Test("A word that nobody listens to is rung in vain, and a sleep over a word that has been rung ends at once")
  func ringing() {
    let base = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64)
    base.initializeMemory(as: UInt64.self, repeating: 0, count: 8)
    defer { base.deallocate() }
    let word = SharedSleepWord(SharedWord(base))
    word.say(.listening)
    #expect(!word.wait(nanoseconds: 1))
    #expect(word.takeSleep() == .word)
    #expect(!word.ring())
    #expect(word.wait(nanoseconds: 1_000_000_000_000))
  }
}
