import Baton
import BatonSharedMemory
import CBatonShims
import Glibc

/// A controller as a process of its own, started and stopped by this one.
struct ControllerProcess: ~Copyable {
  let identity: ControllerIdentity
  let pid: pid_t
  private var isReaped = false

  /// Milliseconds that a controller may take to start, and to leave.
  private static let patienceMilliseconds = 20_000

  /// Starts `baton controller NAME x` from this very program. What it logs goes to `log`. `wrapper` is a program that
  /// becomes this one, with its words.
  init(
    _ identity: ControllerIdentity, of subsystem: Subsystem, arguments: [String] = [], log: String,
    wrapper: [String] = []
  ) throws(BatonError) {
    let pid = try OwnProgram.start(
      "controller", [subsystem.location.name, "\(identity)"] + arguments, log: log, wrapper: wrapper)
    self.identity = identity
    self.pid = pid
  }

  deinit { if !isReaped { ChildProcess.end(pid) } }

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
    throw BatonError(.system, "controller \(identity)", "did not start in time", fix: "see \(log)")
  }

  /// Asks the controller to leave, and waits until it has.
  mutating func stop() throws(BatonError) {
    if isReaped { return }
    _ = Glibc.kill(pid, SIGTERM)
    for _ in 0..<Self.patienceMilliseconds {
      if let code = reap() {
        if code != 0 { throw BatonError(.system, "controller \(identity)", "left with status \(code)") }
        return
      }
      usleep(1000)
    }
    throw BatonError(.system, "controller \(identity)", "did not leave in time")
  }

  /// Sends it a signal; nothing once it has been reaped.
  func send(_ signal: CInt) { if !isReaped { _ = Glibc.kill(pid, signal) } }

  /// What has become of it since the last look, if anything: it was stopped, or it has ended.
  mutating func change() -> ProcessChange? {
    var status: CInt = 0
    guard !isReaped, waitpid(pid, &status, WNOHANG | WUNTRACED) == pid else { return nil }
    guard let ending = ProcessEnding(waitStatus: status) else { return .stopped }
    isReaped = true
    return .ended(ending)
  }

  /// Ends the process as a crash would, with SIGKILL. Returns at once: one system call.
  func kill() { _ = Glibc.kill(pid, SIGKILL) }

  /// Waits until a process that was killed is gone, and reaps it.
  mutating func waitUntilGone() throws(BatonError) {
    for _ in 0..<Self.patienceMilliseconds {
      if isReaped || reap() != nil { return }
      usleep(1000)
    }
    throw BatonError(.system, "controller \(identity)", "was killed and is still there")
  }

  /// The exit status, or 128 and the signal; nil while it runs.
  private mutating func reap() -> CInt? {
    var status: CInt = 0
    guard waitpid(pid, &status, WNOHANG) == pid, let ending = ProcessEnding(waitStatus: status) else { return nil }
    isReaped = true
    return ending.code
  }

  /// What a log says last, for messages.
  static func lastLine(of log: String) -> String {
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

/// How a process ended.
enum ProcessEnding: Equatable, CustomStringConvertible {
  case exited(CInt)
  case signalled(CInt)

  /// From what waitpid(2) said; nil where the process was stopped only.
  init?(waitStatus status: CInt) {
    // WIFSTOPPED, WIFEXITED and their like are macros: 0x7f in the low bits is a stop, 0 an exit.
    switch status & 0x7f {
    case 0x7f: return nil
    case 0: self = .exited(status >> 8 & 0xff)
    case let signal: self = .signalled(signal)
    }
  }

  /// Whether a signal that asks a process to end was the end of it.
  var isByTerminationSignal: Bool { [SIGTERM, SIGINT, SIGQUIT, SIGHUP].contains { self == .signalled($0) } }

  /// As a shell has it: the exit status, or 128 and the signal.
  var code: CInt {
    switch self {
    case .exited(let status): status
    case .signalled(let signal): 128 + signal
    }
  }

  /// `left with status 1`, `died of signal 9 (Killed)`.
  var description: String {
    switch self {
    case .exited(let status): "left with status \(status)"
    case .signalled(let signal): "died of signal \(signal) (\(strsignal(signal).map { String(cString: $0) } ?? "?"))"
    }
  }
}

/// What can be seen to have become of a process.
enum ProcessChange: Equatable {
  case stopped
  case ended(ProcessEnding)
}
