import ArgumentParser
import Baton
import BatonCommandKit
import BatonSharedMemory
import BatonSystem
import CBatonShims
import Glibc

/// The other process of a measurement.
struct BenchWorkerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "bench-worker", shouldDisplay: false)

  /// The descriptor of the bench page, inherited.
  static let pageDescriptor: CInt = 3
  /// Longer than any pause between two rounds: a controller that is not turned meanwhile is no dead one.
  static let deadlineNanoseconds: UInt64 = 600_000_000_000
  /// How long it looks for the next phase before it sleeps: what is measured without it must not be disturbed by it.
  private static let wakefulNanoseconds: UInt64 = 1_000_000
  private static let sleepNanosecondsMax: Int64 = 1_000_000_000
  /// How long its host waits for an answer before it looks at the phase again.
  private static let hostWaitNanoseconds: Int64 = 5_000_000
  /// Turns of a controller between two looks at the phase word, which is not part of what is measured.
  private static let turnsPerPhase = 256

  @OptionGroup var parent: ParentOptions
  @Option(help: "CPU to run on; -1: any.") var cpu: Int
  @Flag(help: "Both processes share one CPU.") var isCrowded = false
  @Option(help: "A subsystem whose controller b it is.") var controller: [String] = []
  @Option(help: "The same, without an in-flight journal.") var controllerWithoutJournal: [String] = []
  @Option(help: "A subsystem whose host it is.") var host: String?

  func run() throws {
    try parent.follow()
    if cpu >= 0 { try check(shim_pin_to_cpu(CInt(cpu)), "CPU \(cpu)", doing: "pinning a process to it") }
    let page = try BenchPage(OwnedDescriptor(Self.pageDescriptor))
    let controllers = UnsafeMutablePointer<Controller>.allocate(
      capacity: controller.count + controllerWithoutJournal.count)
    var made = 0
    defer {
      controllers.deinitialize(count: made)
      controllers.deallocate()
    }
    var options = ControllerOptions()
    options.logger.logLevel = .error
    options.deadlineNanoseconds = Self.deadlineNanoseconds
    for name in controller + controllerWithoutJournal {
      options.keepsJournal = made < controller.count
      (controllers + made).initialize(to: try Controller(.b, of: Subsystem(name), options: options))
      made += 1
    }
    var attached: Host?
    if let host {
      attached = try Host(of: Subsystem(host))
      try attached?.waitUntilAttached()
    }
    var last: UInt64 = 0
    while true {
      let value = Self.nextPhase(page, after: last)
      last = value >> 32
      let phase = BenchPhase(rawValue: value & 0xffff_ffff) ?? .end
      let argument = page.argument.loadRelaxed()
      page.begun.storeReleasing(last)
      switch phase {
      case .end: return
      case .idle: break
      case .controller:
        precondition(argument < made, "the worker has no such controller")
        turn(&controllers[Int(argument)], page, value)
      case .ring:
        let lines = Int(page.depth.loadRelaxed())
        try page.serveRing(from: argument, lines: lines, while: value, Patience(isCrowded: isCrowded))
      case .host:
        guard var host = attached.take() else { return }
        try Self.keepAsking(&host, page, value)
        attached = consume host
      default:
        try page.play(phase, as: .b, turns: page.turns.loadRelaxed(), Patience(isCrowded: isCrowded))
      }
      page.finished.storeReleasing(last)
    }
  }

  /// Waits for the phase after that number.
  private static func nextPhase(_ page: borrowing BenchPage, after last: UInt64) -> UInt64 {
    let start = monotonicNanoseconds()
    while true {
      let value = page.phase.loadAcquiring()
      if value >> 32 != last { return value }
      if monotonicNanoseconds() - start < wakefulNanoseconds {
        sched_yield()
      } else {
        page.phaseNumber.wait(while: UInt32(truncatingIfNeeded: last), nanoseconds: sleepNanosecondsMax)
      }
    }
  }

  /// Turns a controller's loop as long as the phase word has this value.
  private func turn(_ controller: inout Controller, _ page: borrowing BenchPage, _ phase: UInt64) {
    // A copy: reading a parsed option costs more than a turn.
    let isCrowded = isCrowded
    while page.phase.loadRelaxed() == phase {
      if isCrowded {
        if !controller.poll() { sched_yield() }
      } else {
        for _ in 0..<Self.turnsPerPhase { controller.poll() }
      }
    }
  }

  /// Keeps requests outstanding as long as the phase word has this value, and says what was answered meanwhile.
  ///
  /// Half of them read, half write, at random places: no two writes in flight are likely to be held for each other.
  private static func keepAsking(_ host: inout Host, _ page: borrowing BenchPage, _ phase: UInt64) throws {
    let path: ControllerIdentity = page.argument.loadRelaxed() == 0 ? .a : .b
    let depth = Int(page.depth.loadRelaxed())
    let blocks = page.turns.loadRelaxed()
    var random = SplitMix64(seed: UInt64(getpid()))
    var answers: UInt64 = 0
    let start = monotonicNanoseconds()
    while page.phase.loadRelaxed() == phase {
      while host.outstanding < depth {
        let number = random.next()
        let request = Request(
          number & 1 == 0 ? .read : .write, offset: random.below(blocks) * 4096, length: 4096)
        if !host.submit(request, to: path) { break }
      }
      if let completion = host.next() {
        answers += 1
        try completion.expectSuccess()
      } else {
        host.wait(nanoseconds: hostWaitNanoseconds)
      }
    }
    let nanoseconds = monotonicNanoseconds() - start
    while host.outstanding > 0 {
      if host.next() == nil { host.wait(nanoseconds: hostWaitNanoseconds) }
    }
    page.answers.storeRelaxed(answers)
    page.nanoseconds.storeRelaxed(nanoseconds)
  }
}
