import BatonOwnership
import BatonSharedMemory
import Glibc

/// Where a subsystem lives: a folder with its region, its control sockets and its memory units.
public struct SubsystemLocation: Sendable, Equatable {
  /// The name it was found by.
  public let name: String
  /// The folder.
  public let directory: String

  /// A name stands for a folder in shared memory, `/dev/shm/baton-UID/NAME` (`BATON_HOME` moves it); a name with a
  /// slash in it is the folder itself.
  public init(_ name: String) throws(BatonError) {
    let allowed = name.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"),
        UInt8(ascii: "/"):
        true
      default: false
      }
    }
    guard !name.isEmpty, name.utf8.count <= Self.nameCountMax, allowed, name != ".", name != ".." else {
      throw BatonError(
        .invalid, "subsystem '\(name)'", "is no name for a subsystem",
        mend: "use up to \(Self.nameCountMax) of a-z A-Z 0-9 . _ - or a path")
    }
    self.name = name
    directory = name.contains("/") ? name : "\(Self.home)/\(name)"
  }

  /// Sockets' paths end at 107 bytes (sun_path, unix(7)).
  static let nameCountMax = 80

  /// The folder that named subsystems lie in.
  public static var home: String {
    if let named = getenv("BATON_HOME"), named.pointee != 0 { return String(cString: named) }
    return "/dev/shm/baton-\(getuid())"
  }

  /// The region's file.
  public var region: String { "\(directory)/region" }

  /// The region while it is being made.
  var unfinishedRegion: String { "\(directory)/region.new" }

  /// Which memory units a subsystem that is being made has: what is left of it where that was interrupted.
  var unfinishedUnits: String { "\(directory)/region.units" }

  /// Whether there is certainly no region there: no subsystem, or no longer. One that cannot be looked at may be there.
  public var isKnownToHaveNoRegion: Bool { access(region, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR) }

  /// A controller's control socket.
  public func socket(of controller: ControllerIdentity) -> String { "\(directory)/\(controller).socket" }

  /// Where clients of NBD find a controller when nobody says where, by an absolute path as far as that can be had.
  public func absoluteNBDSocket(of controller: ControllerIdentity) -> String {
    guard let resolved = realpath(directory, nil) else { return nbdSocket(of: controller) }
    defer { free(resolved) }
    return "\(String(cString: resolved))/\(controller).nbd"
  }

  /// The same within the folder as it was named.
  func nbdSocket(of controller: ControllerIdentity) -> String { "\(directory)/\(controller).nbd" }

  /// Where a controller's front end listens, a line an address: for its peer, which listens there while it is gone.
  public func addresses(of controller: ControllerIdentity) -> String { "\(directory)/\(controller).addresses" }

  /// The file behind a memory unit.
  public func memory(unit: Int) -> String { "\(directory)/memory.\(unit)" }
}
