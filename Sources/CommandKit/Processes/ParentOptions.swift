import ArgumentParser
import Baton
import BatonSystem
import CBatonShims
import Glibc

/// The process that a command does not outlive, for those that this program starts itself.
package struct ParentOptions: ParsableArguments {
  @Option(help: .hidden) package var withParent: Int32?

  package static let option = "--with-parent"

  package init() {}

  /// From here on SIGTERM comes when the parent dies (PR_SET_PDEATHSIG, prctl(2)). A parent that had died before is not
  /// reported: the command ends here then.
  package func follow() throws {
    guard let withParent else { return }
    try check(shim_die_with_parent(), "process \(withParent)", doing: "asking to end with it")
    if getppid() != withParent { throw ExitCode.success }
  }
}
