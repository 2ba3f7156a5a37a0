import Baton
import BatonCommandKit
import BatonController
import BatonSystem
import Glibc

/// One of the two controllers over all its lives in `baton stress`: at most one process at a time, and what was done to
/// it. A class, because two of them stand in an array; its last life is killed and reaped with it.
final class ControllerSeat {
  let identity: ControllerIdentity
  private var process: ControllerProcess?
  /// The point at which the present life will stop itself, until it has.
  private(set) var stopOrder: StopOrder?
  /// Whether it has stopped itself at that point.
  private(set) var isAtPoint = false
  /// The time since which the driver keeps it frozen.
  private(set) var frozenAt: UInt64?
  /// Whether this life was ever stopped, by itself or by the driver: then the peer may have killed it.
  private(set) var wasStopped = false
  private(set) var wasKilled = false
  private(set) var wasTerminated = false
  /// Whether this life leaves its peer a long time to answer.
  private(set) var isPatient = false
  /// Whether it was seen to serve.
  var hasServed = false
  private(set) var startedAt: UInt64 = 0
  /// Lives so far.
  private(set) var lives = 0

  init(_ identity: ControllerIdentity) { self.identity = identity }

  /// Whether there is a process that has not been seen to end.
  var isAlive: Bool { process != nil }
  /// Whether it is alive and not stopped.
  var isRunning: Bool { isAlive && frozenAt == nil && !isAtPoint }
  /// 0 where there is none.
  var pid: pid_t { process?.pid ?? 0 }

  /// The facts for the schedule.
  var facts: LifeFacts {
    LifeFacts(stopOrder: isAlive ? stopOrder : nil, isAtPoint: isAtPoint, isPatient: isAlive && isPatient)
  }

  /// Starts a life.
  func start(
    of subsystem: Subsystem, by program: BatonProgram, arguments: [String], wrapper: [String], stopAt order: StopOrder?,
    isPatient: Bool, log: String, at now: UInt64
  ) throws(BatonError) {
    var words = arguments
    if let order { words += ["--stop-at", "\(order.point):\(order.occurrence)"] }
    process = try ControllerProcess(identity, of: subsystem, by: program, arguments: words, log: log, wrapper: wrapper)
    stopOrder = order
    self.isPatient = isPatient
    (isAtPoint, frozenAt, wasStopped, wasKilled, wasTerminated, hasServed) = (false, nil, false, false, false, false)
    startedAt = now
    lives += 1
  }

  /// SIGKILL. False if no process exists.
  func kill() -> Bool {
    guard isAlive else { return false }
    wasKilled = true
    process?.send(SIGKILL)
    return true
  }

  /// SIGSTOP. False if no process runs.
  func freeze(at now: UInt64) -> Bool {
    guard isRunning else { return false }
    frozenAt = now
    wasStopped = true
    process?.send(SIGSTOP)
    return true
  }

  /// SIGCONT. False where it runs already.
  func proceed() -> Bool {
    guard isAlive, !isRunning else { return false }
    process?.send(SIGCONT)
    frozenAt = nil
    if isAtPoint { stopOrder = nil }
    isAtPoint = false
    return true
  }

  /// SIGTERM. False if no process runs.
  func terminate() -> Bool {
    guard isAlive else { return false }
    wasTerminated = true
    process?.send(SIGTERM)
    return true
  }

  /// Kills it and waits for its end.
  func end() { process = nil }

  /// Its change since the last look.
  func look() -> SeatChange? {
    switch process?.look() {
    case nil: return nil
    case .stopped:
      // A stop that the driver did not ask for is the controller's own.
      guard frozenAt == nil, !isAtPoint, let stopOrder else { return nil }
      isAtPoint = true
      wasStopped = true
      return .reached(stopOrder.point)
    case .ended(let ending):
      process = nil
      stopOrder = nil
      isAtPoint = false
      return .ended(ending)
    }
  }
}

/// The changes that a controller can undergo.
enum SeatChange {
  /// It stands at its point.
  case reached(ProtocolPoint)
  case ended(ProcessEnding)
}
