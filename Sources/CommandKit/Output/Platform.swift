import Baton
import CBatonShims
import Glibc

/// The machine and the versions that a report is about. Unknown values are null.
package struct Platform: Encodable {
  @OrNull package var vendor: String?
  package private(set) var cpu = "unknown CPU"
  /// CPUs that this process may run on.
  package private(set) var cpus = 1
  /// Whether it is a virtual machine.
  @OrNull package private(set) var isVirtual: Bool?
  /// Processes that wanted a CPU in the last minute.
  @OrNull package private(set) var load: Double?
  package private(set) var kernel = ""
  package private(set) var baton = BuildVersion.number
  /// The commit that this program was built from; null where its build did not say.
  @OrNull package private(set) var commit: String?
  @OrNull package private(set) var liburing: String?

  package enum CodingKeys: String, CodingKey {
    case vendor, cpu, cpus, load, kernel, baton, commit, liburing
    case isVirtual = "virtual"
  }

  /// This machine, as it is now.
  package static var present: Platform {
    var platform = Platform(commit: BuildVersion.commit)
    var name = utsname()
    if uname(&name) == 0 {
      platform.kernel = withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
    let information = contents("/proc/cpuinfo")?.split(separator: "\n") ?? []
    func field(_ name: String) -> Substring? {
      information.first { $0.hasPrefix(name) }?.split(separator: ":", maxSplits: 1).last?.drop { $0 == " " }
    }
    platform.vendor = (field("vendor_id") ?? field("CPU implementer")).map { String($0) }
    if let model = field("model name") ?? field("Model") { platform.cpu = String(model) }
    // The flag by which the processor itself says that it is a hypervisor's; other architectures have none.
    platform.isVirtual = field("flags").map { $0.split(separator: " ").contains("hypervisor") }
    platform.cpus = Int(shim_available_cpus())
    platform.load = contents("/proc/loadavg")?.split(separator: " ").first.flatMap { Double($0) }
    platform.liburing = liburing
    return platform
  }

  private init(commit: String?) { self.commit = commit }

  /// A file's text without the end of its last line, or nil if it cannot be read or is empty.
  ///
  /// Read to its end: files below /proc come in pieces, and Foundation takes a short one for the last.
  package static func contents(_ path: String) -> String? {
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
}
