import ArgumentParser
import Baton

struct CreateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Make a subsystem.",
    discussion: """
      A unit is a file or block device PATH[:SIZE] (with SIZE, a file that is not there yet is made), mem:SIZE \
      (shared memory) or null:SIZE. fault:RULES: before any of these makes it fail on purpose; RULES are \
      comma-separated: delay=5ms, error-after=N, error-every=N, short=BYTES. as:NAME: before all of it gives the unit \
      a name, by which NBD clients find it.
      """)

  @Argument(help: "The subsystem's name, or the path of its folder.") var name: String
  @Option(help: ArgumentHelp("A unit; give one option for each.", valueName: "unit")) var unit: [String]
  @Flag(help: "Go through the page cache, not O_DIRECT.") var buffered = false

  func run() throws {
    let subsystem = try Subsystem.create(name, units: UnitSpecification.list(unit, isBuffered: buffered))
    let status = try subsystem.status()
    Console.print("subsystem '\(name)' in \(subsystem.location.directory)")
    Console.print(StatusCommand.unitTable(status))
  }
}

extension UnitSpecification {
  /// From a command line's words.
  static func list(_ words: [String], isBuffered: Bool) throws(BatonError) -> [UnitSpecification] {
    var specifications: [UnitSpecification] = []
    for word in words {
      var specification = try UnitSpecification(parsing: word)
      specification.isBuffered = isBuffered
      specifications.append(specification)
    }
    return specifications
  }
}
