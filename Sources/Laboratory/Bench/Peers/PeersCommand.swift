import ArgumentParser
import Baton
import BatonCommandKit
import CBatonShims

/// Every peer in every mode that it has, a few turns each: whether it can be measured, not how fast it is.
/// `tools/check-peers` runs it.
struct PeersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "bench-peers", shouldDisplay: false)

  @Option var turns: UInt64 = 200
  @Option var depth = 8

  func validate() throws {
    guard (1...1_000_000).contains(turns) else { throw ValidationError("--turns takes 1 to 1000000") }
    guard (1...255).contains(depth) else { throw ValidationError("--depth takes 1 to 255") }
  }

  func run() throws {
    let (here, there) =
      shim_available_cpus() < 2 ? (-1, -1) : (Int(shim_available_cpu(0)), Int(shim_available_cpu(1)))
    for mode in [Peer.Mode.roundTrip, .throughput, .handOver] {
      var bench = PeerBench(
        Peer.allCases, mode, turns: turns, depth: mode == .throughput ? depth : 1, cpus: (here, there))
      for peer in bench.peers {
        let figure = bench.run(peer)
        let reason = bench.reasonNotRun(peer) ?? "for no reason given"
        let outcome = figure.map { "\(Figure.fixed($0, 1)) ns" } ?? "not run: \(reason)"
        Console.print("\(mode.rawValue), \(peer.name): \(outcome)")
      }
    }
  }
}
