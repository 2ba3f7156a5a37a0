import Baton
import BatonSystem
import Glibc

/// The output of another program.
package enum ProgramOutput {
  /// Runs a program to its end, without input, and returns all that it printed. It is killed after so many
  /// seconds; that, and any exit status but 0, is an error with the last line that it printed.
  package static func of(
    _ program: String, _ words: [String], within seconds: Double, subject: String
  ) throws(BatonError) -> String {
    var running = try RunningProgram(program, words, subject: subject)
    return try running.output(within: seconds)
  }
}

/// Another program that runs, and is killed when nobody needs it any more.
package struct RunningProgram: ~Copyable {
  private var process: ChildProcess
  private let reader: OwnedDescriptor
  private let subject: String

  /// More than any of them prints.
  private static let bytesMax = 1 << 20

  /// Starts one, found as a shell finds it. It reads what comes through the descriptor `input`; without one there is
  /// nothing to read.
  package init(_ program: String, _ words: [String], input: CInt? = nil, subject: String) throws(BatonError) {
    var ends: [CInt] = [-1, -1]
    if pipe(&ends) != 0 { throw BatonError(result: -Int(errno), subject, doing: "making a pipe") }
    let reader = OwnedDescriptor(ends[0])
    let writer = OwnedDescriptor(ends[1])
    for end in ends {
      if fcntl(end, F_SETFD, FD_CLOEXEC) != 0 {
        throw BatonError(result: -Int(errno), subject, doing: "keeping a pipe to this process")
      }
    }
    let output = writer.number
    process = try ChildProcess(program, [program] + words, subject: subject) { actions in
      if let input {
        posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
      } else {
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
      }
      posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
      posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO)
    }
    self.reader = reader
    self.subject = subject
    // The pipe ends when the program, which has an end of its own, and all that it started have ended.
    _ = consume writer
  }

  /// All that it printed, when it has ended. It is killed after so many seconds; that, and any exit status but 0, is an
  /// error with the last line that it printed. Call it once.
  package mutating func output(within seconds: Double) throws(BatonError) -> String {
    precondition(process.ending == nil, "a program that has been waited for")
    let deadline = monotonicNanoseconds() + UInt64(seconds * 1e9)
    var text: [UInt8] = []
    let trouble = Self.read(reader.number, until: deadline, into: &text)
    if trouble != nil { process.send(SIGKILL) }
    let ending = try process.awaitEnd()
    if let trouble { throw BatonError(.system, subject, trouble) }
    let said = String(decoding: text, as: UTF8.self)
    let last = said.split(separator: "\n").last.map { ": \($0)" } ?? ""
    switch ending {
    case .exited(0): return said
    case .exited(let status): throw BatonError(.system, subject, "ended with status \(status)" + last)
    case .signalled(let signal): throw BatonError(.system, subject, "was ended by signal \(signal)" + last)
    }
  }

  /// All bytes until the other end is closed, and the error, if any.
  private static func read(_ descriptor: CInt, until deadline: UInt64, into text: inout [UInt8]) -> String? {
    var buffer = [UInt8](repeating: 0, count: 65536)
    while text.count < bytesMax {
      let now = monotonicNanoseconds()
      if now >= deadline { return "did not come to its end in time" }
      var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      let milliseconds = min((deadline - now) / 1_000_000 + 1, 60_000)
      let ready = poll(&waiting, 1, CInt(milliseconds))
      if ready == 0 { continue }
      let count = ready < 0 ? -1 : Glibc.read(descriptor, &buffer, buffer.count)
      if count < 0, errno != EINTR { return "what it prints cannot be read: \(String(cString: strerror(errno)))" }
      if count == 0 { return nil }
      if count > 0 { text += buffer[..<count] }
    }
    return "says more than \(bytesMax) bytes"
  }
}
