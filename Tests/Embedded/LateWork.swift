import BatonOwnership
import BatonRing
import BatonStorage
import BatonSubsystem
import BatonSystem

/// What a controller that is gone had given to the kernel, and the kernel has not done yet: holds the lock that the
/// drain proof asks for, for as long as this lives and not for as long as some operation happens to take.
final class LateWork {
  private var storage: Storage
  private let ring: Ring

  /// Of the last life of that controller, which has let go of the unit, a file.
  init(of controller: ControllerIdentity, on unit: Int, _ laboratory: Laboratory) throws {
    ring = try Ring()
    storage = try Storage(
      units: [laboratory.region.unit(unit)],
      life: StorageLife(
        controllerIndex: controller.index, incarnation: laboratory.region.controller(controller).phase.incarnation,
        subsystem: laboratory.region.header.generation))
    // It is not submitted.
    guard
      case .started = storage.start(
        .flush, unit: 0, offset: 0, length: 0, address: nil, isDurable: false, token: 0, on: ring)
    else { throw BatonError(.system, "late work", "the unit's lock is still another one's") }
  }
}
