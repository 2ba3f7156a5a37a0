import Baton
import BatonSystem
import Glibc

/// A controller as a child process: one life of it.
package struct ControllerProcess: ~Copyable {
  package let identity: ControllerIdentity
  private var process: ChildProcess

  /// Milliseconds that a controller may take to start, and to leave.
  private static let patienceMilliseconds = 20_000

  /// Starts `controller NAME x` of a program. It logs to `log`. `wrapper` is a program that becomes that one,
  /// with its words.
  package init(
    _ identity: ControllerIdentity, of subsystem: Subsystem, by program: BatonProgram, arguments: [String] = [],
    log: String, wrapper: [String] = []
  ) throws(BatonError) {
    process = try program.start(
      "controller", [subsystem.location.name, "\(identity)"] + arguments, log: log, wrapper: wrapper)
    self.identity = identity
  }

  /// Starts `controller` of this program with these words, all that it needs, and with a pipe on which it says that it
  /// serves. It logs where this process does.
  package init(
    _ identity: ControllerIdentity, words: [String], announcing pipe: borrowing ServingNotice.Pipe
  ) throws(BatonError) {
    process = try BatonProgram.running.start(
      "controller", words, handing: (pipe.writer.number, ServingNotice.descriptor))
    self.identity = identity
  }

  /// Its number.
  package var pid: pid_t { process.pid }

  /// Sends it a signal; nothing once its end has been seen. One system call.
  package func send(_ signal: CInt) { process.send(signal) }

  /// Its change since the last look, if any. One system call.
  package mutating func look() -> ProcessChange? { process.look() }

  /// A descriptor that can be read once it has ended.
  package func handle() throws(BatonError) -> OwnedDescriptor { try process.handle() }

  /// Waits until it serves.
  package mutating func waitUntilServing(_ subsystem: Subsystem, log: String) throws(BatonError) {
    for _ in 0..<Self.patienceMilliseconds {
      let status = try subsystem.status().controllers[identity.index]
      if status.phase == "serving", status.pid == UInt64(pid) { return }
      if let ending = ending() {
        throw BatonError(
          .system, "controller \(identity)", "ended with status \(ending.code): \(LogFile.lastLine(of: log))")
      }
      usleep(1000)
    }
    throw BatonError(.system, "controller \(identity)", "did not start in time", fix: "see \(log)")
  }

  /// Asks it to leave, and waits until it has.
  package mutating func stop() throws(BatonError) {
    if process.ending != nil { return }
    send(SIGTERM)
    for _ in 0..<Self.patienceMilliseconds {
      if let ending = ending() {
        if ending != .exited(0) {
          throw BatonError(.system, "controller \(identity)", "left with status \(ending.code)")
        }
        return
      }
      usleep(1000)
    }
    throw BatonError(.system, "controller \(identity)", "did not leave in time")
  }

  /// Waits until it has gone, after it was killed.
  package mutating func waitUntilGone() throws(BatonError) {
    for _ in 0..<Self.patienceMilliseconds {
      if ending() != nil { return }
      usleep(1000)
    }
    throw BatonError(.system, "controller \(identity)", "was killed and still exists")
  }

  /// Its ending; nil while it runs.
  private mutating func ending() -> ProcessEnding? {
    _ = look()
    return process.ending
  }
}
