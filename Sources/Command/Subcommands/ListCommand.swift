import ArgumentParser
import Baton
import BatonCommandKit
import BatonSystem
import Glibc

struct ListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List this user's subsystems.",
    discussion: """
      Lists the folder that BATON_HOME names. 'baton prune' removes temporary subsystems whose maker is gone.
      """)

  @Option(help: ArgumentHelp("Write JSON to this file, - for standard output.", valueName: "file")) var json: String?

  func run() throws {
    let subsystems = try FoundSubsystem.all()
    if let json {
      try JSONReport.write(
        ListReport(home: SubsystemLocation.home, subsystems: subsystems.map(\.report)), of: "list", [:], to: json)
      if json == "-" { return }
    }
    if subsystems.isEmpty { return Console.print("no subsystems in \(SubsystemLocation.home)") }
    var table = Table("subsystem", "state", "units", "size", "made by")
    for found in subsystems {
      table.add(
        found.name, found.state, found.status.map { Figure.count(UInt64($0.units.count)) } ?? "",
        found.status.map { ByteCount.describe($0.units.reduce(0) { $0 &+ $1.size }) } ?? "", found.maker)
    }
    Console.print(table.text)
  }
}

struct PruneCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "prune", abstract: "Remove what killed commands have left behind.",
    discussion: """
      Removes the subsystems and scratch files that a killed demo, stress or bench left behind: those that no \
      controller serves and whose maker is gone. It never removes a subsystem of 'baton create' or 'baton serve'; use \
      'baton destroy' for these.
      """)

  @Flag(help: "List what would be removed, and remove nothing.") var dryRun = false

  func run() throws {
    var removed = 0
    var failures = 0
    for found in try FoundSubsystem.all() where found.mark?.isHeld == false {
      if dryRun {
        Console.print("\(found.name), made by \(found.maker): would be removed")
        continue
      }
      do throws(BatonError) {
        if try found.prune() {
          removed += 1
          Console.print("\(found.name), made by \(found.maker): removed")
        }
      } catch {
        failures += 1
        Console.error("baton: \(found.name) stays: \(error)")
      }
    }
    if removed == 0, failures == 0, !dryRun { Console.print("nothing to remove in \(SubsystemLocation.home)") }
    if failures > 0 { throw ExitCode.failure }
  }
}

/// A subsystem in the home folder, in any state.
private struct FoundSubsystem {
  let name: String
  let subsystem: Subsystem
  /// Its own status; nil if it cannot be read.
  let status: SubsystemStatus?
  let problem: String?
  let mark: TemporaryMark?

  /// All of them, by name.
  static func all() throws(BatonError) -> [FoundSubsystem] {
    let home = SubsystemLocation.home
    guard let directory = opendir(home) else {
      // No subsystem has been created yet.
      if errno == ENOENT { return [] }
      throw BatonError(result: -Int(errno), home, doing: "reading the folder of the subsystems")
    }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      names.append(
        withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
    }
    return names.sorted().compactMap { FoundSubsystem($0) }
  }

  /// Nil if none has that name, or if it is another user's.
  private init?(_ name: String) {
    guard !name.hasPrefix("."), let subsystem = try? Subsystem(name) else { return nil }
    var facts = stat()
    guard lstat(subsystem.location.directory, &facts) == 0, facts.st_mode & S_IFMT == S_IFDIR,
      facts.st_uid == getuid()
    else { return nil }
    self.name = name
    self.subsystem = subsystem
    mark = TemporaryMark(in: subsystem.location.directory)
    // A folder with neither is something else.
    if mark == nil, subsystem.location.isKnownToHaveNoRegion { return nil }
    do throws(BatonError) {
      status = try subsystem.status()
      problem = nil
    } catch {
      status = nil
      problem = error.problem
    }
  }

  /// Which controllers serve.
  var state: String {
    guard let status else { return problem ?? "" }
    let running = status.controllers.filter(\.isRunning).map { "\($0.identity)" }
    return running.isEmpty
      ? "not running" : running.joined(separator: " and ") + (running.count == 1 ? " runs" : " run")
  }

  /// Its maker, if known.
  var maker: String {
    guard let mark else { return "a user" }
    return mark.maker + (mark.isHeld ? "" : ", which is gone")
  }

  var report: ListReport.Entry {
    ListReport.Entry(
      subsystem: name, directory: subsystem.location.directory,
      controllers: status?.controllers.map {
        .init(identity: "\($0.identity)", running: $0.isRunning, phase: $0.phase, pid: $0.pid)
      }, problem: problem,
      unitCount: status?.units.count, size: status?.units.reduce(0) { $0 &+ $1.size }, temporary: mark != nil,
      maker: mark?.maker, makerLives: mark?.isHeld)
  }

  /// Removes it if its maker is gone.
  ///
  /// - Returns: false if another process has done so meanwhile.
  /// - Throws: `.busy` while a controller runs.
  func prune() throws(BatonError) -> Bool {
    let folder = subsystem.location.directory
    guard let lock = TemporaryMark.take(in: folder) else { return false }
    defer { _ = lock }
    // Without a region it had already been half removed.
    if !subsystem.location.isKnownToHaveNoRegion { try subsystem.destroy() }
    if let scratch = mark?.scratch { ScratchDirectory.removeLeftOver(scratch) }
    TemporaryMark.remove(from: folder)
    return true
  }
}

/// The report of `list`, for programs.
private struct ListReport: Encodable {
  struct Controller: Encodable {
    let identity: String
    let running: Bool
    let phase: String
    let pid: UInt64
  }

  struct Entry: Encodable {
    let subsystem: String
    let directory: String
    /// Null, like the fields derived from it, if the region cannot be read, for the reason in `problem`.
    @OrNull var controllers: [Controller]?
    @OrNull var problem: String?
    @OrNull var unitCount: Int?
    @OrNull var size: UInt64?
    /// Whether a command created it for itself.
    let temporary: Bool
    @OrNull var maker: String?
    @OrNull var makerLives: Bool?
  }

  let home: String
  let subsystems: [Entry]
}
