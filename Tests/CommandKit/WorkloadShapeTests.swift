import BatonCommandKit
import Testing

@Suite("Workloads: what is asked for, and when")
struct WorkloadShapeTests {
  @Test("bssplit: shares as given, what is left among the others, and a grain that divides all sizes")
  func split() throws {
    let sizes = try #require(RequestSizes(split: "4k/60:64k/30:6k"))
    #expect(sizes.min == 4096 && sizes.max == 65536 && sizes.grain == 2048)
    var random = SplitMix64(seed: 1)
    var counts: [Int: Int] = [:]
    for _ in 0..<10_000 { counts[sizes.next(&random) * sizes.grain, default: 0] += 1 }
    #expect(Set(counts.keys) == [4096, 6144, 65536])
    #expect(abs((counts[4096] ?? 0) - 6000) < 200)
    #expect(abs((counts[65536] ?? 0) - 3000) < 200)
    // Shares without a number: 33, 33 and 34 of 100.
    let thirds = try #require(RequestSizes(split: "512:1k:1536"))
    counts = [:]
    for _ in 0..<10_000 { counts[thirds.next(&random) * thirds.grain, default: 0] += 1 }
    #expect(counts.values.allSatisfy { abs($0 - 3333) < 250 })
    for wrong in ["", "4k/50", "4k/60:8k/60", "4k/x:8k", "4k/50/50", "0/100", "4k/-1:8k"] {
      #expect(RequestSizes(split: wrong) == nil, "\(wrong)")
    }
  }

  @Test("bsrange: multiples of the smallest size up to the largest, each as often")
  func range() throws {
    let sizes = try #require(RequestSizes(range: "4k-18k"))
    #expect(sizes.min == 4096 && sizes.max == 16384 && sizes.grain == 4096)
    var random = SplitMix64(seed: 2)
    var counts = [0, 0, 0, 0, 0]
    for _ in 0..<8000 { counts[sizes.next(&random)] += 1 }
    #expect(counts[0] == 0 && counts[1...].allSatisfy { abs($0 - 2000) < 200 })
    for wrong in ["4k", "8k-4k", "0-4k", "4k-", "4k-8k-16k"] { #expect(RequestSizes(range: wrong) == nil, "\(wrong)") }
  }

  /// How often each of so many blocks was drawn.
  private func draw(_ word: String, blocks: Int, times: Int) throws -> [Int] {
    var random = SplitMix64(seed: 3)
    var chooser = BlockChooser(try #require(RandomDistribution(parsing: word)), count: UInt64(blocks))
    var counts = [Int](repeating: 0, count: blocks)
    for _ in 0..<times { counts[Int(chooser.next(&random))] += 1 }
    return counts
  }

  @Test("zipf: the block of rank k is drawn in proportion to 1 / k^theta", arguments: [0.5, 1, 1.2, 2.5])
  func zipf(theta: Double) throws {
    let blocks = 1000
    let times = 200_000
    let counts = try draw("zipf:\(theta)", blocks: blocks, times: times).sorted(by: >)
    var weights: [Double] = []
    for rank in 1...blocks {
      var power = 1.0
      // k^-theta without the function that the code under test uses: theta is a multiple of a tenth.
      let root = tenthRoot(Double(rank))
      for _ in 0..<Int((theta * 10).rounded()) { power /= root }
      weights.append(power)
    }
    let sum = weights.reduce(0, +)
    for rank in [0, 1, 2, 4, 9] {
      let expected = Double(times) * weights[rank] / sum
      #expect(abs(Double(counts[rank]) - expected) < 5 * expected.squareRoot() + 0.01 * expected, "rank \(rank + 1)")
    }
  }

  private func tenthRoot(_ value: Double) -> Double {
    var (low, high) = (1.0, max(value, 1))
    for _ in 0..<200 {
      let middle = (low + high) / 2
      if (0..<10).reduce(1.0, { power, _ in power * middle }) < value { low = middle } else { high = middle }
    }
    return low
  }

  @Test("pareto: of 0.2, a fifth of the blocks gets four fifths of the requests")
  func pareto() throws {
    let counts = try draw("pareto:0.2", blocks: 1000, times: 100_000).sorted(by: >)
    #expect(abs(counts[..<200].reduce(0, +) - 80_000) < 1500)
    // The same again within those.
    #expect(abs(counts[..<40].reduce(0, +) - 64_000) < 1500)
  }

  @Test("Popular blocks do not lie next to each other, and no block is out of reach", arguments: [1, 2, 7, 1000])
  func scatter(blocks: Int) throws {
    let counts = try draw("zipf:0.2", blocks: blocks, times: blocks * 100)
    #expect(counts.allSatisfy { $0 > 0 })
    guard blocks > 100 else { return }
    let popular = counts.indices.sorted { counts[$0] > counts[$1] }
    #expect(abs(popular[0] - popular[1]) > 1)
  }

  @Test("Words that are no distribution", arguments: ["", "zip", "zipf:", "zipf:0", "zipf:-1", "pareto:1", "random:2"])
  func notDistributions(word: String) { #expect(RandomDistribution(parsing: word) == nil) }

  @Test("rate_iops: due times depend on the rate alone, whatever the answers do")
  func openLoop() {
    var plan = PacingPlan()
    plan.requestsPerSecond = 3000
    var pacing = Pacing(plan, seed: 1, start: 1000)
    for number in 0..<3000 {
      // Very late, and with everything outstanding.
      let due = pacing.due(at: 99_000_000_000, outstanding: 4000)
      #expect(due == 1000 + UInt64(Double(number) * 1e9 / 3000) || due == 999 + UInt64(Double(number) * 1e9 / 3000))
      pacing.submitted(bytes: 4096)
    }
  }

  @Test("rate: a large request is followed by a longer distance; with both, the lower rate holds")
  func byteRate() {
    var plan = PacingPlan()
    plan.bytesPerSecond = 1_000_000
    var pacing = Pacing(plan, seed: 1, start: 0)
    pacing.submitted(bytes: 1000)
    #expect(pacing.due(at: 0, outstanding: 0) == 1_000_000)
    pacing.submitted(bytes: 10_000)
    #expect(pacing.due(at: 0, outstanding: 0) == 11_000_000)
    plan.requestsPerSecond = 100
    var both = Pacing(plan, seed: 1, start: 0)
    both.submitted(bytes: 1000)
    #expect(both.due(at: 0, outstanding: 0) == 10_000_000)
  }

  @Test("poisson: the mean distance is that of the rate, and as large as its deviation")
  func poisson() {
    var plan = PacingPlan()
    plan.requestsPerSecond = 1000
    plan.arrivals = .poisson
    var pacing = Pacing(plan, seed: 5, start: 0)
    var distances: [Double] = []
    var last: UInt64 = 0
    for _ in 0..<20_000 {
      let due = pacing.due(at: 0, outstanding: 0) ?? 0
      distances.append(Double(due - last))
      last = due
      pacing.submitted(bytes: 512)
    }
    let mean = distances.reduce(0, +) / Double(distances.count)
    let deviation = (distances.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(distances.count)).squareRoot()
    #expect(abs(mean - 1e6) < 3e4 && abs(deviation - 1e6) < 4e4)
  }

  @Test("thinktime: after so many requests and their answers, a pause; nothing is due before")
  func think() {
    var plan = PacingPlan()
    plan.thinkNanoseconds = 500
    plan.thinkRequests = 2
    var pacing = Pacing(plan, seed: 1, start: 0)
    #expect(pacing.due(at: 10, outstanding: 0) == 10)
    pacing.submitted(bytes: 512)
    #expect(pacing.due(at: 20, outstanding: 1) == 20)
    pacing.submitted(bytes: 512)
    #expect(pacing.due(at: 30, outstanding: 2) == nil)
    #expect(pacing.due(at: 40, outstanding: 1) == nil)
    #expect(pacing.due(at: 50, outstanding: 0) == 550)
    #expect(pacing.due(at: 60, outstanding: 0) == 550)
    #expect(pacing.due(at: 600, outstanding: 0) == 600)
  }

  /// Searches where a depth meets the target up to `capacity`.
  private func search(capacity: Int, depthMax: Int) -> (result: LatencyTargetResult, windows: Int) {
    var target = LatencyTarget(nanoseconds: 1000)
    target.percentile = 90
    target.windowNanoseconds = 100
    var search = DepthSearch(target, depthMax: depthMax, start: 0)
    var now: UInt64 = 0
    var windows = 0
    while !search.isComplete, windows < 100 {
      // Nine of ten are within the bound while the depth has room, then eight of ten.
      for index in 0..<10 {
        let isWithin = index < (search.depth <= capacity ? 9 : 8)
        search.record(submittedAt: now, latency: isWithin ? 1000 : 1001)
      }
      now += 100
      search.look(at: now)
      windows += 1
    }
    return (search.result, windows)
  }

  @Test("latency_target: the greatest depth that meets it is found, in few windows", arguments: [0, 1, 2, 3, 19, 64])
  func latencyTarget(capacity: Int) {
    let found = search(capacity: capacity, depthMax: 64)
    #expect(found.result.depth == capacity && found.result.isComplete)
    #expect(found.windows <= 13)
    #expect(capacity == 0 || found.result.percentWithin == 90)
  }

  @Test("latency_target: answers of the window before do not count")
  func latencyTargetWindow() {
    var target = LatencyTarget(nanoseconds: 1000)
    target.windowNanoseconds = 100
    var search = DepthSearch(target, depthMax: 8, start: 50)
    search.record(submittedAt: 49, latency: 5000)
    search.look(at: 200)
    #expect(search.depth == 1 && !search.isComplete, "a window without answers goes on")
    search.record(submittedAt: 60, latency: 500)
    search.look(at: 210)
    #expect(search.depth == 2)
  }
}
