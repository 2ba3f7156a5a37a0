import Baton
import BatonSystem
import Glibc

/// Both controllers of a subsystem as child processes that serve, and their next lives.
package struct ControllerPair: ~Copyable {
  private let subsystem: Subsystem
  private let program: BatonProgram
  private let log: String
  private let arguments: [[String]]
  private var a: ControllerProcess
  private var b: ControllerProcess

  /// Starts both, with these words after those that each needs, and waits until they serve. They log to `log`.
  package init(
    of subsystem: Subsystem, by program: BatonProgram, log: String,
    arguments: (ControllerIdentity) -> [String] = { _ in [] }
  ) throws(BatonError) {
    let arguments = ControllerIdentity.allCases.map { arguments($0) }
    var a = try ControllerProcess(.a, of: subsystem, by: program, arguments: arguments[0], log: log)
    var b = try ControllerProcess(.b, of: subsystem, by: program, arguments: arguments[1], log: log)
    try a.waitUntilServing(subsystem, log: log)
    try b.waitUntilServing(subsystem, log: log)
    self.subsystem = subsystem
    self.program = program
    self.log = log
    self.arguments = arguments
    self.a = a
    self.b = b
  }

  /// The process of the present life, or of the last one.
  package func pid(of identity: ControllerIdentity) -> pid_t { identity == .a ? a.pid : b.pid }

  /// A descriptor that can be read once the present life of one has ended.
  package func handle(of identity: ControllerIdentity) throws(BatonError) -> OwnedDescriptor {
    identity == .a ? try a.handle() : try b.handle()
  }

  /// Ends one like a crash. One system call.
  package func kill(_ identity: ControllerIdentity) {
    if identity == .a { a.send(SIGKILL) } else { b.send(SIGKILL) }
  }

  /// Waits until a killed one has gone.
  package mutating func waitUntilGone(_ identity: ControllerIdentity) throws(BatonError) {
    if identity == .a { try a.waitUntilGone() } else { try b.waitUntilGone() }
  }

  /// Starts the next life of a killed one, when it has gone.
  package mutating func restart(_ identity: ControllerIdentity) throws(BatonError) {
    try waitUntilGone(identity)
    let next = try ControllerProcess(
      identity, of: subsystem, by: program, arguments: arguments[identity.index], log: log)
    if identity == .a { a = next } else { b = next }
  }

  /// Waits until the present life of one serves.
  package mutating func waitUntilServing(_ identity: ControllerIdentity) throws(BatonError) {
    if identity == .a {
      try a.waitUntilServing(subsystem, log: log)
    } else {
      try b.waitUntilServing(subsystem, log: log)
    }
  }

  /// Asks both to leave, and waits until they have.
  package mutating func stop() throws(BatonError) {
    try a.stop()
    try b.stop()
  }
}
