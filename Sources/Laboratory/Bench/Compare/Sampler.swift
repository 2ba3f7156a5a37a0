import Baton
import BatonCommandKit
import BatonSystem
import Glibc

/// One side of a comparison, from this end: a process that measures a batch when it is told to.
struct Sampler: ~Copyable {
  private var process: ChildProcess
  private let input: OwnedDescriptor
  private let output: OwnedDescriptor
  private let subject: String
  private var text: [UInt8] = []

  /// Longer than the slowest batch on a busy machine.
  private static let patienceMilliseconds: CInt = 60_000

  /// Starts `EXECUTABLE sample WORDS...` and waits until it is ready.
  static func start(_ executable: String, _ words: [String], subject: String, _ watch: BenchWatch) throws -> Sampler {
    var sampler = try Sampler(executable, words, subject: subject)
    let word = try sampler.line(watch)
    guard word == "ready" else {
      throw BatonError(
        .unsupported, subject, "cannot be compared: it said '\(word)'",
        fix: "name an executable that has 'sample', with its baton-lab next to it")
    }
    return sampler
  }

  private init(_ executable: String, _ words: [String], subject: String) throws {
    let (reading, telling) = try Self.pipe(subject)
    let theirInput = OwnedDescriptor(reading)
    let input = OwnedDescriptor(telling)
    let (hearing, writing) = try Self.pipe(subject)
    let output = OwnedDescriptor(hearing)
    let theirOutput = OwnedDescriptor(writing)
    let process = try ChildProcess(
      executable, [executable, "sample", ParentOptions.option, "\(getpid())"] + words, subject: subject,
      leadsGroup: true
    ) { actions in
      posix_spawn_file_actions_adddup2(&actions, reading, STDIN_FILENO)
      posix_spawn_file_actions_adddup2(&actions, writing, STDOUT_FILENO)
      posix_spawn_file_actions_adddup2(&actions, writing, STDERR_FILENO)
    }
    self.subject = subject
    self.process = process
    self.input = input
    self.output = output
    _ = consume theirInput
    _ = consume theirOutput
  }

  /// The ends of a pipe that no other process gets: for reading, for writing.
  private static func pipe(_ subject: String) throws(BatonError) -> (CInt, CInt) {
    var ends: [CInt] = [-1, -1]
    if Glibc.pipe(&ends) != 0 { throw BatonError(result: -Int(errno), subject, doing: "making a pipe") }
    for end in ends where fcntl(end, F_SETFD, FD_CLOEXEC) != 0 {
      let failure = errno
      for end in ends { close(end) }
      throw BatonError(result: -Int(failure), subject, doing: "keeping a pipe to this process")
    }
    return (ends[0], ends[1])
  }

  /// One batch.
  mutating func measure(_ watch: BenchWatch) throws -> Double {
    let failure = Console.write("go\n", to: input.number)
    if failure != 0 { throw BatonError(result: -Int(failure), subject, doing: "telling it to measure") }
    let word = try line(watch)
    guard let value = Double(word), value > 0 else { throw BatonError(.system, subject, "said '\(word)'") }
    return value
  }

  /// Lets it clean up, and waits for that.
  consuming func end() throws(BatonError) {
    shutdown()
    _ = try process.awaitEnd()
  }

  /// It ends with its input: the pipe is closed by becoming another file.
  private func shutdown() {
    let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
    if null < 0 { return process.send(SIGTERM) }
    if dup2(null, input.number) < 0 { process.send(SIGTERM) }
    close(null)
  }

  private mutating func line(_ watch: BenchWatch) throws -> String {
    var buffer = [UInt8](repeating: 0, count: 4096)
    var left = Self.patienceMilliseconds
    while true {
      if let end = text.firstIndex(of: UInt8(ascii: "\n")) {
        let line = String(decoding: text[..<end], as: UTF8.self)
        text.removeSubrange(...end)
        return line
      }
      try watch.check()
      var waiting = pollfd(fd: output.number, events: Int16(POLLIN), revents: 0)
      let ready = poll(&waiting, 1, 100)
      if ready == 0 {
        left -= 100
        if left <= 0 { throw BatonError(.system, subject, "does not answer") }
        continue
      }
      let count = ready < 0 ? -1 : read(output.number, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      if count <= 0 {
        throw BatonError(
          .system, subject, "ended early" + (text.isEmpty ? "" : ": \(String(decoding: text, as: UTF8.self))"))
      }
      text += buffer[..<count]
    }
  }
}
