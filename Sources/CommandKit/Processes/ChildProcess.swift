import Baton
import BatonSharedMemory
import Glibc

/// Any child process.
package enum ChildProcess {
  /// Starts a program, found as a shell finds it. It begins with no signal blocked, whatever this process holds back,
  /// and is ended by a pipe that nobody reads and by a file that becomes too large. `redirect` says what its
  /// descriptors are.
  ///
  /// Where it `leadsGroup`, it has a process group of its own: an interrupt from the terminal is for the command, which
  /// then stops its processes.
  package static func start(
    _ program: String, _ words: [String], subject: String, leadsGroup: Bool = false,
    _ redirect: (inout posix_spawn_file_actions_t) -> Void
  ) throws(BatonError) -> pid_t {
    var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    redirect(&actions)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigaddset(&signals, SIGPIPE)
    sigaddset(&signals, SIGXFSZ)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    let group = leadsGroup ? POSIX_SPAWN_SETPGROUP : 0
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | group))
    var pid: pid_t = 0
    let result = posix_spawnp(&pid, program, &actions, &attributes, pointers, environ)
    if result != 0 { throw BatonError(result: -Int(result), subject, doing: "starting \(program)") }
    return pid
  }

  /// Kills one that has not been waited for, and waits until it is gone.
  package static func end(_ pid: pid_t) {
    kill(pid, SIGKILL)
    var status: CInt = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
  }
}
