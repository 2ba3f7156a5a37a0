import BatonChannel
import BatonOwnership
import BatonSystem
import Glibc

// Waiting: for answers, for a controller, for one request.
extension Host {
  /// The longest sleep: a controller that died wakes nobody.
  private static let sleepNanosecondsMax: Int64 = 100_000_000

  /// Waits until there is probably something for `next`, as the waiting strategy says; at most `nanoseconds`.
  ///
  /// Returns early without reason now and then: call `next` again.
  public mutating func wait(nanoseconds: Int64 = 100_000_000) { _ = waitUntilCalled(nanoseconds: nanoseconds) }

  /// Waits as `wait` does, for a program that has another thread end the wait (`HostWaker.wake`).
  ///
  /// - Returns: whether one has.
  public mutating func waitUntilCalled(nanoseconds: Int64 = 100_000_000) -> Bool {
    var isCalled = false
    guard let callers else {
      wait(nanoseconds: nanoseconds, unless: { false })
      return false
    }
    wait(nanoseconds: nanoseconds) {
      isCalled = isCalled || callers.take()
      return isCalled
    }
    return isCalled
  }

  /// The same for a host that something else can call away: `isCalled` is asked before each sleep, after the sleep has
  /// been announced in `hostParked`; the caller makes its call visible first, and then wakes the word.
  mutating func wait(nanoseconds: Int64, unless isCalled: () -> Bool) {
    // Whatever ends the wait, the poll after it looks at everything.
    missesLeft = 0
    if submissionsUnrung > 0 { ringForAll() }
    let deadline = monotonicNanoseconds() &+ UInt64(max(nanoseconds, 0))
    var looks = 0
    while true {
      if hasAnswer || isCalled() { return waiter.worked() }
      if waiter.idle(expecting: outstanding > 0) == .park { break }
      looks += 1
      if looks % 1024 == 0 {
        maintain()
        if monotonicNanoseconds() >= deadline { return }
      }
    }
    let now = monotonicNanoseconds()
    if now >= deadline { return maintain() }
    // A doorbell that went nowhere: the survivor in that controller's place must be rung before this host sleeps.
    if channelA.hasLost || channelB.hasLost { maintain() }
    park(nanoseconds: min(Int64(deadline - now), Self.sleepNanosecondsMax), unless: isCalled)
    maintain()
  }

  private mutating func park(nanoseconds: Int64, unless isCalled: () -> Bool) {
    sleep.announce()
    if !hasAnswer, !isCalled(), sleep.sleep(nanoseconds: nanoseconds) { return }
    sleep.withdraw()
  }

  /// Waits until a controller has accepted this host, and its peer, if reached, has accepted or refused it.
  ///
  /// A controller that dies meanwhile ends nothing: its peer is asked, and so is its next life. Blocks the thread; if
  /// that thread turns the controllers as well, use `waitUntilAttached(nanoseconds:turning:)`.
  ///
  /// - Throws: the refusal, if no controller accepted; `.missing` if the subsystem is gone; `.busy` if no answer came
  ///   in that time.
  public mutating func waitUntilAttached(nanoseconds: UInt64 = 5_000_000_000) throws(BatonError) {
    try waitUntilAttached(nanoseconds: nanoseconds, meanwhile: { usleep(200) })
  }

  /// Waits until it is attached, in a thread that turns the controllers as well: `turn` polls them, again and again
  /// until they have answered.
  public mutating func waitUntilAttached(
    nanoseconds: UInt64 = 5_000_000_000, turning turn: () -> Void
  ) throws(BatonError) {
    try waitUntilAttached(nanoseconds: nanoseconds, meanwhile: turn)
  }

  private mutating func waitUntilAttached(nanoseconds: UInt64, meanwhile: () -> Void) throws(BatonError) {
    let deadline = monotonicNanoseconds() &+ min(nanoseconds, 1 << 62)
    while true {
      maintain()
      if !isAttaching {
        if isAttached(to: .a) || isAttached(to: .b) { return }
        if channelA.refusal != nil || channelB.refusal != nil { break }
        if let subsystemLoss { throw subsystemLoss }
      }
      if monotonicNanoseconds() >= deadline { break }
      meanwhile()
    }
    if isAttached(to: .a) || isAttached(to: .b) { return }
    let refusal = channelA.refusal ?? channelB.refusal
    throw BatonError(
      .busy, "subsystem '\(location.name)'",
      "no controller accepted this host: \(refusal ?? "none answered within \(nanoseconds / 1_000_000) ms")",
      fix: refusal == nil ? "see whether a controller serves with 'baton status \(location.name)'" : "")
  }

  /// Submits one request and waits for it. Nothing else may be outstanding. Blocks the thread; if that thread turns
  /// the controllers as well, use `perform(_:on:turning:)`.
  ///
  /// - Throws: `.missing` if no controller takes it within a minute, or if the subsystem is gone.
  public mutating func perform(
    _ request: Request, on controller: ControllerIdentity? = nil
  ) throws(BatonError) -> Completion {
    try perform(request, on: controller, by: Self.block)
  }

  /// Submits one request and waits for it, in a thread that turns the controllers as well: `turn` polls them, again and
  /// again until the request has been answered.
  public mutating func perform(
    _ request: Request, on controller: ControllerIdentity? = nil, turning turn: () -> Void
  ) throws(BatonError) -> Completion {
    try perform(request, on: controller, by: { _, _ in turn() })
  }

  /// What a call does while it waits: sleeps, or turns the controllers. It waits for room, or for an answer.
  typealias Waiting = (_ host: inout Host, _ isSubmitted: Bool) -> Void

  static func block(_ host: inout Host, _ isSubmitted: Bool) {
    if isSubmitted { host.wait() } else { usleep(1000) }
  }

  mutating func perform(
    _ request: Request, on controller: ControllerIdentity?, by waiting: Waiting
  ) throws(BatonError) -> Completion {
    precondition(outstanding == 0, "`perform` is for a host with nothing outstanding")
    let deadline = monotonicNanoseconds() + 60_000_000_000
    while !submit(request, to: controller) {
      maintain()
      if let subsystemLoss { throw subsystemLoss }
      waiting(&self, false)
      if monotonicNanoseconds() > deadline {
        throw BatonError(.missing, "subsystem '\(location.name)'", "no controller is attached")
      }
    }
    while true {
      if let completion = next() { return completion }
      if let subsystemLoss { throw subsystemLoss }
      waiting(&self, true)
    }
  }
}
