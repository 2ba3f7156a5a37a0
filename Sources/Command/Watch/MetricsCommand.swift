import ArgumentParser
import Baton
import BatonCommandKit

struct MetricsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "metrics", abstract: "Serve a subsystem's counters to Prometheus.",
    discussion: """
      A process of its own that reads the region for each scrape; controllers and hosts do not notice it. Without \
      --listen it prints the metrics once.
      """)

  @Argument(help: "The subsystem's name, or the path of its folder.") var name: String
  @Option(
    help: ArgumentHelp("Address to serve at: tcp:PORT on the loopback, or unix:PATH.", valueName: "address"),
    transform: { try NBDAddress(parsing: $0) })
  var listen: NBDAddress?

  func run() throws {
    let subsystem = try Subsystem(name)
    let first = MetricsText.of(try RegionSample(subsystem))
    guard let listen else { return Console.printAsItIs(String(first.dropLast())) }
    let interruption = try Interruption()
    let server = try MetricsServer(listen)
    Console.error("baton: metrics of '\(subsystem.location.name)' at \(listen), path /metrics")
    try server.run(interruption) { MetricsText.of(try RegionSample(subsystem)) }
  }
}
