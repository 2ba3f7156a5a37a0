import Glibc

/// The way in which a process ended.
package enum ProcessEnding: Equatable, CustomStringConvertible {
  case exited(CInt)
  case signalled(CInt)

  /// From the status of waitpid(2); nil if the process was only stopped.
  package init?(waitStatus status: CInt) {
    // WIFSTOPPED, WIFEXITED and their like are macros: 0x7f in the low bits is a stop, 0 an exit.
    switch status & 0x7f {
    case 0x7f: return nil
    case 0: self = .exited(status >> 8 & 0xff)
    case let signal: self = .signalled(signal)
    }
  }

  /// Whether a signal that asks a process to end has ended it.
  package var isByTerminationSignal: Bool { [SIGTERM, SIGINT, SIGQUIT, SIGHUP].contains { self == .signalled($0) } }

  /// The status that a shell reports: the exit status, or 128 and the signal.
  package var code: CInt {
    switch self {
    case .exited(let status): status
    case .signalled(let signal): 128 + signal
    }
  }

  /// `left with status 1`, `died of signal 9 (Killed)`.
  package var description: String {
    switch self {
    case .exited(let status): "left with status \(status)"
    case .signalled(let signal): "died of signal \(signal) (\(strsignal(signal).map { String(cString: $0) } ?? "?"))"
    }
  }
}

/// The observed state of a process.
package enum ProcessChange: Equatable {
  case stopped
  case ended(ProcessEnding)
}
