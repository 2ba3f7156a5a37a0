import BatonOwnership
import BatonStorage
import BatonSystem
import CBatonShims
import Glibc

/// A redundant storage subsystem: units, and the region through which two controllers serve them.
public struct Subsystem: Sendable, Equatable {
  /// Its location.
  public let location: SubsystemLocation

  /// A subsystem that already exists, by its name or folder. Opens nothing yet.
  public init(_ name: String) throws(BatonError) { self.init(at: try SubsystemLocation(name)) }

  /// The same, by its location.
  package init(at location: SubsystemLocation) { self.location = location }

  /// Creates a subsystem with these units. If it fails, nothing of it remains.
  ///
  /// With `replacing` a subsystem of that name is destroyed first, such as one that a crash has left; files and devices
  /// behind its units stay.
  ///
  /// - Throws: `BatonError` with `.busy` if one of that name exists or, with `replacing`, if a controller of it runs,
  ///   or an error that says what is wrong with a unit.
  public static func create(
    _ name: String, units: [UnitSpecification], replacing: Bool = false
  ) throws(BatonError) -> Subsystem {
    let subsystem = try Subsystem(name)
    if replacing {
      do throws(BatonError) { try subsystem.destroy() } catch  where error.code == .missing {}
    }
    try subsystem.create(units)
    return subsystem
  }

  /// The same, at this location.
  package func create(_ units: [UnitSpecification]) throws(BatonError) {
    let name = location.name
    guard !units.isEmpty, units.count <= Region.unitsMax else {
      throw BatonError(
        .invalid, "subsystem '\(name)'", "has \(units.count) units", fix: "name 1 to \(Region.unitsMax) with --unit")
    }
    var names: Set<String> = []
    for unit in units where !unit.name.isEmpty && !names.insert(unit.name).inserted {
      throw BatonError(
        .invalid, "subsystem '\(name)'", "has two units of the name '\(unit.name)'", fix: "give each its own")
    }
    try location.checkSocketPaths()
    var madeDirectories: [String] = []
    do throws(BatonError) {
      try Self.makeDirectories(location.directory, &madeDirectories)
      let folder = try SubsystemFolder(opening: location)
      try folder.lock()
      try make(units, in: folder)
    } catch {
      for path in madeDirectories.reversed() { rmdir(path) }
      throw error
    }
  }

  /// Creates the files of a subsystem in its folder, which is locked.
  private func make(_ units: [UnitSpecification], in folder: borrowing SubsystemFolder) throws(BatonError) {
    var made: [String] = []
    var hasAnnounced = false
    do throws(BatonError) {
      if folder.has(SubsystemLocation.regionName) {
        throw BatonError(
          .busy, "subsystem '\(location.name)'", "already exists (\(location.directory))",
          fix: "use it, or remove it first with 'baton destroy \(location.name)'")
      }
      try removeUnfinished(in: folder)
      try announceUnits(units.indices.filter { units[$0].backing.isMadeBySubsystem }, in: folder)
      hasAnnounced = true
      var prepared: [(geometry: UnitGeometry, path: String, faults: FaultPlan)] = []
      var seen: Set<FileFacts.Identity> = []
      for (index, unit) in units.enumerated() {
        let memoryPath = location.memory(unit: index)
        if unit.backing.isMadeBySubsystem { made.append(memoryPath) }
        if case .path(let named) = unit.backing, Self.isNothingAt(named) { made.append(named) }
        let geometry = try Backend.prepare(unit, memoryPath: memoryPath)
        let path = Backend.path(of: unit, geometry)
        // By what it is and not by its name: a file can have several, and two units on one would not be locked
        // apart.
        if let identity = geometry.identity {
          let isNew = seen.insert(identity).inserted
          guard isNew, Backend.overlapping(geometry).allSatisfy({ !seen.contains($0) }) else {
            throw BatonError(.invalid, path, "is named for two units", fix: "name each file or device once")
          }
        }
        prepared.append((geometry, path, unit.faults))
      }
      try Region.create(prepared, names: units.map(\.name), at: location, in: folder)
      folder.remove(SubsystemLocation.unfinishedUnitsName)
    } catch {
      for path in made { unlink(path) }
      // An older file there is not this subsystem's.
      if hasAnnounced { folder.remove(SubsystemLocation.unfinishedUnitsName) }
      throw error
    }
  }

  /// Notes the memory units that will be made, before they are: if this process dies in the middle, the next one knows
  /// what to remove. Nobody else's file is among them.
  private func announceUnits(_ units: [Int], in folder: borrowing SubsystemFolder) throws(BatonError) {
    for unit in units where folder.has(SubsystemLocation.memoryName(unit: unit)) {
      throw BatonError(
        .busy, location.memory(unit: unit), "is in the way: no existing subsystem has it",
        fix: "move it away, or remove it")
    }
    if units.isEmpty { return }
    let file = try folder.create(SubsystemLocation.unfinishedUnitsName)
    let text = Array((Self.unitsHeading + units.map { "\($0)\n" }.joined() + Self.unitsEnd).utf8)
    let written = write(file.number, text, text.count)
    if written != text.count {
      let reason = written < 0 ? errno : ENOSPC
      folder.remove(SubsystemLocation.unfinishedUnitsName)
      throw BatonError(result: -Int(reason), location.unfinishedUnits, doing: "writing it")
    }
  }

  /// Removes the remains of a subsystem whose creation was interrupted. The folder is locked: nobody creates one.
  private func removeUnfinished(in folder: borrowing SubsystemFolder) throws(BatonError) {
    let path = location.unfinishedUnits
    let file = try folder.open(SubsystemLocation.unfinishedUnitsName, writable: false)
    if file.number >= 0 {
      let size = try FileFacts(of: file, subject: path).size
      var text = [UInt8](repeating: 0, count: Int(min(size, Self.unitsCountMax + 1)))
      let count = pread(file.number, &text, text.count, 0)
      let said = String(decoding: text.prefix(max(count, 0)), as: UTF8.self)
      guard size <= Self.unitsCountMax,
        said.isEmpty || said.hasPrefix(Self.unitsHeading) || Self.unitsHeading.hasPrefix(said)
      else {
        throw BatonError(.busy, path, "is in the way: it belongs to no subsystem", fix: "move it away, or remove it")
      }
      // An incomplete note was written before anything was made.
      if said.hasSuffix(Self.unitsEnd) {
        for unit in said.split(separator: "\n").compactMap({ Int($0) }) where (0..<Region.unitsMax).contains(unit) {
          folder.remove(SubsystemLocation.memoryName(unit: unit))
        }
      }
      folder.remove(SubsystemLocation.unfinishedUnitsName)
    }
    folder.remove(SubsystemLocation.unfinishedRegionName)
  }

  private static let unitsHeading = "memory units of a Baton subsystem that is being made:\n"
  private static let unitsEnd = "end\n"
  /// Size of such a file in bytes: a line of at most 6 for each possible unit.
  private static let unitsCountMax = UInt64(Region.unitsMax * 6 + 1024)

  /// Whether nothing of that name exists; a dangling link does exist, and belongs to somebody.
  private static func isNothingAt(_ path: String) -> Bool {
    var facts = stat()
    return lstat(path, &facts) != 0 && errno == ENOENT
  }

  /// Removes a subsystem: its memory units, sockets and region, the region last, so that one that was interrupted can
  /// be done again. Files and devices behind units stay as they are, and so does whatever else lies in its folder.
  ///
  /// If the subsystem is given by its name, any file in the region's place is taken for its region, however damaged:
  /// nothing else lies there. In a folder that is given by its path, the file must begin like a region.
  ///
  /// - Throws: `.busy` while a controller runs, `.foreign` if the file in the region's place is not a region.
  public func destroy() throws(BatonError) {
    let folder = try SubsystemFolder(opening: location)
    guard folder.has(SubsystemLocation.regionName) || folder.has(SubsystemLocation.unfinishedUnitsName) else {
      throw location.missing
    }
    try folder.lock()
    if !folder.has(SubsystemLocation.regionName) {
      try removeUnfinished(in: folder)
      rmdir(location.directory)
      return
    }
    let file = try regionToDestroy(in: folder)
    // Both seats are kept until all is gone: no controller starts meanwhile. By the file and not through the region,
    // which may be too damaged to be opened.
    if file.number >= 0 {
      for controller in ControllerIdentity.allCases
      where try !Region.takeSeat(of: controller, in: file, at: location) {
        throw BatonError(
          .busy, "subsystem '\(location.name)'", "controller \(controller) runs", fix: "stop it first (SIGTERM)")
      }
    }
    for unit in memoryUnits { folder.remove(SubsystemLocation.memoryName(unit: unit)) }
    for controller in ControllerIdentity.allCases {
      unlink(location.socket(of: controller))
      unlink(location.nbdSocket(of: controller))
      unlink(location.addresses(of: controller))
    }
    for name in [
      SubsystemLocation.unfinishedRegionName, SubsystemLocation.unfinishedUnitsName, SubsystemLocation.traceName,
      SubsystemLocation.regionName,
    ] { folder.remove(name) }
    rmdir(location.directory)
  }

  /// The region's file; none (-1) if it is not a regular file, in which no controller can have a seat.
  private func regionToDestroy(in folder: borrowing SubsystemFolder) throws(BatonError) -> OwnedDescriptor {
    do throws(BatonError) {
      let file = try folder.open(SubsystemLocation.regionName, writable: true)
      if location.home == nil { try Region.recognize(file, at: location) }
      return file
    } catch  where error.code == .foreign && location.home != nil {
      return OwnedDescriptor(-1)
    }
  }

  /// The units whose files the subsystem made in its folder: according to its region or, if that is damaged, all
  /// possible ones.
  private var memoryUnits: [Int] {
    guard let region = try? Region(opening: location, writable: false) else { return Array(0..<Region.unitsMax) }
    return (0..<region.unitCount).filter { region.unit($0).geometry.kind.isMadeBySubsystem }
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
  }
}
