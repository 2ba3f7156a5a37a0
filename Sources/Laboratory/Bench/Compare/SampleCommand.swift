import ArgumentParser
import Baton
import BatonCommandKit
import BatonSystem
import Glibc

/// One side of a comparison: sets up what is measured, and measures one batch of it for each line that it reads. So two
/// executables, or one with two settings, can take turns within milliseconds. `bench --against` starts it.
///
/// It says `ready` first, then a figure for each line `go`, and ends with its input.
struct SampleCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "sample", shouldDisplay: false)

  @Argument(help: "What to measure.") var contest: ContestCase
  @OptionGroup var behaviour: ControllerBehaviour
  @Option(help: "Rounds of waste per request, which a comparison must find.") var waste = 0
  @OptionGroup var parent: ParentOptions

  func run() throws {
    try parent.follow()
    let temporary = try TemporarySubsystem("sample", units: [UnitSpecification(.null, size: 1 << 30)])
    let outcome = Result {
      switch contest {
      case .request: try answer(in: ProcessRig(temporary.subsystem, behaviour))
      case .turn, .turn32, .transfer: try answer(in: LoopRig(temporary.subsystem, behaviour.options, waste: waste))
      }
    }
    try temporary.destroy()
    try outcome.get()
  }

  private func answer(in rig: consuming LoopRig) throws {
    try Self.serve { (rig: inout LoopRig) in
      switch contest {
      case .turn32: try rig.turn(requests: 40_000, depth: 32)
      case .transfer: try rig.move(requests: 8_000)
      case .turn, .request: try rig.turn(requests: 20_000, depth: 1)
      }
    }(&rig)
  }

  private func answer(in rig: consuming ProcessRig) throws {
    try Self.serve { (rig: inout ProcessRig) in try rig.measure(nanoseconds: 50_000_000) }(&rig)
    try rig.end()
  }

  /// A figure for each line.
  private static func serve<Rig: ~Copyable>(_ measure: @escaping (inout Rig) throws -> Double) -> (inout Rig) throws ->
    Void
  {
    { rig in
      Console.printAsItIs("ready")
      while let line = readLine() {
        guard line == "go" else { throw BatonError(.invalid, "sample", "was told '\(line)'", fix: "write 'go'") }
        Console.printAsItIs("\(try measure(&rig))")
      }
    }
  }
}

/// What two sides can be compared in.
enum ContestCase: String, CaseIterable, ExpressibleByArgument {
  /// Both controllers and a host in one loop: no other process, so little noise.
  case turn, turn32, transfer
  /// Controllers as processes of their own, one request at a time.
  case request

  var name: String {
    switch self {
    case .turn: "null request, one loop, depth 1"
    case .turn32: "null request, one loop, depth 32"
    case .transfer: "null request to the peer, one loop"
    case .request: "null request, processes, depth 1"
    }
  }
}

/// Both controllers and one host in one process and one loop.
private struct LoopRig: ~Copyable {
  private var a: Controller
  private var b: Controller
  private var host: Host
  private let waste: Int
  private var state: UInt64 = 88_172_645_463_325_252

  init(_ subsystem: Subsystem, _ given: ControllerOptions, waste: Int) throws {
    let options = given.inOneLoop()
    var a = try Controller(.a, of: subsystem, options: options)
    var b = try Controller(.b, of: subsystem, options: options)
    var host = try Host(of: subsystem)
    attach(&host, to: &a, &b)
    self.a = a
    self.b = b
    self.host = host
    self.waste = waste
  }

  private static let request = Request(.read, unit: 0, offset: 4096, length: 4096)
  private static let noRoom = BatonError(.system, "null unit", "has no room")

  /// Some work that no compiler sees through.
  @inline(__always)
  private mutating func wasteTime() {
    for _ in 0..<waste {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
    }
  }

  /// Nanoseconds per request.
  mutating func turn(requests: Int, depth: Int) throws -> Double {
    let start = monotonicNanoseconds()
    var left = requests
    while left > 0 {
      let batch = min(depth, left)
      for _ in 0..<batch { guard host.submit(Self.request, to: .a) else { throw Self.noRoom } }
      a.poll()
      for _ in 0..<batch {
        guard let answer = host.next(), answer.status == .success else {
          throw BatonError(.system, "null unit", "did not answer at once")
        }
        wasteTime()
      }
      left -= batch
    }
    return try figure(start, requests)
  }

  /// The same, each to the controller that is not the owner.
  mutating func move(requests: Int) throws -> Double {
    let start = monotonicNanoseconds()
    var target = ControllerIdentity.b
    for _ in 0..<requests {
      guard host.submit(Self.request, to: target) else { throw Self.noRoom }
      var answer: Completion?
      repeat {
        a.poll()
        b.poll()
        answer = host.next()
      } while answer == nil
      target = target.peer
      wasteTime()
    }
    return try figure(start, requests)
  }

  private func figure(_ start: UInt64, _ requests: Int) throws -> Double {
    // So that none of the waste is compiled away.
    if state == 0 { throw BatonError(.system, "waste", "came to nothing") }
    return Double(monotonicNanoseconds() - start) / Double(requests)
  }
}

/// Controllers as processes of their own, and a host here.
private struct ProcessRig: ~Copyable {
  private var pair: ControllerPair
  private var host: Host

  init(_ subsystem: Subsystem, _ behaviour: ControllerBehaviour) throws {
    let words = behaviour.words
    let pair = try ControllerPair(
      of: subsystem, by: .shipped(), log: "/dev/null", arguments: { _ in words + ["--log-level", "error"] })
    var options = HostOptions()
    options.waiting = behaviour.wait
    var host = try Host(of: subsystem, options: options)
    try host.waitUntilAttached()
    self.pair = pair
    self.host = host
  }

  /// Nanoseconds per request, over so long.
  mutating func measure(nanoseconds: UInt64) throws -> Double {
    let start = monotonicNanoseconds()
    var now = start
    var requests = 0
    while now - start < nanoseconds {
      for _ in 0..<16 {
        let answer = try host.perform(Request(.read, unit: 0, offset: 4096, length: 4096), on: .a)
        guard answer.status == .success else { throw BatonError(.system, "null unit", "answered \(answer.status)") }
      }
      requests += 16
      now = monotonicNanoseconds()
    }
    return Double(now - start) / Double(requests)
  }

  mutating func end() throws { try pair.stop() }
}
