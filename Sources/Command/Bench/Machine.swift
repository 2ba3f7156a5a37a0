import Baton
import BatonSharedMemory
import CBatonShims
import Glibc

extension BenchReport {
  /// What a report was measured on. What cannot be found out is left out.
  struct Machine: Encodable {
    var cpu = "unknown CPU"
    /// CPUs that the bench may run on.
    var cpus = 1
    /// Whether it is a virtual machine.
    var isVirtual: Bool?
    /// The CPUs that the two processes of a spinning measurement are pinned to; none where there is only one.
    var pinned: [Int] = []
    /// Whether those two are threads of one core.
    var pinnedShareCore: Bool?
    /// The first CPU's frequency governor.
    var governor: String?
    var clockSource: String?
    /// What one reading of the clock costs, which is in every figure that is timed one by one.
    var timerNanoseconds = 0.0
    /// Processes that wanted a CPU in the minute before the bench.
    var load: Double?
    var kernel = ""
    var baton = ""
    var liburing: String?
    var fio: String?

    enum CodingKeys: String, CodingKey {
      case cpu, cpus, pinned, governor, load, kernel, baton, liburing, fio
      case isVirtual = "virtual"
      case pinnedShareCore = "pinned_share_core"
      case clockSource = "clock_source"
      case timerNanoseconds = "timer_ns"
    }
  }
}

extension BenchReport.Machine {
  /// This machine, with two processes pinned to those CPUs.
  init(pinned: [Int]) {
    var name = utsname()
    if uname(&name) == 0 {
      kernel = withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
    let information = Self.contents("/proc/cpuinfo")?.split(separator: "\n") ?? []
    func field(_ name: String) -> Substring? {
      information.first { $0.hasPrefix(name) }?.split(separator: ":", maxSplits: 1).last?.drop { $0 == " " }
    }
    if let model = field("model name") ?? field("Model") { cpu = String(model) }
    // The flag by which the processor itself says that it is a hypervisor's; other architectures have none.
    isVirtual = field("flags").map { $0.split(separator: " ").contains("hypervisor") }
    cpus = Int(baton_available_cpus())
    self.pinned = pinned
    let system = "/sys/devices/system"
    if pinned.count == 2 {
      let cores = pinned.map { cpu in
        Self.contents("\(system)/cpu/cpu\(cpu)/topology/thread_siblings_list")
      }
      if let one = cores[0], let other = cores[1] { pinnedShareCore = one == other }
    }
    governor = Self.contents("\(system)/cpu/cpu\(pinned.first ?? 0)/cpufreq/scaling_governor")
    clockSource = Self.contents("\(system)/clocksource/clocksource0/current_clocksource")
    timerNanoseconds = Self.timerCost()
    load = Self.contents("/proc/loadavg")?.split(separator: " ").first.flatMap { Double($0) }
    baton = BatonCommand.configuration.version
    liburing = Self.liburing
    fio = Fio.version
  }

  /// A file's text without the end of its last line, or nil where it cannot be read or is empty.
  ///
  /// Read to its end: files below /proc come in pieces, and Foundation takes a short one for the last.
  private static func contents(_ path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = fread(&buffer, 1, buffer.count, file)
      if count == 0 { break }
      bytes += buffer[..<count]
    }
    if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
    return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
  }

  /// liburing has no call that says its version before 2.4; the name of the file that is mapped does.
  private static var liburing: String? {
    let maps = contents("/proc/self/maps") ?? ""
    guard
      let name = maps.split(separator: "\n").compactMap({ $0.split(separator: "/").last }).first(where: {
        $0.hasPrefix("liburing.so.")
      })
    else { return nil }
    return String(name.dropFirst("liburing.so.".count))
  }

  /// The median of batches, each the mean of so many readings of the clock.
  private static func timerCost() -> Double {
    let readings = 1000
    let batches = (0..<25).map { _ in
      let start = monotonicNanoseconds()
      for _ in 0..<readings { _ = monotonicNanoseconds() }
      return Double(monotonicNanoseconds() - start) / Double(readings + 1)
    }
    return batches.sorted()[batches.count / 2]
  }

  /// Two or three lines that say it all to people.
  var lines: [String] {
    var lines = ["\(cpu), \(cpus) \(cpus == 1 ? "CPU" : "CPUs")" + (isVirtual == true ? ", virtual machine" : "")]
    lines[0] += ", Linux \(kernel)"
    var versions = "Baton \(baton)"
    if let liburing { versions += ", liburing \(liburing)" }
    versions += ", \(fio ?? "no fio")"
    lines.append(
      versions + "; a reading of the clock\(clockSource.map { " (\($0))" } ?? "") costs "
        + "\(Figure.fixed(timerNanoseconds, 1)) ns")
    lines.append(
      pinning + (governor.map { "; frequency governor \($0)" } ?? "")
        + (load.map { "; load \(Figure.fixed($0, 2)) at the start" } ?? ""))
    return lines
  }

  /// How the two processes of a spinning measurement are pinned.
  var pinning: String {
    guard pinned.count == 2 else { return "nothing is pinned" }
    let cores =
      switch pinnedShareCore {
      case true: ", two threads of one core"
      case false: ", two cores"
      case nil: ""
      }
    return "spinning processes are pinned to CPUs \(pinned[0]) and \(pinned[1])\(cores)"
  }
}
