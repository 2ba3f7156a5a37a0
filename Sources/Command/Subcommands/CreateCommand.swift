import ArgumentParser
import Baton
import BatonCommandKit
import BatonSystem

struct CreateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Create a subsystem.",
    discussion: """
      A unit is a file or block device PATH[:SIZE] (with SIZE, a file that does not exist yet is created), mem:SIZE \
      (shared memory) or null:SIZE. fault:RULES: before any of these makes it fail on purpose; RULES are \
      comma-separated: delay=5ms, error-after=N, error-every=N, short=BYTES. as:NAME: before all that gives the unit \
      a name, by which NBD clients find it.
      """)

  @Argument(help: "The subsystem's name, or the path of its folder.") var name: String
  @Option(help: ArgumentHelp("Unit of the subsystem; repeat the option for each.", valueName: "unit"))
  var unit: [String]
  @Flag(help: "Go through the page cache, not O_DIRECT.") var buffered = false

  func run() throws {
    let (specifications, subsystem) = try UnitWords.asUsage {
      let units = try UnitSpecification.list(unit + UnitWords.line.aside, isBuffered: buffered)
      return (units, try Subsystem.create(name, units: units))
    }
    let status = try subsystem.status()
    for (specification, unit) in zip(specifications, status.units) {
      let wanted = specification.size ?? FileFacts(path: unit.path)?.size ?? 0
      if wanted > unit.size {
        Console.error("baton: unit \(unit.unit): \(unit.size) of \(wanted) bytes, in whole blocks of \(unit.blockSize)")
      }
    }
    Console.print("subsystem '\(name)' in \(subsystem.location.directory)")
    Console.print(StatusCommand.unitTable(status))
  }
}
