import BatonOwnership
import BatonSharedMemory
import BatonStorage
import CBatonShims
import Glibc

/// A redundant storage subsystem: units, and the region through which two controllers serve them.
public struct Subsystem: Sendable, Equatable {
  /// Where it lives.
  public let location: SubsystemLocation

  /// A subsystem that exists already, by its name or folder. Looks at nothing yet.
  public init(_ name: String) throws(BatonError) { location = try SubsystemLocation(name) }

  /// Makes a subsystem with these units. Nothing of it remains when it fails.
  ///
  /// - Throws: `BatonError` with `.busy` when one of that name is there, or what is wrong with a unit.
  public static func create(_ name: String, units: [UnitSpecification]) throws(BatonError) -> Subsystem {
    let subsystem = try Subsystem(name)
    let location = subsystem.location
    guard !units.isEmpty, units.count <= Region.unitsMax else {
      throw BatonError(
        .invalid, "subsystem '\(name)'", "has \(units.count) units", mend: "name 1 to \(Region.unitsMax) with --unit")
    }
    var names: Set<String> = []
    for unit in units where !unit.name.isEmpty && !names.insert(unit.name).inserted {
      throw BatonError(
        .invalid, "subsystem '\(name)'", "has two units of the name '\(unit.name)'", mend: "give each its own")
    }
    var madeDirectories: [String] = []
    do throws(BatonError) {
      try makeDirectories(location.directory, &madeDirectories)
      let locked = try lock(location.directory)
      defer { _ = locked }
      try subsystem.make(units)
    } catch {
      for path in madeDirectories.reversed() { rmdir(path) }
      throw error
    }
    return subsystem
  }

  /// Makes the files of a subsystem in its folder, which is locked.
  private func make(_ units: [UnitSpecification]) throws(BatonError) {
    var made: [String] = []
    do throws(BatonError) {
      if FileFacts(path: location.region) != nil {
        throw BatonError(
          .busy, "subsystem '\(location.name)'", "is there already (\(location.directory))",
          mend: "use it, or remove it first with 'baton destroy \(location.name)'")
      }
      try removeUnfinished()
      try announceUnits(units.indices.filter { units[$0].backing == .memory })
      var prepared: [(geometry: UnitGeometry, path: String, faults: FaultPlan)] = []
      var seen: Set<FileFacts.Identity> = []
      for (index, unit) in units.enumerated() {
        let memoryPath = location.memory(unit: index)
        var path = ""
        switch unit.backing {
        case .memory:
          path = memoryPath
          made.append(path)
        case .path(let named):
          path = named
          if Self.isNothingAt(named) { made.append(named) }
        case .null: break
        }
        let geometry = try Backend.prepare(unit, memoryPath: memoryPath)
        if case .path(let named) = unit.backing { path = Self.absolute(named) }
        // By what it is and not by its name: a file can have several, and two units on one would not be locked
        // apart.
        if let facts = FileFacts(path: path), !seen.insert(facts.identity).inserted {
          throw BatonError(.invalid, path, "is named for two units", mend: "name each file once")
        }
        prepared.append((geometry, path, unit.faults))
      }
      try Region.create(prepared, names: units.map(\.name), at: location)
      unlink(location.unfinishedUnits)
    } catch {
      for path in made { unlink(path) }
      unlink(location.unfinishedUnits)
      throw error
    }
  }

  /// Says which memory units are going to be made, before they are: should this process die in the middle, the next
  /// one knows what is to be removed. Nobody else's file is among them.
  private func announceUnits(_ units: [Int]) throws(BatonError) {
    for path in units.map({ location.memory(unit: $0) }) where !Self.isNothingAt(path) {
      throw BatonError(
        .busy, path, "is in the way: it is of no subsystem that is there", mend: "move it away, or remove it")
    }
    if units.isEmpty { return }
    let path = location.unfinishedUnits
    let file = OwnedDescriptor(try check(baton_open(path, true, false, true), path, doing: "making"))
    let text = Array((Self.unitsHeading + units.map { "\($0)\n" }.joined() + Self.unitsEnd).utf8)
    let written = write(file.number, text, text.count)
    if written != text.count {
      let reason = written < 0 ? errno : ENOSPC
      unlink(path)
      throw BatonError(result: -Int(reason), path, doing: "writing it")
    }
  }

  /// Removes what is left of a subsystem of which the making was interrupted. The folder is locked: nobody makes one.
  private func removeUnfinished() throws(BatonError) {
    let path = location.unfinishedUnits
    let file = OwnedDescriptor(baton_open(path, false, false, false))
    if file.number >= 0 {
      var text = [UInt8](repeating: 0, count: Int(clamping: try FileFacts(of: file, subject: path).size))
      let count = pread(file.number, &text, text.count, 0)
      let said = String(decoding: text.prefix(max(count, 0)), as: UTF8.self)
      guard said.isEmpty || said.hasPrefix(Self.unitsHeading) || Self.unitsHeading.hasPrefix(said) else {
        throw BatonError(.busy, path, "is in the way: it is of no subsystem", mend: "move it away, or remove it")
      }
      // One that is not whole was written before anything was made.
      if said.hasSuffix(Self.unitsEnd) {
        for unit in said.split(separator: "\n").compactMap({ Int($0) }) where (0..<Region.unitsMax).contains(unit) {
          unlink(location.memory(unit: unit))
        }
      }
      unlink(path)
    }
    unlink(location.unfinishedRegion)
  }

  private static let unitsHeading = "memory units of a Baton subsystem that is being made:\n"
  private static let unitsEnd = "end\n"

  /// Whether there is nothing of that name; a link that leads nowhere is something, and somebody's.
  private static func isNothingAt(_ path: String) -> Bool {
    var facts = stat()
    return lstat(path, &facts) != 0 && errno == ENOENT
  }

  /// Removes a subsystem: its memory units, sockets and region, the region last, so that one that was interrupted can
  /// be done again. Files and devices behind units stay as they are, and so does whatever else lies in its folder.
  ///
  /// - Throws: `.busy` while a controller runs, `.foreign` where what lies in the region's place is none.
  public func destroy() throws(BatonError) {
    guard !Self.isNothingAt(location.region) || !Self.isNothingAt(location.unfinishedUnits) else {
      throw BatonError(.missing, "subsystem '\(location.name)'", "is not there (\(location.region))")
    }
    let locked = try Self.lock(location.directory)
    defer { _ = locked }
    if Self.isNothingAt(location.region) {
      try removeUnfinished()
      rmdir(location.directory)
      return
    }
    let file = OwnedDescriptor(
      try check(
        baton_open(location.region, true, false, false), location.region, doing: "opening the region",
        mend: "it belongs to the user who created it"))
    try Region.recognize(file, at: location)
    // Both seats are kept until all is gone: no controller starts meanwhile. By the file and not through the region,
    // which may be too damaged to be opened.
    for controller in ControllerIdentity.allCases where try !Region.takeSeat(of: controller, in: file, at: location) {
      throw BatonError(
        .busy, "subsystem '\(location.name)'", "controller \(controller) runs", mend: "stop it first (SIGTERM)")
    }
    for unit in memoryUnits { unlink(location.memory(unit: unit)) }
    for controller in ControllerIdentity.allCases {
      unlink(location.socket(of: controller))
      unlink(location.nbdSocket(of: controller))
      unlink(location.addresses(of: controller))
    }
    for path in [location.unfinishedRegion, location.unfinishedUnits, location.region] { unlink(path) }
    rmdir(location.directory)
  }

  /// The units whose files the subsystem made in its folder: by its region, or, where that is damaged, all that could
  /// be.
  private var memoryUnits: [Int] {
    guard let region = try? Region(opening: location, writable: false) else { return Array(0..<Region.unitsMax) }
    return (0..<region.unitCount).filter { region.unit($0).geometry.kind == .memory }
  }

  /// Locks a subsystem's folder, flock(2): of two who make a subsystem of one name the second one waits until the first
  /// one has it, and takes nothing of it away.
  private static func lock(_ directory: String) throws(BatonError) -> OwnedDescriptor {
    let number = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if number < 0 { throw BatonError(result: -Int(errno), directory, doing: "opening the subsystem's folder") }
    let descriptor = OwnedDescriptor(number)
    while flock(descriptor.number, LOCK_EX) != 0 {
      if errno != EINTR { throw BatonError(result: -Int(errno), directory, doing: "locking the subsystem's folder") }
    }
    // Whoever had it may have failed, and have removed the folder.
    var (locked, present) = (stat(), stat())
    guard fstat(descriptor.number, &locked) == 0, stat(directory, &present) == 0, locked.st_ino == present.st_ino,
      locked.st_dev == present.st_dev
    else {
      throw BatonError(.busy, directory, "was removed by somebody else at the same time", mend: "try again")
    }
    return descriptor
  }

  private static func absolute(_ path: String) -> String {
    guard let resolved = realpath(path, nil) else { return path }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  private static func makeDirectories(_ directory: String, _ made: inout [String]) throws(BatonError) {
    var path = directory.hasPrefix("/") ? "" : "."
    for part in directory.split(separator: "/") {
      path += "/\(part)"
      if mkdir(path, 0o700) == 0 {
        made.append(path)
      } else if errno != EEXIST {
        throw BatonError(result: -Int(errno), path, doing: "making the subsystem's folder")
      }
    }
    // In a folder that others may write, somebody else could have made this one first.
    var facts = stat()
    guard stat(directory, &facts) == 0, facts.st_uid == getuid() || facts.st_uid == 0 else {
      throw BatonError(
        .permission, directory, "belongs to another user", mend: "set BATON_HOME to a folder of yours")
    }
  }
}
