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

  /// Starts `baton controller NAME x` from this very program. What it logs goes to `log`.
  init(
    _ identity: ControllerIdentity, of subsystem: Subsystem, arguments: [String] = [], log: String
  ) throws(BatonError) {
    let pid = try OwnProgram.start(
      ["controller", subsystem.location.name, "\(identity)", "--with-parent"] + arguments, log: log)
    self.identity = identity
    self.pid = pid
  }

  deinit {
    if !isReaped {
      kill()
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
