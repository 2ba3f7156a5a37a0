import ArgumentParser
import Baton
import BatonCommandKit

struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: LaboratoryCommand.compare.rawValue, abstract: LaboratoryCommand.compare.abstract,
    discussion: """
      B is judged relative to A: better or worse if the 99 % interval of their ratio, by ranks over the rounds, lies \
      on one side of 1 and beyond what the controls show as noise; otherwise undecided.
      """)

  @Argument(help: ArgumentHelp("Report of 'bench' or 'run' in JSON.", valueName: "a.json")) var a: String
  @Argument(help: ArgumentHelp("Report to judge relative to it.", valueName: "b.json")) var b: String
  @Option(help: ArgumentHelp("Write JSON to this file, - for standard output.", valueName: "file")) var json: String?

  func run() throws {
    if let json { try OutputFile.check(json) }
    let comparison = try Comparison(ComparedReport(at: a), named: a, ComparedReport(at: b), named: b)
    if let json { try JSONReport.write(comparison, of: "compare", ["a": .string(a), "b": .string(b)], to: json) }
    if json != "-" { Console.print(comparison.text) }
  }
}
