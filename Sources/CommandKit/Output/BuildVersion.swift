import CBatonShims

/// The version of this Baton.
package enum BuildVersion {
  package static let number = "0.1.0"

  /// The commit that it was built from, `-modified` where the tree differed from it; nil where the build did not say.
  /// `tools/release` says it.
  package static var commit: String? {
    let commit = String(cString: baton_commit())
    return commit.isEmpty ? nil : commit
  }

  /// The text of `--version`.
  package static var description: String { commit.map { "\(number) (commit \($0))" } ?? number }
}
