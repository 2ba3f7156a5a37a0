import Baton
import BatonSharedMemory
import CBatonShims
import Glibc

/// A controller as a process of its own, started and stopped by this one.
package struct ControllerProcess: ~Copyable {
  package let identity: ControllerIdentity
  package let pid: pid_t
  private var isReaped = false

  /// Milliseconds that a controller may take to start, and to leave.
  private static let patienceMilliseconds = 20_000

  /// Starts `controller NAME x` of a program. What it logs goes to `log`. `wrapper` is a program that becomes that one,
  /// with its words.
  package init(
    _ identity: ControllerIdentity, of subsystem: Subsystem, by program: BatonProgram, arguments: [String] = [],
    log: String, wrapper: [String] = []
  ) throws(BatonError) {
    let pid = try program.start(
      "controller", [subsystem.location.name, "\(identity)"] + arguments, log: log, wrapper: wrapper)
    self.identity = identity
    self.pid = pid
  }

  deinit { if !isReaped { ChildProcess.end(pid) } }

  /// Waits until the controller serves.
  package mutating func waitUntilServing(_ subsystem: Subsystem, log: String) throws(BatonError) {
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
  package mutating func stop() throws(BatonError) {
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
  package func send(_ signal: CInt) { if !isReaped { _ = Glibc.kill(pid, signal) } }

  /// What has become of it since the last look, if anything: it was stopped, or it has ended.
  package mutating func change() -> ProcessChange? {
    var status: CInt = 0
    guard !isReaped, waitpid(pid, &status, WNOHANG | WUNTRACED) == pid else { return nil }
    guard let ending = ProcessEnding(waitStatus: status) else { return .stopped }
    isReaped = true
    return .ended(ending)
  }

  /// Ends the process as a crash would, with SIGKILL. Returns at once: one system call.
  package func kill() { _ = Glibc.kill(pid, SIGKILL) }

  /// Waits until a process that was killed is gone, and reaps it.
  package mutating func waitUntilGone() throws(BatonError) {
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
  package static func lastLine(of log: String) -> String {
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
