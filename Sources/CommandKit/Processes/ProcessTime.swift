import BatonSystem
import Glibc

/// The CPU time of a process.
package enum ProcessTime {
  /// User and system time in seconds, of all threads; nil: no such process.
  package static func seconds(ofProcess pid: UInt64) -> Double? {
    guard let line = Platform.contents("/proc/\(pid)/stat"), let end = line.lastIndex(of: ")") else { return nil }
    // Behind the name, which may hold anything: the state is field 3, utime 14 and stime 15 (proc(5)).
    let fields = line[line.index(after: end)...].split(separator: " ")
    guard fields.count > 12, let user = UInt64(fields[11]), let system = UInt64(fields[12]) else { return nil }
    return Double(user + system) / Double(sysconf(CInt(_SC_CLK_TCK)))
  }
}
