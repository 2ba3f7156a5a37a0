import BatonCommandKit
import BatonSystem

/// Ends a run on a signal: the first signal lets it finish its outstanding requests, within a time; the second ends it
/// at once.
struct Interrupt {
  /// How long outstanding requests may take, in nanoseconds.
  let farewell: UInt64
  /// The first signal; 0: none.
  private(set) var signal: CInt = 0
  private var since: UInt64 = 0
  private var isRepeated = false

  init(farewell: UInt64) { self.farewell = farewell }

  /// A signal came; 0: none.
  mutating func note(_ taken: CInt) {
    if taken == 0 { return }
    if signal == 0 {
      signal = taken
      since = monotonicNanoseconds()
    } else {
      isRepeated = true
    }
  }

  /// What follows from it now.
  var step: WorkloadStep {
    if signal == 0 { return .goOn }
    return isRepeated || monotonicNanoseconds() &- since >= farewell ? .abandon : .finish
  }
}
