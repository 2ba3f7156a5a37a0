import BatonCommandKit

/// The possible contents of one block, from what was submitted and answered: it judges every read in `baton stress`.
///
/// The rule. Moments are those at which the hosts, all on one thread, submitted a request or saw its answer.
/// - A write takes effect once, at one moment between its submission and its answer. A controller that executes a
///   write again after a takeover lets nothing that overlaps it in between, so nobody can see it take effect twice.
/// - A write that was answered as done has taken effect by then; one that a read has found, by the answer of that
///   read. One that failed, and a discard, which is advice, may or may not have.
/// - A write that a read has found was still what the block held when that read was submitted.
/// - So a read finds write A wrongly when another write B had certainly taken effect before the read was submitted,
///   and A had taken effect before a moment at which the block came to hold B or still held it. Then A comes before B,
///   and is found after it. Any other write that was submitted is right.
/// - Blocks are not atomic: each sector of 512 bytes is judged by itself, and a read that overlaps writes may find
///   sectors of several. Only a read that found one write in all sectors says when the write has taken effect.
/// - Direct I/O does not tear sectors. The page cache and tmpfs do, while they are written: there a read that overlaps
///   a write may find a sector of parts.
///
/// It never accuses a subsystem that keeps these promises. For reads that find one write in all sectors it is exact:
/// those are the conditions under which a history of one register with unique values is linearizable (Gibbons and
/// Korach, "Testing Shared Memories", SIAM Journal on Computing 26, 1997: no two zones of writes conflict).
struct BlockHistory {
  private struct Write {
    let sequence: UInt32
    let isZero: Bool
    let submittedAt: UInt64
    /// The moment from which it can take effect no more.
    var answeredAt = UInt64.max
    /// A moment by which it certainly had taken effect.
    var knownAt = UInt64.max
    /// The last moment before which the block cannot have ceased to hold it: its own submission, or that of the last
    /// read that found it.
    var heldAt: UInt64

    init(sequence: UInt32, isZero: Bool, submittedAt: UInt64) {
      (self.sequence, self.isZero, self.submittedAt, heldAt) = (sequence, isZero, submittedAt, submittedAt)
    }

    /// If it takes effect at all, then by this moment.
    var effectBy: UInt64 { min(answeredAt, knownAt) }
  }

  /// Writes that a read may still find, oldest first.
  private var writes: [Write]
  /// The submission times of the reads in flight, oldest first.
  private var reads: [UInt64] = []
  /// The last write's number; 0 is the zeroes of the beginning.
  private(set) var sequence: UInt32 = 0
  /// Writes, discards and zeroings in flight.
  private(set) var writesOutstanding = 0
  /// The correct contents for the last read that was wrong.
  private(set) var expectation: String?
  /// Reads in flight.
  var readsOutstanding: Int { reads.count }

  private let tearsSectors: Bool

  /// Zeroes. `tearsSectors`: through the page cache.
  init(tearsSectors: Bool = false) {
    self.tearsSectors = tearsSectors
    var zeroes = Write(sequence: 0, isZero: true, submittedAt: 0)
    (zeroes.answeredAt, zeroes.knownAt) = (0, 0)
    writes = [zeroes]
  }

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
        expectation = expected(submittedAt: submittedAt)
        return found.count == 1 ? wrong : "sector \(sector): \(wrong)"
      }
    }
    if found.count == 1 { learn(found[0], submittedAt, now) }
    return nil
  }

  /// A write that shows that a read, submitted then, cannot rightly find this one.
  private func refutation(of write: Write, _ submittedAt: UInt64) -> Write? {
    writes.last { $0.sequence != write.sequence && $0.knownAt < submittedAt && write.effectBy < $0.heldAt }
  }

  private func judge(_ content: Stamp.Content, _ submittedAt: UInt64) -> String? {
    switch content {
    case .foreign(let what): return what
    case .torn(let what):
      return tearsSectors && writes.contains { $0.submittedAt > 0 && $0.answeredAt > submittedAt } ? nil : what
    case .zeroes:
      // Zeroes carry no number: those of any write will do.
      let candidates = writes.filter(\.isZero)
      if candidates.contains(where: { refutation(of: $0, submittedAt) == nil }) { return nil }
      return "found zeroes" + against(candidates.last, submittedAt)
    case .write(let number):
      if number > sequence { return "found write \(number), which nobody has made" }
      let write = writes.first { $0.sequence == number && !$0.isZero }
      if let write, refutation(of: write, submittedAt) == nil { return nil }
      return "found write \(number)" + against(write, submittedAt)
    }
  }

  /// The reason why it cannot be found.
  private func against(_ write: Write?, _ submittedAt: UInt64) -> String {
    let barrier = write.flatMap { refutation(of: $0, submittedAt) } ?? barrier(before: submittedAt)
    guard let barrier else { return ", which was overwritten" }
    var words = ", expected write \(barrier.sequence)\(barrier.isZero ? " (zeroes)" : "") or a younger one: that was "
    words += barrier.knownAt == barrier.answeredAt ? "answered" : "read"
    words += " before this read was submitted"
    guard let write else { return words }
    let isLater = write.effectBy < barrier.submittedAt
    return words + ", and was \(isLater ? "submitted" : "read again") after the older one had been "
      + (write.effectBy == write.answeredAt ? "answered" : "read")
  }

  /// The contents that a read submitted then may find, for people.
  private func expected(submittedAt: UInt64) -> String {
    let right = writes.filter { refutation(of: $0, submittedAt) == nil }
    return right.map { "write \($0.sequence)\($0.isZero ? " (zeroes)" : "")" }.joined(separator: ", or ")
  }

  /// What a read found whole has taken effect by now, and had not been overwritten when the read was submitted.
  private mutating func learn(_ content: Stamp.Content, _ submittedAt: UInt64, _ now: UInt64) {
    let found: [Int]
    switch content {
    case .foreign, .torn: return
    case .write(let number): found = writes.indices.filter { writes[$0].sequence == number }
    case .zeroes:
      // Zeroes tell only where one write alone can have left them.
      found = writes.indices.filter { writes[$0].isZero && refutation(of: writes[$0], submittedAt) == nil }
    }
    guard found.count == 1, let index = found.first else { return }
    writes[index].knownAt = min(writes[index].knownAt, now)
    writes[index].heldAt = max(writes[index].heldAt, submittedAt)
  }

  /// The youngest write that is known to have taken effect before that moment.
  private func barrier(before moment: UInt64) -> Write? { writes.last { $0.knownAt < moment } }

  /// Forgets what no read, in flight or to come, can rightly find.
  private mutating func prune(_ now: UInt64) {
    guard writes.count > 1,
      let index = writes.lastIndex(where: { $0.knownAt < (reads.first ?? now &+ 1) })
    else { return }
    // All that is forgotten comes before this one, so the block has held this one after whatever it held of those.
    let limit = writes[index].submittedAt
    for write in writes where write.answeredAt < limit {
      writes[index].heldAt = max(writes[index].heldAt, write.heldAt)
    }
    writes.removeAll { $0.answeredAt < limit }
  }
}
