import BatonSharedMemory
import Glibc

/// Which process: a pid alone can come back, a pid with its start time does not.
public enum ProcessIdentity {
  /// When this process began, in clock ticks since boot: field 22 of /proc/self/stat (proc(5)). 0 where it cannot
  /// be read.
  public static var startTicks: UInt64 { startTicks(of: "self") }

  /// The same of another process; 0 when it is gone.
  public static func startTicks(of pid: String) -> UInt64 {
    let descriptor = open("/proc/\(pid)/stat", O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { return 0 }
    let file = OwnedDescriptor(descriptor)
    var buffer = [UInt8](repeating: 0, count: 1024)
    let count = read(file.number, &buffer, buffer.count)
    guard count > 0 else { return 0 }
    // The second field, the name, may hold anything: count from its closing parenthesis, which ends field 2.
    let text = buffer[..<count]
    guard let end = text.lastIndex(of: UInt8(ascii: ")")) else { return 0 }
    let fields = text[(end + 1)...].split(separator: UInt8(ascii: " "))
    let startField = 22 - 3
    return fields.count > startField ? UInt64(String(decoding: fields[startField], as: UTF8.self)) ?? 0 : 0
  }
}
