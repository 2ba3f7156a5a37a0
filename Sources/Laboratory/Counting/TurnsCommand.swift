import ArgumentParser
import Baton
import BatonCommandKit
import Glibc

/// Both controllers and one host in one process, on a null unit, turned by one loop: the same work every time, for a
/// tool that counts instructions, allocations or system calls from outside. `tools/count` runs it.
struct TurnsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "turns", shouldDisplay: false)

  @Option(help: "Total number of requests") var requests: UInt64 = 100_000
  @Option(help: "Number of outstanding requests") var depth = 1
  @Flag(help: "Submit and take the outstanding requests one by one, not in batches.") var oneByOne = false
  @Flag(help: "Send one request after the other, each to the controller that is not the owner.") var moving = false
  @Flag(help: "Add waste of every kind to the requests, which a counting tool must find.") var wasteful = false

  func run() throws {
    let temporary = try TemporarySubsystem("turns", units: [UnitSpecification(.null, size: 1 << 30)])
    let outcome = Result { try turn(temporary.subsystem) }
    try temporary.destroy()
    let switches = try outcome.get()
    Console.print("\(requests) requests, \(switches) voluntary context switches")
  }

  /// Returns how often the process gave up its CPU while it made its requests.
  private func turn(_ subsystem: Subsystem) throws -> Int {
    let options = ControllerOptions().inOneLoop()
    var a = try Controller(.a, of: subsystem, options: options)
    var b = try Controller(.b, of: subsystem, options: options)
    var host = try Host(of: subsystem)
    attach(&host, to: &a, &b)
    let request = Request(.read, unit: 0, offset: 4096, length: 4096)
    // Copies: reading a parsed option costs more than a request.
    let (requests, depth, isMoving, isWasteful) = (requests, UInt64(max(depth, 1)), moving, wasteful)
    let isOneByOne = oneByOne
    var waste = Waste()
    let before = try voluntarySwitches()
    if isMoving {
      var target = ControllerIdentity.b
      for _ in 0..<requests {
        guard host.submit(request, to: target) else { throw BatonError(.system, "null unit", "has no room") }
        var answer: Completion?
        repeat {
          a.poll()
          b.poll()
          answer = host.next()
        } while answer == nil
        if let answer { try check(answer, by: target) }
        target = target.peer
        if isWasteful { waste.add() }
      }
    } else if depth == 1 {
      for _ in 0..<requests {
        guard host.submit(request, to: .a) else { throw BatonError(.system, "null unit", "has no room") }
        a.poll()
        guard let completion = host.next() else { throw BatonError(.system, "null unit", "did not answer at once") }
        try check(completion, by: .a)
        if isWasteful { waste.add() }
      }
    } else {
      var left = requests
      while left > 0 {
        let batch = Int(min(depth, left))
        left -= UInt64(batch)
        if isOneByOne {
          for _ in 0..<batch {
            guard host.submit(request, to: .a) else { throw BatonError(.system, "null unit", "has no room") }
          }
          a.poll()
          for _ in 0..<batch {
            guard let completion = host.next() else { throw BatonError(.system, "null unit", "did not answer at once") }
            try check(completion, by: .a)
            if isWasteful { waste.add() }
          }
          continue
        }
        guard host.submit(batch, to: .a, { _ in (request, 0) }) == batch else {
          throw BatonError(.system, "null unit", "has no room")
        }
        a.poll()
        // Answered in the turn that took them, all of them: the loop under measurement has nothing to wait for. A host
        // takes so many at once, at most.
        var taken = 0
        for _ in 0...batch / 64 where taken < batch {
          taken += try host.takeAnswers { completion in
            try check(completion, by: .a)
            if isWasteful { waste.add() }
          }
        }
        guard taken == batch else { throw BatonError(.system, "null unit", "did not answer at once") }
      }
    }
    let switches = try voluntarySwitches() - before
    return waste.end(switches)
  }

  @inline(__always)
  private func check(_ completion: Completion, by controller: ControllerIdentity) throws {
    guard completion.status == .success, completion.service.controller == controller else {
      throw BatonError(
        .system, "null unit", "answered \(completion.status), by controller \(completion.service.controller)")
    }
  }

  /// How often this process has waited for something. What the scheduler took from it does not count: that depends on
  /// what else runs.
  private func voluntarySwitches() throws -> Int {
    var usage = rusage()
    guard getrusage(RUSAGE_SELF.rawValue, &usage) == 0 else {
      throw BatonError(.system, "getrusage", String(cString: strerror(errno)))
    }
    return usage.ru_nvcsw
  }
}

/// What a request must not do, planted so that those who count can show that they see it.
private struct Waste {
  /// One request in so many allocates and waits: enough to be counted, and soon done.
  private static let interval: UInt64 = 64
  private var count: UInt64 = 0
  private var state: UInt64 = 88_172_645_463_325_252
  private var memory: UnsafeMutableRawPointer?

  mutating func add() {
    // Some fifty instructions that no compiler sees through.
    for _ in 0..<8 {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
    }
    count += 1
    if count % Self.interval != 0 { return }
    // Kept until the next one comes, so that the allocation is not compiled away.
    free(memory)
    memory = malloc(Int(state % 64) + 1)
    var moment = timespec(tv_sec: 0, tv_nsec: 1)
    nanosleep(&moment, nil)
  }

  /// Returns what it was given: with a look at the state, so that none of the work is compiled away either.
  mutating func end(_ result: Int) -> Int {
    free(memory)
    memory = nil
    return state == 0 ? result + 1 : result
  }
}
