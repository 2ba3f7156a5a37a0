import Baton
import BatonCommandKit
import BatonSystem
import FoundationEssentials
import Glibc

/// fio as a floor and a peer: the same file, the same pattern, its own io_uring engine.
enum Fio {
  /// `fio-3.33`, or nil where there is none.
  static let version: String? = {
    guard let output = try? run("fio --version 2>/dev/null") else { return nil }
    let line = output.prefix { $0 != "\n" }
    return line.isEmpty ? nil : String(line)
  }()

  private struct Output: Decodable {
    struct Job: Decodable {
      struct Direction: Decodable {
        let iops: Double
        let requests: Double

        enum CodingKeys: String, CodingKey {
          case iops
          case requests = "total_ios"
        }
      }
      let read: Direction
      let write: Direction
    }
    let jobs: [Job]
  }

  /// Requests per second. Like the workloads here it does not remember which blocks it has had: a map that fills up
  /// slows it down.
  static func rate(
    file: String, rw: AccessPattern, blockSize: Int, depth: Int, size: UInt64, direct: Bool, seconds: Double
  ) throws -> Double {
    let milliseconds = Int(seconds * 1000)
    let text = try run(
      "fio --name=floor --filename='\(file)' --rw=\(rw.rawValue) --bs=\(blockSize) --iodepth=\(depth) "
        + "--ioengine=io_uring --direct=\(direct ? 1 : 0) --size=\(size) --norandommap --time_based "
        + "--runtime=\(milliseconds)ms --output-format=json 2>/dev/null")
    let job = try job(in: text)
    return job.read.iops + job.write.iops
  }

  private static func job(in text: String) throws(BatonError) -> Output.Job {
    guard let start = text.firstIndex(of: "{"),
      let output = try? JSONDecoder().decode(Output.self, from: Data(text[start...].utf8)), let job = output.jobs.first
    else { throw BatonError(.system, "fio", "did not report what it measured") }
    return job
  }

  /// Why it cannot be a client of NBD; nil where it can.
  static let reasonWithoutNBD: String? = {
    if version == nil { return "fio is not installed: apt-get install fio" }
    let engines = (try? run("fio --enghelp 2>/dev/null")) ?? ""
    return engines.split(whereSeparator: \.isWhitespace).contains("nbd")
      ? nil : "fio has no engine 'nbd'; Debian's has: apt-get install fio"
  }()

  /// As a client of the export at that address: requests per second, and their number.
  ///
  /// Its times of single requests are left out: nobody looks at them, and they cost it as much as a request.
  static func nbd(
    _ uri: String, rw: AccessPattern, blockSize: Int, depth: Int, size: UInt64, seconds: Double, seed: Int
  ) throws(BatonError) -> (rate: Double, requests: Double) {
    let words = [
      "--name=nbd", "--ioengine=nbd", "--uri=\(uri)", "--rw=\(rw.rawValue)", "--bs=\(blockSize)",
      "--iodepth=\(depth)", "--size=\(size)", "--norandommap", "--randseed=\(seed)", "--time_based",
      "--runtime=\(Int(seconds * 1000))ms", "--thread", "--gtod_reduce=1", "--clocksource=clock_gettime",
      "--eta=never", "--output-format=json",
    ]
    guard let program = InstalledProgram.path(of: "fio") else { throw BatonError(.missing, "fio", "is not installed") }
    // Its start and its end take a third of a second.
    let text = try ProgramOutput.of(program, words, within: seconds + secondsBesides, subject: "fio")
    let job = try job(in: text)
    let requests = job.read.requests + job.write.requests
    guard requests > 0 else { throw BatonError(.system, "fio", "completed no request") }
    return (job.read.iops + job.write.iops, requests)
  }

  /// Seconds that it may take in addition to its runtime, on a busy machine too.
  private static let secondsBesides = 20.0

  private static func run(_ command: String) throws(BatonError) -> String {
    guard let pipe = popen(command, "r") else { throw BatonError(result: -Int(errno), "fio", doing: "starting it") }
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = fread(&buffer, 1, buffer.count, pipe)
      if count == 0 { break }
      text += buffer[..<count]
    }
    pclose(pipe)
    return String(decoding: text, as: UTF8.self)
  }
}
