import BatonSharedMemory

/// The lines of one channel, as `ChannelPosition` reads them: in shared memory, or in a test's own memory, which lets
/// the host take a step between any two looks.
public protocol ScannedLines {
  /// The flag of a line. Acquire: sync point "submit".
  func flag(_ slot: Int) -> RequestFlag
  /// The request that stands in a line, by relaxed loads.
  func copy(_ slot: Int) -> RequestCopy
  /// A fence: loads before it come before loads after it.
  func fence()
}

/// The position in a channel, read from its lines alone: by a controller that takes the channel over, or by a new life.
///
/// The lines are not a chain, because a line whose request is complete may be in use again; but each is numbered, and
/// the newest request names the line of the next one, or says that it may come in its own line.
///
/// Invariants that the scan relies on:
/// - a line that is submitted does not change until it is answered, and only the reader answers;
/// - a host numbers its requests in order, and submits one before it begins to write the next one into a line.
///
/// The host may continue to submit meanwhile. Requests newer than the newest one that the scan settles on are left to
/// the polls that follow. An answered line may be being rewritten: its flag still carries the old number, and its
/// fields are those of a later request. If that request is not the very next one, then the one before it has been
/// submitted elsewhere by now, and the second pass sees that: the scan is made again. It settles at the second attempt,
/// because the newest request is then one that nobody answers meanwhile.
@frozen
public struct ChannelPosition: Equatable {
  /// The number of the newest request; 0 if the host has never submitted one.
  public var newest: UInt64 = 0
  /// The line where the next request will be, unless it is in `staying`.
  public var next = 0
  /// The newest request's line, if the next one may be in it again; else the same as `next`.
  public var staying = 0

  /// The position in a channel to which nothing was ever submitted.
  public init() {}

  /// The result of a scan.
  public enum Outcome: Equatable {
    /// So many requests wait for an answer. They are at the beginning of the table, oldest first.
    case settled(ChannelPosition, unanswered: Int)
    /// The lines contradict each other: the host breaks the protocol.
    case contradictory
  }

  /// Looks at one line that changes while it is read. A host that keeps the protocol changes it once.
  private static var lineLooksMax: Int { 8 }
  /// Scans of all lines. A host that keeps the protocol needs two.
  private static var scansMax: Int { 3 }
  /// The number of a channel's line fits into so many bits, next to a sequence number.
  private static var slotBits: UInt64 { 12 }

  /// The line and the number of an entry of the table that `find` fills.
  public func request(ofEntry entry: UInt64) -> (slot: Int, sequence: UInt64) {
    (Int(entry & (1 << Self.slotBits - 1)), (newest &- entry >> Self.slotBits) & RequestFlag.sequenceMask)
  }

  /// Scans `count` lines. `table` has room for one entry a line, see `request(ofEntry:)`. `isKnown` says of a submitted
  /// request, by line and number, that it is being recovered: it is not counted as unanswered.
  ///
  /// Cost: two to six looks at every line.
  public static func find<Lines: ScannedLines>(
    in lines: Lines, count: Int, table: UnsafeMutablePointer<UInt64>, isKnown: (Int, UInt64) -> Bool
  ) -> Outcome {
    precondition(count > 0 && UInt64(count) <= 1 << slotBits, "a line's number fits into its bits")
    for _ in 0..<scansMax {
      let (position, isStable) = newest(in: lines, count: count)
      // Sync point "submit": the fence orders the copies above before the flags below. With the host's fence before it
      // writes a line, a look that found fields of a later request finds the flag of the request before that.
      lines.fence()
      var found = 0
      var hasNewer = false
      for slot in 0..<count {
        let flag = lines.flag(slot)
        guard flag.isSubmitted || flag.isAnswered else { continue }
        if RequestFlag.isNewer(flag.sequence, than: position.newest) {
          hasNewer = true
        } else if flag.isSubmitted, !isKnown(slot, flag.sequence) {
          let age = (position.newest &- flag.sequence) & RequestFlag.sequenceMask
          table[found] = age << slotBits | UInt64(slot)
          found += 1
        }
      }
      if hasNewer, !isStable { continue }
      var entries = UnsafeMutableBufferPointer(start: table, count: found)
      entries.sort(by: >)
      let hasDouble = zip(entries, entries.dropFirst()).contains { $0 >> slotBits == $1 >> slotBits }
      if hasDouble || found >= count || position.next >= count { return .contradictory }
      return .settled(position, unanswered: found)
    }
    return .contradictory
  }

  /// The newest request, and whether its line is stable: it is submitted, so nobody writes it meanwhile.
  private static func newest<Lines: ScannedLines>(in lines: Lines, count: Int) -> (ChannelPosition, isStable: Bool) {
    var position = ChannelPosition()
    var hasOne = false
    // The first request of all comes in line 0.
    var isStable = true
    for slot in 0..<count {
      var flag = lines.flag(slot)
      for _ in 0..<lineLooksMax {
        guard flag.isSubmitted || flag.isAnswered else { break }
        if hasOne, !RequestFlag.isNewer(flag.sequence, than: position.newest) { break }
        let copy = lines.copy(slot)
        lines.fence()
        let again = lines.flag(slot)
        if again == flag {
          hasOne = true
          position.newest = flag.sequence
          position.next = Int(copy.next)
          position.staying = copy.mayStay ? slot : position.next
          isStable = flag.isSubmitted
          break
        }
        flag = again
      }
    }
    return (position, isStable)
  }
}

/// The lines in a host's memory. An address and nothing more.
public struct SharedLines: ScannedLines {
  private let base: UnsafeMutableRawPointer

  /// The lines from `base` on, which stay mapped while this value is used.
  public init(base: UnsafeMutableRawPointer) { self.base = base }

  private func line(_ slot: Int) -> RequestLine { RequestLine(base + slot * RequestLine.stride) }

  /// See `ScannedLines`.
  public func flag(_ slot: Int) -> RequestFlag { RequestFlag(rawValue: line(slot).flag.loadAcquiring()) }
  /// See `ScannedLines`.
  public func copy(_ slot: Int) -> RequestCopy { line(slot).copy() }
  /// See `ScannedLines`.
  public func fence() { acquireFence() }
}
