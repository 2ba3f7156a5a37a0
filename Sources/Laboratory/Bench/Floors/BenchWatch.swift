import ArgumentParser
import Baton
import BatonCommandKit
import BatonSystem
import Glibc

/// Checks that every wait of a bench makes now and then: whether it has been interrupted, and whether the processes
/// that it waits for are alive.
final class BenchWatch {
  private let interruption: Interruption
  /// Pidfds of the processes.
  private var processes: [CInt] = []

  /// Interrupts and terminations are held from here on until this goes, so that nothing is left behind.
  init() throws(BatonError) { interruption = try Interruption() }

  /// A process without which waiting has no point. Its pidfd must stay open until `forget`.
  func follow(_ pidfd: CInt) { processes.append(pidfd) }

  /// The process is not needed any more.
  func forget(_ pidfd: CInt) { processes.removeAll { $0 == pidfd } }

  /// Fails when there is no reason to go on.
  func check() throws {
    let signal = interruption.take()
    if signal != 0 { throw ExitCode(128 + signal) }
    for pidfd in processes where Lookout.hasEnded(pidfd) {
      throw BatonError(.system, "bench worker", "ended early")
    }
  }

  /// Sleeps, and is called away by a signal.
  func sleep(milliseconds: Int) throws {
    let end = monotonicNanoseconds() + UInt64(milliseconds) * 1_000_000
    while true {
      try check()
      let now = monotonicNanoseconds()
      if now >= end { return }
      interruption.wait(orProcess: processes.first ?? -1, milliseconds: CInt(min((end - now) / 1_000_000 + 1, 100)))
    }
  }
}
