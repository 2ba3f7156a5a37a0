import BatonOwnership
import BatonSystem
import CBatonShims
import Glibc

// The seats of the controllers: at most one living process has each.
extension Region {
  /// Takes the seat of a controller: an OFD lock on the region's file, which the kernel gives up at death.
  ///
  /// A child that the last holder has just forked holds on to the file until it executes its program, so a seat that is
  /// taken is asked for again for a moment.
  ///
  /// - Returns: false if a living process has it.
  /// - Throws: `.missing` if the subsystem has been destroyed since the region was opened.
  public func takeSeat(of controller: ControllerIdentity) throws(BatonError) -> Bool {
    guard try Self.takeSeat(of: controller, in: file, at: location) else { return false }
    // A process that destroys it holds both seats until the region's file is gone.
    let present = FileFacts(path: location.region)?.identity
    guard try present == FileFacts(of: file, subject: location.region).identity else {
      throw BatonError(
        .missing, "subsystem '\(location.name)'", "was destroyed", fix: "create it again with 'baton create'")
    }
    return true
  }

  /// The same in a region's file, for callers that cannot or need not open the region.
  static func takeSeat(
    of controller: ControllerIdentity, in file: borrowing OwnedDescriptor, at location: SubsystemLocation
  ) throws(BatonError) -> Bool {
    for attempt in 0...seatAttemptsMax {
      let result = shim_ofd_try_lock(file.number, Int64(controller.index))
      if result >= 0 { return true }
      if result != -EAGAIN && result != -EACCES {
        try check(result, location.region, doing: "locking the seat of controller \(controller)")
      }
      if attempt < seatAttemptsMax { usleep(1000) }
    }
    return false
  }

  /// Attempts to take a seat, a millisecond apart.
  private static let seatAttemptsMax = 50

  /// Whether the seat is free: the life that held it last has ended. False also if the kernel does not say.
  public func isSeatFree(of controller: ControllerIdentity) -> Bool {
    shim_ofd_is_locked_by_other(file.number, Int64(controller.index), 1) == 0
  }

  /// Whether a process other than this description's holder has the seat.
  public func isSeatTaken(of controller: ControllerIdentity) -> Bool {
    shim_ofd_is_locked_by_other(file.number, Int64(controller.index), 1) == 1
  }
}
