import ArgumentParser
import Baton
import BatonCommandKit

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show the owner of each function, and the controllers' counters.")

  @Argument(help: "The subsystem's name, or the path of its folder.") var name: String
  @Option(help: ArgumentHelp("Write JSON to this file, - for standard output.", valueName: "file")) var json: String?
  @Option(
    help: ArgumentHelp("Repeat at this interval, such as 1s, until interrupted.", valueName: "time"),
    transform: RunTime.seconds(parsing:))
  var interval: Double?
  @Option(help: "Number of repetitions with --interval (default: until interrupted).") var count: Int?
  @Flag(help: "Show every unit, not just the first 32.") var all = false

  private static let unitsShown = 32

  func validate() throws {
    if let interval, !(interval >= 0.01 && interval <= 1e6) { throw ValidationError("--interval takes 10ms or more") }
    if let count, count < 1 || interval == nil { throw ValidationError("--count takes 1 or more, with --interval") }
  }

  func run() throws {
    guard let interval else { return try show() }
    let interruption = try Interruption()
    for repetition in 0..<(count ?? .max) {
      if repetition > 0 {
        interruption.wait(orProcess: -1, milliseconds: CInt(min(interval * 1000, 1e9)))
        if interruption.take() != 0 { return }
        if json != "-" { Console.print() }
      }
      if json != "-" { Console.print(JSONReport.now) }
      try show()
    }
  }

  private func show() throws {
    let status = try Subsystem(name).status()
    if let json {
      try JSONReport.write(StatusReport(status), of: "status", ["subsystem": .string(name)], to: json)
      if json == "-" { return }
    }
    let units = status.units.count
    Console.print(
      "subsystem '\(status.name)': \(Figure.count(UInt64(units))) \(units == 1 ? "unit" : "units"), "
        + "\(Figure.count(status.terms)) changes of owner")
    Console.print()
    Console.print(ControllerTable.text(status))
    Console.print()
    Console.print(Self.unitTable(status, most: all ? Int.max : Self.unitsShown))
  }

  /// Units with their owners, management first.
  static func unitTable(_ status: SubsystemStatus, most: Int = unitsShown) -> String {
    var table = Table("function", "owner", "requested", "term", "state", "size", "block", "backing")
    for function in status.functions.prefix(most == Int.max ? most : most + 1) {
      let owner = function.owner.map { "\($0)" } ?? "nobody"
      let requested = function.isRequested ? "by \(function.owner.map { "\($0.peer)" } ?? "?")" : ""
      if let number = function.unit {
        let unit = status.units[number]
        table.add(
          unit.name.isEmpty ? function.name : "\(function.name), \(unit.name)", owner, requested,
          Figure.count(function.term), "\(unit.state)", ByteCount.describe(unit.size),
          "\(unit.blockSize)", unit.path.isEmpty ? unit.kind : "\(unit.path)\(unit.isDirect ? " (O_DIRECT)" : "")")
      } else {
        table.add(function.name, owner, requested, Figure.count(function.term))
      }
    }
    let rest = status.functions.count - 1 - most
    return table.text + (rest > 0 ? "\n… and \(rest) more units (--all)" : "")
  }
}

/// The same for programs.
struct StatusReport: Encodable {
  struct ControllerReport: Encodable {
    let identity: String
    let running: Bool
    let phase: String
    let standing: String
    let takeover: String
    let incarnation: UInt64
    let pid: UInt64
    let parked: Bool
    @OrNull var wait: String?
    @OrNull var secondsSinceTurn: Double?
    let counters: [String: UInt64]
  }

  struct FunctionReport: Encodable {
    let function: String
    @OrNull var owner: String?
    let requested: Bool
    let term: UInt64
  }

  struct UnitReport: Encodable {
    let unit: Int
    let name: String
    let backing: String
    let path: String
    let size: UInt64
    let blockSize: UInt64
    let direct: Bool
    let state: String
  }

  let subsystem: String
  /// The generation of the subsystem: all 64 bits of it, which a number in JSON would not keep.
  let generation: String
  let changesOfOwner: UInt64
  let controllers: [ControllerReport]
  let functions: [FunctionReport]
  let units: [UnitReport]

  init(_ status: SubsystemStatus) {
    subsystem = status.name
    generation = "\(status.generation)"
    changesOfOwner = status.terms
    controllers = status.controllers.map { controller in
      ControllerReport(
        identity: "\(controller.identity)", running: controller.isRunning, phase: controller.phase,
        standing: controller.standing, takeover: controller.takeover, incarnation: controller.incarnation,
        pid: controller.pid, parked: controller.isParked,
        wait: controller.waiting?.name,
        secondsSinceTurn: controller.nanosecondsSinceTurn.map { Double($0) / 1e9 },
        counters: Dictionary(uniqueKeysWithValues: Counter.allCases.map { ($0.name, controller[$0]) }))
    }
    functions = status.functions.map {
      FunctionReport(function: $0.name, owner: $0.owner.map { "\($0)" }, requested: $0.isRequested, term: $0.term)
    }
    units = status.units.map {
      UnitReport(
        unit: $0.unit, name: $0.name, backing: $0.kind, path: $0.path, size: $0.size, blockSize: $0.blockSize,
        direct: $0.isDirect,
        state: "\($0.state)")
    }
  }
}
