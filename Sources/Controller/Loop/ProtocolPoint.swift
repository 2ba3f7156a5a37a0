import Glibc

/// Places in the protocol where a controller can be ordered to stop itself, so that a test can let it die or freeze
/// there: right before and after each transition of a word, each journal write, each submission, each response.
package enum ProtocolPoint: UInt8, CaseIterable, Sendable {
  /// A request has been copied out of its line, and nothing is done with it yet.
  case requestTaken = 1
  /// Before and after a request is entered in the in-flight journal.
  case journalBefore, journalAfter
  /// Before and after prepared operations are given to the kernel.
  case submissionBefore, submissionAfter
  /// A completion has been taken, and its request is not answered.
  case completionTaken
  /// Before and after a response is written into its line; the request is still in the journal.
  case responseBefore, responseAfter
  /// The answered request has left the journal.
  case journalCleared
  /// Before and after a management request takes effect.
  case effectBefore, effectAfter
  /// Before and after the steps of the ownership word.
  case requestBefore, requestAfter
  case grantBefore, grantAfter
  case takeOverBefore, takeOverAfter
  case vacateBefore, vacateAfter
  /// Before and after the steps of the membership word.
  case joinBefore, joinAfter
  case resumeBefore, resumeAfter
  case fenceBefore, fenceAfter
  case leaveBefore, leaveAfter
  case releaseBefore, releaseAfter
  /// Before and after the peer is killed.
  case killBefore, killAfter
  /// The peer's exit has been seen.
  case exitSeen
  /// A request of the dead peer's journal is in this controller's own too; then it has left the peer's.
  case journalCopied, journalMoved
  /// The kernel has let go of a dead controller's last operation on a unit.
  case drainProved
  /// Before a recovered request is executed again.
  case replayBefore

  // `description` is the case's own name, as of any enumeration without associated values.

  /// From a command line's word.
  package init?(_ word: String) {
    guard let found = Self.allCases.first(where: { "\($0)" == word }) else { return nil }
    self = found
  }
}

/// A point where a controller stops itself, once: when it passes the point for the `occurrence`-th time.
package struct StopOrder: Sendable, Equatable {
  /// Where.
  package var point: ProtocolPoint
  /// The number of the pass at which it stops, from 1.
  package var occurrence: UInt32

  /// Stop at that point, at that time of passing it.
  package init(_ point: ProtocolPoint, occurrence: UInt32 = 1) {
    self.point = point
    self.occurrence = max(occurrence, 1)
  }

  /// From a word: `journalBefore` or `journalBefore:17`.
  package init?(parsing text: String) {
    let parts = text.split(separator: ":", maxSplits: 1)
    guard let word = parts.first, let point = ProtocolPoint(String(word)) else { return nil }
    var occurrence: UInt32 = 1
    if parts.count == 2 {
      guard let number = UInt32(parts[1]), number > 0 else { return nil }
      occurrence = number
    }
    self.init(point, occurrence: occurrence)
  }
}

/// A mistake that a controller makes on purpose, so that a checker can show that it would see it.
package enum PlantedDefect: String, CaseIterable, Sendable {
  /// Serves in place of a silent peer without killing it and without seeing its exit.
  case noFence = "no-fence"
  /// Executes again what the dead peer had in flight without waiting until the kernel has let go of it.
  case noDrainProof = "no-drain-proof"
  /// Does not look into the dead peer's journal.
  case noJournal = "no-journal"
  /// Executes what it recovers twice.
  case replayTwice = "replay-twice"
}
