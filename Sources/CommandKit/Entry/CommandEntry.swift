import ArgumentParser
import Baton
import CBatonShims
import Glibc

/// The beginning and the end of every executable of Baton.
package enum CommandEntry {
  /// Runs the command that the words name. `prologue` runs before it, for example to become another program.
  ///
  /// Exit codes: 0 success, 1 an error with a message, 2 wrong data or answers, 3 a missed goal
  /// (`bench --fail-on-miss`), 4 no controller or no subsystem any more (`run`), 64 an invalid command line, 128 and a
  /// signal's number when that ended it.
  package static func run<Root: ParsableCommand>(
    _ root: Root.Type, _ words: [String], after prologue: () throws -> Void = {}
  ) {
    occupyStandardDescriptors()
    // A pipe that nobody reads ends the command with an error, not with a signal half way through its cleaning up.
    signal(SIGPIPE, SIG_IGN)
    // Swift's runtime takes SIGQUIT for a crash: it prints registers for seconds, and the command continues meanwhile.
    shim_end_at_quit()
    // Nor does a limit on the size of files: a write beyond it returns an error.
    signal(SIGXFSZ, SIG_IGN)
    // Where that is not possible, such an end has no message.
    _ = shim_report_lost_pages()
    do {
      try prologue()
      try checkSubcommand(of: root)
      var command = try root.parseAsRoot(words)
      try command.run()
      try Console.checkOutput()
    } catch let error as BatonError {
      Console.error("baton: \(error)")
      Glibc.exit(1)
    } catch let failure as VerificationFailure {
      Console.error("baton: \(failure)")
      Glibc.exit(2)
    } catch {
      root.exit(withError: error)
    }
  }

  /// Suggests a subcommand for a first word that is none: the parser would only call it unexpected.
  private static func checkSubcommand(of root: any ParsableCommand.Type) throws {
    guard let word = CommandLine.arguments.dropFirst().first, !word.hasPrefix("-") else { return }
    let commands = root.configuration.subcommands.map { $0.configuration }
    // All of ours have a name.
    if word == "help" || commands.contains(where: { $0.commandName == word }) { return }
    let shown = commands.filter { $0.shouldDisplay }.compactMap { $0.commandName } + ["help"]
    let meant = Suggestion.nearest(to: word, among: shown)
    let name = root.configuration.commandName ?? "baton"
    Console.error(
      "baton: unknown subcommand '\(word)'; "
        + (meant.map { "did you mean '\($0)'?" } ?? "'\(name) --help' lists them"))
    throw ExitCode.validationFailure
  }

  /// A program may be started with its input and outputs closed, as daemons are. The next opened file, such as a
  /// unit's, would get their numbers, and log lines would be written into it. So /dev/null takes their places, open for
  /// reading only: reads find the end, and writes fail as if the descriptors were closed.
  private static func occupyStandardDescriptors() {
    while true {
      let number = open("/dev/null", O_RDONLY)
      if number > STDERR_FILENO { close(number) }
      if number < 0 || number > STDERR_FILENO { return }
    }
  }
}
