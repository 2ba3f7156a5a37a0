import ArgumentParser
import Baton
import Glibc

/// One controller and one host in one process, on a null unit, turned by one loop: the same work every time, for
/// whatever counts instructions, allocations or system calls from outside. `tools/count` runs it.
struct TurnsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "turns", shouldDisplay: false)

  @Option var requests: UInt64 = 100_000
  @Option var depth = 1

  func run() throws {
    let subsystem = try Subsystem.create("turns-\(getpid())", units: [UnitSpecification(.null, size: 1 << 30)])
    let outcome = Result { try turn(subsystem) }
    try subsystem.destroy()
    try outcome.get()
  }

  private func turn(_ subsystem: Subsystem) throws {
    var options = ControllerOptions()
    options.logger.logLevel = .error
    var controller = try Controller(.a, of: subsystem, options: options)
    // The other one only attaches the host, so that nobody looks for it while requests are counted.
    var other = try Controller(.b, of: subsystem, options: options)
    var host = try Host(of: subsystem)
    while !host.isAttached(to: .a) || !host.isAttached(to: .b) {
      controller.poll()
      other.poll()
      host.maintain()
    }
    let request = Request(.read, unit: 0, offset: 4096, length: 4096)
    // Copies: reading a parsed option costs more than a request.
    let (requests, depth) = (requests, depth)
    var left = requests
    while left > 0 {
      let batch = min(UInt64(depth), left)
      for _ in 0..<batch {
        guard host.submit(request, to: .a) else { throw BatonError(.system, "null unit", "has no room") }
      }
      controller.poll()
      // Answered in the turn that took them, all of them: the loop under measurement has nothing to wait for.
      for _ in 0..<batch {
        guard let completion = host.next(), completion.status == .success else {
          throw BatonError(.system, "null unit", "did not answer at once")
        }
      }
      left -= batch
    }
    Console.print("\(requests) requests")
  }
}
