/// The commands that `baton` lists and its laboratory, another executable, carries out. Both have their names and their
/// abstracts from here.
package enum LaboratoryCommand: String, CaseIterable {
  case bench, stress, compare

  /// The executable.
  package static let program = "baton-lab"

  /// Its line in `--help`.
  package var abstract: String {
    switch self {
    case .bench: "Measure Baton, compared with its floors and peers in the same run."
    case .stress: "Kill and freeze controllers under load, and check every answer."
    case .compare: "Compare two reports in JSON, with a verdict on each figure."
    }
  }
}
