import Baton
import BatonCommandKit
import FoundationEssentials
import Glibc

/// One segment of a soak: a stress run of its own, about a minute long.
struct SoakSegment: Codable, Equatable {
  /// The pauses that faults of one kind made, in nanoseconds: from the fault to the first answer.
  struct Pause: Codable, Equatable {
    let kind: String
    let faults: UInt64
    let p50: UInt64
    let p99: UInt64
    let max: UInt64
  }

  let number: Int
  let seed: UInt64
  let started: String
  let seconds: Double
  let faults: UInt64
  let requests: UInt64
  let starts: UInt64
  let pauses: [Pause]
  /// Nil: all was right.
  var violation: String?
  var failureFolder: String?
  var isInterrupted = false

  /// The longest pause of any kind.
  var pauseMax: UInt64 { pauses.map(\.max).max() ?? 0 }
}

extension SoakSegment {
  /// As much of a stress report in JSON as a soak keeps.
  private struct Report: Decodable {
    struct Summary: Decodable {
      let p50: UInt64
      let p99: UInt64
      let max: UInt64
    }
    struct Kind: Decodable {
      let kind: String
      let faults: UInt64
      let firstAnswerNanoseconds: Summary?
    }
    let seconds: Double
    let interrupted: Bool
    let violation: String?
    let failureFolder: String?
    let faults: UInt64
    let requests: UInt64
    let starts: UInt64
    let kinds: [Kind]
  }

  /// From the report that `stress` has written.
  init(number: Int, seed: UInt64, started: String, report path: String) throws {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let report: Report
    do { report = try decoder.decode(Report.self, from: Data(InputFile.read(path, bytesMax: 1 << 24))) } catch {
      throw BatonError(.damaged, path, "is no report of a segment: \(error)")
    }
    self.number = number
    self.seed = seed
    self.started = started
    seconds = report.seconds
    faults = report.faults
    requests = report.requests
    starts = report.starts
    pauses = report.kinds.compactMap { kind in
      kind.firstAnswerNanoseconds.map {
        Pause(kind: kind.kind, faults: kind.faults, p50: $0.p50, p99: $0.p99, max: $0.max)
      }
    }
    violation = report.violation
    failureFolder = report.failureFolder
    isInterrupted = report.interrupted
  }
}

/// The log of a soak: what it was asked for, and a line of JSON for each segment. It is all that a soak needs to go on
/// after a reboot, and some 400 bytes a minute.
struct SoakLog {
  /// The first line.
  struct Heading: Codable, Equatable {
    let seed: UInt64
    /// Options of `stress`, without the seed and the time.
    let options: [String]
  }

  let path: String
  private(set) var heading: Heading
  private(set) var segments: [SoakSegment] = []

  /// More than a year has minutes.
  private static let bytesMax = 1 << 30

  /// Begins one at that path, or goes on with the one that lies there.
  ///
  /// - Throws: an error if that one was asked for something else.
  init(at path: String, seed: UInt64?, options: [String]) throws {
    self.path = path
    guard access(path, F_OK) == 0 else {
      heading = Heading(seed: seed ?? UInt64(time(nil)), options: options)
      try append(heading)
      return
    }
    let lines = String(decoding: try InputFile.read(path, bytesMax: Self.bytesMax), as: UTF8.self).split(
      separator: "\n")
    let decoder = JSONDecoder()
    guard let first = lines.first, let heading = try? decoder.decode(Heading.self, from: Data(first.utf8)) else {
      throw BatonError(.foreign, path, "is not the log of a soak", fix: "name another folder with --soak")
    }
    guard heading.options == options, seed == nil || seed == heading.seed else {
      throw BatonError(
        .invalid, path,
        "is of a soak with other options: seed \(heading.seed) \(heading.options.joined(separator: " "))",
        fix: "give the same options to go on, or name another folder with --soak")
    }
    self.heading = heading
    // A machine that lost its power may have cut the last line: that segment is run again.
    segments = lines.dropFirst().compactMap { try? decoder.decode(SoakSegment.self, from: Data($0.utf8)) }
  }

  mutating func add(_ segment: SoakSegment) throws {
    segments.append(segment)
    try append(segment)
  }

  /// What was run so far.
  var seconds: Double { segments.reduce(0) { $0 + $1.seconds } }

  /// The number of the next segment.
  var next: Int { (segments.last?.number ?? 0) + 1 }

  private func append(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let line = String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
    let number = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    if number < 0 { throw BatonError(result: -Int(errno), path, doing: "opening the soak's log") }
    defer { close(number) }
    // After a cut line the next one begins on a line of its own.
    let size = lseek(number, 0, SEEK_END)
    var last = UInt8(ascii: "\n")
    if size > 0, pread(number, &last, 1, size - 1) != 1 {
      throw BatonError(result: -Int(errno), path, doing: "reading the soak's log")
    }
    var failure = Console.write((last == UInt8(ascii: "\n") ? "" : "\n") + line, to: number)
    if failure == 0, fsync(number) != 0 { failure = errno }
    if failure != 0 {
      throw BatonError(result: -Int(failure), path, doing: "writing the soak's log", fix: "make room for it")
    }
  }
}
