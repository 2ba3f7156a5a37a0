import Glibc
import Synchronization

/// Turns something on a thread of its own, again and again, until it is ended.
final class TurningThread: Sendable {
  private let isOver = Atomic(false)
  private let hasEnded = Atomic(false)

  private final class Start {
    let turn: () -> Void
    let owner: TurningThread
    init(_ turn: @escaping () -> Void, _ owner: TurningThread) {
      self.turn = turn
      self.owner = owner
    }
  }

  /// What `turn` holds on to belongs to the thread from now on, and ends with it.
  init(_ turn: @escaping () -> Void) {
    var thread = pthread_t()
    let box = Unmanaged.passRetained(Start(turn, self))
    let failure = pthread_create(
      &thread, nil,
      { argument in
        // What was turned is gone when that returns.
        let owner = TurningThread.turn(Unmanaged<Start>.fromOpaque(argument!))
        owner.hasEnded.store(true, ordering: .releasing)
        return nil
      }, box.toOpaque())
    precondition(failure == 0, "a thread can be had")
    pthread_detach(thread)
  }

  private static func turn(_ box: Unmanaged<Start>) -> TurningThread {
    let start = box.takeRetainedValue()
    let owner = start.owner
    while !owner.isOver.load(ordering: .acquiring) { start.turn() }
    return owner
  }

  /// Ends it, after the turn that is under way; `wake` ends that if it sleeps.
  func end(_ wake: () -> Void = {}) {
    isOver.store(true, ordering: .releasing)
    wake()
    while !hasEnded.load(ordering: .acquiring) { sched_yield() }
  }
}
