import Baton
import BatonSharedMemory
import CBatonShims

/// SIGINT and SIGTERM as something to ask for, so that a command can clean up before it ends.
struct Interruption: ~Copyable {
  private let signals: OwnedDescriptor

  init() throws(BatonError) {
    signals = OwnedDescriptor(try check(baton_termination_signals(), "signals", doing: "signalfd"))
  }

  deinit { baton_termination_signals_restore() }

  /// The signal that came, once; 0: none.
  func take() -> CInt { max(baton_read_signal(signals.number), 0) }
}
