import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import CBatonShims

// Waiting: what the loop does when there is nothing to do, and what it checks now and then.
extension Controller {
  /// Turns the loop until the controller has stopped, waiting as its strategy says.
  ///
  /// With `handlingSignals`, SIGTERM and SIGINT stop it gracefully; they are blocked in this thread meanwhile.
  ///
  /// - Throws: `.busy` when the peer has fenced this controller, and serves in its place.
  public mutating func run(handlingSignals: Bool = true) throws(BatonError) {
    try run(handlingSignals: handlingSignals) { _ in false }
  }

  /// Turns the loop until the controller has stopped, with a front end in it: `turn` is called after each turn of the
  /// controller, and says whether it did anything. Before the controller sleeps both have found nothing to do.
  public mutating func run(
    handlingSignals: Bool = true, turning turn: (inout Controller) -> Bool
  ) throws(BatonError) {
    if handlingSignals {
      watchSignals(try check(shim_termination_signals(), "controller \(identity)", doing: "signalfd"))
    }
    defer { if handlingSignals { shim_termination_signals_restore() } }
    try record.life.begin()
    defer { record.life.end() }
    var waiter = Waiter(options.waiting)
    while !life.isOver {
      if restsBetweenTurns {
        if !runRest(turn) { park() }
        continue
      }
      let hasWorked = poll()
      if turn(&self) || hasWorked {
        waiter.worked()
      } else if waiter.idle(expecting: storage.inFlight > 0) == .park {
        park()
      }
    }
    if life.isFenced {
      throw BatonError(
        .busy, "controller \(identity)", "was fenced by controller \(identity.peer), which serves in its place",
        fix: "start it again: it joins with a new incarnation")
    }
  }

  /// Whether clients at sockets are all that there is to serve. A wake-up costs little compared with their way here and
  /// back, unlike for a host in shared memory. Whether spinning pays is another question (`SpinTrial`).
  private var restsBetweenTurns: Bool {
    frontEnd.connections > 0 && hosts.attachedCount <= 1 && options.waiting != .spin && isServing
  }

  /// Turns the loop, and the front end's, until neither can go on without the kernel, then submits all of it and sleeps
  /// for a moment, in one system call.
  ///
  /// - Returns: false when nothing happened meanwhile.
  private mutating func runRest(_ turn: (inout Controller) -> Bool) -> Bool {
    rest.deferSubmission(true)
    var turns = 0
    var hasWorked = true
    while hasWorked, turns < Self.restTurnsMax, !life.isStopping {
      hasWorked = poll()
      if turn(&self) { hasWorked = true }
      turns += 1
    }
    defer { rest.deferSubmission(false) }
    if !hasWorked, !storage.hasStalled { return takeRest() }
    // More to do: submit first, so that those who wait for the kernel do not wait for all of it.
    rest.deferSubmission(false)
    if mustSubmit, !life.isStopping { submit() }
    return true
  }

  /// Turns without a submission, at most.
  private static var restTurnsMax: Int { 8 }

  /// Checks for what no hint signals: words whose hint was lost, a ring that lost its footing, connections, hosts that
  /// are expected back.
  mutating func keepHouse() {
    sweep()
    var found: [Function] = []
    link.resynchronize { found.append($0) }
    for function in found where function.index >= 0 && function.index < region.functionCount {
      wantAttention(function)
    }
    let now = monotonicNanoseconds()
    lookAtTrace(at: now)
    if functions.mustHintAgain(at: now) {
      for function in functions.requested { sendHint(function) }
    }
    if control.mustTend(at: now) {
      tendConnections(at: now)
      tendExpected()
    }
  }
}
