import ArgumentParser
import Baton
import BatonCommandKit

struct ControllerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "controller",
    abstract: "Run one controller in the foreground, until SIGTERM, SIGINT, SIGQUIT or SIGHUP.")

  @OptionGroup var controller: ForegroundController
  @Flag(help: "Run the controller as a child process, and start it again when it ends.") var supervise = false

  func run() throws {
    if supervise { try runSupervised() } else { try controller.run() }
  }

  /// Runs the same command line as a child process of this one.
  private func runSupervised() throws {
    // The supervisor ends with its parent, and the controller with the supervisor.
    try controller.parent.follow()
    var words = CommandLine.arguments.dropFirst(2).filter { $0 != "--supervise" }
    if let option = words.firstIndex(of: ParentOptions.option), option + 1 < words.count {
      words.removeSubrange(option...option + 1)
    }
    try Supervision(Subsystem(controller.name), [controller.identity]) { [words] _ in words }.run()
  }
}
