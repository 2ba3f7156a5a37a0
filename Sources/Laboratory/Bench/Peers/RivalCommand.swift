import ArgumentParser
import Baton
import BatonCommandKit
import Glibc

/// Becomes another program, which ends when the process that started this one does: a bench that is killed leaves no
/// server behind.
struct RivalCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "bench-rival", shouldDisplay: false)

  @OptionGroup var parent: ParentOptions
  @Argument var words: [String]

  func run() throws {
    try parent.follow()
    guard let program = words.first else { throw ValidationError("which program?") }
    var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    pointers.append(nil)
    execvp(program, pointers)
    throw BatonError(result: -Int(errno), program, doing: "becoming it")
  }
}
