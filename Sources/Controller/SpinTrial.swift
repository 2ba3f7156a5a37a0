/// Whether to spin before a sleep, found out by trying.
///
/// A spin spares two wake-ups: the sleeper's, and that of the CPU that it leaves idle, which whoever wakes it pays for.
/// But who is awake all the time takes one by one what would have come together meanwhile, keeps from the CPU those who
/// share it, and gains nothing where a disk sets the pace. Which of these weighs most depends on the machine, on the
/// clients, on how much they have outstanding and where they run, and no rule that was thought of holds for all: on one
/// virtual machine clients with 1, 4 and 32 requests outstanding got 2.5, 3 and 0.9 times as many answers by it. So
/// time is lived in spans, now and then one the other way, and what counts is how many requests are answered in it.
///
/// Invariants:
/// - the other way is tried in one span of 25, once two trials in a row have said the same;
/// - it spins only where that brings a tenth more, because it costs a CPU; and for nobody who is in no hurry;
/// - what was found out does not outlast those of whom it was: where no span can be judged it sleeps.
package struct SpinTrial {
  /// Whether to spin at present.
  package private(set) var spins = false

  /// How often spinning was better lately: preferred above 0.
  private var score = 0
  /// Whether this span is lived the other way.
  private var isTrial = false
  private var spansUntilTrial = 1
  /// When this span began, and what had been answered by then.
  private var begin: UInt64 = 0
  private var answeredAtBegin: UInt64 = 0
  /// Pauses since a span was judged.
  private var pauses = 0
  /// Answers a nanosecond in the last span of the way that is preferred.
  private var pace = 0.0

  /// A span's length: long beside what is answered at once.
  package static let spanNanoseconds: UInt64 = 10_000_000
  /// A span that took longer than this was a pause, and says nothing.
  private static let pauseNanoseconds: UInt64 = 20_000_000
  /// So many in a row, and whoever is there now comes in bursts or seldom: what was found out was of others.
  private static let pausesMax = 8
  /// 1,600 answers a second: with fewer nobody is in a hurry.
  private static let paceMin = 16.0 / 10_000_000
  private static let gainMin = 1.1
  /// Where the score ends. From there on trials are seldom.
  private static let scoreMax = 2
  private static let spansBetweenTrials = 24

  /// Sleeping is preferred, until trials say otherwise.
  package init() {}

  /// Before each sleep: what has been answered until now, ever.
  package mutating func look(at now: UInt64, answered: UInt64) {
    let elapsed = now &- begin
    if elapsed < Self.spanNanoseconds { return }
    let answers = answered &- answeredAtBegin
    begin = now
    answeredAtBegin = answered
    if elapsed > Self.pauseNanoseconds {
      pauses += 1
      if pauses == Self.pausesMax { forget() }
      return
    }
    pauses = 0
    endSpan(pace: Double(answers) / Double(elapsed))
  }

  private mutating func forget() {
    (score, spins, isTrial) = (0, false, false)
    (spansUntilTrial, pauses) = (1, 0)
  }

  private mutating func endSpan(pace now: Double) {
    if isTrial {
      let (spinning, sleeping) = spins ? (now, pace) : (pace, now)
      score += spinning > max(sleeping, Self.paceMin) * Self.gainMin ? 1 : -1
      score = min(max(score, -Self.scoreMax), Self.scoreMax)
      spansUntilTrial = abs(score) == Self.scoreMax ? Self.spansBetweenTrials : 1
      isTrial = false
    } else {
      pace = now
      spansUntilTrial -= 1
      isTrial = spansUntilTrial == 0
    }
    spins = (score > 0) != isTrial
  }
}
