import BatonController
import Testing

@Suite("Spinning before a sleep: tried, and kept where it brings more")
struct SpinTrialTests {
  /// A loop that answers so many requests in a millisecond when it spins, and when it sleeps.
  private struct Loop {
    var trial = SpinTrial()
    var now: UInt64 = 1_000_000_000
    var answered: UInt64 = 0

    /// Lives for so long. Returns in how many milliseconds it spun.
    mutating func live(milliseconds: Int, spinning: UInt64, sleeping: UInt64) -> Int {
      var spun = 0
      for _ in 0..<milliseconds {
        now += 1_000_000
        answered += trial.spins ? spinning : sleeping
        if trial.spins { spun += 1 }
        trial.look(at: now, answered: answered)
      }
      return spun
    }
  }

  @Test("Where it brings more it is done, but for the trials of the other way")
  func brings() {
    var loop = Loop()
    #expect(loop.live(milliseconds: 1000, spinning: 20, sleeping: 10) > 900)
    let spun = loop.live(milliseconds: 1000, spinning: 20, sleeping: 10)
    #expect(spun > 950)
    #expect(spun < 1000)
  }

  @Test("Where it brings less, or hardly more, it is tried and not done", arguments: [UInt64(0), 50, 100, 105])
  func bringsNothing(spinning: UInt64) {
    var loop = Loop()
    let first = loop.live(milliseconds: 1000, spinning: spinning, sleeping: 100)
    #expect(first > 0)
    #expect(first < 100)
    #expect(loop.live(milliseconds: 1000, spinning: spinning, sleeping: 100) <= 50)
  }

  @Test("What changes is noticed, both ways")
  func changes() {
    var loop = Loop()
    _ = loop.live(milliseconds: 1000, spinning: 20, sleeping: 10)
    _ = loop.live(milliseconds: 1000, spinning: 5, sleeping: 10)
    #expect(loop.live(milliseconds: 1000, spinning: 5, sleeping: 10) <= 50)
    _ = loop.live(milliseconds: 1000, spinning: 20, sleeping: 10)
    #expect(loop.live(milliseconds: 1000, spinning: 20, sleeping: 10) > 950)
  }

  @Test("One span that was disturbed does not turn it round")
  func disturbed() {
    var loop = Loop()
    _ = loop.live(milliseconds: 1000, spinning: 20, sleeping: 10)
    // Until the other way is tried, whose span is disturbed: much more is answered in it.
    while loop.trial.spins { _ = loop.live(milliseconds: 1, spinning: 20, sleeping: 10) }
    while !loop.trial.spins { _ = loop.live(milliseconds: 1, spinning: 20, sleeping: 100) }
    #expect(loop.live(milliseconds: 1000, spinning: 20, sleeping: 10) > 900)
  }

  @Test("For clients that are in no hurry there is no spinning")
  func inNoHurry() {
    var loop = Loop()
    _ = loop.live(milliseconds: 1000, spinning: 20, sleeping: 10)
    _ = loop.live(milliseconds: 1000, spinning: 1, sleeping: 1)
    #expect(loop.live(milliseconds: 1000, spinning: 1, sleeping: 1) <= 50)
  }

  @Test("A pause says nothing")
  func pause() {
    var loop = Loop()
    _ = loop.live(milliseconds: 1000, spinning: 20, sleeping: 10)
    for _ in 0..<100 {
      loop.now += 1_000_000_000
      loop.trial.look(at: loop.now, answered: loop.answered)
      #expect(loop.live(milliseconds: 50, spinning: 20, sleeping: 10) >= 40)
    }
  }

  /// Spans with a pause in them are not judged, so nothing would ever say that it has changed.
  @Test("For requests in bursts, or seldom ones, it does not spin because it did for others", arguments: [200, 1])
  func bursts(count: Int) {
    var loop = Loop()
    _ = loop.live(milliseconds: 1000, spinning: 20, sleeping: 10)
    var spun = 0
    for _ in 0..<1000 {
      loop.now += 30_000_000
      for _ in 0..<count {
        loop.now += 20_000
        loop.answered += 1
        loop.trial.look(at: loop.now, answered: loop.answered)
        if loop.trial.spins { spun += 1 }
      }
    }
    #expect(spun <= 8 * count)
    #expect(loop.live(milliseconds: 1000, spinning: 20, sleeping: 10) > 900)
  }
}
