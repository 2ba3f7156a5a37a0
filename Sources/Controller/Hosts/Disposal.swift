import BatonChannel
import BatonSharedMemory
import BatonSystem
import CBatonShims
import Glibc

/// Closes and unmaps, off the loop, what other processes have handed over.
///
/// close(2) can block: a socket lingers over data that nobody reads, a file in user space waits for its server, a
/// network file is written back. A control socket with records in it closes all descriptors in them. munmap(2) of a
/// host's arena frees gigabytes when that host is gone. So the loop does none of these.
///
/// What is held here is bounded: the loop takes no more connections, and no more descriptors, while `isFull`.
struct Disposal: ~Copyable {
  private let descriptors = SideThread(name: "baton-close", jobsMax: jobsMax)
  /// A thread of its own: memory is given back even while a close blocks.
  private let memory = SideThread(name: "baton-unmap", jobsMax: jobsMax)

  /// Descriptors that wait to be closed, from which on the controller takes no more.
  private static var fullAt: Int { 512 }
  /// More than there can be: those, the descriptors of one record for each connection of the table, and the
  /// connections.
  private static var jobsMax: Int { fullAt + (Int(BATON_PASSED_MAX) + 1) * ControlConnections.connectionsMax }
  /// Memory up to this size is given back at once: that takes no longer than a large transfer.
  private static var bytesAtOnceMax: Int { 1 << 20 }

  /// Whether so much waits that the controller must take no more.
  var isFull: Bool { descriptors.pending >= Self.fullAt }

  /// Closes a descriptor that came in a message.
  func close(_ descriptor: CInt) {
    // Where no thread is available, it is closed here after all: the only alternative is to keep it for ever.
    if !descriptors.offer({ shim_close_foreign(descriptor) }) { shim_close_foreign(descriptor) }
  }

  /// Closes a control socket. The other end sees it at once, though the ring may hold on to the file a little longer.
  func end(socket: CInt) {
    // Nothing arrives after this.
    shutdown(socket, CInt(SHUT_RDWR))
    if shim_socket_is_empty(socket) == 1 {
      Glibc.close(socket)
    } else if !descriptors.offer({ shim_socket_drain_and_close(socket) }) {
      shim_socket_drain_and_close(socket)
    }
  }

  /// Unmaps the memory of a host that is gone.
  func unmap(_ host: consuming HostMemory) {
    let (base, count) = host.releasePages()
    unmap(base, count)
  }

  /// Unmaps such pages.
  func unmap(_ base: UnsafeMutableRawPointer, _ count: Int) {
    let address = UInt(bitPattern: base)
    let job: SideThread.Job = {
      guard let base = UnsafeMutableRawPointer(bitPattern: address) else { return }
      _ = Mapping(adopting: base, count: count)
    }
    if count <= Self.bytesAtOnceMax || !memory.offer(job) { job() }
  }
}
