import Baton
import BatonSystem
import CBatonShims
import Glibc
import Synchronization

/// The output for people. Results go to standard output, everything else to standard error.
package enum Console {
  /// The destination of output.
  package enum Stream: CInt { case output = 1, error = 2 }

  /// Columns of the terminal that a stream goes to, nil if it goes to none: from COLUMNS if that is set, else from the
  /// terminal itself; a terminal that does not know has as many as most.
  package static func columns(of stream: Stream) -> Int? {
    guard isatty(stream.rawValue) != 0 else { return nil }
    if let said = getenv("COLUMNS").flatMap({ Int(String(cString: $0)) }), said > 0 { return said }
    let columns = Int(shim_terminal_columns(stream.rawValue))
    return columns > 0 ? columns : 80
  }

  /// Rows of the terminal that a stream goes to, nil if it goes to none.
  package static func rows(of stream: Stream) -> Int? {
    guard isatty(stream.rawValue) != 0 else { return nil }
    let rows = Int(shim_terminal_rows(stream.rawValue))
    return rows > 0 ? rows : 24
  }

  /// Lines of a result; on a terminal, those that are longer than it is wide are broken between words. `checkOutput`
  /// reports lines that could not be written.
  package static func print(_ text: String = "") {
    guard let columns = columns(of: .output) else { return printAsItIs(text) }
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    printAsItIs(lines.map { fold($0, within: columns) }.joined(separator: "\n"))
  }

  /// A result for programs: unchanged, wherever it goes.
  package static func printAsItIs(_ text: String) {
    let failure = write(text + "\n", to: STDOUT_FILENO)
    if failure != 0, failure != EPIPE { outputFailure.store(failure, ordering: .relaxed) }
  }

  /// A line that is broken between words where it is longer than so many columns. What follows stands below what stood
  /// behind the line's first gap, `verified           123 reads` goes on below the number, or, for a word that has no
  /// room there, as far to the right as it fits.
  package static func fold(_ line: Substring, within columns: Int) -> String {
    if line.count <= columns { return String(line) }
    var text = line.firstIndex { $0 != " " } ?? line.startIndex
    if let gap = line[text...].firstRange(of: "  ") {
      let behind = line[gap.upperBound...].firstIndex { $0 != " " } ?? line.endIndex
      if line.distance(from: line.startIndex, to: behind) <= columns / 2 { text = behind }
    }
    let words = line[text...].split(separator: " ")
    let label = line[..<text]
    let room = columns - (words.map(\.count).max() ?? 0)
    let indent = String(repeating: " ", count: max(min(label.count, room), 0))
    var lines: [String] = []
    var present = String(label)
    var isBegun = false
    for word in words {
      if present.count + (isBegun ? 1 : 0) + word.count <= columns {
        present += (isBegun ? " " : "") + word
      } else {
        while present.last == " " { present.removeLast() }
        if !present.isEmpty { lines.append(present) }
        present = indent + word
      }
      isBegun = true
    }
    return (lines + [present]).joined(separator: "\n")
  }

  /// A line on standard error, or as much of it as is taken in time: a reader that has stopped, such as a paused
  /// pager, must not keep a supervisor from starting a controller again, or a command from ending.
  package static func error(_ line: String) {
    var bytes = Array((line + "\n").utf8)[...]
    while !bytes.isEmpty {
      var entry = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
      let ready = poll(&entry, 1, errorMillisecondsMax)
      if ready < 0, errno == EINTR { continue }
      if ready <= 0 { return }
      // A pipe that can be written takes this much at once (pipe(7)).
      let part = bytes.prefix(pieceMax)
      let count = part.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress!, $0.count) }
      if count < 0, errno == EINTR || errno == EAGAIN { continue }
      if count <= 0 { return }
      bytes = bytes.dropFirst(count)
    }
  }

  /// How long a line waits for a reader.
  private static let errorMillisecondsMax: CInt = 1000
  /// PIPE_BUF.
  private static let pieceMax = 4096

  /// A line of a log, on standard error: waits for as long as its reader does. For a thread that may wait.
  package static func log(_ line: String) { write(line + "\n", to: STDERR_FILENO) }

  private static let outputFailure = Atomic<CInt>(0)

  /// Fails if part of the results could not be written. A reader that has enough and goes is not a failure.
  package static func checkOutput() throws(BatonError) {
    let failure = outputFailure.load(ordering: .relaxed)
    if failure != 0 { throw BatonError(result: -Int(failure), "standard output", doing: "writing the result") }
  }

  /// Writes all of it, or as much as the other end takes.
  ///
  /// - Returns: 0, or the errno of the failure.
  @discardableResult
  package static func write(_ text: String, to descriptor: CInt) -> CInt {
    write(Array(text.utf8), to: descriptor)
  }

  /// The same for bytes that are no text.
  @discardableResult
  package static func write(_ all: [UInt8], to descriptor: CInt) -> CInt {
    var bytes = all[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress!, $0.count) }
      if count < 0, errno == EINTR { continue }
      if count <= 0 { return count < 0 ? errno : EIO }
      bytes = bytes.dropFirst(count)
    }
    return 0
  }
}
