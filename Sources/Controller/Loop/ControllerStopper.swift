import BatonSystem
import CBatonShims
import Glibc

/// Stops a controller from any thread.
///
/// `Controller` belongs to the thread that turns it, and so does `beginStop()`. A program whose controller runs in a
/// thread of its own makes the controller there, and hands this out: `Controller.stopper()`.
public final class ControllerStopper: Sendable {
  /// An eventfd that the controller's ring watches: whatever the loop waits for, it wakes.
  let bell: CInt

  init(bell: consuming OwnedDescriptor) { self.bell = bell.release() }

  deinit { close(bell) }

  /// The controller begins to leave, and wakes if it sleeps. Does nothing to a controller that has left or is gone. One
  /// system call; may be called from any thread and from a signal handler, as often as wanted.
  public func stop() { shim_bell_ring(bell) }
}

extension Controller {
  /// What stops this controller from another thread; always the same.
  ///
  /// - Throws: `.exhausted` if the process has no descriptor left.
  public mutating func stopper() throws(BatonError) -> ControllerStopper {
    if let stopper = control.stopper { return stopper }
    let subject = "controller \(identity)"
    let stopper = ControllerStopper(
      bell: OwnedDescriptor(
        try check(shim_bell(), subject, doing: "making a bell that stops it", fix: "raise the limit with 'ulimit -n'")))
    // A ring without a free entry has one after a submission.
    if !ring.watch(stopper.bell, for: .stopper, index: 0) {
      submit()
      guard ring.watch(stopper.bell, for: .stopper, index: 0) else {
        throw BatonError(.exhausted, subject, "its ring takes no entry at present", fix: "turn it and ask again")
      }
    }
    submit()
    control.stopper = stopper
    return stopper
  }
}
