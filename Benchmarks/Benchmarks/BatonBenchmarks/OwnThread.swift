import Baton
import Glibc

/// A thread that does what it is told, one thing after the other, until it is ended.
final class OwnThread {
  /// What it shares with the thread that gives it orders.
  private final class Orders {
    var given = sem_t()
    var done = sem_t()
    /// Nil: end.
    var work: (() -> Void)?

    init() {
      sem_init(&given, 0, 0)
      sem_init(&done, 0, 0)
    }

    deinit {
      sem_destroy(&given)
      sem_destroy(&done)
    }

    static func wait(for semaphore: inout sem_t) {
      while sem_wait(&semaphore) != 0 {
        precondition(errno == EINTR, "a semaphore that cannot be waited for")
      }
    }

    func carryOut() {
      while true {
        Self.wait(for: &given)
        guard let work else { return }
        work()
        sem_post(&done)
      }
    }
  }

  private let orders = Orders()
  private let thread: pthread_t

  init() throws(BatonError) {
    var thread = pthread_t()
    // Given back by the thread when it begins.
    let handed = Unmanaged.passRetained(orders)
    let result = pthread_create(
      &thread, nil,
      { handed in
        guard let handed else { return nil }
        Unmanaged<Orders>.fromOpaque(handed).takeRetainedValue().carryOut()
        return nil
      }, handed.toOpaque())
    if result != 0 {
      handed.release()
      throw BatonError(result: -Int(result), "benchmark", doing: "starting a thread")
    }
    self.thread = thread
  }

  /// Has it do that, and waits until it is done.
  func perform(_ work: @escaping () throws -> Void) throws {
    var failure: (any Error)?
    orders.work = {
      do { try work() } catch { failure = error }
    }
    sem_post(&orders.given)
    Orders.wait(for: &orders.done)
    orders.work = nil
    if let failure { throw failure }
  }

  /// The end of the thread, which nobody may tell anything any more.
  func end() {
    sem_post(&orders.given)
    pthread_join(thread, nil)
  }
}
