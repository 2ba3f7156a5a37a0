import ArgumentParser
import Baton
import BatonCommandKit
import Glibc

/// The way to the laboratory, the executable that measures and stresses: it lies in the folder of this one. This
/// process becomes it, with the same command line, so that its number, its group and its exit status are the same.
enum LaboratoryDoor {
  /// Becomes the laboratory if the command line names one of its commands, or asks for help on one: it knows their
  /// options are, it knows.
  static func passIfNamed() throws(BatonError) {
    let words = CommandLine.arguments.dropFirst()
    let named = words.first == "help" ? words.dropFirst().first : words.first
    if named.flatMap({ LaboratoryCommand(rawValue: $0) }) != nil { throw pass() }
  }

  /// Becomes it.
  ///
  /// - Returns: why that failed, where it has.
  static func pass() -> BatonError {
    let path = BatonProgram.pathBeside(LaboratoryCommand.program)
    var words: [UnsafeMutablePointer<CChar>?] = CommandLine.arguments.map { strdup($0) }
    words.append(nil)
    defer { for word in words { free(word) } }
    execv(path, words)
    let failure = errno
    let commands = LaboratoryCommand.allCases.map(\.rawValue).joined(separator: " and ")
    return BatonError(
      result: -Int(failure), path, doing: "starting the executable that carries out \(commands)",
      fix: "put \(LaboratoryCommand.program), which 'tools/release' builds, into the folder of baton")
  }
}

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: LaboratoryCommand.bench.rawValue, abstract: LaboratoryCommand.bench.abstract)

  @Argument(parsing: .captureForPassthrough, help: .hidden) var words: [String] = []

  func run() throws { throw LaboratoryDoor.pass() }
}

struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: LaboratoryCommand.compare.rawValue, abstract: LaboratoryCommand.compare.abstract)

  @Argument(parsing: .captureForPassthrough, help: .hidden) var words: [String] = []

  func run() throws { throw LaboratoryDoor.pass() }
}

struct StressCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: LaboratoryCommand.stress.rawValue, abstract: LaboratoryCommand.stress.abstract)

  @Argument(parsing: .captureForPassthrough, help: .hidden) var words: [String] = []

  func run() throws { throw LaboratoryDoor.pass() }
}
