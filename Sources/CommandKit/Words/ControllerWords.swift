import ArgumentParser
import Baton
import BatonController

extension ControllerIdentity: ExpressibleByArgument {
  /// From the command line's word.
  public init?(argument: String) { self.init(argument) }

  /// The accepted words, not the raw values.
  public static var allValueStrings: [String] { allCases.map { "\($0)" } }
}

extension StopOrder: ExpressibleByArgument {
  /// From the command line's word.
  package init?(argument: String) { self.init(parsing: argument) }
}
