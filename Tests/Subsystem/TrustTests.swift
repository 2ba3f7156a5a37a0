import BatonStorage
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import Glibc
import Testing

@Suite("Trust: a subsystem is its user's, and what lies in its folder is files")
struct TrustTests {
  let folder: ScratchFolder
  let subsystem: Subsystem
  var location: SubsystemLocation { subsystem.location }
  /// Some user who is neither this one nor root.
  static let stranger: uid_t = 54_321

  init() throws {
    folder = try ScratchFolder()
    subsystem = try Subsystem.create(folder("subsystem"), units: [UnitSpecification(.memory, size: 65536)])
  }

  /// Every way in which a region is opened.
  private func expectRefusal(
    _ code: BatonError.Code, naming subject: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for writable in [true, false] {
      expectError(code, naming: subject, sourceLocation: sourceLocation) {
        try Region(opening: location, writable: writable)
      }
    }
    expectError(code, naming: subject, sourceLocation: sourceLocation) { _ = try subsystem.status() }
  }

  @Test("Owner and mode: this user's and root's, which nobody else can change")
  func facts() throws {
    let path = try folder.file("file", count: 1)
    func distrust(_ user: uid_t, isShared: Bool = false) throws -> String? {
      try #require(FileFacts(path: path)).distrust(for: user, isSharedFolder: isShared)
    }
    #expect(try distrust(geteuid()) == nil)
    if geteuid() == 0 {
      #expect(try distrust(Self.stranger) == nil, "what is root's nobody else can have put there")
      try #require(chown(path, Self.stranger, Self.stranger) == 0)
      #expect(try distrust(0)?.contains("user \(Self.stranger)") == true)
      #expect(try distrust(Self.stranger) == nil)
      try #require(chown(path, 0, 0) == 0)
    } else {
      #expect(try distrust(Self.stranger)?.contains("user \(geteuid())") == true)
    }
    for (mode, isTrusted) in [(0o600, true), (0o644, true), (0o755, true), (0o620, false), (0o602, false)] {
      chmod(path, mode_t(mode))
      #expect(try (distrust(geteuid()) == nil) == isTrusted, "0\(String(mode, radix: 8))")
      #expect(try (distrust(geteuid(), isShared: true) == nil) == isTrusted, "sticky says nothing of a file")
    }
    let shared = try #require(FileFacts(path: "/tmp"))
    #expect(shared.distrust(for: geteuid()) != nil)
    #expect(shared.distrust(for: geteuid(), isSharedFolder: true) == nil)
  }

  @Test("What others can write is refused: folder, region, memory unit", arguments: [0o020, 0o002])
  func writable(bit: Int) throws {
    for path in [location.directory, location.region] {
      let facts = try #require(FileFacts(path: path))
      chmod(path, mode_t(facts.mode) | mode_t(bit))
      expectRefusal(.permission, naming: path)
      chmod(path, mode_t(facts.mode))
    }
    let unit = try Region(opening: location).unit(0)
    chmod(unit.path, 0o600 | mode_t(bit))
    expectError(.permission, naming: unit.path) {
      _ = try Storage(
        units: [unit], life: StorageLife(controllerIndex: 0, incarnation: 1, subsystem: 1), lockMillisecondsMax: 0)
    }
  }

  @Test(
    "What belongs to another user is refused: folder, region, memory unit",
    .enabled(if: geteuid() == 0, "giving a file away takes root"))
  func others() throws {
    let unit = try Region(opening: location).unit(0)
    for path in [location.directory, location.region] {
      try #require(chown(path, Self.stranger, Self.stranger) == 0)
      expectRefusal(.permission, naming: path)
      expectError(.permission, naming: path) { try subsystem.destroy() }
      try #require(chown(path, 0, 0) == 0)
    }
    try #require(chown(unit.path, Self.stranger, Self.stranger) == 0)
    expectError(.permission, naming: unit.path) {
      _ = try Storage(
        units: [unit], life: StorageLife(controllerIndex: 0, incarnation: 1, subsystem: 1), lockMillisecondsMax: 0)
    }
  }

  @Test("No link leads to a subsystem's folder or region")
  func links() throws {
    let (directory, region) = (location.directory, location.region)
    try #require(rename(region, "\(region).moved") == 0 && symlink("\(region).moved", region) == 0)
    expectRefusal(.foreign, naming: region)
    unlink(region)
    try #require(rename("\(region).moved", region) == 0)
    _ = try Region(opening: location)
    try #require(rename(directory, "\(directory).moved") == 0 && symlink("\(directory).moved", directory) == 0)
    expectRefusal(.foreign, naming: directory)
    expectError(.foreign, naming: directory) {
      _ = try Subsystem.create("\(directory)//", units: [UnitSpecification(.null, size: 512)])
    }
  }

  @Test("A FIFO in a file's place keeps nobody waiting")
  func fifos() throws {
    let region = location.region
    unlink(region)
    try #require(mkfifo(region, 0o600) == 0)
    expectRefusal(.foreign, naming: region)
    expectError(.foreign, naming: region) { try subsystem.destroy() }
    expectError(.busy, naming: folder.path) {
      _ = try Subsystem.create(folder("subsystem"), units: [UnitSpecification(.null, size: 512)])
    }
    #expect(Region.generation(at: location) == nil)
    unlink(region)
    unlink(location.memory(unit: 0))
    let units = "\(location.directory)/region.units"
    try #require(mkfifo(units, 0o600) == 0)
    expectError(.foreign, naming: units) {
      _ = try Subsystem.create(folder("subsystem"), units: [UnitSpecification(.memory, size: 4096)])
    }
    expectError(.foreign, naming: units) { try subsystem.destroy() }
  }

  /// A subsystem that goes by its name.
  private func named(_ name: String = "named", home: String = "home") throws -> Subsystem {
    Subsystem(at: try SubsystemLocation(name, inHome: folder(home)))
  }

  @Test("The home of named subsystems: nobody else's, and a shared folder only with the sticky bit")
  func home() throws {
    let named = try named()
    let home = folder("home")
    try named.create([UnitSpecification(.null, size: 512)])
    _ = try Region(opening: named.location)
    for (mode, isTrusted) in [(0o777, false), (0o770, false), (0o1777, true), (0o755, true), (0o700, true)] {
      chmod(home, mode_t(mode))
      let error = isTrusted ? nil : errorOf { try Region(opening: named.location) }
      #expect(isTrusted || error?.code == .permission && error?.subject == home)
      if isTrusted { _ = try Region(opening: named.location) }
    }
    if geteuid() == 0 {
      try #require(chown(home, Self.stranger, Self.stranger) == 0)
      expectError(.permission, naming: home) { try Region(opening: named.location) }
      expectError(.permission, naming: home) { try self.named("other").create([UnitSpecification(.null, size: 512)]) }
      try #require(chown(home, 0, 0) == 0)
    }
    // A home that the user has named may be a link of the user's.
    try #require(symlink(home, folder("link")) == 0)
    _ = try Region(opening: self.named(home: "link").location)
    try named.destroy()
  }

  @Test("A named subsystem is destroyed, whatever has become of its region; one by a path must begin as a region does")
  func damagedBeyondMagic() throws {
    let named = try named()
    for (what, damage) in [
      ("empty", { truncate($0, 0) }), ("short", { truncate($0, 5) }),
      (
        "noise",
        {
          try writeBytes([UInt8](repeating: 0x5a, count: 8192), to: $0)
          return 0
        }
      ),
      ("FIFO", { unlink($0) + mkfifo($0, 0o600) }), ("link", { unlink($0) + symlink("nowhere", $0) }),
    ] as [(String, (String) throws -> CInt)] {
      try named.create([UnitSpecification(.memory, size: 4096)])
      try #require(try damage(named.location.region) == 0)
      expectError(.busy, naming: "named") { try named.create([UnitSpecification(.memory, size: 4096)]) }
      try named.destroy()
      #expect(FileFacts(path: named.location.directory) == nil, "\(what)")
    }
    truncate(location.region, 0)
    expectError(.foreign, naming: location.region) { try subsystem.destroy() }
  }

  @Test("A path that is too long for sockets is refused when a subsystem is created")
  func longPaths() throws {
    for count in [107 - "/a.socket".utf8.count, 108 - "/a.socket".utf8.count] {
      let path = folder(String(repeating: "x", count: count - folder.path.utf8.count - 1))
      let home = try #require(path.split(separator: "/").last.map { String($0.dropLast(8)) })
      let named = try named("1234567", home: home)
      #expect(named.location.directory.utf8.count == count)
      if count + "/a.socket".utf8.count <= 107 {
        try named.create([UnitSpecification(.null, size: 512)])
        try named.destroy()
      } else {
        expectError(.invalid, naming: named.location.directory) {
          try named.create([UnitSpecification(.null, size: 512)])
        }
      }
      #expect(folder.contents.filter { $0.hasPrefix("x") }.count == 1, "nothing is left of the one that was refused")
    }
  }
}
