import ArgumentParser
import Baton
import BatonSharedMemory
import CBatonShims
import Glibc

/// This very program, started again as another process.
enum OwnProgram {
  /// Where it lies, for somebody who is to start it later; nil where the kernel does not say.
  static var path: String? {
    guard let path = realpath("/proc/self/exe", nil) else { return nil }
    defer { free(path) }
    return String(cString: path)
  }

  /// Starts `baton COMMAND WORDS...`, with nothing to read. What it says goes to `log` where one is named, and
  /// `handing` makes a descriptor of this process a descriptor of that number there. It does not outlive this process:
  /// the command has `ParentOptions`.
  ///
  /// With a log, or where it `leadsGroup`, it has a process group of its own. `wrapper` is a program that becomes this
  /// one, with its words.
  static func start(
    _ command: String, _ words: [String], log: String? = nil, handing: (mine: CInt, theirs: CInt)? = nil,
    leadsGroup: Bool = false, wrapper: [String] = []
  ) throws(BatonError) -> pid_t {
    // By this process's number: for the wrapper /proc/self/exe is another program.
    let program = wrapper.isEmpty ? ["baton"] : wrapper + ["/proc/\(getpid())/exe"]
    return try ChildProcess.start(
      wrapper.first ?? "/proc/self/exe", program + [command, ParentOptions.option, "\(getpid())"] + words,
      subject: "baton \(command)", leadsGroup: log != nil || leadsGroup
    ) { actions in
      posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
      if let log {
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
      }
      if let handing { posix_spawn_file_actions_adddup2(&actions, handing.mine, handing.theirs) }
    }
  }
}

/// The process that a command does not outlive, for those that this program starts itself.
struct ParentOptions: ParsableArguments {
  @Option(help: .hidden) var withParent: Int32?

  static let option = "--with-parent"

  /// From here on SIGTERM comes when the parent dies (PR_SET_PDEATHSIG, prctl(2)). A parent that had died before is not
  /// told of: the command ends here then.
  func follow() throws {
    guard let withParent else { return }
    try check(baton_die_with_parent(), "process \(withParent)", doing: "asking to end with it")
    if getppid() != withParent { throw ExitCode.success }
  }
}
