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
    let words = CommandLine.arguments.dropFirst(2).filter { $0 != "--supervise" }
    try Supervision(Subsystem(controller.name), [controller.identity]) { _ in Array(words) }.run()
  }
}
