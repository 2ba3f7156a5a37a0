import Glibc

/// When requests are submitted, in fio's words.
package struct PacingPlan: Sendable, Equatable {
  /// The distances between requests of an open loop.
  package enum Arrivals: String, CaseIterable, Sendable {
    /// All alike.
    case linear
    /// As of many independent users.
    case poisson
  }

  /// Requests per second; nil: as fast as the depth allows.
  package var requestsPerSecond: Double?
  /// Bytes per second; nil: as fast as the depth allows.
  package var bytesPerSecond: Double?
  package var arrivals = Arrivals.linear
  /// A pause after every `thinkRequests` requests, once they are answered.
  package var thinkNanoseconds: UInt64 = 0
  package var thinkRequests = 1

  package init() {}

  /// Whether requests are due at times that do not depend on answers.
  package var isOpenLoop: Bool { requestsPerSecond != nil || bytesPerSecond != nil }
}

/// The time at which the next request is due.
///
/// An open loop has a schedule: a request that comes late because all of the depth was taken, or because the machine
/// was busy, is due nevertheless when the schedule says, and its latency counts from then. A closed loop has none: the
/// next request is due at once.
package struct Pacing {
  private let plan: PacingPlan
  private var random: SplitMix64
  /// Nanoseconds from the start, with a fraction: a rate is kept whatever its period is.
  private var schedule = 0.0
  private let start: UInt64
  private var sinceThought = 0
  private var isThinking = false
  private var resumesAt: UInt64 = 0

  package init(_ plan: PacingPlan, seed: UInt64, start: UInt64) {
    self.plan = plan
    // Its own numbers: the same requests are made at any pace.
    random = SplitMix64(seed: seed ^ 0x7061_6365)
    self.start = start
    if plan.arrivals == .poisson, plan.isOpenLoop { advance(bytes: 0) }
  }

  /// When the next request is due; nil: not before what is outstanding is answered.
  package mutating func due(at now: UInt64, outstanding: Int) -> UInt64? {
    if plan.isOpenLoop { return start &+ UInt64(schedule) }
    if plan.thinkNanoseconds == 0 { return now }
    if isThinking {
      if outstanding > 0 { return nil }
      isThinking = false
      sinceThought = 0
      resumesAt = now &+ plan.thinkNanoseconds
    }
    return max(now, resumesAt)
  }

  /// A request of that size has been submitted.
  package mutating func submitted(bytes: Int) {
    if plan.isOpenLoop { return advance(bytes: bytes) }
    if plan.thinkNanoseconds == 0 { return }
    sinceThought += 1
    if sinceThought >= plan.thinkRequests { isThinking = true }
  }

  private mutating func advance(bytes: Int) {
    var period = 0.0
    if let rate = plan.requestsPerSecond { period = 1e9 / rate }
    if let rate = plan.bytesPerSecond { period = max(period, Double(bytes) * 1e9 / rate) }
    if plan.arrivals == .poisson { period *= -log1p(-random.unit()) }
    schedule += period
  }
}
