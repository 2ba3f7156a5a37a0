import Baton
import BatonSystem
import CBatonShims
import Glibc

/// The signals that ask a process to end (SIGINT, SIGTERM, SIGQUIT and SIGHUP), polled by the command, so that it can
/// clean up before it ends. A SIGHUP that is ignored (nohup(1)) stays so.
///
/// From here on they are held back until the process ends: a second one must not end it while it cleans up.
package struct Interruption: ~Copyable {
  private let signals: OwnedDescriptor

  package init() throws(BatonError) {
    signals = OwnedDescriptor(try check(shim_termination_signals(), "signals", doing: "signalfd"))
  }

  /// Waits until a signal has come or a process has ended, by its pidfd; -1: for the signal alone.
  package func wait(orProcess pidfd: CInt, milliseconds: CInt) { wait(orReadable: [pidfd], milliseconds: milliseconds) }

  /// The same for several descriptors: pidfds, and others that can be read.
  package func wait(orReadable descriptors: [CInt], milliseconds: CInt) {
    // A negative descriptor is left out (poll(2)); an error or an interruption is a look too early.
    var looks = ([signals.number] + descriptors).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    _ = poll(&looks, nfds_t(looks.count), milliseconds)
  }

  /// The signal that came, once; 0: none.
  package func take() -> CInt { max(shim_read_signal(signals.number), 0) }
}
