import BatonSharedMemory

/// The lines of one channel, as `ChannelPosition` reads them: in shared memory, or in a test's own memory, which lets
/// the host take a step between any two looks.
public protocol ScannedLines {
  /// The flag of a line. Acquire: sync point "submit".
  func flag(_ line: LineIndex) -> RequestFlag
  /// The request that stands in a line, by relaxed loads.
  func copy(_ line: LineIndex) -> RequestCopy
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
  public var next = LineIndex(0)
  /// The newest request's line, if the next one may be in it again; else the same as `next`.
  public var staying = LineIndex(0)

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
  private static var lineBits: UInt64 { 12 }

  /// The line and the number of an entry of the table that `find` fills.
  public func request(ofEntry entry: UInt64) -> (line: LineIndex, sequence: UInt64) {
    (LineIndex(Int(entry & (1 << Self.lineBits - 1))), (newest &- entry >> Self.lineBits) & RequestFlag.sequenceMask)
  }

  /// Scans `count` lines. `table` has room for one entry a line, see `request(ofEntry:)`. `isKnown` says of a submitted
  /// request, by line and number, that it is being recovered: it is not counted as unanswered.
  ///
  /// Cost: two to six looks at every line.
  public static func find<Lines: ScannedLines>(
    in lines: Lines, count: Int, table: UnsafeMutablePointer<UInt64>, isKnown: (LineIndex, UInt64) -> Bool
  ) -> Outcome {
    precondition(count > 0 && UInt64(count) <= 1 << lineBits, "a line's number fits into its bits")
    for _ in 0..<scansMax {
      let newest = newest(in: lines, count: count)
      // Sync point "submit": the fence orders the copies above before the flags below. With the host's fence before it
      // writes a line, a look that found fields of a later request finds the flag of the request before that.
      lines.fence()
      var found = 0
      var hasNewer = false
      for number in 0..<count {
        let line = LineIndex(number)
        let flag = lines.flag(line)
        guard flag.isSubmitted || flag.isAnswered else { continue }
        if RequestFlag.isNewer(flag.sequence, than: newest.sequence) {
          hasNewer = true
        } else if flag.isSubmitted, !isKnown(line, flag.sequence) {
          let age = (newest.sequence &- flag.sequence) & RequestFlag.sequenceMask
          table[found] = age << lineBits | UInt64(number)
          found += 1
        }
      }
      if hasNewer, !newest.isStable { continue }
      var entries = UnsafeMutableBufferPointer(start: table, count: found)
      entries.sort(by: >)
      let hasDouble = zip(entries, entries.dropFirst()).contains { $0 >> lineBits == $1 >> lineBits }
      if hasDouble || found >= count || newest.next >= count { return .contradictory }
      var position = ChannelPosition()
      position.newest = newest.sequence
      position.next = LineIndex(newest.next)
      position.staying = newest.staying ?? position.next
      return .settled(position, unanswered: found)
    }
    return .contradictory
  }

  /// What the newest request says.
  private struct Newest {
    /// Its number; 0: there is no request.
    var sequence: UInt64 = 0
    /// The line that it names, as the host has written it. The first request of all comes in line 0.
    var next = 0
    /// Its own line, if the next request may be in it.
    var staying: LineIndex?
    /// Whether its line is stable: it is submitted, so nobody writes it meanwhile.
    var isStable = true
  }

  private static func newest<Lines: ScannedLines>(in lines: Lines, count: Int) -> Newest {
    var newest = Newest()
    var hasOne = false
    for number in 0..<count {
      let line = LineIndex(number)
      var flag = lines.flag(line)
      for _ in 0..<lineLooksMax {
        guard flag.isSubmitted || flag.isAnswered else { break }
        if hasOne, !RequestFlag.isNewer(flag.sequence, than: newest.sequence) { break }
        let copy = lines.copy(line)
        lines.fence()
        let again = lines.flag(line)
        if again == flag {
          hasOne = true
          newest = Newest(
            sequence: flag.sequence, next: Int(copy.next), staying: copy.mayStay ? line : nil,
            isStable: flag.isSubmitted)
          break
        }
        flag = again
      }
    }
    return newest
  }
}

/// The lines in a host's memory. An address and nothing more.
public struct SharedLines: ScannedLines {
  private let base: UnsafeMutableRawPointer

  /// The lines from `base` on, which stay mapped while this value is used.
  public init(base: UnsafeMutableRawPointer) { self.base = base }

  private func line(_ line: LineIndex) -> RequestLine { RequestLine(base + line.number * RequestLine.stride) }

  /// See `ScannedLines`.
  public func flag(_ line: LineIndex) -> RequestFlag { RequestFlag(rawValue: self.line(line).flag.loadAcquiring()) }
  /// See `ScannedLines`.
  public func copy(_ line: LineIndex) -> RequestCopy { self.line(line).copy() }
  /// See `ScannedLines`.
  public func fence() { acquireFence() }
}
