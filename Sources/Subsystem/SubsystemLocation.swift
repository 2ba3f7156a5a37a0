import BatonOwnership
import BatonSystem
import Glibc

/// The place of a subsystem: a folder with its region, its control sockets and its memory units.
public struct SubsystemLocation: Sendable, Equatable {
  /// The name it was found by.
  public let name: String
  /// The folder.
  public let directory: String
  /// The folder that it lies in by its name; nil if it was named by a path.
  let home: Home?

  /// The folder of named subsystems.
  struct Home: Sendable, Equatable {
    var path: String
    /// Whether the user chose it (`BATON_HOME`).
    var isChosen: Bool
  }

  /// A name stands for a folder in shared memory, `/dev/shm/baton-UID/NAME` (`BATON_HOME` moves it); a name with a
  /// slash in it is the folder itself.
  public init(_ name: String) throws(BatonError) { try self.init(name, home: Self.namedHome) }

  /// The same, in a home of the caller's.
  package init(_ name: String, inHome path: String) throws(BatonError) {
    try self.init(name, home: Home(path: path, isChosen: true))
  }

  private init(_ name: String, home: Home) throws(BatonError) {
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
        .invalid, "subsystem '\(name)'", "is not a valid subsystem name",
        fix: "use up to \(Self.nameCountMax) of a-z A-Z 0-9 . _ - or a path")
    }
    self.name = name
    let isPath = name.contains("/")
    self.home = isPath ? nil : home
    directory = isPath ? name : "\(home.path)/\(name)"
  }

  /// Bytes of a name. With the standard home the paths of sockets then fit.
  static let nameCountMax = 80
  /// Bytes of a socket's path (sun_path, unix(7), without the zero at its end).
  static let socketPathCountMax = 107

  /// The folder that named subsystems lie in.
  public static var home: String { namedHome.path }

  private static var namedHome: Home {
    if let named = getenv("BATON_HOME"), named.pointee != 0 {
      return Home(path: String(cString: named), isChosen: true)
    }
    return Home(path: "/dev/shm/baton-\(getuid())", isChosen: false)
  }

  /// Sees that the paths of its sockets are no longer than a path of a socket can be.
  func checkSocketPaths() throws(BatonError) {
    let path = socket(of: .a)
    guard path.utf8.count <= Self.socketPathCountMax else {
      throw BatonError(
        .invalid, path, "has \(path.utf8.count) bytes, and a socket's path has at most \(Self.socketPathCountMax)",
        fix: "use a shorter name, or a shorter BATON_HOME")
    }
  }

  /// The error where none exists.
  var missing: BatonError {
    BatonError(
      .missing, "subsystem '\(name)'", "does not exist (\(region))",
      fix: "create it with 'baton create \(name) --unit PATH'")
  }

  /// The region's file.
  public var region: String { "\(directory)/\(Self.regionName)" }

  /// Names in the folder: the region; the region while it is being made; and which memory units a subsystem that is
  /// being made has, which is left where that was interrupted.
  static let regionName = "region"
  static let unfinishedRegionName = "region.new"
  static let unfinishedUnitsName = "region.units"
  /// The trace that is being recorded.
  static let traceName = "trace"
  var unfinishedUnits: String { "\(directory)/\(Self.unfinishedUnitsName)" }

  /// Whether certainly no region exists there: no subsystem, or no longer. A region that cannot be seen may exist.
  public var isKnownToHaveNoRegion: Bool { access(region, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR) }

  /// A controller's control socket.
  public func socket(of controller: ControllerIdentity) -> String { "\(directory)/\(controller).socket" }

  /// A controller's default NBD address, by an absolute path if possible.
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
  public func memory(unit: Int) -> String { "\(directory)/\(Self.memoryName(unit: unit))" }

  static func memoryName(unit: Int) -> String { "memory.\(unit)" }
}
