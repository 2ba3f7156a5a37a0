import ArgumentParser
import BatonCommandKit

/// The command line: fio's words where fio has one.
@main
struct BatonCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "baton",
    abstract: "Two storage controllers, both active, that pass ownership like a baton.",
    version: BuildVersion.description,
    subcommands: [
      DemoCommand.self, StressCommand.self, BenchCommand.self, CompareCommand.self, ServeCommand.self,
      CreateCommand.self, ControllerCommand.self, RunCommand.self, StatusCommand.self, TopCommand.self,
      TraceCommand.self, MetricsCommand.self, ListCommand.self, PruneCommand.self, DestroyCommand.self,
    ])

  static func main() {
    CommandEntry.run(self, UnitWords.line.kept) { try LaboratoryDoor.passIfNamed() }
  }
}
