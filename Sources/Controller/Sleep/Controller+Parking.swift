import BatonOwnership
import BatonRing
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc

// Parking: how the loop goes to sleep, and what wakes it.
//
// A park and its wake-up take two system calls. One is io_uring_enter, which also waits again for words that have been
// rung. The other is the futex wake of the answered host. Sync point "sleep" is `SleepWord`.
extension Controller {
  /// How long a controller that waits for a grant sleeps before it checks by itself.
  private static var grantWaitNanoseconds: Int64 { 5_000_000 }
  /// How long a leaving controller sleeps between two checks of what is left to be done.
  private static var farewellWaitNanoseconds: Int64 { 1_000_000 }
  /// How long an idle controller sleeps. Every event wakes it; this is for lost wake-ups.
  private static var idleWaitNanoseconds: Int64 { 1_000_000_000 }

  /// Sleeps until something happens: a doorbell, a completion, a socket, or the time.
  ///
  /// An embedder with a loop of its own may call this when `poll()` finds nothing and it wants to sleep.
  public mutating func park() {
    if !life.hasJoined { return waitToJoin() }
    if life.isStopping {
      // Clients of the front end may take their time to read the last replies.
      if frontEnd.connections > 0 { ring.wait(nanoseconds: Self.farewellWaitNanoseconds) }
      return
    }
    // A function that waits for its residency is work that is due very soon; the process that it serves may need the
    // core.
    if functions.awaitsResidency {
      sched_yield()
      return
    }
    lieDown()
    if findsNothing(), !mustSubmit, listen() {
      count(.parks)
      ring.wait(nanoseconds: sleepNanoseconds(Self.idleWaitNanoseconds, at: readClock()))
      lookAtPeer(at: readClock())
      if functions.attention.count == 0 { sweep(all: true) }
      keepHouse()
    }
    getUp()
  }

  /// Sleeps between two messages of a front end's clients; the call that sleeps also submits the prepared operations.
  /// The work that need not follow each message is done now and then.
  ///
  /// - Returns: false when nothing happened meanwhile.
  mutating func takeRest() -> Bool {
    if functions.awaitsResidency || life.isStopping {
      // The loop turns on without a sleep, and so without the call that submits.
      if mustSubmit { submit() }
      return true
    }
    let now = readClock()
    if rest.beginLook(at: now) {
      lookAtPeer(at: now)
      keepHouse()
      // The loop handles what resulted from that before it sleeps.
      return true
    }
    if awaitsClients(since: now) { return true }
    var hasWoken = true
    lieDown()
    if findsNothing(), isStillMember, listen() {
      count(.parks)
      ring.wait(nanoseconds: sleepNanoseconds(Self.restNanosecondsMax, at: now))
      hasWoken = ring.hasCompletion
    }
    getUp()
    return hasWoken
  }

  /// Spins for the next request of clients that have just been answered, where that brings more (`SpinTrial`).
  ///
  /// - Returns: false when nothing came: the loop sleeps.
  private mutating func awaitsClients(since now: UInt64) -> Bool {
    guard case .adaptive(let nanoseconds) = options.waiting else { return false }
    let answered = counters[.answered].loadRelaxed()
    guard rest.spins(at: now, answered: answered, storageIsIdle: storage.inFlight == 0) else { return false }
    if mustSubmit {
      submit()
      // An operation of this loop's own that ended at once, such as a send.
      if ring.hasCompletion { return true }
    }
    rest.beginSpin(answered: answered)
    let limit = min(nanoseconds, Self.clientSpinNanosecondsMax / Self.wakesSpared) * Self.wakesSpared
    while monotonicNanoseconds() &- now < limit {
      // A grant may come without a hint, for a function that both controllers want.
      if functions.attention.count > 0, hasGrant() { return true }
      for _ in 0..<Self.looksPerClock {
        if ring.hasCompletion || link.hasHint { return true }
        shim_spin_hint()
      }
    }
    return false
  }

  /// Whether this controller by now owns a function that it has asked for. One load for each function on the attention
  /// list, for a few at most.
  private func hasGrant() -> Bool {
    for position in 0..<min(functions.attention.count, Self.grantLooksMax) {
      let function = functions.attention.function(at: position)
      if functions.address(function).pointee.isRequesting,
        arbiter.look(region.ownership.word(function)).isOwned(by: identity)
      {
        return true
      }
    }
    return false
  }

  private static var grantLooksMax: Int { 8 }
  /// Meanwhile the controller neither beats, nor sweeps, nor checks the peer.
  private static var clientSpinNanosecondsMax: UInt64 { 1_000_000 }
  /// The factor over a wait strategy's spin for one wake-up: the client wakes this loop and is woken by it.
  private static var wakesSpared: UInt64 { 2 }
  private static var looksPerClock: Int { 16 }

  /// How long it may sleep at present before it checks by itself for what should have woken it; at most `most`.
  private mutating func sleepNanoseconds(_ most: Int64, at now: UInt64) -> Int64 {
    var nanoseconds = min(most, nanosecondsUntilPeerLook(at: now))
    if functions.attention.count > 0 { nanoseconds = min(nanoseconds, Self.grantWaitNanoseconds) }
    if !sleep.isHeeded { nanoseconds = min(nanoseconds, AsymmetricFence.sleepNanosecondsMax) }
    return nanoseconds
  }

  /// Checks everything that others publish, once the controller has said that it lies down. True when it may sleep
  /// then: each part of the check may have added a channel, or have ended more than the wait.
  private mutating func findsNothing() -> Bool {
    !poll() && pollAllChannels() == 0 && attendToAll() == 0 && !functions.awaitsResidency
      && !life.isStopping && !turn.due.contains(.connections)
      && frontEnd.isEmpty && sleep.isLyingDown
  }

  /// The longest rest; after it the controller sleeps as it always does. Longer than the kernel's tick (4 ms where
  /// CONFIG_HZ is 250): for a sleep that is to end before the tick, the kernel sets the CPU's timer and sets it back.
  /// On a virtual machine the guest exits for each of these. Measured as a fifth of what a request costs.
  private static var restNanosecondsMax: Int64 { 20_000_000 }

  // MARK: Sync point "sleep", the sleeper's side

  /// Says to everybody that this controller sleeps. What it checks after this is newer than what they have done without
  /// seeing it. Cost: two stores per host, a fence; a membarrier in the first sleep after work.
  private mutating func lieDown() {
    if !sleep.isHeeded {
      sayEverywhere(.drowsy)
      sleep.setHeeded(AsymmetricFence.heavy())
    }
    sleep.lieDown(requests: requestsTaken)
    for position in 0..<channels.polling.count {
      let channel = channels.polling[position]
      channels[channel].controllerParked.say(sleep.state(channel.number))
    }
    record.parked.say(sleep.state(SleepState.own))
    record.parked.fence()
  }

  private mutating func getUp() {
    sleep.getUp()
    sayEverywhere(.drowsy)
  }

  /// A loop that has been busy for a while frees everybody from fencing for its sake. A park in whose turn this
  /// happens does not sleep.
  mutating func rouse() {
    if sleep.rouse(requests: requestsTaken) { sayEverywhere(.awake) }
  }

  private var requestsTaken: UInt64 { counters[.requests].loadRelaxed() }

  private func sayEverywhere(_ state: SharedSleepWord.State) {
    for position in 0..<channels.polling.count {
      channels[channels.polling[position]].controllerParked.say(state)
    }
    record.parked.say(state)
  }

  /// The controller takes requests from this channel from now on: its word says what the others say.
  mutating func sayFirst(_ channel: ChannelIndex) {
    channels[channel].controllerParked.say(sleep.addChannel())
  }

  // MARK: Doorbells

  /// Has the ring wait for every word that announces it. The call that sleeps gives these waits to the kernel, and a
  /// word that has been rung by then ends the sleep before it begins.
  ///
  /// At most one wait per doorbell, which ends in one completion: no host can fill the ring with them.
  ///
  /// - Returns: false when the ring takes nothing at present: the controller does not sleep.
  private mutating func listen() -> Bool {
    if !sleep.listens { return true }
    for position in 0..<channels.polling.count {
      let channel = channels.polling[position]
      if sleep.isUnarmed(channel.number), !arm(channel.number, channels[channel].controllerParked) { return false }
    }
    return !sleep.isUnarmed(SleepState.own) || arm(SleepState.own, record.parked)
  }

  private mutating func arm(_ doorbell: Int, _ word: SharedSleepWord) -> Bool {
    guard
      ring.watchFutex(
        word.futex.address, while: UInt32(SharedSleepWord.State.listening.rawValue), for: .doorbell,
        index: UInt32(truncatingIfNeeded: doorbell))
    else { return false }
    sleep.arm(doorbell)
    return true
  }

  /// A wait for a word has ended: the word was rung, it had another value in the first place, or the wait was
  /// cancelled.
  mutating func doorbellRang(_ doorbell: Int, _ result: Int32) {
    sleep.disarm(doorbell)
    switch -result {
    case 0: count(.doorbells)
    case EAGAIN, ECANCELED, EINTR: break
    // The kernel got this wait late, when its host was gone.
    case EFAULT: break
    default:
      if sleep.stopListening() { options.logger.debug("controller \(identity): no futex in the ring: \(result)") }
    }
  }

  /// The controller takes no more requests from this channel.
  mutating func endListening(_ channel: ChannelIndex) {
    if !sleep.end(channel.number) { return }
    // Where the ring does not even take this, the wait stays until it is rung, or until the ring goes; one per place.
    _ = ring.cancel(.doorbell, index: UInt32(truncatingIfNeeded: channel.number))
  }
}
