import ArgumentParser
import Baton
import BatonOwnership
import BatonSharedMemory
import CBatonShims
import Glibc

/// What the two processes of a measurement do with each other.
enum BenchPhase: UInt64 {
  /// Nothing: wait for the next phase.
  case idle
  /// Blind compare-and-swap on one word, back and forth: the floor of any ownership protocol.
  case compareAndSwap
  /// Load until it is one's turn, then store, on one word: the floor of any request and response.
  case loadStore
  /// The arbiter's transitions on an ownership word, nothing else: both controllers want the function always.
  case arbiter
  /// The worker turns a controller's loop until the phase ends.
  case controller
  /// The same for its other controller, which keeps no journal.
  case controllerWithoutJournal
  /// The worker ends.
  case end
}

/// The page that the two processes of a measurement share; each word alone on its lines.
struct BenchPage: ~Copyable {
  private let mapping: Mapping

  static let size = 4096

  init(_ descriptor: borrowing OwnedDescriptor) throws(BatonError) {
    mapping = try Mapping(of: descriptor, count: Self.size, subject: "bench page")
  }

  /// Number of the phase in the upper half, kind in the lower.
  var phase: SharedWord { mapping.word(at: 0) }
  /// The number of the phase that the worker has finished.
  var finished: SharedWord { mapping.word(at: 256) }
  /// Turns of the phase.
  var turns: SharedWord { mapping.word(at: 512) }
  /// What goes back and forth.
  var ball: SharedWord { mapping.word(at: 1024) }

  /// One side of a measurement: `turns` times the ball comes and goes.
  func play(_ phase: BenchPhase, as player: ControllerIdentity, turns: UInt64) {
    let ball = ball
    let mine = UInt64(player.rawValue)
    let theirs = 1 - mine
    switch phase {
    case .compareAndSwap:
      for _ in 0..<turns { while !ball.compareExchange(expected: mine, desired: theirs).exchanged {} }
    case .loadStore:
      for _ in 0..<turns {
        while ball.loadAcquiring() != mine {}
        ball.storeReleasing(theirs)
      }
    case .arbiter:
      let arbiter = Arbiter<SharedWord>(for: player)
      for _ in 0..<turns { while !arbiter.grant(ball, asking: true) {} }
    case .idle, .controller, .controllerWithoutJournal, .end: break
    }
  }
}

/// The other process of a measurement.
struct BenchWorkerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "bench-worker", shouldDisplay: false)

  /// The descriptor of the bench page, inherited.
  static let pageDescriptor: CInt = 3

  @Argument var cpu: Int
  @Argument var name: String
  /// Another subsystem, whose controller keeps no journal.
  @Argument var nameWithoutJournal: String?

  func run() throws {
    baton_die_with_parent()
    if cpu >= 0 { _ = baton_pin_to_cpu(CInt(cpu)) }
    let page = try BenchPage(OwnedDescriptor(Self.pageDescriptor))
    var options = ControllerOptions()
    options.logger.logLevel = .error
    options.residency = .pendingOnly
    var controller = try Controller(.b, of: Subsystem(name), options: options)
    var other: Controller?
    if let nameWithoutJournal {
      options.keepsJournal = false
      other = try Controller(.b, of: Subsystem(nameWithoutJournal), options: options)
    }
    var last: UInt64 = 0
    while true {
      let value = page.phase.loadAcquiring()
      if value >> 32 == last {
        sched_yield()
        continue
      }
      last = value >> 32
      let phase = BenchPhase(rawValue: value & 0xffff_ffff) ?? .end
      switch phase {
      case .end: return
      case .controller: Self.turn(&controller, page, value)
      case .controllerWithoutJournal:
        guard var taken = other.take() else { return }
        Self.turn(&taken, page, value)
        other = consume taken
      default:
        page.play(phase, as: .b, turns: page.turns.loadRelaxed())
        page.finished.storeReleasing(last)
      }
    }
  }

  /// Turns a controller's loop as long as the phase word has this value.
  private static func turn(_ controller: inout Controller, _ page: borrowing BenchPage, _ phase: UInt64) {
    page.finished.storeReleasing(phase >> 32)
    // The phase word is looked at seldom: it is not part of what is measured.
    while page.phase.loadRelaxed() == phase {
      for _ in 0..<256 { controller.poll() }
    }
  }
}

/// This process's end of it.
struct BenchPartner: ~Copyable {
  let page: BenchPage
  private let pid: pid_t
  private var phaseNumber: UInt64 = 0

  /// Starts the worker on `cpu`; it opens the subsystem as controller b, and the other one as a controller b that
  /// keeps no journal.
  init(_ subsystem: Subsystem, withoutJournal other: Subsystem? = nil, cpu: Int) throws(BatonError) {
    let descriptor = OwnedDescriptor(try check(baton_memfd_create("baton-bench"), "bench page", doing: "memfd_create"))
    try descriptor.setSize(UInt64(BenchPage.size), subject: "bench page")
    let page = try BenchPage(descriptor)
    let pid = try OwnProgram.start(
      ["bench-worker", "--", "\(cpu)", subsystem.location.name] + (other.map { [$0.location.name] } ?? []),
      handing: (descriptor.number, BenchWorkerCommand.pageDescriptor))
    self.page = page
    self.pid = pid
  }

  deinit {
    kill(pid, SIGKILL)
    var status: CInt = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
  }

  /// Tells the worker what to do. Returns at once.
  mutating func begin(_ phase: BenchPhase, turns: UInt64 = 0, ball: UInt64 = 0) {
    phaseNumber += 1
    page.turns.storeRelaxed(turns)
    page.ball.storeRelaxed(ball)
    page.phase.storeReleasing(phaseNumber << 32 | phase.rawValue)
  }

  /// Waits until the worker has done it (for `controller`: has begun).
  func join() throws(BatonError) {
    for _ in 0..<200_000 {
      if page.finished.loadAcquiring() == phaseNumber { return }
      usleep(100)
    }
    throw BatonError(.system, "bench worker", "does not answer")
  }

  /// Nanoseconds a round trip of the ball, over `turns` of them.
  mutating func roundTrip(_ phase: BenchPhase, turns: UInt64) throws(BatonError) -> Double {
    // The arbiter's ball: owned by a, requested by b, so that each grant asks for it back.
    begin(
      phase, turns: turns,
      ball: phase == .arbiter ? OwnershipWord.initial.claimed(by: .a)!.requested(by: .b)!.rawValue : 0)
    let start = monotonicNanoseconds()
    page.play(phase, as: .a, turns: turns)
    let nanoseconds = monotonicNanoseconds() - start
    try join()
    return Double(nanoseconds) / Double(turns)
  }
}
