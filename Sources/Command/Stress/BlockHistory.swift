/// What one block may hold, from what was submitted and answered: the judge of every read in `baton stress`.
///
/// The rule. Moments are those at which the hosts, all on one thread, submitted a request or saw its answer.
/// - A write takes effect at one or more moments between its submission and its answer: a request that is executed
///   again while it is outstanding breaks no promise. After its answer it takes effect no more.
/// - A write that was answered as done has taken effect by then; one that a read has found, by the answer of that read.
///   One that failed, and a discard, which is advice, may or may not have.
/// - So a read finds an older write wrongly when a younger one was submitted after the older one's answer, and is known
///   to have taken effect before the read was submitted. Any other write that was submitted is right.
/// - Blocks are no atoms: each sector of 512 bytes is judged by itself, and a read that overlaps writes may find
///   sectors of several. Only a read that found one write in all sectors says that the write has taken effect.
/// - Direct I/O does not tear sectors. The page cache and tmpfs do, while they are written: there a read that overlaps
///   a write may find a sector of parts.
///
/// It never accuses a subsystem that keeps these promises. For a block with one write outstanding at a time it is
/// exact but for sectors of a write that is under way.
struct BlockHistory {
  private struct Write {
    let sequence: UInt32
    let isZero: Bool
    let submittedAt: UInt64
    /// The moment from which it can take effect no more.
    var answeredAt = UInt64.max
    /// A moment by which it certainly had taken effect.
    var knownAt = UInt64.max
  }

  /// Writes that a read may still find, oldest first.
  private var writes = [Write(sequence: 0, isZero: true, submittedAt: 0, answeredAt: 0, knownAt: 0)]
  /// When the reads under way were submitted, oldest first.
  private var reads: [UInt64] = []
  /// The last write's number; 0 is the zeroes of the beginning.
  private(set) var sequence: UInt32 = 0
  /// Writes, discards and zeroings under way.
  private(set) var writesOutstanding = 0
  /// Reads under way.
  var readsOutstanding: Int { reads.count }

  private let tearsSectors: Bool

  /// Zeroes. `tearsSectors`: through the page cache.
  init(tearsSectors: Bool = false) { self.tearsSectors = tearsSectors }

  /// A write, or what leaves zeroes, is submitted. Returns its number.
  mutating func beginWrite(isZero: Bool, at now: UInt64) -> UInt32 {
    sequence += 1
    writesOutstanding += 1
    writes.append(Write(sequence: sequence, isZero: isZero, submittedAt: now))
    return sequence
  }

  /// It was answered; `isCertain` says that it has taken effect.
  mutating func endWrite(_ sequence: UInt32, at now: UInt64, isCertain: Bool) {
    writesOutstanding -= 1
    guard let index = writes.firstIndex(where: { $0.sequence == sequence }) else { return }
    writes[index].answeredAt = now
    if isCertain { writes[index].knownAt = min(writes[index].knownAt, now) }
    prune(now)
  }

  /// A read is submitted.
  mutating func beginRead(at now: UInt64) { reads.append(now) }

  /// A read that was submitted then has failed: it says nothing.
  mutating func cancelRead(submittedAt: UInt64, at now: UInt64) {
    if let index = reads.firstIndex(of: submittedAt) { reads.remove(at: index) }
    prune(now)
  }

  /// A read that was submitted then has found this, a sector each, or one for all. Returns what is wrong with it.
  mutating func endRead(submittedAt: UInt64, at now: UInt64, found: [Stamp.Content]) -> String? {
    defer { cancelRead(submittedAt: submittedAt, at: now) }
    for (sector, content) in found.enumerated() {
      if let wrong = judge(content, submittedAt) {
        return found.count == 1 ? wrong : "sector \(sector): \(wrong)"
      }
    }
    if found.count == 1 { learn(found[0], submittedAt, now) }
    return nil
  }

  /// The youngest write that is known to have overwritten all that was answered before its submission.
  private func barrier(before moment: UInt64) -> Write? {
    writes.last { $0.knownAt < moment }
  }

  private func judge(_ content: Stamp.Content, _ submittedAt: UInt64) -> String? {
    let barrier = barrier(before: submittedAt)
    let limit = barrier?.submittedAt ?? 0
    switch content {
    case .foreign(let what): return what
    case .torn(let what):
      return tearsSectors && writes.contains { $0.submittedAt > 0 && $0.answeredAt > submittedAt } ? nil : what
    case .zeroes:
      if writes.contains(where: { $0.isZero && $0.answeredAt >= limit }) { return nil }
      return "holds zeroes" + Self.against(barrier)
    case .write(let number):
      if number > sequence { return "holds write \(number), which nobody has made" }
      if writes.contains(where: { $0.sequence == number && !$0.isZero && $0.answeredAt >= limit }) { return nil }
      return "holds write \(number)" + Self.against(barrier)
    }
  }

  private static func against(_ barrier: Write?) -> String {
    guard let barrier else { return ", which was overwritten" }
    return " where write \(barrier.sequence)\(barrier.isZero ? " (zeroes)" : ""), submitted after that was answered, "
      + "\(barrier.knownAt == barrier.answeredAt ? "was answered" : "had been read") before the read was submitted"
  }

  /// What a read found whole has taken effect by now.
  private mutating func learn(_ content: Stamp.Content, _ submittedAt: UInt64, _ now: UInt64) {
    let limit = barrier(before: submittedAt)?.submittedAt ?? 0
    switch content {
    case .foreign, .torn: break
    case .write(let number):
      if let index = writes.firstIndex(where: { $0.sequence == number }) {
        writes[index].knownAt = min(writes[index].knownAt, now)
      }
    case .zeroes:
      // Zeroes carry no number: they tell only where one write alone can have left them.
      let candidates = writes.indices.filter { writes[$0].isZero && writes[$0].answeredAt >= limit }
      if candidates.count == 1 { writes[candidates[0]].knownAt = min(writes[candidates[0]].knownAt, now) }
    }
  }

  /// Forgets what no read under way or to come can rightly find.
  private mutating func prune(_ now: UInt64) {
    guard writes.count > 1, let limit = barrier(before: reads.first ?? now &+ 1)?.submittedAt else { return }
    writes.removeAll { $0.answeredAt < limit }
  }
}
