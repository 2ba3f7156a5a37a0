import ArgumentParser
import Baton
import BatonCommandKit
import BatonSharedMemory
import BatonSystem
import Logging

struct ServeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve", abstract: "Serve units as disks over NBD: both controllers, supervised, until SIGTERM.",
    discussion: """
      Creates the subsystem if needed (--unit as in 'baton create'), runs both controllers, starts a controller \
      again when it ends, and prints URIs for NBD clients. Clients may use either controller, or both; while one is \
      gone, its peer serves its clients as well. 'serve' ends by itself only if no controller has ever served, or if \
      none runs and the subsystem is gone. The subsystem remains.
      """)

  @Argument(help: "The subsystem's name, or the path of its folder.") var name: String
  @Option(help: ArgumentHelp("Unit, if the subsystem must be created; repeat the option for each.", valueName: "unit"))
  var unit: [String] = []
  @Flag(help: "Go through the page cache, not O_DIRECT.") var buffered = false
  @Option(
    help: ArgumentHelp("Addresses that controller a listens on, in place of a unix socket.", valueName: "address"),
    transform: { try NBDAddress(parsing: $0) })
  var nbdA: [NBDAddress] = []
  @Option(
    help: ArgumentHelp("Addresses that controller b listens on, in place of a unix socket.", valueName: "address"),
    transform: { try NBDAddress(parsing: $0) })
  var nbdB: [NBDAddress] = []
  @Option(help: "Loopback port for controller a as well; controller b gets the next one.") var tcp: UInt16?
  @Option(help: "Waiting strategy when idle.") var wait: WaitStrategy = .standard
  @Option(help: "Least severe level to log.") var logLevel: Logger.Level = .warning
  @Flag(help: "Begin each log line with the time of day in UTC, and name its level.") var logTimes = false
  @Flag(help: "Log a JSON object per line, with time and level.") var logJson = false

  func validate() throws {
    if let tcp, tcp == 0 || tcp == UInt16.max { throw ValidationError("--tcp takes a port from 1 to 65534") }
  }

  func run() throws {
    let subsystem = try Subsystem(name)
    try checkAddresses(subsystem)
    if FileFacts(path: subsystem.location.region) == nil {
      if unit.isEmpty {
        throw BatonError(
          .missing, "subsystem '\(name)'", "does not exist", fix: "to create it, name its units with --unit")
      }
      _ = try UnitWords.asUsage {
        try Subsystem.create(
          name, units: UnitSpecification.list(unit + UnitWords.line.aside, isBuffered: buffered))
      }
    } else if !unit.isEmpty {
      Console.error("baton: subsystem '\(name)' already exists, with its own units: --unit is ignored")
    }
    let status = try subsystem.status()
    let pair = try Supervision(subsystem, ControllerIdentity.allCases) { identity in
      ["--wait", wait.name, "--log-level", logLevel.rawValue]
        + (logTimes ? ["--log-times"] : []) + (logJson ? ["--log-json"] : [])
        + addresses(of: identity, subsystem).flatMap { ["--nbd", "\($0)"] } + ["--", name, "\(identity)"]
    }
    try pair.run { report(status, subsystem) }
  }

  /// Checks that nobody answers at an address before the controllers do: it would be taken for one of them.
  private func checkAddresses(_ subsystem: Subsystem) throws(BatonError) {
    var seen: [NBDAddress] = []
    for address in ControllerIdentity.allCases.flatMap({ addresses(of: $0, subsystem) }) {
      if seen.contains(address) {
        throw BatonError(
          .invalid, "\(address)", "is named twice", fix: "name an address of its own for each controller")
      }
      seen.append(address)
      if address.isAnswered {
        throw BatonError(
          .busy, "\(address)", "another process listens there",
          fix: "stop that process, or give another address")
      }
    }
  }

  private func addresses(of identity: ControllerIdentity, _ subsystem: Subsystem) -> [NBDAddress] {
    var addresses = identity == .a ? nbdA : nbdB
    if addresses.isEmpty { addresses.append(.unix(path: subsystem.location.absoluteNBDSocket(of: identity))) }
    if let tcp { addresses.append(.tcp(address: NBDAddress.loopback, port: identity == .a ? tcp : tcp + 1)) }
    return addresses
  }

  /// The URIs to paste into a client.
  private func report(_ status: SubsystemStatus, _ subsystem: Subsystem) {
    Console.print("subsystem '\(status.name)' in \(subsystem.location.directory): ^C or SIGTERM ends it")
    for unit in status.units {
      let export = unit.name.isEmpty ? "unit\(unit.unit)" : unit.name
      let backing = unit.path.isEmpty ? unit.kind : unit.path
      Console.print("\n\(export): \(ByteCount.describe(unit.size)), \(backing)")
      for identity in ControllerIdentity.allCases {
        for address in addresses(of: identity, subsystem) {
          Console.print("  \(identity)  \(address.uri(export: export))")
        }
      }
    }
  }
}
