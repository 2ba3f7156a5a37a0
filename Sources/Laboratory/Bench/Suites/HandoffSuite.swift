extension Bench {
  /// The arbiter's transitions between two spinning processes: ownership of one function, which both want always.
  ///
  /// Both processes are pinned to a CPU each. Floor: a look at one word and a compare-and-swap, because a controller
  /// looks and decides before it swaps. Compared with that: the same with the line prefetched for writing before the
  /// look; a blind compare-and-swap, which decides nothing; a load and a store, which need no owner; two words, one for
  /// each way; and what one would use instead, a robust mutex that both processes spin for.
  mutating func handoff() throws {
    let turns = turns
    let phases: [BenchPhase] = [
      .lookThenSwap, .arbiter, .lookForWritingThenSwap, .compareAndSwap, .loadStore, .loadStorePausing, .twoLines,
    ]
    var partner = try partner()
    progress.begin("handoff: trying the peers")
    // A mutex that spins takes eight times as long and more: a tenth of the turns is time enough.
    var peers = PeerThings(
      PeerBench([.mutexSpinning], .handOver, turns: max(turns / 10, 1), cpus: cpus), after: phases.count,
      goals: spinningGoals([.mutexSpinning: 0.5]))
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
    let floor = "look, then compare-and-swap"
    report.append(
      measured.row(
        .handoff, "ownership, a to b to a", metric: "round trip", unit: "ns", ours: 1, floor: (floor, 0),
        peers: [
          .thing("look for writing, then compare-and-swap", 2), .thing("blind compare-and-swap", 3),
          .thing("load-and-store ping-pong", 4), .thing("load-and-store ping-pong, with PAUSE", 5),
          .thing("two-line ping-pong", 6),
        ] + peers.rivals, goal: spinningGoal(1.25), waiting: .spinning))
    report.append(
      measured.controlRow(.handoff, of: floor, metric: "round trip", unit: "ns", waiting: .spinning))
  }
}
