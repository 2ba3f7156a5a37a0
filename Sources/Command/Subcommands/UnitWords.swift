import ArgumentParser
import Baton

/// The `--unit` options of a command line. The parser takes time with the square of the number of options, and a
/// subsystem can have thousands of units: all but the first option go past it.
enum UnitWords {
  /// This process's command line.
  static let line = separate(Array(CommandLine.arguments.dropFirst()))

  /// The words for the parser, and the units that it does not get, in their order.
  static func separate(_ words: [String]) -> (kept: [String], aside: [String]) {
    guard let command = words.first, ["create", "serve"].contains(command) else { return (words, []) }
    var kept: [String] = []
    var aside: [String] = []
    var hasFirst = false
    var index = 0
    while index < words.count {
      let word = words[index]
      if word == "--" { break }
      // The parser refuses an option without a value.
      let isPair = word == "--unit" && index + 1 < words.count && !words[index + 1].hasPrefix("-")
      let count = isPair ? 2 : 1
      if !isPair && !word.hasPrefix("--unit=") {
        kept.append(word)
      } else if hasFirst {
        aside.append(isPair ? words[index + 1] : String(word.dropFirst("--unit=".count)))
      } else {
        hasFirst = true
        kept += words[index..<index + count]
      }
      index += count
    }
    return (kept + words[index...], aside)
  }

  /// Runs `body`, whose invalid arguments are errors of the command line.
  static func asUsage<Result>(_ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch let error as BatonError where error.code == .invalid {
      throw ValidationError("\(error)")
    }
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
