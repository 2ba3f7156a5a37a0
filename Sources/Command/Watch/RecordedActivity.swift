import Baton
import BatonCommandKit
import BatonSubsystem

/// What hosts did with each function in one interval, from a trace that is being recorded: how many requests ended, how
/// long they took, and how many wait for their answers.
struct RecordedActivity {
  /// One function.
  struct Function {
    /// Requests whose answers were taken in the interval.
    fileprivate(set) var requests: UInt64 = 0
    /// From submission to the taken answer.
    fileprivate(set) var latencies = Latencies()
    /// Requests that are submitted and not answered.
    fileprivate(set) var outstanding = 0
  }

  private var functions: [UInt32: Function] = [:]
  /// Requests that were submitted and whose answers have not been taken.
  private var open: [Key: (function: UInt32, time: UInt64)] = [:]

  private struct Key: Hashable {
    let ring: Int
    let channel: UInt16
    let sequence: UInt64
  }

  /// Requests remembered at most. Where steps are lost, some never end.
  private static let openMax = 262_144

  /// Takes a step of a host; those of controllers say nothing here.
  mutating func take(_ event: TraceRecorder.Event) {
    let key = Key(ring: event.ring, channel: event.detail.channel, sequence: event.detail.sequence)
    switch event.step {
    case .submitted:
      if open.count >= Self.openMax { open.removeAll(keepingCapacity: true) }
      open[key] = (event.detail.function, event.time)
    case .reaped:
      guard let begun = open.removeValue(forKey: key) else { return }
      functions[begun.function, default: Function()].requests += 1
      functions[begun.function, default: Function()].latencies.record(event.time - min(begun.time, event.time))
    default: break
    }
  }

  /// What there is of a function; nil: nothing happened.
  func of(_ function: Int) -> Function? {
    let number = UInt32(truncatingIfNeeded: function)
    let outstanding = open.values.count { $0.function == number }
    guard var found = functions[number] ?? (outstanding > 0 ? Function() : nil) else { return nil }
    found.outstanding = outstanding
    return found
  }

  /// The next interval begins: what waits goes on waiting.
  mutating func beginInterval() { functions.removeAll(keepingCapacity: true) }
}
