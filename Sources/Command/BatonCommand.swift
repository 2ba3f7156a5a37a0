import ArgumentParser
import Baton
import CBatonShims
import Glibc

/// The command line: fio's words where fio has one.
@main
struct BatonCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "baton",
    abstract: "Two storage controllers, both active, that pass ownership like a baton.",
    version: BuildVersion.description,
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
    occupyStandardDescriptors()
    // A pipe that nobody reads ends the command, not the process by signal half way through its cleaning up.
    signal(SIGPIPE, SIG_IGN)
    // Swift's runtime takes SIGQUIT for a crash: it prints registers for seconds, and the command goes on meanwhile.
    baton_end_at_quit()
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

extension BatonCommand {
  /// A program may be started with its input and outputs closed, as daemons are. What is opened next would get their
  /// numbers, a unit's file for one, and what is logged would be written into it. Something that can be read, and
  /// brings nothing, and cannot be written takes their places: who writes is told so, as if they were closed.
  private static func occupyStandardDescriptors() {
    while true {
      let number = open("/dev/null", O_RDONLY)
      if number > STDERR_FILENO { close(number) }
      if number < 0 || number > STDERR_FILENO { return }
    }
  }
}

/// Data or answers were wrong: what Baton exists to prevent.
struct VerificationFailure: Error, CustomStringConvertible {
  let description: String
}
