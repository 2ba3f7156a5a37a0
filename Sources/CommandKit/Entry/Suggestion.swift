/// The word that a user who mistyped one has probably meant.
package enum Suggestion {
  /// The nearest of the words, if it is near enough to be meant; nil: none is.
  package static func nearest(to word: String, among words: [String]) -> String? {
    let lowered = Array(word.lowercased())
    let measured = words.map { (word: $0, distance: distance(lowered, Array($0))) }
    guard let best = measured.min(by: { $0.distance < $1.distance }) else { return nil }
    // A prefix counts however much is missing; otherwise a third of the letters may be wrong.
    if let longer = words.first(where: { word.count >= 2 && $0.hasPrefix(word.lowercased()) }) { return longer }
    return best.distance <= max(1, best.word.count / 3) ? best.word : nil
  }

  /// The number of letters to add, remove, replace or swap with their neighbours to turn one word into the other
  /// (optimal string alignment).
  private static func distance(_ one: [Character], _ other: [Character]) -> Int {
    var rows = [Array(0...other.count)]
    for (i, letter) in one.enumerated() {
      var row = [i + 1]
      for (j, wanted) in other.enumerated() {
        var best = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (letter == wanted ? 0 : 1))
        if i > 0, j > 0, letter == other[j - 1], one[i - 1] == wanted { best = min(best, rows[i - 1][j - 1] + 1) }
        row.append(best)
      }
      rows.append(row)
    }
    return rows[one.count][other.count]
  }
}
