import CBatonShims

/// The version of this Baton.
package enum BuildVersion {
  package static let number = "0.1.0"

  /// The commit that it was built from, `-modified` if the tree differed from it; nil if the build did not set it, as
  /// `tools/release` does.
  package static var commit: String? {
    let commit = String(cString: shim_commit())
    return commit.isEmpty ? nil : commit
  }

  /// The text of `--version`.
  package static var description: String { commit.map { "\(number) (commit \($0))" } ?? number }
}
