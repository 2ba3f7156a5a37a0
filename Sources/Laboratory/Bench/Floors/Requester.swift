import Baton
import BatonCommandKit
import BatonSharedMemory
import BatonSystem

/// Something that requests are given to and that answers them: the loops below are the same for Baton and for floors.
protocol Requester: ~Copyable {
  /// False when there is no room.
  mutating func submit(_ cookie: UInt64) -> Bool
  /// The cookie of the next answer, or nil if none has come yet.
  mutating func next() throws(BatonError) -> UInt64?
}

extension Requester where Self: ~Copyable {
  /// Nanoseconds per request, with `depth` of them outstanding, over so many.
  ///
  /// In batches all answers that have come are taken before the next request is made; otherwise each answer is followed
  /// by a request. Which of the two is faster depends on the depth, and on what answers.
  mutating func nanosecondsPerRequest(
    _ requests: UInt64, depth: UInt64, inBatches: Bool = false, _ patience: consuming Patience
  ) throws -> Double {
    var submitted: UInt64 = 0
    var completed: UInt64 = 0
    let start = monotonicNanoseconds()
    while completed < requests {
      while submitted < requests, submitted - completed < depth, submit(submitted) { submitted += 1 }
      guard try next() != nil else {
        try patience.missed()
        continue
      }
      completed += 1
      if inBatches { while try next() != nil { completed += 1 } }
    }
    return Double(monotonicNanoseconds() - start) / Double(requests)
  }

  /// One request after the other, each timed: from before its submission to after its answer was seen. One reading of
  /// the clock is part of each.
  mutating func time(_ requests: UInt64, into latencies: inout Latencies, _ patience: consuming Patience) throws {
    for cookie in 0..<requests {
      let start = monotonicNanoseconds()
      while !submit(cookie) { try patience.missed() }
      while try next() == nil { try patience.missed() }
      latencies.record(monotonicNanoseconds() - start)
    }
  }

  /// Requests that arrive at a fixed rate, whatever becomes of them: open loop. Each is timed from the moment when it
  /// was due, so that a stall meets all that it holds up, and nothing is omitted because something else was late.
  ///
  /// An interval of 0 nanoseconds: all are due at once. Returns the requests answered per second.
  mutating func answerArrivals(
    _ requests: UInt64, every nanoseconds: Double, into latencies: inout Latencies, _ patience: consuming Patience
  ) throws -> Double {
    let start = monotonicNanoseconds()
    var submitted: UInt64 = 0
    var completed: UInt64 = 0
    var due = start
    var now = start
    while completed < requests {
      while submitted < requests, due <= now, submit(due) {
        submitted += 1
        due = start + UInt64(Double(submitted) * nanoseconds)
      }
      let wasDue = try next()
      // After the answer was seen, and again for each: none is recorded earlier than it came.
      now = monotonicNanoseconds()
      if let wasDue {
        completed += 1
        latencies.record(now &- wasDue)
      } else {
        try patience.missed()
      }
    }
    return Double(requests) / (Double(monotonicNanoseconds() - start) / 1e9)
  }
}

/// A host that asks one controller for the same read again and again.
struct NullReader: ~Copyable, Requester {
  private var host: Host
  private let controller: ControllerIdentity
  private let asked: Request

  init(_ host: consuming Host, of controller: ControllerIdentity, length: UInt64 = request.length) {
    self.host = host
    self.controller = controller
    asked = Request(.read, unit: 0, offset: 0, length: length)
  }

  static let request = Request(.read, unit: 0, offset: 0, length: 4096)

  @inline(__always)
  mutating func submit(_ cookie: UInt64) -> Bool { host.submit(asked, to: controller, cookie: cookie) }

  @inline(__always)
  mutating func next() throws(BatonError) -> UInt64? {
    guard let completion = host.next() else { return nil }
    try completion.expectSuccess()
    return completion.cookie
  }
}

/// The asking side of a bare ring: lines in a row, answered in that order.
struct BareRing: ~Copyable, Requester {
  private let ring: UnsafeMutableRawPointer
  private let lines: Int
  /// The number of the next request, and of the next answer.
  private var submitted: UInt64
  private var completed: UInt64
  /// Of all that was answered, so that it is read.
  private(set) var sum: UInt64 = 0

  /// On the page of a partner, which answers from now on until its next phase. With as many lines as there are requests
  /// outstanding it is the least that request lines can cost: fewer lines move back and forth faster.
  init(_ partner: inout BenchPartner, lines: UInt64) throws {
    precondition(lines.nonzeroBitCount == 1 && lines <= BenchPage.ringLinesMax, "a ring has a power of two of lines")
    ring = partner.page.ring
    self.lines = Int(lines)
    // Numbers that no ring on this page has had.
    submitted = partner.ringEnd
    completed = submitted
    partner.ringEnd += 1 << 40
    try partner.begin(.ring, argument: submitted, depth: lines)
  }

  @inline(__always)
  mutating func submit(_ cookie: UInt64) -> Bool {
    if submitted &- completed >= UInt64(lines) { return false }
    let line = BareLine(ring, submitted, lines: lines)
    let words = line.words
    words[0] = 1
    words[1] = submitted
    words[2] = 4096
    words[3] = 0
    words[4] = cookie
    line.flag.storeReleasing(BareLine.submitted(submitted))
    submitted &+= 1
    return true
  }

  @inline(__always)
  mutating func next() -> UInt64? {
    let line = BareLine(ring, completed, lines: lines)
    if line.flag.loadAcquiring() != BareLine.answered(completed) { return nil }
    if submitted &- completed > 2 { BareLine(ring, completed &+ 2, lines: lines).flag.prefetchForWriting() }
    sum &+= line.words[5] &+ line.words[6]
    completed &+= 1
    return line.words[4]
  }
}

/// A one-line ping-pong as request and response, for what is timed turn by turn.
struct OneLine: ~Copyable, Requester {
  private let ball: SharedWord

  /// On a page that outlives it, against a worker that plays `.loadStore`.
  init(_ page: borrowing BenchPage) { ball = page.ball }

  @inline(__always)
  mutating func submit(_ cookie: UInt64) -> Bool {
    ball.storeReleasing(1)
    return true
  }

  @inline(__always)
  mutating func next() -> UInt64? { ball.loadAcquiring() == 0 ? 0 : nil }
}
