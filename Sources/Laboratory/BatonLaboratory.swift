import ArgumentParser
import BatonCommandKit

/// The laboratory, which measures and stresses Baton, and the processes that it needs for that. Users reach `bench` and
/// `stress` through `baton`, which becomes this executable; the other commands are for the laboratory itself and for
/// the tools.
@main
struct BatonLaboratory: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: name,
    abstract: "Measure and stress Baton.",
    version: BuildVersion.description,
    subcommands: [
      StressCommand.self, BenchCommand.self, CompareCommand.self, SampleCommand.self, BenchWorkerCommand.self,
      BareProcessCommand.self, RivalCommand.self,
      NothingServerCommand.self, TurnsCommand.self, PressCommand.self, PeersCommand.self,
      LaboratoryControllerCommand.self,
    ])

  static func main() { CommandEntry.run(self, Array(CommandLine.arguments.dropFirst())) }

  /// What was typed: `baton`, where that has become this executable, so that its help says what to type again.
  private static let name: String = {
    let word = CommandLine.arguments.first?.split(separator: "/").last.map { String($0) }
    return word == LaboratoryCommand.program ? LaboratoryCommand.program : "baton"
  }()
}
