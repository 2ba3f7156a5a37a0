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
    var made: [String] = []
    var madeDirectories: [String] = []
    var locked: CInt = -1
    defer { if locked >= 0 { close(locked) } }
    do throws(BatonError) {
      try makeDirectories(location.directory, &madeDirectories)
      locked = try lock(location.directory)
      if FileFacts(path: location.region) != nil {
        throw BatonError(
          .busy, "subsystem '\(name)'", "is there already (\(location.directory))",
          mend: "use it, or remove it first with 'baton destroy \(name)'")
      }
      var prepared: [(geometry: UnitGeometry, path: String, faults: FaultPlan)] = []
      var seen: Set<FileFacts.Identity> = []
      for (index, unit) in units.enumerated() {
        let memoryPath = location.memory(unit: index)
        var path = ""
        switch unit.backing {
        case .memory:
          path = memoryPath
          unlink(path)
          made.append(path)
        case .path(let named):
          path = named
          // Not what a link that leads nowhere stands for: the link is somebody's.
          var facts = stat()
          if lstat(named, &facts) != 0, errno == ENOENT { made.append(named) }
        case .null: break
        }
        let geometry = try Backend.prepare(unit, memoryPath: memoryPath)
        if case .path(let named) = unit.backing { path = absolute(named) }
        // By what it is and not by its name: a file can have several, and two units on one would not be locked
        // apart.
        if let facts = FileFacts(path: path), !seen.insert(facts.identity).inserted {
          throw BatonError(.invalid, path, "is named for two units", mend: "name each file once")
        }
        prepared.append((geometry, path, unit.faults))
      }
      try Region.create(prepared, names: units.map(\.name), at: location)
    } catch {
      for path in made { unlink(path) }
      for path in madeDirectories.reversed() { rmdir(path) }
      throw error
    }
    return subsystem
  }

  /// Removes a subsystem: its region, sockets and memory units. Files and devices behind units stay as they are.
  ///
  /// - Throws: `.busy` while a controller runs.
  public func destroy() throws(BatonError) {
    guard FileFacts(path: location.region) != nil else {
      throw BatonError(.missing, "subsystem '\(location.name)'", "is not there (\(location.region))")
    }
    // A region too damaged to open has nobody in it who could be disturbed: the seats are looked at by the file.
    let number = OwnedDescriptor(
      try check(
        baton_open(location.region, true, false, false), location.region, doing: "opening the region",
        mend: "it belongs to the user who created it"))
    for controller in ControllerIdentity.allCases
    where baton_ofd_is_locked_by_other(number.number, Int64(controller.index), 1) == 1 {
      throw BatonError(
        .busy, "subsystem '\(location.name)'", "controller \(controller) runs", mend: "stop it first (SIGTERM)")
    }
    unlink(location.region)
    for controller in ControllerIdentity.allCases {
      unlink(location.socket(of: controller))
      unlink(location.nbdSocket(of: controller))
    }
    var unit = 0
    while unit < Region.unitsMax {
      unlink(location.memory(unit: unit))
      unit += 1
      // Memory units may have any number: the folder is empty when all are gone.
      if rmdir(location.directory) == 0 { break }
    }
  }

  /// Locks a subsystem's folder, flock(2): of two who make a subsystem of one name the second one waits until the first
  /// one has it, and takes nothing of it away.
  private static func lock(_ directory: String) throws(BatonError) -> CInt {
    let descriptor = try check(
      open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), directory, doing: "opening the subsystem's folder")
    while flock(descriptor, LOCK_EX) != 0 {
      let reason = errno
      if reason == EINTR { continue }
      close(descriptor)
      throw BatonError(result: -Int(reason), directory, doing: "locking the subsystem's folder")
    }
    // Whoever had it may have failed, and have removed the folder.
    var (locked, present) = (stat(), stat())
    guard fstat(descriptor, &locked) == 0, stat(directory, &present) == 0, locked.st_ino == present.st_ino,
      locked.st_dev == present.st_dev
    else {
      close(descriptor)
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
