import ArgumentParser
import Baton
import BatonSystem
import Glibc

/// Tells a supervisor that its controller serves: one byte through a pipe, once. It also tells the controller which
/// subsystem to serve: while the supervisor lives, another one of the same name may take the folder.
package struct ServingNotice: ParsableArguments {
  @Option(help: .hidden) package var announce: Int32?
  @Option(help: .hidden) package var generation: UInt64?

  package init() {}

  /// The pipe's number in the controller.
  package static let descriptor: CInt = 3

  /// For the controller's command line.
  package static func words(_ generation: UInt64) -> [String] {
    ["--announce", "\(descriptor)", "--generation", "\(generation)"]
  }

  // MARK: The supervisor's side

  /// A pipe's two ends.
  package struct Pipe: ~Copyable {
    package let reader: OwnedDescriptor
    package let writer: OwnedDescriptor

    /// The end to read from; the writing end is closed.
    package consuming func takeReader() -> OwnedDescriptor { reader }
  }

  /// A pipe for one life. Neither end outlives an exec.
  package static func pipe() throws(BatonError) -> Pipe {
    var ends: [CInt] = [-1, -1]
    if Glibc.pipe(&ends) != 0 {
      throw BatonError(
        result: -Int(errno), "controller", doing: "making a pipe to it", fix: "raise the limit with 'ulimit -n'")
    }
    let pipe = Pipe(reader: OwnedDescriptor(ends[0]), writer: OwnedDescriptor(ends[1]))
    for end in ends where fcntl(end, F_SETFD, FD_CLOEXEC) != 0 {
      throw BatonError(result: -Int(errno), "controller", doing: "keeping a pipe to this process")
    }
    // The supervisor checks whether a byte has come, and never waits for it.
    if fcntl(pipe.reader.number, F_SETFL, O_NONBLOCK) != 0 {
      throw BatonError(result: -Int(errno), "controller", doing: "making a pipe non-blocking")
    }
    return pipe
  }

  /// Whether the controller serves: nil as long as it has not said so; false if it can no longer say so.
  package static func read(_ reader: borrowing OwnedDescriptor) -> Bool? {
    var byte: UInt8 = 0
    let count = Glibc.read(reader.number, &byte, 1)
    if count < 0, errno == EAGAIN || errno == EINTR { return nil }
    return count == 1
  }

  // MARK: The controller's side

  /// The pipe, if there is one. Call it before anything else is opened, which could get its number.
  package func open() throws(BatonError) -> OwnedDescriptor {
    guard let announce else { return OwnedDescriptor(-1) }
    var facts = stat()
    // Until it has been checked it is not this process's: any other file that is open there must not be written to.
    guard fstat(announce, &facts) == 0, facts.st_mode & S_IFMT == S_IFIFO else {
      throw BatonError(.invalid, "descriptor \(announce)", "is not a pipe to a supervisor", fix: "leave --announce out")
    }
    return OwnedDescriptor(announce)
  }

  /// Checks that the subsystem is the one that the supervisor serves.
  package func check(_ subsystem: Subsystem) throws(BatonError) {
    guard let generation, try subsystem.status().generation != generation else { return }
    throw BatonError(
      .foreign, "subsystem '\(subsystem.location.name)'", "is not the subsystem that this controller served before",
      fix: "end its supervisor, and start it again to serve the new one")
  }

  /// Sends the notice. A supervisor that is gone ends this process by itself (`ParentOptions`).
  package static func send(_ writer: borrowing OwnedDescriptor) {
    if writer.number < 0 { return }
    var byte: UInt8 = 1
    while write(writer.number, &byte, 1) < 0, errno == EINTR {}
  }
}
