import CBatonShims
import Glibc

/// A child process of this one, of whatever program. It is killed, and waited for, when nobody holds it any more: no
/// command leaves a process behind, on whatever way out.
package struct ChildProcess: ~Copyable {
  package let pid: pid_t
  private let subject: String
  /// The way in which it ended, once that has been seen.
  package private(set) var ending: ProcessEnding?

  /// Starts a program, found as a shell finds it. It begins with no signal blocked, whatever this process holds back,
  /// and is ended by a pipe that nobody reads and by a file that becomes too large. `redirect` says what its
  /// descriptors are. If it cannot be started, the error names `fix`.
  ///
  /// Where it `leadsGroup`, it has a process group of its own: an interrupt from the terminal is for the program that
  /// started it, which then stops its processes.
  package init(
    _ program: String, _ words: [String], subject: String, fix: String = "", leadsGroup: Bool = false,
    _ redirect: (inout posix_spawn_file_actions_t) -> Void
  ) throws(BatonError) {
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
    if result != 0 { throw BatonError(result: -Int(result), subject, doing: "starting \(program)", fix: fix) }
    self.pid = pid
    self.subject = subject
  }

  deinit {
    if ending != nil { return }
    _ = kill(pid, SIGKILL)
    var status: CInt = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
  }

  /// Sends it a signal; nothing once its end has been seen, because its number may be another process's then. One
  /// system call.
  package func send(_ signal: CInt) { if ending == nil { _ = kill(pid, signal) } }

  /// Its change since the last look, if any. One system call.
  package mutating func look() -> ProcessChange? {
    if ending != nil { return nil }
    var status: CInt = 0
    return waitpid(pid, &status, WNOHANG | WUNTRACED) == pid ? change(status) : nil
  }

  /// Waits for its next change, however long that takes. It must not have ended.
  package mutating func awaitChange() throws(BatonError) -> ProcessChange {
    precondition(ending == nil, "a process whose end was seen")
    var status: CInt = 0
    while waitpid(pid, &status, WUNTRACED) < 0 {
      if errno != EINTR { throw BatonError(result: -Int(errno), subject, doing: "waiting for it") }
    }
    return change(status)
  }

  /// Waits for its end, however long that takes.
  package mutating func awaitEnd() throws(BatonError) -> ProcessEnding {
    if let ending { return ending }
    while true {
      if case .ended(let ending) = try awaitChange() { return ending }
    }
  }

  /// A descriptor that can be read once it has ended (pidfd_open(2)).
  package func handle() throws(BatonError) -> OwnedDescriptor {
    OwnedDescriptor(try check(shim_pidfd_open(pid), subject, doing: "pidfd_open"))
  }

  private mutating func change(_ status: CInt) -> ProcessChange {
    ending = ProcessEnding(waitStatus: status)
    return ending.map { .ended($0) } ?? .stopped
  }
}
