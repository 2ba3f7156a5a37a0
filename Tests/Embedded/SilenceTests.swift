import BatonController
import Testing

/// The rule on courses of events that no process has to live through. Times are in units of a tenth of the deadline.
@Suite("Silence: when a peer counts as one that does not answer")
struct SilenceTests {
  private static let tenth: UInt64 = 1_000
  private static let deadline = 10 * tenth

  /// Looks at each tenth up to that one, with that beat.
  private func look(
    _ silence: inout Silence, beat: UInt64, tenths: ClosedRange<UInt64>
  ) -> [Silence.Verdict] {
    tenths.map {
      silence.look(beat: beat, at: $0 * Self.tenth, nextLook: Self.tenth, deadline: Self.deadline)
    }
  }

  @Test("A beat that stands still: rung once at half of the deadline, silent at its end")
  func standsStill() {
    var silence = Silence(beat: 7, at: 0)
    let verdicts = look(&silence, beat: 7, tenths: 1...10)
    #expect(
      verdicts == [.patient, .patient, .patient, .patient, .ring, .patient, .patient, .patient, .patient, .silent])
    #expect(silence.hasRung)
  }

  @Test("A beat that grows, even at the last moment, begins the deadline again")
  func beats() {
    var silence = Silence(beat: 7, at: 0)
    _ = look(&silence, beat: 7, tenths: 1...9)
    #expect(look(&silence, beat: 8, tenths: 10...10) == [.patient])
    #expect(!silence.hasRung && silence.since == 10 * Self.tenth)
    #expect(look(&silence, beat: 8, tenths: 11...20).filter { $0 == .silent }.count == 1)
  }

  @Test("A peer that is rung late has half a deadline from the doorbell on")
  func rungLate() {
    // The loop sleeps through the first half and more, as it said that it would.
    var silence = Silence(beat: 7, at: 0)
    let first = silence.look(beat: 7, at: Self.tenth, nextLook: 8 * Self.tenth, deadline: Self.deadline)
    let late = silence.look(beat: 7, at: 9 * Self.tenth, nextLook: Self.tenth, deadline: Self.deadline)
    #expect(first == .patient && late == .ring)
    #expect(look(&silence, beat: 7, tenths: 10...13) == [.patient, .patient, .patient, .patient])
    #expect(look(&silence, beat: 7, tenths: 14...14) == [.silent])
  }

  @Test("A loop that stood still itself has not listened: the deadline begins again")
  func ownPause() {
    var silence = Silence(beat: 7, at: 0)
    _ = look(&silence, beat: 7, tenths: 1...6)
    // Its next look was due at 7, and comes a quarter of the deadline and more after that.
    let after = silence.look(beat: 7, at: 10 * Self.tenth, nextLook: Self.tenth, deadline: Self.deadline)
    #expect(after == .patient && !silence.hasRung && silence.since == 10 * Self.tenth)
    #expect(look(&silence, beat: 7, tenths: 11...20).last == .silent)
  }
}
