import Baton
import BatonSystem

/// The answered requests of one direction.
package struct WorkloadSide: Sendable {
  package var requests: UInt64 = 0
  package var bytes: UInt64 = 0
  package var latencies = Latencies()

  package init() {}

  mutating func record(_ latency: UInt64, bytes: UInt64) {
    requests += 1
    self.bytes += bytes
    latencies.record(latency)
  }

  /// Takes in what another host has counted.
  package mutating func add(_ other: WorkloadSide) {
    requests += other.requests
    bytes += other.bytes
    latencies.add(other.latencies)
  }
}

/// The result of a workload. Figures are those after the ramp; errors and verification count from the start.
package struct WorkloadResult: Sendable {
  package var reads = WorkloadSide()
  package var writes = WorkloadSide()
  package var servedByA: UInt64 = 0
  package var servedByB: UInt64 = 0
  package var transferred: UInt64 = 0
  package var errors: [Status: UInt64] = [:]
  package var verifiedReads: UInt64 = 0
  package var mismatch: String?
  package var nanoseconds: UInt64 = 0
  package var rerouted: UInt64 = 0
  /// How long after they were due requests were submitted; empty for a closed loop.
  package var lateness = Latencies()
  package var latencyTarget: LatencyTargetResult?
  /// Nil where it was not asked for.
  package var recorder: Recorder?
  package var pause: Pause?
  /// The reason why no controller was left: the subsystem is gone, or nobody serves it. All figures are until then.
  package var loss: BatonError?
  /// The reason why the log of what was submitted is not whole.
  package var logFailure: BatonError?
  /// Requests without an answer when it ended.
  package var unanswered = 0

  package init() {}

  package var requests: UInt64 { reads.requests + writes.requests }
  package var bytes: UInt64 { reads.bytes + writes.bytes }

  /// Of reads and writes together.
  package var latencies: Latencies {
    var all = reads.latencies
    all.add(writes.latencies)
    return all
  }

  /// The error that ended it: no controller was left, or the most frequent error of the requests; nil: none.
  package var failure: BatonError? {
    if let loss { return loss }
    guard let (status, count) = errors.max(by: { $0.value < $1.value }) else { return logFailure }
    return BatonError(.system, "\(count) of \(requests) requests", "ended with: \(status)")
  }

  /// Forgets what came during the ramp.
  mutating func endRamp() {
    reads = WorkloadSide()
    writes = WorkloadSide()
    servedByA = 0
    servedByB = 0
    transferred = 0
    lateness = Latencies()
  }

  /// Takes in the result of another host that ran at the same time.
  package mutating func add(_ other: WorkloadResult) {
    reads.add(other.reads)
    writes.add(other.writes)
    servedByA += other.servedByA
    servedByB += other.servedByB
    transferred += other.transferred
    errors.merge(other.errors, uniquingKeysWith: +)
    verifiedReads += other.verifiedReads
    mismatch = mismatch ?? other.mismatch
    nanoseconds = max(nanoseconds, other.nanoseconds)
    rerouted += other.rerouted
    lateness.add(other.lateness)
    loss = loss ?? other.loss
    logFailure = logFailure ?? other.logFailure
    unanswered += other.unanswered
    if let recorder = other.recorder {
      if self.recorder?.add(recorder) == nil { self.recorder = recorder }
    }
  }
}

/// A host's view of a controller's death: how long its outstanding requests there waited.
package struct Pause: Encodable, Sendable {
  /// Requests that were outstanding at the controller when it died, as far as the host knew.
  package var waiting = 0
  /// Of those, answered by the peer so far; the rest the dead controller had answered itself, at its last.
  package var answered = 0
  /// From the death to the first of the peer's answers, and to the last so far.
  package var firstNanoseconds: UInt64 = 0
  package var lastNanoseconds: UInt64 = 0
}

/// The caller's decision whether a workload continues.
package enum WorkloadStep: Sendable {
  case goOn
  /// Submit nothing more, and wait for what is outstanding.
  case finish
  /// Wait for nothing.
  case abandon
}

/// The progress of a workload.
package struct WorkloadMoment: Sendable {
  package let requests: UInt64
  package let nanoseconds: UInt64
  package let outstanding: Int
  /// Whether this host is attached to any controller.
  package let isServed: Bool

  package init(requests: UInt64, nanoseconds: UInt64, outstanding: Int, isServed: Bool) {
    self.requests = requests
    self.nanoseconds = nanoseconds
    self.outstanding = outstanding
    self.isServed = isServed
  }
}
