import BatonCommandKit
import BatonSystem

/// When a supervisor starts its processes again, and when it gives up: a pure rule, without processes and clocks.
///
/// Invariants:
/// - a life that has served is followed by the next one at once: its end says nothing about the next start;
/// - a life that ends before it served is followed by the next one after a delay that doubles, up to `delayMax`, and
///   never stops being tried while any process has ever served;
/// - while none has ever served, a process whose start failed by itself waits for its peers. If all of them have
///   failed, the supervisor gives up: waiting is not known to help;
/// - a process that somebody else ended while it started has not failed by itself, but only `killedStartsMax` times in
///   a row.
struct RestartRule {
  /// The step after the end of a life.
  enum Next: Equatable {
    /// The next life begins after so many nanoseconds.
    case again(after: UInt64)
    /// The next life begins when a peer serves, `delay` later.
    case whenPeerServes
    /// No process can be started: the supervisor ends.
    case giveUp
  }

  /// One process, over all of its lives.
  private struct Seat {
    /// Whether the present life, or the last one, has served.
    var serves = false
    /// Whether any life has.
    var hasServed = false
    /// Lives in a row that ended before they served.
    var failures = 0
    /// Whether the last life failed by itself to start.
    var isHopeless = false
  }

  private var seats: [Seat]

  /// Nanoseconds: almost nothing for clients that wait, but enough that a process that dies at once does not overload
  /// the machine, because the delay doubles from here.
  static let delayMin: UInt64 = 1_000_000
  /// Nanoseconds: a process that could start again is never away for longer.
  static let delayMax: UInt64 = 10_000_000_000
  /// Starts in a row that were ended by a signal before they count as failed: a crash at each start is a failure too.
  static let killedStartsMax = 5

  /// A rule for so many processes, of which none has been started.
  init(seats count: Int) { seats = Array(repeating: Seat(), count: count) }

  /// A life has begun.
  mutating func began(_ seat: Int) { seats[seat].serves = false }

  /// The present life serves.
  mutating func served(_ seat: Int) {
    seats[seat].serves = true
    seats[seat].hasServed = true
    seats[seat].failures = 0
    seats[seat].isHopeless = false
  }

  /// Whether the present life, or the last one, has served.
  func serves(_ seat: Int) -> Bool { seats[seat].serves }

  /// Whether any life of any process has served.
  var hasServed: Bool { seats.contains(where: \.hasServed) }

  /// Whether it is known of each process whether it can serve, and at least one can.
  var isSettled: Bool { hasServed && seats.allSatisfy { $0.hasServed || $0.failures > 0 } }

  /// The present life has ended, or could not be started (`nil`).
  mutating func ended(_ seat: Int, _ ending: ProcessEnding?) -> Next {
    if seats[seat].serves { return .again(after: Self.delayMin) }
    seats[seat].failures += 1
    switch ending {
    // Another process told it to leave, or killed it.
    case .exited(0), .signalled: seats[seat].isHopeless = seats[seat].failures >= Self.killedStartsMax
    case .exited, nil: seats[seat].isHopeless = true
    }
    if hasServed || !seats[seat].isHopeless { return .again(after: delay(seat)) }
    return seats.allSatisfy(\.isHopeless) ? .giveUp : .whenPeerServes
  }

  /// How long the next life waits after so many failures.
  func delay(_ seat: Int) -> UInt64 {
    let doublings = min(max(seats[seat].failures - 1, 0), 32)
    return min(Self.delayMin << UInt64(doublings), Self.delayMax)
  }
}
