import BatonOwnership
import BatonSystem
import CBatonShims
import Glibc

/// A controller as a child process of this one: `baton controller NAME a|b`.
///
/// The process is killed, and waited for, when this value goes; its peer takes over. `stop()` has it leave in good
/// order first.
public struct SpawnedController: ~Copyable {
  /// How a controller's process is started.
  public struct Options: Sendable {
    /// The executable: a path, or a name that is looked for in PATH.
    public var program = "baton"
    /// Whether a supervisor starts the controller again whenever it ends (`--supervise`). The child process is the
    /// supervisor then.
    public var isSupervised = false
    /// Whether the process ends when the thread that started it does (PR_SET_PDEATHSIG, prctl(2)), and so when this
    /// process dies. Start it from a thread that lives as long as it should.
    public var endsWithThread = true
    /// More words of the command line, such as `--wait spin`.
    public var arguments: [String] = []
    /// The file that its log is appended to; nil: it logs where this process writes its errors.
    public var logPath: String?

    /// The defaults.
    public init() {}
  }

  /// How a process has ended.
  public enum Ending: Sendable, Equatable {
    /// With an exit status.
    case exited(CInt)
    /// Of a signal.
    case signalled(CInt)
  }

  /// Which of the two controllers it is.
  public let identity: ControllerIdentity
  /// The process: the controller, or its supervisor.
  public let pid: pid_t
  private let subsystem: Subsystem
  private let logPath: String?
  /// Kills it, and waits for it, when it goes.
  private var process: ChildProcess

  private static let lookMicroseconds: UInt32 = 500

  /// Starts a controller. Does not wait until it serves.
  ///
  /// - Throws: `.missing` if there is no such program.
  public init(
    _ identity: ControllerIdentity, of subsystem: Subsystem, options: Options = Options()
  ) throws(BatonError) {
    var words = [options.program, "controller"]
    if options.endsWithThread { words += ["--with-parent", "\(getpid())"] }
    words += [subsystem.location.name, "\(identity)"]
    if options.isSupervised { words.append("--supervise") }
    words += options.arguments
    // A group of its own: an interrupt from the terminal is for the program, which then stops its controllers.
    process = try ChildProcess(
      options.program, words, subject: "controller \(identity)", fix: "name the path of Baton's executable, 'baton'",
      leadsGroup: true
    ) { actions in
      posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
      if let log = options.logPath {
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
      }
      posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO)
    }
    pid = process.pid
    self.identity = identity
    self.subsystem = subsystem
    logPath = options.logPath
  }

  /// How the process has ended; nil while it runs. One system call.
  public mutating func poll() -> Ending? {
    _ = process.look()
    return process.ending.map { ending in
      switch ending {
      case .exited(let status): .exited(status)
      case .signalled(let signal): .signalled(signal)
      }
    }
  }

  /// Waits until its controller serves. Blocks the thread.
  ///
  /// - Throws: an error that names its ending, or `.busy` if it took longer.
  public mutating func waitUntilServing(nanoseconds: UInt64 = 20_000_000_000) throws(BatonError) {
    let view = try SubsystemView(of: subsystem)
    let before = monotonicNanoseconds()
    while !view.isServing(identity) || !view.isRunning(identity) {
      if let ending = poll() { throw failure("ended before it served: \(Self.describe(ending))") }
      if monotonicNanoseconds() &- before > nanoseconds { throw failure("did not serve in time") }
      usleep(Self.lookMicroseconds)
    }
  }

  /// Has it leave: it answers what it has accepted, hands its functions over, and ends. Blocks the thread.
  ///
  /// - Throws: an error if it ended in another way, or `.busy` if it took longer; it runs on then.
  public mutating func stop(nanoseconds: UInt64 = 20_000_000_000) throws(BatonError) {
    process.send(SIGTERM)
    let before = monotonicNanoseconds()
    while true {
      if let ending = poll() {
        if ending == .exited(0) { return }
        throw failure("was to leave, and ended otherwise: \(Self.describe(ending))")
      }
      if monotonicNanoseconds() &- before > nanoseconds { throw failure("did not leave in time") }
      usleep(Self.lookMicroseconds)
    }
  }

  /// Kills it (SIGKILL) and waits for its end: the peer takes over. A supervisor's controller leaves in good order.
  public mutating func kill() {
    process.send(SIGKILL)
    while poll() == nil { usleep(Self.lookMicroseconds) }
  }

  private func failure(_ problem: String) -> BatonError {
    BatonError(.busy, "controller \(identity)", problem, fix: logPath.map { "see \($0)" } ?? "see its log")
  }

  private static func describe(_ ending: Ending) -> String {
    switch ending {
    case .exited(let status): "exit status \(status)"
    case .signalled(let signal): "signal \(signal)"
    }
  }
}
