import CBatonShims
import Glibc

/// The identity of a process: a pid alone can be reused, a pid with its start time cannot.
public enum ProcessIdentity {
  /// In which boot of the machine this is: the kernel's random number of it (random(4)), mixed to 64 bits; 0 if it
  /// cannot be read.
  public static let boot: UInt64 = {
    let path = "/proc/sys/kernel/random/boot_id"
    let file = OwnedDescriptor(shim_open(path, false, false, false))
    var text = [UInt8](repeating: 0, count: 36)
    guard file.number >= 0, read(file.number, &text, text.count) == text.count else { return 0 }
    // FNV-1a, as for the region's checksum.
    return text.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }()

  /// When this process began, in clock ticks since boot: field 22 of /proc/self/stat (proc(5)). 0 if it cannot
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
