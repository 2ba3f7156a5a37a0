import BatonOwnership
import BatonSharedMemory
import BatonSystem
import CBatonShims
import Glibc

/// One writer of a trace: a life of a controller, or a host. Writing never waits, and makes no system call but for the
/// time, which is none where the kernel's vDSO has the clock.
package struct TraceWriter: ~Copyable {
  /// The kinds of writer.
  package enum Kind: Equatable, Sendable {
    /// A controller, in this life.
    case controller(ControllerIdentity, incarnation: UInt64)
    /// The host with this identity.
    case host(identity: UInt64)
  }

  /// The number of the trace.
  package let number: UInt64
  private let file: TraceFile
  private let ring: TraceRing
  private var position: UInt64 = 0

  /// Claims a ring of the trace with that number.
  ///
  /// - Throws: `.missing` if that trace is over; `.exhausted` if every ring has its writer.
  package init(of number: UInt64, at location: SubsystemLocation, as kind: Kind) throws(BatonError) {
    let file = try TraceFile(of: number, at: location)
    let claimed = file.claimed
    var mine = claimed.loadRelaxed()
    while true {
      let (exchanged, original) = claimed.compareExchange(expected: mine, desired: mine &+ 1)
      if exchanged { break }
      mine = original
    }
    guard mine < UInt64(file.header.ring_count) else {
      throw BatonError(
        .exhausted, "the trace of '\(location.name)'", "has \(file.header.ring_count) rings, and each has its writer",
        fix: "ask for more with 'baton trace --rings'")
    }
    ring = file.ring(Int(mine))
    ring.pid.storeRelaxed(UInt64(getpid()))
    switch kind {
    case .controller(let identity, let incarnation):
      ring.life.storeRelaxed(incarnation)
      ring.writer.storeReleasing(UInt64(identity == .a ? BATON_TRACE_CONTROLLER_A : BATON_TRACE_CONTROLLER_B))
    case .host(let identity):
      ring.life.storeRelaxed(identity)
      ring.writer.storeReleasing(UInt64(BATON_TRACE_HOST))
    }
    self.number = number
    self.file = file
  }

  /// Lets go of the trace without unmapping and closing its file.
  package consuming func release() -> (base: UnsafeMutableRawPointer, count: Int, descriptor: CInt) { file.release() }

  /// Whether somebody records this trace: its lock is held. One that was killed has left its number in the region.
  /// One or two system calls.
  package var isRecorded: Bool {
    if flock(file.descriptor.number, LOCK_SH | LOCK_NB) != 0 { return errno == EWOULDBLOCK }
    flock(file.descriptor.number, LOCK_UN)
    return false
  }

  /// Writes a step, over the oldest one where the ring is full.
  package mutating func add(_ step: TraceStep, at time: UInt64, _ detail: TraceDetail) {
    let (word, request) = detail.words(of: step)
    // Sync point "trace": the reader that sees any word of this event sees, by its fence, that the count before it was
    // reached, and so that the oldest event is lost.
    releaseFence()
    ring.word(0, at: position).storeRelaxed(time)
    ring.word(1, at: position).storeRelaxed(word)
    ring.word(2, at: position).storeRelaxed(request)
    ring.word(3, at: position).storeRelaxed(detail.value)
    position &+= 1
    ring.written.storeReleasing(position)
  }
}
