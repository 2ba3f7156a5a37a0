import ArgumentParser
import Baton
import BatonSharedMemory
import Glibc
import Logging

extension ControllerIdentity: ExpressibleByArgument {
  /// From the command line's word.
  public init?(argument: String) { self.init(argument) }

  /// The words that there are, and not the raw values.
  public static var allValueStrings: [String] { allCases.map { "\($0)" } }
}

struct ControllerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "controller",
    abstract: "Run one controller in the foreground, until SIGTERM, SIGINT, SIGQUIT or SIGHUP.")

  @Argument(help: "The subsystem's name, or the path of its folder.") var name: String
  @Argument(help: "Which of the two: a or b.") var identity: ControllerIdentity
  @OptionGroup var behaviour: ControllerBehaviour
  @Option(help: "Least severe level to log.") var logLevel: Logger.Level = .info
  @Flag(help: .hidden) var logTimes = false
  @Option(
    help: ArgumentHelp(
      "Serve the units as disks over NBD there: unix:PATH, tcp:PORT (on the loopback), tcp:ADDRESS:PORT.",
      valueName: "address"), transform: { try NBDAddress(parsing: $0) })
  var nbd: [NBDAddress] = []
  @Flag(help: "Run it as a child process, and start it again when it ends.") var supervise = false
  @OptionGroup var parent: ParentOptions
  @OptionGroup var notice: ServingNotice

  func run() throws {
    if supervise { return try runSupervised() }
    let supervisor = try notice.open()
    try parent.follow()
    // Kept until the controller's loop looks at them: one that came between being there and looking would end it
    // without its leaving.
    let interruption = try Interruption()
    defer { _ = interruption }
    var options = behaviour.options
    let log = QueuedLog(StandardErrorLog(label: "baton", hasTimes: logTimes))
    // Whoever reads it has a moment at the end, and no more.
    defer { log.flush() }
    options.logger = Logger(label: "baton", factory: { _ in log })
    options.logger.logLevel = logLevel
    let subsystem = try Subsystem(name)
    try notice.check(subsystem)
    var controller = try Controller(identity, of: subsystem, options: options)
    var hasAnnounced = false
    if nbd.isEmpty {
      return try controller.run { controller in
        if !hasAnnounced, controller.isServing {
          hasAnnounced = true
          ServingNotice.send(supervisor)
        }
        return false
      }
    }
    var serverOptions = NBDServerOptions(addresses: nbd)
    serverOptions.logger = options.logger
    var server = try NBDServer(identity, of: subsystem, options: serverOptions)
    try server.run(&controller) { ServingNotice.send(supervisor) }
  }

  /// The same command line as a child process of this one.
  private func runSupervised() throws {
    let words = CommandLine.arguments.dropFirst(2).filter { $0 != "--supervise" }
    try Supervision(Subsystem(name), [identity]) { _ in Array(words) }.run()
  }
}

/// How a controller waits and how long it keeps what it owns.
struct ControllerBehaviour: ParsableArguments {
  @Option(help: "Waiting strategy when idle.") var wait: WaitStrategy = .standard
  @Option(
    help: "How long to keep a contended function: adaptive, pending, or a time like 200us (default: adaptive).",
    transform: ResidencyPolicy.parse)
  var residency: ResidencyPolicy = .standard
  @Option(
    help: "How long the peer may be silent before this controller kills it and takes over, 20ms or more (default: 1s).",
    transform: Deadline.parse)
  var deadline: Deadline = .standard
  @Option(help: .hidden) var stopAt: StopOrder?
  @Option(help: .hidden) var defect: PlantedDefect?
  @Flag(help: .hidden) var withoutJournal = false

  var options: ControllerOptions {
    var options = ControllerOptions()
    options.waiting = wait
    options.residency = residency
    options.deadlineNanoseconds = deadline.nanoseconds
    options.stopOrder = stopAt
    options.defect = defect
    options.keepsJournal = !withoutJournal
    return options
  }
}

extension StopOrder: ExpressibleByArgument {
  /// From the command line's word.
  public init?(argument: String) { self.init(parsing: argument) }
}

extension PlantedDefect: ExpressibleByArgument {
  /// From the command line's word.
  public init?(argument: String) { self.init(rawValue: argument) }
}

/// One line a message on standard error. Log collectors add times; a file needs `hasTimes`, and then has every level
/// too.
struct StandardErrorLog: LogHandler {
  let label: String
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level = .info
  private let hasTimes: Bool

  init(label: String, hasTimes: Bool = false) {
    self.label = label
    self.hasTimes = hasTimes
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    if hasTimes { return Console.log("\(WallClock.now) \(label): \(event.level): \(event.message)") }
    Console.log("\(label): \(event.level >= .warning ? "\(event.level): " : "")\(event.message)")
  }
}
