extension Bench {
  /// The arbiter's transitions between two spinning processes: ownership of one function, which both want always.
  ///
  /// Both processes are pinned to a CPU each. Floor: a blind compare-and-swap on one word, which is what any handoff of
  /// an owned word comes to. Compared with that: a load and a store, which need no owner; two words, one each way;
  /// and what one would use instead, a robust mutex that both processes spin for.
  mutating func handoff() throws {
    let turns = turns
    let phases: [BenchPhase] = [.compareAndSwap, .arbiter, .loadStore, .loadStorePausing, .twoLines]
    var partner = try partner()
    progress.begin("handoff: trying the peers")
    // A mutex that spins takes eight times as long and more: a tenth of the turns is time enough.
    var peers = PeerThings(
      PeerBench([.mutexSpinning], .handOver, turns: max(turns / 10, 1), cpus: cpus), after: phases.count,
      goals: spinningGoals([.mutexSpinning: 1.0 / 8]))
    let measured = try pinned {
      try interleaved("handoff: ownership of one function, back and forth", things: peers.count, control: 0) {
        thing, _ in
        if peers.contains(thing) {
          try partner.rest()
          return peers.measure(thing)
        }
        return try partner.roundTrip(phases[thing], turns: turns)
      }
    }
    let floor = "compare-and-swap ping-pong"
    report.append(
      measured.row(
        .handoff, "ownership, a to b to a", metric: "round trip", unit: "ns", ours: 1, floor: (floor, 0),
        peers: [
          .thing("load-and-store ping-pong", 2), .thing("load-and-store ping-pong, with PAUSE", 3),
          .thing("two-line ping-pong", 4),
        ] + peers.rivals, goal: spinningGoal(1.25), waiting: .spinning))
    report.append(
      measured.controlRow(.handoff, of: floor, metric: "round trip", unit: "ns", waiting: .spinning))
  }
}
