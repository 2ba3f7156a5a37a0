import Baton

/// A request that a workload has decided on: grains of all targets, numbered in a row.
struct WantedRequest {
  let isRead: Bool
  let grain: Int
  let grains: Int
}

/// What is asked for: reads or writes, of which size, and where. Makes the requests up, one after the other.
struct RequestMix {
  private let pattern: AccessPattern
  private let readPercent: Int
  private let sizes: RequestSizes
  private var random: SplitMix64
  private var chooser: BlockChooser
  private var cursor = 0

  init(_ plan: WorkloadPlan, grains: Int) {
    pattern = plan.pattern
    readPercent = plan.readPercent
    sizes = plan.sizes
    random = SplitMix64(seed: plan.seed)
    chooser = BlockChooser(plan.distribution, count: UInt64(max(grains, 1)))
  }

  /// The next one that `isFree` accepts; nil if none is found at once.
  mutating func next(_ targets: TargetGrains, where isFree: (_ grain: Int, _ grains: Int) -> Bool) -> WantedRequest? {
    for _ in 0..<64 {
      let grains = sizes.next(&random)
      let grain: Int
      if pattern.isRandom {
        grain = targets.fit(Int(chooser.next(&random)), grains)
      } else {
        // Where it does not fit, the rest of the target is left out.
        let end = targets.end(of: cursor)
        if cursor + grains > end { cursor = end < targets.total ? end : 0 }
        grain = cursor
        cursor += grains
        if cursor >= targets.total { cursor = 0 }
      }
      if isFree(grain, grains) {
        return WantedRequest(isRead: pattern.reads(&random, percent: readPercent), grain: grain, grains: grains)
      }
    }
    return nil
  }
}

/// The targets of a workload as one row of grains.
struct TargetGrains {
  private let targets: [WorkloadTarget]
  /// The first grain of each target, and the end of the last.
  private let starts: [Int]
  let grainSize: Int

  init(_ targets: [WorkloadTarget], grainSize: Int) {
    self.targets = targets
    self.grainSize = grainSize
    var starts = [0]
    for target in targets { starts.append(starts[starts.count - 1] + Int(target.size / UInt64(grainSize))) }
    self.starts = starts
  }

  var total: Int { starts[starts.count - 1] }

  func target(of grain: Int) -> Int {
    var target = 0
    while target + 2 < starts.count, grain >= starts[target + 1] { target += 1 }
    return target
  }

  /// Behind the last grain of the target that holds this one.
  func end(of grain: Int) -> Int { starts[target(of: grain) + 1] }

  /// The grain itself, or the last place in its target where so many grains have room.
  func fit(_ grain: Int, _ grains: Int) -> Int { grains == 1 ? grain : min(grain, end(of: grain) - grains) }

  /// A grain of a target.
  func grain(_ grain: Int, of target: Int) -> Int { starts[target] + grain }

  /// Its unit, and its number there, counted from the start of the unit.
  func place(of grain: Int) -> (unit: UInt32, block: UInt64) {
    let target = target(of: grain)
    return (
      targets[target].unit, targets[target].offset / UInt64(grainSize) + UInt64(grain - starts[target])
    )
  }
}
