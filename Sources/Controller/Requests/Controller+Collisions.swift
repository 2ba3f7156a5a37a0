import BatonChannel
import BatonOwnership
import BatonSubsystem

// Collisions: the controller holds a request that collides with one under recovery, or with a write on the storage,
// until that one is over.
extension Controller {
  /// Whether a request must wait for one under recovery (`Recovery.collides`), or for a write on the storage. Which
  /// ones it waits for is `RequestRules`' to say.
  func mustWait(_ request: UnsafeMutablePointer<AcceptedRequest>) -> Bool {
    functions.address(request.pointee.function.index).pointee.isRecovering && recovery.collides(request.pointee)
      || overlapsWrite(request)
  }

  /// Whether a request changes what a write on the storage changes too.
  func overlapsWrite(_ request: UnsafeMutablePointer<AcceptedRequest>) -> Bool {
    RequestRules.waits(request.pointee.changesUnit, forWrite: true)
      && functions.address(request.pointee.function.index).pointee.hasWrite(
        overlapping: request.pointee, requests.entries)
  }

  /// A request waits until it collides with nothing any more.
  mutating func hold(_ index: RequestIndex) {
    recovery.hold(index)
    count(.held)
  }

  /// Appends those of the held requests that no longer collide to their pending queues.
  mutating func releaseHeld() -> Int {
    var held = recovery.takeHeld()
    var released = 0
    while let index = held.removeFirst(requests.entries) {
      let request = requests.entry(index)
      let function = request.pointee.function
      if channels[request.pointee.origin].phase != .closing, mustWait(request) {
        recovery.hold(index)
        continue
      }
      released += 1
      enqueue(index, function)
      requestOwnership(function, arbiter.look(region.ownership.word(function.index)))
    }
    return released
  }
}
