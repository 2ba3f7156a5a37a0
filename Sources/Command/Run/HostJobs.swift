import Baton
import BatonCommandKit
import BatonSharedMemory
import BatonSystem
import Glibc
import Synchronization

/// One host of a run: a job of the command line or of a job file, or one of its `numjobs` copies.
struct HostJob: Sendable {
  let name: String
  let plan: WorkloadPlan
}

/// What came of one host.
struct HostOutcome: Sendable {
  var result = WorkloadResult()
  var blocksVerified: UInt64 = 0
  /// The error of the last reading, if that failed; otherwise the result's own.
  var failure: BatonError?
}

/// The hosts of a run, which begin together. The first one is in the thread of the command, each other one in a thread
/// of its own.
final class HostJobs: Sendable {
  private struct State {
    var step = WorkloadStep.goOn
    /// Hosts that are attached.
    var ready = 0
    var moments: [WorkloadMoment?]
    var outcomes: [HostOutcome?]
    var error: (any Error)?
  }

  private let subsystem: String
  private let waiting: WaitStrategy
  private let jobs: [HostJob]
  private let state: Mutex<State>

  init(_ jobs: [HostJob], of subsystem: String, waiting: WaitStrategy) {
    self.jobs = jobs
    self.subsystem = subsystem
    self.waiting = waiting
    state = Mutex(
      State(
        moments: Array(repeating: nil, count: jobs.count), outcomes: Array(repeating: nil, count: jobs.count)))
  }

  /// The progress of all hosts together.
  var moment: WorkloadMoment {
    state.withLock { state in
      let known = state.moments.compactMap { $0 }
      return WorkloadMoment(
        requests: known.reduce(0) { $0 + $1.requests }, nanoseconds: known.map(\.nanoseconds).max() ?? 0,
        outstanding: known.reduce(0) { $0 + $1.outstanding }, isServed: known.contains { $0.isServed })
    }
  }

  /// Runs all of them to their end. `attached` is called with the first one before any begins; `look` now and then,
  /// and says whether they continue.
  ///
  /// - Throws: the error of a host that could not begin. Whatever else ends a host is in its outcome.
  func run(
    attached: (borrowing Workload) throws -> Void, look: (_ isVerifying: Bool) -> WorkloadStep
  ) throws -> [HostOutcome] {
    let threads = jobs.indices.dropFirst().map { _ in SideThread(name: "baton-host", jobsMax: 1) }
    for (thread, index) in zip(threads, jobs.indices.dropFirst()) {
      let isStarted = thread.offer { [self] in
        do { try host(index, attached: { _ in }, look: { _ in exchange(index, nil) }) } catch { fail(error) }
      }
      if !isStarted {
        fail(BatonError(.exhausted, "job \(jobs[index].name)", "no thread could be started", fix: "see ulimit -u"))
      }
    }
    do {
      try host(0, attached: attached) { isVerifying in
        let step = look(isVerifying)
        exchange(0, step)
        return state.withLock { $0.error == nil } ? step : .abandon
      }
    } catch { fail(error) }
    // The others may have more to do. Their threads use this object, and the files that the process has open.
    while threads.contains(where: { $0.pending > 0 }) {
      exchange(0, look(false))
      usleep(10_000)
    }
    return try state.withLock { state in
      if let error = state.error { throw error }
      return state.outcomes.compactMap { $0 }
    }
  }

  private func host(
    _ index: Int, attached: (borrowing Workload) throws -> Void, look: (_ isVerifying: Bool) -> WorkloadStep
  ) throws {
    var workload = try Workload(jobs[index].plan, of: Subsystem(subsystem), waiting: waiting)
    try attached(workload)
    guard awaitOthers() else { return }
    var outcome = HostOutcome()
    outcome.result = try workload.run { [self] moment in
      state.withLock { $0.moments[index] = moment }
      return look(false)
    }
    outcome.failure = outcome.result.failure
    let isWhole = outcome.result.mismatch == nil && outcome.result.loss == nil
    if jobs[index].plan.verifies, isWhole, case .goOn = look(true) {
      do { try workload.verifyAll { look(true) } } catch let wrong as VerificationFailure {
        outcome.result.mismatch = wrong.description
      } catch let error as BatonError {
        outcome.failure = error
        if error.code == .missing { outcome.result.loss = error }
      }
      outcome.blocksVerified = workload.blocksVerified
    }
    state.withLock { $0.outcomes[index] = outcome }
  }

  /// Waits until every host is attached.
  ///
  /// - Returns: false if one cannot be.
  private func awaitOthers() -> Bool {
    state.withLock { $0.ready += 1 }
    while true {
      let (ready, isFailed) = state.withLock { ($0.ready, $0.error != nil) }
      if isFailed { return false }
      if ready == jobs.count { return true }
      usleep(100)
    }
  }

  private func fail(_ error: any Error) {
    state.withLock { if $0.error == nil { $0.error = error } }
  }

  /// Tells all hosts to go on, or not; nil: says nothing.
  ///
  /// - Returns: what was said last.
  @discardableResult
  private func exchange(_ index: Int, _ step: WorkloadStep?) -> WorkloadStep {
    state.withLock { state in
      if let step { state.step = step }
      return state.error == nil ? state.step : .abandon
    }
  }
}
