import ArgumentParser
import Baton
import Glibc
import Logging

/// The command line of a controller that runs in the foreground, and the run.
package struct ForegroundController: ParsableArguments {
  @Argument(help: "The subsystem's name, or the path of its folder.") package var name: String
  @Argument(help: "Controller to run: a or b.") package var identity: ControllerIdentity
  @OptionGroup var behaviour: ControllerBehaviour
  @Option(help: "Least severe level to log.") var logLevel: Logger.Level = .info
  @Flag(help: "Begin each log line with the time of day in UTC, and name its level.") var logTimes = false
  @Flag(help: "Log a JSON object per line, with time and level.") var logJson = false
  @Option(
    help: ArgumentHelp(
      "Address to serve the units at over NBD: unix:PATH, tcp:PORT (on the loopback) or tcp:ADDRESS:PORT.",
      valueName: "address"), transform: { try NBDAddress(parsing: $0) })
  var nbd: [NBDAddress] = []
  @OptionGroup package var parent: ParentOptions
  @OptionGroup var notice: ServingNotice

  package init() {}

  /// Runs it, until a signal asks it to end. `adjust` can change its options.
  package func run(adjusting adjust: (inout ControllerOptions) -> Void = { _ in }) throws {
    let supervisor = try notice.open()
    try parent.follow()
    // Signals are kept until the controller's loop looks at them: one that came between the start and that look would
    // end the process before the controller could leave.
    let interruption = try Interruption()
    defer { _ = interruption }
    var options = behaviour.options
    adjust(&options)
    let log = QueuedLog(StandardErrorLog(label: "baton", form: logJson ? .json : logTimes ? .timed : .plain))
    // The log's reader gets a moment at the end, and no more.
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
}
