import Baton
import BatonCommandKit
import BatonSystem

/// A job file in fio's format, for the options that `run` has: sections of `option=value`, of which each is a job, and
/// `[global]`, whose options hold for all jobs after it.
struct JobFile {
  /// One section.
  struct Job: Equatable {
    let name: String
    /// As on a command line: what is global, then its own, which replaces it.
    var words: [String]
  }

  let jobs: [Job]

  /// Options with a value.
  static let valued = [
    "rw", "rwmixread", "bs", "bsrange", "bssplit", "iodepth", "runtime", "ramp_time", "number", "path", "unit",
    "offset", "size", "random_distribution", "rate_iops", "rate", "rate_process", "thinktime", "thinktime_blocks",
    "latency_target", "latency_percentile", "latency_window", "read_iolog", "replay_time_scale", "write_iolog",
    "numjobs", "seed",
  ]
  /// Options that are on or off.
  static let flags = ["verify", "latency_run", "replay_no_stall"]
  /// fio's other names for some of them.
  private static let synonyms = [
    "readwrite": "rw", "blocksize": "bs", "blocksize_range": "bsrange", "timeout": "runtime", "number_ios": "number",
  ]
  /// Options of fio that many job files have, and why `run` has none of them.
  private static let explained = [
    "ioengine": "the host submits through shared memory; remove the line",
    "direct": "units bypass the page cache, unless created with --buffered; remove the line",
    "filename": "the units are those of the subsystem; name one with unit=N",
    "directory": "the units are those of the subsystem; name one with unit=N",
    "filesize": "the units are those of the subsystem; use size=BYTES for a part",
    "time_based": "a run always takes its whole runtime; remove the line",
    "group_reporting": "the report has the sum and each job; remove the line",
    "thread": "each job is a thread; remove the line",
    "stonewall": "all jobs of a file run at the same time; give the later ones a file of their own",
    "wait_for_previous": "all jobs of a file run at the same time; give the later ones a file of their own",
  ]

  /// The file at that path.
  init(at path: String) throws(BatonError) {
    let bytes = try InputFile.read(path, bytesMax: 1 << 20, fix: "name a job file in fio's format")
    try self.init(parsing: String(decoding: bytes, as: UTF8.self), path: path)
  }

  /// - Throws: an error with the line that is wrong.
  init(parsing text: String, path: String) throws(BatonError) {
    var jobs: [Job] = []
    var global: [String] = []
    var isGlobal = false
    for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let place = "\(path):\(number + 1)"
      let line = Self.trimmed(line)
      if line.isEmpty || line.hasPrefix("#") || line.hasPrefix(";") { continue }
      if line.hasPrefix("[") {
        guard line.hasSuffix("]"), line.count > 2 else {
          throw BatonError(.invalid, place, "'\(line)' is not the name of a job", fix: "write [NAME]")
        }
        let name = String(line.dropFirst().dropLast())
        isGlobal = name == "global"
        if !isGlobal { jobs.append(Job(name: name, words: global)) }
        continue
      }
      let words = try Self.option(line, place)
      if isGlobal {
        global += words
      } else if jobs.isEmpty {
        throw BatonError(.invalid, place, "comes before the first job", fix: "begin with [global] or [NAME]")
      } else {
        jobs[jobs.count - 1].words += words
      }
    }
    if jobs.isEmpty { throw BatonError(.invalid, path, "has no job", fix: "add a section [NAME]") }
    self.jobs = jobs
  }

  /// One line as words of a command line.
  private static func option(_ line: String, _ place: String) throws(BatonError) -> [String] {
    let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let written = trimmed(parts[0])
    let value = parts.count == 2 ? trimmed(parts[1]) : nil
    let name = synonyms[written] ?? written
    if valued.contains(name) {
      guard let value, !value.isEmpty else {
        throw BatonError(.invalid, place, "'\(written)' has no value", fix: "write \(written)=VALUE")
      }
      return ["--\(name)=\(value)"]
    }
    if flags.contains(name) {
      switch value {
      case nil, "1": return ["--\(name)"]
      // What a job file turns off is off: a section cannot undo what [global] has turned on.
      case "0": return []
      case let value?:
        throw BatonError(.invalid, place, "'\(written)=\(value)' is neither on nor off", fix: "write \(written)=1")
      }
    }
    if let reason = explained[name] {
      throw BatonError(.invalid, place, "'baton run' has no option '\(written)'", fix: reason)
    }
    let meant = Suggestion.nearest(to: name, among: valued + flags + synonyms.keys.sorted())
    throw BatonError(
      .invalid, place, "'baton run' has no option '\(written)'",
      fix: meant.map { "did you mean '\($0)'?" } ?? "'baton run --help' lists the options; remove the line")
  }

  private static func trimmed(_ text: some StringProtocol) -> String {
    var text = Substring(text)
    while let first = text.first, first.isWhitespace { text.removeFirst() }
    while let last = text.last, last.isWhitespace { text.removeLast() }
    return String(text)
  }

  /// Those of the words of a command line that are options of a job: what is typed holds for every job of the file
  /// that does not say otherwise.
  static func options(among words: [String]) -> [String] {
    var chosen: [String] = []
    var index = 0
    while index < words.count {
      let parts = words[index].split(separator: "=", maxSplits: 1)
      let name = parts.first.flatMap { $0.hasPrefix("--") ? String($0.dropFirst(2)) : nil } ?? ""
      if flags.contains(name) {
        chosen.append(words[index])
      } else if valued.contains(name) {
        chosen.append(words[index])
        if parts.count == 1, index + 1 < words.count {
          index += 1
          chosen.append(words[index])
        }
      }
      index += 1
    }
    return chosen
  }
}
