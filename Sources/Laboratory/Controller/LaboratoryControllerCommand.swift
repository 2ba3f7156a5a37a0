import ArgumentParser
import Baton
import BatonCommandKit
import BatonController

/// A controller as `baton controller` runs it, but with a planted mistake, or without the part to be measured. The
/// executable that users run offers neither.
struct LaboratoryControllerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "controller", shouldDisplay: false)

  @OptionGroup var controller: ForegroundController
  @Option var defect: PlantedDefect?
  @Flag var withoutJournal = false

  func run() throws {
    try controller.run { options in
      options.defect = defect
      options.keepsJournal = !withoutJournal
    }
  }
}

extension PlantedDefect: ExpressibleByArgument {
  /// From the command line's word.
  package init?(argument: String) { self.init(rawValue: argument) }
}
