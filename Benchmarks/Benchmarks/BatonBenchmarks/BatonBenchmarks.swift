import Baton
import Benchmark

/// Counted by this package, for a thousand requests or turns; `Thresholds` holds what is allowed.
let allocations = BenchmarkMetric.custom("allocations")
/// The library's own metric of context switches does not exist on Linux.
let voluntarySwitches = BenchmarkMetric.custom("voluntarySwitches")

/// Makes a benchmark of a thousand pieces of work an iteration on a rig. The library finds a benchmark's thresholds
/// only when there is no space in its name.
func measure(
  _ name: String, unit: String, hosts: Int = 1, _ work: @escaping (inout Parts, Int) throws -> Void
) {
  var rig: Rig?
  Benchmark(name) { benchmark in
    guard let rig else { throw BatonError(.system, "benchmark", "has no rig") }
    var counts = Counts()
    try rig.run { parts in
      benchmark.startMeasurement()
      let before = Counts.now
      try work(&parts, benchmark.scaledIterations.count)
      counts = Counts.now - before
      benchmark.stopMeasurement()
    }
    benchmark.measurement(allocations, counts.allocations)
    benchmark.measurement(voluntarySwitches, counts.voluntarySwitches)
  } setup: {
    rig = try Rig(unit: unit, hosts: hosts)
  } teardown: {
    try rig?.destroy()
    rig = nil
  }
}

let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(
    // Times are shown and have no threshold: they depend on the machine. Instructions only where the CPU counts them.
    metrics: [.wallClock, .throughput, .instructions, allocations, voluntarySwitches],
    warmupIterations: 10, scalingFactor: .kilo, maxDuration: .seconds(1), maxIterations: 1000,
    thresholds: [allocations: .init(absolute: [.p90: 0]), voluntarySwitches: .init(absolute: [.p90: 0])])

  let read = Request(.read, unit: 0, offset: 4096, length: 4096)
  let write = Request(.write, unit: 0, offset: 4096, length: 4096, buffer: 0)

  for depth in [1, 32, 64] {
    measure("null-request-depth-\(depth)", unit: "null:1G") { parts, count in
      try parts.perform(read, count: count, depth: depth)
    }
  }
  measure("null-request-depth-32-of-64-hosts", unit: "null:1G", hosts: 64) { parts, count in
    try parts.perform(read, count: count, depth: 32)
  }
  measure("null-request-moving-ownership", unit: "null:1G") { parts, count in
    try parts.alternate(read, count: count)
  }
  measure("memory-read-4k-depth-32", unit: "mem:1M") { parts, count in
    try parts.perform(read, count: count, depth: 32)
  }
  measure("memory-write-4k-depth-32", unit: "mem:1M") { parts, count in
    try parts.perform(write, count: count, depth: 32)
  }
  measure("idle-turn-64-hosts", unit: "null:1G", hosts: 64) { parts, count in parts.idle(turns: count) }
  // Its threshold is what it allocates, so that a counter that sees nothing deviates from it like one that sees more.
  measure("control-one-allocation", unit: "null:1G") { _, count in
    for number in 0..<count { blackHole([UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 100)) }
  }
}
