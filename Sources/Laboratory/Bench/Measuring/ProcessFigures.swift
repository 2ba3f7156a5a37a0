import Baton
import BatonSystem
import Glibc

/// The figures of a process in /proc.
struct ProcessFigures {
  private let directory: String
  private let pid: pid_t

  init(of pid: pid_t) {
    self.pid = pid
    directory = "/proc/\(pid)"
  }

  /// Nanoseconds that its threads have run on a CPU, all together (schedstat, which counts what ticks do not see).
  func cpuNanoseconds() throws(BatonError) -> UInt64 {
    guard let threads = opendir("\(directory)/task") else { throw missing() }
    defer { closedir(threads) }
    var sum: UInt64 = 0
    while let entry = readdir(threads) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if name.hasPrefix(".") { continue }
      // A thread may end between the two looks; the kernel's helpers for io_uring do.
      guard let line = Self.lines(of: "\(directory)/task/\(name)/schedstat").first else { continue }
      sum += line.split(separator: " ").first.flatMap { UInt64($0) } ?? 0
    }
    return sum
  }

  /// Nanoseconds that its threads have run on a CPU, all together, those that have ended too.
  func processorNanoseconds() throws(BatonError) -> UInt64 {
    var clock: clockid_t = 0
    var time = timespec()
    guard clock_getcpuclockid(pid, &clock) == 0, clock_gettime(clock, &time) == 0 else { throw missing() }
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  /// Bytes of a line such as `RssAnon:      512 kB` of one of its files.
  func bytes(_ name: String, in file: String) throws(BatonError) -> UInt64 {
    for line in Self.lines(of: "\(directory)/\(file)") where line.hasPrefix("\(name):") {
      let words = line.split { $0 == " " || $0 == "\t" }
      if words.count == 3, words[2] == "kB", let number = UInt64(words[1]) { return number * 1024 }
    }
    throw BatonError(.unsupported, "\(directory)/\(file)", "does not say \(name)")
  }

  private func missing() -> BatonError { BatonError(.missing, "process \(pid)", "no longer exists") }

  /// Empty where it cannot be read.
  static func lines(of path: String) -> [String] {
    guard let file = fopen(path, "r") else { return [] }
    defer { fclose(file) }
    var lines: [String] = []
    var buffer = [CChar](repeating: 0, count: 4096)
    while fgets(&buffer, CInt(buffer.count), file) != nil {
      lines.append(
        String(decoding: buffer.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
    return lines
  }
}
