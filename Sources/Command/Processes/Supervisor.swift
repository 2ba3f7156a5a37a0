import ArgumentParser
import Baton
import BatonSharedMemory
import CBatonShims
import Glibc

/// How long to wait before a process that has died is started again: at once where it had lived, longer and longer
/// where it dies at once.
struct Backoff {
  private var next = delayMin
  private var failures = 0

  /// Long enough that a process that dies at once does not fill the machine, short enough that nobody waits for it.
  static let delayMin: UInt64 = 1_000_000
  static let delayMax: UInt64 = 1_000_000_000
  /// Who has lived so long did not die of its start.
  static let settledNanoseconds: UInt64 = 5_000_000_000
  /// An error within this is an error of the start, and so many in a row are no accident. A controller waits 3 s for an
  /// address that is in use, and 10 s for a unit that is.
  static let startNanoseconds: UInt64 = 15_000_000_000
  static let failuresMax = 5
  /// EX_USAGE: the command line will not become better.
  private static let usage: CInt = 64

  /// What follows from the end of a process that has lived so long: nanoseconds until it is started again, or nil: it
  /// ends with that status for good.
  mutating func delay(after ending: ProcessEnding, lived nanoseconds: UInt64) -> UInt64? {
    if ending == .exited(0) || ending == .exited(Self.usage) { return nil }
    failures = ending == .exited(1) && nanoseconds < Self.startNanoseconds ? failures + 1 : 0
    if failures >= Self.failuresMax { return nil }
    if nanoseconds >= Self.settledNanoseconds { next = Self.delayMin }
    defer { next = min(next * 2, Self.delayMax) }
    return next
  }
}

/// Runs a controller as a child process and starts it again when it dies, until it leaves in good order.
struct Supervisor {
  private let identity: ControllerIdentity

  /// Of that controller.
  init(_ identity: ControllerIdentity) { self.identity = identity }

  /// Until the child ends with status 0, or cannot be started. Signals that ask this process to end are handed on.
  func run() throws {
    let interruption = try Interruption()
    // The same command line, for a controller alone that does not outlive this process.
    let words = CommandLine.arguments.dropFirst(2).filter { $0 != "--supervise" }
    var backoff = Backoff()
    while true {
      let startedAt = monotonicNanoseconds()
      let (ending, wasTold) = try live(words, interruption)
      let lived = monotonicNanoseconds() - startedAt
      guard let delay = backoff.delay(after: ending, lived: lived), !wasTold else {
        // One that was told to leave before it was there has died of that.
        if ending == .exited(0) || wasTold && ending.isByTerminationSignal { return }
        // What was wrong, the child has said.
        throw ExitCode(ending.code)
      }
      Console.error(
        "baton: controller \(identity) \(ending) after \(Figure.duration(lived)); started again in "
          + Figure.duration(delay))
      let until = monotonicNanoseconds() + delay
      repeat {
        // Told to stop while there is nobody to tell.
        if interruption.take() != 0 { return }
        interruption.wait(orProcess: -1, milliseconds: CInt(delay / 1_000_000))
      } while monotonicNanoseconds() < until
    }
  }

  /// One life, from start to end, and whether it was told to end.
  private func live(
    _ words: [String], _ interruption: borrowing Interruption
  ) throws(BatonError) -> (ProcessEnding, wasTold: Bool) {
    let pid = try OwnProgram.start("controller", words)
    // Only for waiting: where there is none, the loop looks every so often.
    let number = baton_pidfd_open(pid)
    defer { if number >= 0 { close(number) } }
    var wasTold = false
    while true {
      var status: CInt = 0
      if waitpid(pid, &status, WNOHANG) == pid, let ending = ProcessEnding(waitStatus: status) {
        return (ending, wasTold)
      }
      let signal = interruption.take()
      if signal != 0 {
        kill(pid, signal)
        wasTold = true
      }
      interruption.wait(orProcess: number, milliseconds: number >= 0 ? -1 : 20)
    }
  }
}
