/// Whether to spin before a sleep, found out by trying.
///
/// A spin spares two wake-ups: the sleeper's, and that of the CPU that it leaves idle, which the waking process pays
/// for. But a process that stays awake takes one by one what would otherwise have accumulated. It keeps the CPU from
/// those who share it, and gains nothing where a disk sets the pace. Which of these weighs most depends on the machine,
/// on the clients, on how much they have outstanding and where they run. No rule that was considered holds for all: on
/// one virtual machine, spinning gave clients with 1, 4 and 32 requests outstanding 2.5, 3 and 0.9 times as many
/// answers. So time is divided into spans, and now and then one span tries the alternative; the number of answers in a
/// span decides.
///
/// Invariants:
/// - the alternative is tried in one span of 25, once two trials in a row have agreed;
/// - it spins only where that brings a tenth more, because spinning costs a CPU; and only for clients in a hurry;
/// - the result is discarded once several spans in a row could not be judged, because the clients that it was measured
///   with may be gone; until the next trial it sleeps.
package struct SpinTrial {
  /// Whether to spin at present.
  package private(set) var spins = false

  /// How often spinning was better lately: preferred above 0.
  private var score = 0
  /// Whether this span tries the alternative.
  private var isTrial = false
  private var spansUntilTrial = 1
  /// When this span began, and what had been answered by then.
  private var begin: UInt64 = 0
  private var answeredAtBegin: UInt64 = 0
  /// Pauses since a span was judged.
  private var pauses = 0
  /// Answers per nanosecond in the last span of the preferred way.
  private var pace = 0.0

  /// A span's length: long compared with one answer.
  package static let spanNanoseconds: UInt64 = 10_000_000
  /// A span that took longer than this was a pause, and is not judged.
  private static let pauseNanoseconds: UInt64 = 20_000_000
  /// With so many pauses in a row, the present clients come in bursts or seldom: the result was measured with others.
  private static let pausesMax = 8
  /// 1,600 answers per second: with fewer no client is in a hurry.
  private static let paceMin = 16.0 / 10_000_000
  private static let gainMin = 1.1
  /// The limit of the score. Once it is reached, trials are seldom.
  private static let scoreMax = 2
  private static let spansBetweenTrials = 24

  /// Sleeping is preferred, until trials say otherwise.
  package init() {}

  /// Call it before each sleep, with the total number of answers so far.
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
