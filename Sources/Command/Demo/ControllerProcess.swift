import Baton
import CBatonShims
import Glibc

/// A controller as a process of its own, started and stopped by this one.
struct ControllerProcess: ~Copyable {
  let identity: ControllerIdentity
  let pid: pid_t
  private var isReaped = false

  /// Milliseconds that a controller may take to start, and to leave.
  private static let patienceMilliseconds = 20_000

  /// Starts `baton controller NAME x` from this very program. What it logs goes to `log`.
  init(
    _ identity: ControllerIdentity, of subsystem: Subsystem, arguments: [String] = [], log: String
  ) throws(BatonError) {
    let words =
      ["baton", "controller", subsystem.location.name, "\(identity)", "--with-parent"] + arguments
    var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // A group of its own: an interrupt from the terminal is for the command, which then stops its controllers.
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
    var pid: pid_t = 0
    let result = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, pointers, environ)
    if result != 0 { throw BatonError(result: -Int(result), "controller \(identity)", doing: "starting it") }
    self.identity = identity
    self.pid = pid
  }

  deinit {
    if !isReaped {
      kill(pid, SIGKILL)
      var status: CInt = 0
      while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    }
  }

  /// Waits until the controller serves.
  mutating func waitUntilServing(_ subsystem: Subsystem, log: String) throws(BatonError) {
    for _ in 0..<Self.patienceMilliseconds {
      let status = try subsystem.status().controllers[Int(identity.rawValue)]
      if status.phase == "serving", status.pid == UInt64(pid) { return }
      if let code = reap() {
        throw BatonError(.system, "controller \(identity)", "ended with status \(code): \(Self.lastLine(of: log))")
      }
      usleep(1000)
    }
    throw BatonError(.system, "controller \(identity)", "did not start in time", mend: "see \(log)")
  }

  /// Asks the controller to leave, and waits until it has.
  mutating func stop() throws(BatonError) {
    if isReaped { return }
    kill(pid, SIGTERM)
    for _ in 0..<Self.patienceMilliseconds {
      if let code = reap() {
        if code != 0 { throw BatonError(.system, "controller \(identity)", "left with status \(code)") }
        return
      }
      usleep(1000)
    }
    throw BatonError(.system, "controller \(identity)", "did not leave in time")
  }

  /// The exit status, or 128 and the signal; nil while it runs.
  private mutating func reap() -> CInt? {
    var status: CInt = 0
    guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
    isReaped = true
    return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
  }

  private static func lastLine(of log: String) -> String {
    guard let file = fopen(log, "r") else { return "" }
    defer { fclose(file) }
    var last = ""
    var buffer = [CChar](repeating: 0, count: 4096)
    while fgets(&buffer, CInt(buffer.count), file) != nil {
      last = String(decoding: buffer.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
    return last
  }
}

/// A folder for files that last as long as a command, removed when it ends, however it ends.
struct ScratchDirectory: ~Copyable {
  let path: String

  /// In `parent`, which should lie on a real file system: O_DIRECT and late I/O are part of the story.
  init(in parent: String, name: String) throws(BatonError) {
    var template = Array("\(parent)/baton-\(name)-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw BatonError(
        result: -Int(errno), parent, doing: "making a scratch folder", mend: "name another with --directory")
    }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Where such files go when nobody says: TMPDIR, else /var/tmp, which lies on a disk where /tmp may not.
  static var parent: String { getenv("TMPDIR").map { String(cString: $0) } ?? "/var/tmp" }

  deinit {
    if let directory = opendir(path) {
      while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) {
          String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != ".", name != ".." { unlink("\(path)/\(name)") }
      }
      closedir(directory)
    }
    rmdir(path)
  }
}

/// SIGINT and SIGTERM as something to ask for, so that a command can clean up before it ends.
struct Interruption: ~Copyable {
  private let signals: OwnedDescriptor

  init() throws(BatonError) {
    signals = OwnedDescriptor(try check(baton_termination_signals(), "signals", doing: "signalfd"))
  }

  deinit { baton_termination_signals_restore() }

  /// The signal that came, once; 0: none.
  func take() -> CInt { max(baton_read_signal(signals.number), 0) }
}
