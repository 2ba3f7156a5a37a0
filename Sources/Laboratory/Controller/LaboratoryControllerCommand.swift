import ArgumentParser
import Baton
import BatonCommandKit
import BatonController

/// A controller as `baton controller` runs it, but with a mistake made on purpose, or without what is to be measured:
/// neither can be had from the executable that users run.
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
