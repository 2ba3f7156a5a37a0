import Baton

/// The part of a unit that a workload uses.
package struct WorkloadTarget: Sendable {
  package let unit: UInt32
  /// Where the part begins in the unit, in bytes.
  package let offset: UInt64
  package let size: UInt64

  package init(unit: UInt32, offset: UInt64 = 0, size: UInt64) {
    self.unit = unit
    self.offset = offset
    self.size = size
  }
}

/// The load to put on the units: what is asked for, when, and for how long.
package struct WorkloadPlan: Sendable {
  package var pattern = AccessPattern.randrw
  package var readPercent = 50
  package var sizes = RequestSizes(4096)
  package var distribution = RandomDistribution.uniform
  package var depth = 32
  package var pacing = PacingPlan()
  package var latencyTarget: LatencyTarget?
  /// Before this time nothing is counted.
  package var rampNanoseconds: UInt64 = 0
  /// After the ramp.
  package var nanoseconds: UInt64 = 10_000_000_000
  package var requestsMax = UInt64.max
  package var path = PathChoice.both
  package var verifies = false
  package var targets: [WorkloadTarget] = []
  package var seed: UInt64 = 1
  /// Requests that are made again, in place of the pattern and the pacing.
  package var replay: ReplayPlan?
  /// Where what is submitted is logged.
  package var iolog: IologPlan?
  /// Nil: the sums are enough.
  package var recording: RecordingPlan?

  package init() {}

  /// Whether requests are due at times that do not depend on answers.
  package var isOpenLoop: Bool { pacing.isOpenLoop || replay != nil }
}

/// A log of what a workload submits.
package struct IologPlan: Sendable {
  package let path: String
  /// Of the targets, as the log has them.
  package let names: [String]

  package init(path: String, names: [String]) {
    self.path = path
    self.names = names
  }
}
