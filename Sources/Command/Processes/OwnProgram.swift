import Baton
import BatonSharedMemory
import Glibc

/// Any child process.
enum ChildProcess {
  /// Kills one that has not been waited for, and waits until it is gone.
  static func end(_ pid: pid_t) {
    kill(pid, SIGKILL)
    var status: CInt = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
  }
}

/// This very program, started again as another process.
enum OwnProgram {
  /// Starts `baton WORDS...`, with nothing to read. What it says goes to `log` where one is named, and `handing`
  /// makes a descriptor of this process a descriptor of that number there.
  ///
  /// With a log, or where it `leadsGroup`, it has a process group of its own: an interrupt from the terminal is for the
  /// command, which then stops its processes. `wrapper` is a program that becomes this one, with its words.
  static func start(
    _ words: [String], log: String? = nil, handing: (mine: CInt, theirs: CInt)? = nil, leadsGroup: Bool = false,
    wrapper: [String] = []
  ) throws(BatonError) -> pid_t {
    var pointers: [UnsafeMutablePointer<CChar>?] = []
    let program = wrapper.first ?? "/proc/self/exe"
    // By this process's number: for the wrapper /proc/self/exe is another program.
    for word in (wrapper.isEmpty ? ["baton"] : wrapper + ["/proc/\(getpid())/exe"]) + words {
      pointers.append(strdup(word))
    }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    if let log {
      posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
      posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
    }
    if log != nil || leadsGroup { posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP)) }
    if let handing { posix_spawn_file_actions_adddup2(&actions, handing.mine, handing.theirs) }
    var pid: pid_t = 0
    let result = posix_spawnp(&pid, program, &actions, &attributes, pointers, environ)
    if result != 0 {
      throw BatonError(result: -Int(result), "baton \(words.joined(separator: " "))", doing: "starting it")
    }
    return pid
  }
}
