import Baton
import BatonCommandKit
import BatonOwnership
import BatonSharedMemory
import BatonSystem
import CBatonShims
import Glibc

/// The worker's role.
struct BenchRole {
  /// The subsystems whose controller b it is; the argument of `.controller` is a place in this list.
  var controllers: [Subsystem] = []
  /// The same without an in-flight journal; counted on from there.
  var controllersWithoutJournal: [Subsystem] = []
  /// The subsystem whose host it is.
  var host: Subsystem?
  /// The CPU that it is pinned to; -1: none.
  var cpu = -1
}

/// The other process of a measurement, from this end.
struct BenchPartner: ~Copyable {
  let page: BenchPage
  private let watch: BenchWatch
  private let isCrowded: Bool
  private let process: ChildProcess
  private let handle: OwnedDescriptor
  private var phaseNumber: UInt64 = 0
  /// The first number that no request of a bare ring has had.
  var ringEnd: UInt64 = 0

  init(_ role: BenchRole, isCrowded: Bool, _ watch: BenchWatch) throws(BatonError) {
    let descriptor = OwnedDescriptor(try check(shim_memfd_create("baton-bench"), "bench page", doing: "memfd_create"))
    try descriptor.setSize(UInt64(BenchPage.size), subject: "bench page")
    let page = try BenchPage(descriptor)
    var words = ["--cpu=\(role.cpu)"]
    if isCrowded { words.append("--is-crowded") }
    words += role.controllers.flatMap { ["--controller", $0.location.name] }
    words += role.controllersWithoutJournal.flatMap { ["--controller-without-journal", $0.location.name] }
    if let host = role.host { words += ["--host", host.location.name] }
    let process = try BatonProgram.running.start(
      "bench-worker", words, handing: (descriptor.number, BenchWorkerCommand.pageDescriptor), leadsGroup: true)
    handle = try process.handle()
    self.page = page
    self.process = process
    self.isCrowded = isCrowded
    self.watch = watch
    watch.follow(handle.number)
  }

  deinit { watch.forget(handle.number) }

  /// How long a measurement with this partner may look for what does not come.
  var patience: Patience { Patience(isCrowded: isCrowded, watch) }

  /// Tells the worker what to do, and waits until it does it.
  mutating func begin(_ phase: BenchPhase, argument: UInt64 = 0, turns: UInt64 = 0, depth: UInt64 = 0) throws {
    announce(phase, argument: argument, turns: turns, depth: depth)
    try waitUntilBegun()
  }

  /// Tells the worker what to do. Returns at once.
  mutating func announce(_ phase: BenchPhase, argument: UInt64 = 0, turns: UInt64 = 0, depth: UInt64 = 0) {
    phaseNumber += 1
    page.argument.storeRelaxed(argument)
    page.turns.storeRelaxed(turns)
    page.depth.storeRelaxed(depth)
    // Owned by a, requested by b: each grant then asks for the function back.
    let contested = OwnershipWord.initial.claimed(by: .a)?.requested(by: .b)?.rawValue
    page.ball.storeRelaxed(phase == .arbiter ? contested ?? 0 : 0)
    page.returned.storeRelaxed(0)
    page.sleepingBall.storeRelaxed(0)
    page.phase.storeReleasing(phaseNumber << 32 | phase.rawValue)
    page.phaseNumber.wake()
  }

  /// Waits until the worker has begun what it was told last.
  func waitUntilBegun() throws { try wait(for: page.begun) }

  /// Lets the worker sleep, when it has finished what it was told last. Nothing of it is in the way then.
  mutating func rest() throws {
    try begin(.idle)
    try wait(for: page.finished)
  }

  private func wait(for word: SharedWord) throws {
    let patience = patience
    while word.loadAcquiring() != phaseNumber {
      try patience.rest()
      usleep(10)
    }
  }

  /// Nanoseconds a round trip of the ball, over `turns` of them.
  mutating func roundTrip(_ phase: BenchPhase, turns: UInt64) throws -> Double {
    try begin(phase, turns: turns)
    let start = monotonicNanoseconds()
    try page.play(phase, as: .a, turns: turns, patience)
    let nanoseconds = monotonicNanoseconds() - start
    try wait(for: page.finished)
    return Double(nanoseconds) / Double(turns)
  }

  /// The answers per second to the worker's host in the phase that has just ended.
  var answersPerSecond: Double {
    Double(page.answers.loadAcquiring()) / (Double(max(page.nanoseconds.loadAcquiring(), 1)) / 1e9)
  }
}
