import Testing

@Suite("Explorer: two controllers, one word, every interleaving")
struct ExplorerTests {
  @Test("No interleaving of loads and compare-and-swaps breaks an invariant")
  func everyInterleaving() {
    var explorer = Explorer(defect: .none, termMax: 6)
    explorer.run()
    #expect(explorer.violations == [])
    // That it has been somewhere: thousands of states, and swaps that were lost to the other.
    #expect(explorer.statesVisited > 1000)
    #expect(explorer.swapsLost > 100)
  }

  @Test("No death in the middle of a step, no takeover and no new life breaks one")
  func everyDeath() {
    var explorer = Explorer(defect: .none, termMax: 5, deaths: 2)
    explorer.run()
    #expect(explorer.violations == [])
    #expect(explorer.statesVisited > 5000)
  }

  @Test(
    "A planted defect is found",
    arguments: [
      Explorer.Defect.grantIsStore, .claimIsStore, .requestIsStore, .grantKeepsTerm, .takesOverFromLiving,
      .dismissesLiving,
    ])
  func plantedDefect(defect: Explorer.Defect) {
    var explorer = Explorer(defect: defect, termMax: 6)
    explorer.run()
    #expect(explorer.violations != [], "\(defect) was not seen in \(explorer.statesVisited) states")
  }
}
