import ArgumentParser
import Baton
import Glibc

/// The command line: fio's words where fio has one.
@main
struct BatonCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "baton",
    abstract: "Two storage controllers, both active, that pass ownership like a baton.",
    version: "0.1.0",
    subcommands: [
      DemoCommand.self, StressCommand.self, BenchCommand.self, BenchWorkerCommand.self, BareProcessCommand.self,
      RivalCommand.self, NothingServerCommand.self, TurnsCommand.self,
      PressCommand.self, PeersCommand.self,
      ServeCommand.self, CreateCommand.self, ControllerCommand.self, RunCommand.self,
      StatusCommand.self, DestroyCommand.self,
    ])

  /// Exit codes: 0 done and right, 1 an error that was named, 2 data or answers that were wrong, 64 a command line
  /// that makes no sense.
  static func main() {
    // A pipe that nobody reads ends the command, not the process by signal half way through its cleaning up.
    signal(SIGPIPE, SIG_IGN)
    do {
      var command = try parseAsRoot()
      try command.run()
      try Console.checkOutput()
    } catch let error as BatonError {
      Console.error("baton: \(error)")
      Glibc.exit(1)
    } catch let failure as VerificationFailure {
      Console.error("baton: \(failure)")
      Glibc.exit(2)
    } catch {
      exit(withError: error)
    }
  }
}

/// Data or answers were wrong: what Baton exists to prevent.
struct VerificationFailure: Error, CustomStringConvertible {
  let description: String
}
