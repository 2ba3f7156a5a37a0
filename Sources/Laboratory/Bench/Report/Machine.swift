import Baton
import BatonCommandKit
import BatonSystem
import CBatonShims
import Glibc

extension BenchReport {
  /// The machine that a report was measured on. Unknown facts are left out.
  struct Machine: Encodable {
    var vendor: String?
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
    /// The cost of one reading of the clock, which is part of every figure that is timed one by one.
    var timerNanoseconds = 0.0
    /// Processes that wanted a CPU in the minute before the bench.
    var load: Double?
    var kernel = ""
    var baton = ""
    /// The commit that this program was built from.
    var commit: String?
    var liburing: String?
    var fio: String?

    enum CodingKeys: String, CodingKey {
      case vendor, cpu, cpus, pinned, governor, load, kernel, baton, commit, liburing, fio
      case isVirtual = "virtual"
      case pinnedShareCore = "pinned_share_core"
      case clockSource = "clock_source"
      case timerNanoseconds = "timer_ns"
    }
  }
}

extension BenchReport.Machine {
  /// This machine, with two processes pinned to those CPUs, and with that version of fio.
  init(pinned: [Int], fio: String?) {
    let platform = Platform.present
    vendor = platform.vendor
    cpu = platform.cpu
    cpus = platform.cpus
    isVirtual = platform.isVirtual
    load = platform.load
    kernel = platform.kernel
    baton = platform.baton
    commit = platform.commit
    liburing = platform.liburing
    self.pinned = pinned
    let system = "/sys/devices/system"
    if pinned.count == 2 {
      let cores = pinned.map { cpu in
        Platform.contents("\(system)/cpu/cpu\(cpu)/topology/thread_siblings_list")
      }
      if let one = cores[0], let other = cores[1] { pinnedShareCore = one == other }
    }
    governor = Platform.contents("\(system)/cpu/cpu\(pinned.first ?? 0)/cpufreq/scaling_governor")
    clockSource = Platform.contents("\(system)/clocksource/clocksource0/current_clocksource")
    timerNanoseconds = Self.timerCost()
    self.fio = fio
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
    var versions = "Baton \(baton)" + (commit.map { " (commit \($0))" } ?? "")
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

  /// The CPUs to which the two processes of a spinning measurement are pinned.
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
