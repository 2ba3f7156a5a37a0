/// Peers as things of an interleaved comparison, numbered after the comparison's own.
struct PeerThings {
  private var bench: PeerBench
  private let peers: [Peer]
  private let first: Int
  /// The goals relative to some of them.
  private let goals: [Peer: Double]
  /// A rate is the comparison's figure, not a time.
  private let isRate: Bool

  /// `first` is the number of things before them.
  init(_ bench: PeerBench, after first: Int, goals: [Peer: Double] = [:], isRate: Bool = false) {
    self.bench = bench
    peers = bench.running
    self.first = first
    self.goals = goals
    self.isRate = isRate
  }

  /// Things of the whole comparison.
  var count: Int { first + peers.count }

  /// Whether that thing is one of them.
  func contains(_ thing: Int) -> Bool { thing >= first }

  /// Measures one for a round. One that has failed gives no figure, and is named as not run in the end.
  mutating func measure(_ thing: Int) -> Double {
    guard let nanoseconds = bench.run(peers[thing - first]) else { return .nan }
    return isRate ? 1e9 / nanoseconds : nanoseconds
  }

  /// All of them for a row, run or not.
  var rivals: [Interleaved.Rival] {
    bench.peers.map { peer in
      if let reason = bench.reasonNotRun(peer) { return .notRun(peer.name, because: reason) }
      guard let index = peers.firstIndex(of: peer) else { return .notRun(peer.name, because: "not measured") }
      return .thing(peer.name, first + index, goal: goals[peer])
    }
  }
}
