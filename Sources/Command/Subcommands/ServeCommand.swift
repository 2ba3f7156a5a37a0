import ArgumentParser
import Baton
import BatonSharedMemory
import CBatonShims
import Glibc
import Logging

struct ServeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve", abstract: "Serve units as disks over NBD: both controllers, supervised, until SIGTERM.",
    discussion: """
      Makes the subsystem if it is not there (--unit as `baton create` has it), runs both controllers, starts one that \
      dies again, and prints what to hand to NBD clients. Clients may use either controller, or both; while one is \
      gone, the other one serves its clients as well. The subsystem stays when this ends.
      """)

  @Argument(help: "The subsystem's name, or the path of its folder.") var name: String
  @Option(help: ArgumentHelp("A unit, should the subsystem have to be made; one option each.", valueName: "unit"))
  var unit: [String] = []
  @Flag(help: "Go through the page cache, not O_DIRECT.") var buffered = false
  @Option(
    help: ArgumentHelp("Where clients of controller a come to, in place of a unix socket.", valueName: "address"),
    transform: { try NBDAddress(parsing: $0) })
  var nbdA: [NBDAddress] = []
  @Option(
    help: ArgumentHelp("The same of controller b.", valueName: "address"), transform: { try NBDAddress(parsing: $0) })
  var nbdB: [NBDAddress] = []
  @Option(help: "Also on the loopback: a at this port, b at the next one.") var tcp: UInt16?
  @Option(help: "How to wait when idle: spin, adaptive, park.") var wait: WaitStrategy = .standard
  @Option(help: "What to log: debug, info, warning, error.") var logLevel: Logger.Level = .warning

  func validate() throws {
    if let tcp, tcp == 0 || tcp == UInt16.max { throw ValidationError("--tcp takes a port from 1 to 65534") }
  }

  func run() throws {
    let subsystem = try Subsystem(name)
    try checkAddresses(subsystem)
    if FileFacts(path: subsystem.location.region) == nil {
      if unit.isEmpty {
        throw BatonError(
          .missing, "subsystem '\(name)'", "is not there", mend: "name its units with --unit, to have it made")
      }
      _ = try Subsystem.create(name, units: UnitSpecification.list(unit, isBuffered: buffered))
    } else if !unit.isEmpty {
      Console.error("baton: subsystem '\(name)' is there already, with its own units: --unit is not looked at")
    }
    let status = try subsystem.status()
    let pair = try ControllerPair { identity in
      ["--wait", wait.name, "--log-level", logLevel.rawValue]
        + addresses(of: identity, subsystem).flatMap { ["--nbd", "\($0)"] } + ["--", name, "\(identity)"]
    }
    try pair.run {
      // Both serve, and somebody answers at each address.
      let isThere = try ControllerIdentity.allCases.allSatisfy { identity in
        try subsystem.status().controllers[Int(identity.rawValue)].phase == "serving"
          && addresses(of: identity, subsystem).allSatisfy(\.isAnswered)
      }
      if isThere { report(status, subsystem) }
      return isThere
    }
  }

  /// Sees that nobody answers at an address before the controllers do: it would be taken for one of them.
  private func checkAddresses(_ subsystem: Subsystem) throws(BatonError) {
    var seen: [NBDAddress] = []
    for address in ControllerIdentity.allCases.flatMap({ addresses(of: $0, subsystem) }) {
      if seen.contains(address) {
        throw BatonError(
          .invalid, "\(address)", "is named twice", mend: "name an address of its own for each controller")
      }
      seen.append(address)
      if address.isAnswered {
        throw BatonError(
          .busy, "\(address)", "somebody else listens there", mend: "stop whoever does, or name another address")
      }
    }
  }

  private func addresses(of identity: ControllerIdentity, _ subsystem: Subsystem) -> [NBDAddress] {
    var addresses = identity == .a ? nbdA : nbdB
    if addresses.isEmpty { addresses.append(.unix(path: subsystem.location.absoluteNBDSocket(of: identity))) }
    if let tcp { addresses.append(.tcp(address: NBDAddress.loopback, port: identity == .a ? tcp : tcp + 1)) }
    return addresses
  }

  /// What to paste into a client.
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

/// Both controllers as child processes, each started again when it dies.
private struct ControllerPair: ~Copyable {
  /// One of them.
  private struct Seat {
    let identity: ControllerIdentity
    let words: [String]
    var backoff = Backoff()
    /// 0: it does not run.
    var pid: pid_t = 0
    var pidfd: CInt = -1
    var startedAt: UInt64 = 0
    /// When it is started again; nil: not at all.
    var due: UInt64? = 0
  }

  private var seats: [Seat]
  private let interruption: Interruption
  private var isEnding = false
  private var failure: CInt = 0

  /// How often something is looked at that nobody tells of, while it is not there yet.
  private static let lookMilliseconds: CInt = 10

  init(_ words: (ControllerIdentity) -> [String]) throws(BatonError) {
    interruption = try Interruption()
    seats = ControllerIdentity.allCases.map { Seat(identity: $0, words: words($0)) }
  }

  /// Until both have left in good order. `isReady` is asked until it says that all is there.
  ///
  /// - Throws: the status of one that cannot be started.
  consuming func run(until isReady: () throws -> Bool) throws {
    defer { endAll() }
    var isComplete = false
    while true {
      let now = monotonicNanoseconds()
      for index in seats.indices {
        try startIfDue(index, now)
        reap(index)
      }
      if interruption.take() != 0 || failure != 0, !isEnding {
        isEnding = true
        for index in seats.indices {
          seats[index].due = nil
          if seats[index].pid > 0 { kill(seats[index].pid, SIGTERM) }
        }
      }
      if seats.allSatisfy({ $0.pid == 0 && $0.due == nil }) { break }
      if !isComplete, !isEnding { isComplete = try isReady() }
      let isBusy = !isComplete || seats.contains { $0.pid == 0 && $0.due != nil || $0.pid > 0 && $0.pidfd < 0 }
      interruption.wait(
        orProcesses: seats.map(\.pidfd), milliseconds: isBusy && !isEnding ? Self.lookMilliseconds : 100)
    }
    // What was wrong, the child has said.
    if failure != 0 { throw ExitCode(failure) }
  }

  private mutating func startIfDue(_ index: Int, _ now: UInt64) throws(BatonError) {
    guard seats[index].pid == 0, let due = seats[index].due, due <= now, !isEnding else { return }
    seats[index].pid = try OwnProgram.start("controller", seats[index].words)
    seats[index].pidfd = baton_pidfd_open(seats[index].pid)
    seats[index].startedAt = now
    seats[index].due = nil
  }

  private mutating func reap(_ index: Int) {
    var status: CInt = 0
    guard seats[index].pid > 0, waitpid(seats[index].pid, &status, WNOHANG) == seats[index].pid,
      let ending = ProcessEnding(waitStatus: status)
    else { return }
    if seats[index].pidfd >= 0 { close(seats[index].pidfd) }
    seats[index].pidfd = -1
    seats[index].pid = 0
    let now = monotonicNanoseconds()
    guard let delay = seats[index].backoff.delay(after: ending, lived: now - seats[index].startedAt) else {
      if ending != .exited(0) { failure = ending.code }
      return
    }
    if isEnding { return }
    Console.error("baton: controller \(seats[index].identity) \(ending); started again in \(Figure.duration(delay))")
    seats[index].due = now + delay
  }

  /// On every way out: nothing that was started runs on.
  private func endAll() {
    for seat in seats where seat.pid > 0 { ChildProcess.end(seat.pid) }
  }
}
