import Baton
import BatonCommandKit
import BatonSystem

/// What a subsystem's region says at one moment, and what the system says of the controllers' processes.
struct RegionSample {
  let status: SubsystemStatus
  /// CPU time of each controller's process in seconds, nil where it does not run.
  let cpuSeconds: [Double?]
  let at: UInt64

  init(_ subsystem: Subsystem) throws(BatonError) {
    status = try subsystem.status()
    at = monotonicNanoseconds()
    cpuSeconds = status.controllers.map { $0.isRunning ? ProcessTime.seconds(ofProcess: $0.pid) : nil }
  }
}

/// What changed between two samples of one subsystem, per second.
struct RegionRates {
  private let before: RegionSample
  private let after: RegionSample
  let seconds: Double

  /// Nil where there is nothing to compare: another subsystem has the name.
  init?(from before: RegionSample, to after: RegionSample) {
    guard before.status.generation == after.status.generation, after.at > before.at else { return nil }
    self.before = before
    self.after = after
    seconds = Double(after.at - before.at) / 1e9
  }

  /// Of a controller. A counter that is less than before began again with a new life.
  func rate(_ counter: Counter, of controller: Int) -> Double {
    let (old, new) = (before.status.controllers[controller][counter], after.status.controllers[controller][counter])
    return Double(new >= old ? new - old : new) / seconds
  }

  func rate(_ counter: Counter) -> Double {
    after.status.controllers.indices.reduce(0) { $0 + rate(counter, of: $1) }
  }

  /// Changes of owner of a function.
  func changes(_ function: Int) -> Double {
    Double(after.status.functions[function].term &- before.status.functions[function].term) / seconds
  }

  var changes: Double { Double(after.status.terms &- before.status.terms) / seconds }

  /// The share of one CPU that a controller used; nil: unknown, or another life.
  func cpu(of controller: Int) -> Double? {
    guard before.status.controllers[controller].pid == after.status.controllers[controller].pid,
      let old = before.cpuSeconds[controller], let new = after.cpuSeconds[controller]
    else { return nil }
    return max(new - old, 0) / seconds
  }
}
