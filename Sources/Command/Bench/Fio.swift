import Baton
import BatonSharedMemory
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
      struct Direction: Decodable { let iops: Double }
      let read: Direction
      let write: Direction
    }
    let jobs: [Job]
  }

  /// Requests a second. Like the workloads here it does not remember which blocks it has had: a map that fills up slows
  /// it down.
  static func rate(
    file: String, rw: AccessPattern, blockSize: Int, depth: Int, size: UInt64, direct: Bool, seconds: Double
  ) throws -> Double {
    let milliseconds = Int(seconds * 1000)
    let text = try run(
      "fio --name=floor --filename='\(file)' --rw=\(rw.rawValue) --bs=\(blockSize) --iodepth=\(depth) "
        + "--ioengine=io_uring --direct=\(direct ? 1 : 0) --size=\(size) --norandommap --time_based "
        + "--runtime=\(milliseconds)ms --output-format=json 2>/dev/null")
    guard let start = text.firstIndex(of: "{"),
      let output = try? JSONDecoder().decode(Output.self, from: Data(text[start...].utf8)), let job = output.jobs.first
    else { throw BatonError(.system, "fio", "did not report what it measured") }
    return job.read.iops + job.write.iops
  }

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
