import Baton
import BatonCommandKit
import BatonSystem
import Glibc

/// What one would use instead of Baton, measured with it: programs of two processes, `Benchmarks/Peers`, which
/// `tools/peers` builds. `peer.h` there says how they measure.
///
/// One may be missing, or fail: then it was not run, and its error is the reason.
enum Peer: String, CaseIterable {
  case mutexSpinning = "mutex_spinning"
  case mutexBlocking = "mutex_blocking"
  case semaphore
  case eventDescriptor = "eventfd"
  case socket
  case futex
  case boostQueue = "boost_spsc_queue"
  case atomicQueue = "atomic_queue"
  case atomicQueueOfWords = "atomic_queue_words"
  case concurrencyKitRing = "ck_ring"
  case dataPlaneRing = "rte_ring"

  /// The meaning of a turn.
  enum Mode: String {
    /// One request of 64 bytes and its response of 16, one at a time.
    case roundTrip = "round-trip"
    /// The same with several requests in flight.
    case throughput
    /// The right to go on, to the other process and back, and nothing with it.
    case handOver = "hand-over"
  }

  /// Its name in a report.
  var name: String {
    switch self {
    case .mutexSpinning: "robust mutex, spinning"
    case .mutexBlocking: "robust mutex, blocking"
    case .semaphore: "POSIX semaphores"
    case .eventDescriptor: "eventfds"
    case .socket: "Unix socket pair"
    case .futex: "futexes"
    case .boostQueue: "boost spsc_queue pair"
    case .atomicQueue: "atomic_queue pair"
    case .atomicQueueOfWords: "atomic_queue pair, 8 bytes only"
    case .concurrencyKitRing: "ck_ring pair"
    case .dataPlaneRing: "rte_ring pair"
    }
  }

  /// Whether it spins; the others sleep in the kernel whenever they wait. The two are not to be compared.
  var spins: Bool {
    switch self {
    case .mutexSpinning, .boostQueue, .atomicQueue, .atomicQueueOfWords, .concurrencyKitRing, .dataPlaneRing: true
    case .mutexBlocking, .semaphore, .eventDescriptor, .socket, .futex: false
    }
  }

  /// Whether it can be measured so: the rings and queues carry requests and know no right to hand over.
  func supports(_ mode: Mode) -> Bool {
    switch self {
    case .boostQueue, .atomicQueue, .atomicQueueOfWords, .concurrencyKitRing, .dataPlaneRing: mode != .handOver
    case .mutexSpinning, .mutexBlocking, .semaphore, .eventDescriptor, .socket, .futex: true
    }
  }

  /// The part of the bench's help about them.
  static let discussion = """
    Peers, what one would use instead, are programs that tools/peers builds. BATON_PEERS names their folder, by \
    default .build/peers of the source tree. A missing peer is reported as not run.
    """

  /// Where the programs lie: what `BATON_PEERS` names, else `.build/peers` of the tree that this program was built in.
  static let folder: String = {
    if let named = getenv("BATON_PEERS"), named.pointee != 0 { return String(cString: named) }
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink("/proc/self/exe", &buffer, buffer.count)
    let path = String(decoding: buffer.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    // .build/PLATFORM/release/baton
    return "/" + path.split(separator: "/").dropLast(3).joined(separator: "/") + "/peers"
  }()

  private var program: String { "\(Self.folder)/\(rawValue)" }

  /// Why it cannot be run, as `tools/peers` left it; nil where it can.
  var reasonNotRun: String? {
    if access(program, X_OK) == 0 { return nil }
    let reason = (try? String(contentsOfFile: "\(program).reason", encoding: .utf8)).map { $0.prefix { $0 != "\n" } }
    if let reason, !reason.isEmpty { return String(reason) }
    return "\(program) does not exist; tools/peers builds it"
  }

  /// Nanoseconds per turn, over so many. Starts two processes and waits for them: nothing else may spin on their CPUs
  /// meanwhile. A CPU of -1: not pinned.
  func run(
    _ mode: Mode, turns: UInt64, depth: Int = 1, cpus: (here: Int, there: Int)
  ) throws(BatonError) -> Double {
    try measure(mode, turns: turns, depth: depth, cpus: cpus, timesEach: false).nanosecondsPerTurn
  }

  /// The same, and then as many turns again, timed one by one.
  func curve(
    _ mode: Mode, turns: UInt64, depth: Int = 1, cpus: (here: Int, there: Int)
  ) throws(BatonError) -> PeerFigures {
    try measure(mode, turns: turns, depth: depth, cpus: cpus, timesEach: true)
  }

  private func measure(
    _ mode: Mode, turns: UInt64, depth: Int, cpus: (here: Int, there: Int), timesEach: Bool
  ) throws(BatonError) -> PeerFigures {
    if let reasonNotRun { throw BatonError(.missing, name, reasonNotRun) }
    // Its own limit is 1 ms a turn where each process has a CPU, 20 ms where they share one; this is for what is no
    // peer.
    let seconds = 60 + Double(turns) * (cpus.here >= 0 && cpus.there >= 0 && cpus.here != cpus.there ? 0.003 : 0.06)
    let output = try ProgramOutput.of(
      program,
      [mode.rawValue, "--turns", "\(turns)", "--depth", "\(depth)", "--cpus", "\(cpus.here),\(cpus.there)"]
        + (timesEach ? ["--curve"] : []),
      within: seconds, subject: name)
    guard let figures = PeerFigures(parsing: output, turns: turns, hasCurve: timesEach) else {
      throw BatonError(.foreign, name, "did not report what it measured", fix: "build it again: tools/peers")
    }
    return figures
  }
}

/// What a peer measured.
struct PeerFigures: Equatable {
  /// Single turns that took as long, to a hundredth: the least of their bucket.
  struct Bucket: Equatable {
    let nanoseconds: UInt64
    let count: UInt64
  }

  let nanosecondsPerTurn: Double
  /// What one look at the clock costs, which each of the turns that were timed one by one includes.
  let timerNanoseconds: Double?
  /// Ascending; empty where they were not timed one by one.
  let buckets: [Bucket]

  /// From what a peer prints: `ns_per_request X`, and with a curve `timer_ns X` and lines of `NANOSECONDS COUNT`, whose
  /// counts are those of all turns. Nil for anything else.
  init?(parsing text: String, turns: UInt64, hasCurve: Bool) {
    guard text.hasSuffix("\n") else { return nil }
    var lines = text.dropLast().split(separator: "\n", omittingEmptySubsequences: false)[...]
    func figure(_ name: String) -> Double? {
      guard let words = lines.popFirst()?.split(separator: " ", omittingEmptySubsequences: false), words.count == 2,
        words[0] == name, let value = Double(words[1]), value.isFinite, value > 0
      else { return nil }
      return value
    }
    guard let nanoseconds = figure("ns_per_request") else { return nil }
    nanosecondsPerTurn = nanoseconds
    guard hasCurve else {
      guard lines.isEmpty else { return nil }
      timerNanoseconds = nil
      buckets = []
      return
    }
    guard let timer = figure("timer_ns") else { return nil }
    timerNanoseconds = timer
    var buckets: [Bucket] = []
    var total: UInt64 = 0
    for line in lines {
      let words = line.split(separator: " ", omittingEmptySubsequences: false)
      guard words.count == 2, let value = UInt64(words[0]), let count = UInt64(words[1]), count > 0,
        value > buckets.last?.nanoseconds ?? 0 || buckets.isEmpty
      else { return nil }
      let (sum, overflow) = total.addingReportingOverflow(count)
      if overflow { return nil }
      total = sum
      buckets.append(Bucket(nanoseconds: value, count: count))
    }
    guard total == turns else { return nil }
    self.buckets = buckets
  }
}

/// The peers of one comparison, measured round by round. One that fails is out from then on, with its error, and the
/// others go on.
struct PeerBench {
  /// Those that take part: the report names all of them, run or not.
  let peers: [Peer]
  private let mode: Peer.Mode
  private let turns: UInt64
  private let depth: Int
  private let cpus: (here: Int, there: Int)
  private var reasons: [Peer: String] = [:]

  /// Those of `peers` that can be measured so. Each is tried with a few turns, so that a peer that cannot run is
  /// known before the first round.
  init(_ peers: [Peer], _ mode: Peer.Mode, turns: UInt64, depth: Int = 1, cpus: (here: Int, there: Int)) {
    self.peers = peers.filter { $0.supports(mode) }
    self.mode = mode
    self.turns = turns
    self.depth = depth
    self.cpus = cpus
    for peer in self.peers { _ = measure(peer, turns: min(turns, 100)) }
  }

  /// Those that have not failed yet.
  var running: [Peer] { peers.filter { reasons[$0] == nil } }

  /// Nanoseconds per turn, for a round; nil once it has failed.
  mutating func run(_ peer: Peer) -> Double? { measure(peer, turns: turns) }

  /// Why it was not run, or failed; nil while it runs.
  func reasonNotRun(_ peer: Peer) -> String? { reasons[peer] }

  private mutating func measure(_ peer: Peer, turns: UInt64) -> Double? {
    if reasons[peer] != nil { return nil }
    do throws(BatonError) {
      return try peer.run(mode, turns: turns, depth: depth, cpus: cpus)
    } catch {
      // The row names the peer already.
      reasons[peer] = error.problem
      return nil
    }
  }
}
