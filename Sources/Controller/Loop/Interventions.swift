import BatonSystem
import Glibc

/// Interventions of tests and measurements in a controller: a point where it stops itself, a mistake made on purpose, a
/// journal left out. In production there is none, and `isPlain` says so with one load.
struct Interventions: ~Copyable {
  /// Whether no protocol point is armed, no defect planted, and the journal kept.
  let isPlain: Bool
  /// Whether requests are entered in the in-flight journal.
  let keepsJournal: Bool
  /// The planted defect `noFence`, which is checked often.
  let ignoresFence: Bool
  private let defect: PlantedDefect?
  private let armed: UInt8
  /// Passes of the armed point until the controller stops itself; 0: it has.
  private let countdown: Table<UInt32>

  init(_ options: ControllerOptions) {
    isPlain = options.stopOrder == nil && options.defect == nil && options.keepsJournal
    keepsJournal = options.keepsJournal
    defect = options.defect
    ignoresFence = options.defect == .noFence
    armed = options.stopOrder?.point.rawValue ?? 0
    countdown = Table(repeating: options.stopOrder?.occurrence ?? 0, count: 1)
  }

  /// Whether the controller makes that mistake.
  func makes(_ mistake: PlantedDefect) -> Bool { defect == mistake }

  /// Passes a protocol point, where the controller may have been ordered to stop itself.
  @inline(__always)
  func reach(_ point: ProtocolPoint) {
    if point.rawValue == armed { Self.stop(countdown.address(0)) }
  }

  // Static: a method would take all of `self` apart at each place that passes a point.
  @inline(never)
  private static func stop(_ countdown: UnsafeMutablePointer<UInt32>) {
    if countdown.pointee == 0 { return }
    countdown.pointee -= 1
    // SIGSTOP, sent to oneself, takes effect before kill returns (kill(2)).
    if countdown.pointee == 0 { kill(getpid(), SIGSTOP) }
  }
}
