import ArgumentParser
import Baton

struct DestroyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "destroy",
    abstract: "Remove a subsystem. Files and devices behind its units stay as they are.")

  @Argument(help: "The subsystem's name, or the path of its folder.") var name: String

  func run() throws { try Subsystem(name).destroy() }
}
