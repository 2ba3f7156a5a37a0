import Baton
import BatonSharedMemory
import BatonSystem
import Glibc

/// Many hosts in one process, polled by its one thread.
struct HostCrowd: ~Copyable {
  let count: Int
  private let hosts: UnsafeMutablePointer<Host>

  /// How long they may take, all together, to attach or to notice: they look for a controller every 50 ms.
  private static let patienceNanoseconds: UInt64 = 20_000_000_000

  init(_ count: Int, of subsystem: Subsystem, waiting: WaitStrategy = .park) throws(BatonError) {
    hosts = .allocate(capacity: count)
    var made = 0
    var options = HostOptions()
    options.waiting = waiting
    do throws(BatonError) {
      while made < count {
        (hosts + made).initialize(to: try Host(of: subsystem, options: options))
        made += 1
      }
    } catch {
      hosts.deinitialize(count: made)
      hosts.deallocate()
      throw error
    }
    self.count = count
  }

  deinit {
    hosts.deinitialize(count: count)
    hosts.deallocate()
  }

  subscript(index: Int) -> Host {
    _read { yield hosts[index] }
    nonmutating _modify { yield &hosts[index] }
  }

  /// One request of each host, one after the other.
  func performEach(_ request: Request, on controller: ControllerIdentity) throws(BatonError) {
    for index in 0..<count { try hosts[index].perform(request, on: controller).expectSuccess() }
  }

  /// Waits until every host has noticed that controller a is gone.
  ///
  /// That is later than its exit: the ring of the dead holds on to the sockets that it watched until the kernel has
  /// taken it apart. A host that has not noticed takes itself for attached to the next life, which knows nothing of it.
  func notice() throws(BatonError) {
    try maintain(until: "noticed the death of controller a") { !$0.isAttached(to: .a) }
  }

  /// Waits until every host is attached to both controllers. `turning` is called meanwhile, again and again.
  func attach(turning: () -> Void = {}) throws(BatonError) {
    try maintain(until: "attached to both controllers", turning) {
      $0.isAttached(to: .a) && $0.isAttached(to: .b)
    }
  }

  private func maintain(
    until what: String, _ turn: () -> Void = {}, _ isSo: (borrowing Host) -> Bool
  ) throws(BatonError) {
    let deadline = monotonicNanoseconds() + Self.patienceNanoseconds
    for index in 0..<count {
      while !isSo(hosts[index]) {
        hosts[index].maintain()
        turn()
        if monotonicNanoseconds() > deadline {
          throw BatonError(.system, "host \(index)", "never \(what)")
        }
        usleep(200)
      }
    }
  }
}
