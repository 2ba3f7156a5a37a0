/// How a controller that serves only clients at sockets spends the time between their messages.
///
/// It turns until neither it nor the front end can go on without the kernel. Then it submits and sleeps in one system
/// call; or it spins first, where that brings more answers (`SpinTrial`).
struct Rest {
  /// Whether prepared operations wait for the sleep that is about to come, which submits them: one system call for
  /// both.
  private(set) var defersSubmission = false
  /// When the controller last checked for work that nobody signals.
  private var lookedAt: UInt64 = 0
  private var trial = SpinTrial()
  /// The answers counted when it last spun.
  private var spunAtAnswer: UInt64 = 0

  /// Nanoseconds between two checks for work that nobody signals.
  private static var lookNanoseconds: UInt64 { 1_000_000 }

  /// A series of turns without a submission begins, or ends.
  mutating func deferSubmission(_ isDeferred: Bool) { defersSubmission = isDeferred }

  /// Whether it is time to check for work that nobody signals; then the next check is due later.
  mutating func beginLook(at now: UInt64) -> Bool {
    if now &- lookedAt < Self.lookNanoseconds { return false }
    lookedAt = now
    return true
  }

  /// Whether to spin before this sleep, with so many requests answered until now.
  ///
  /// Once per answer, so that a client that has gone away costs one spin. Not while the storage is at work: clients
  /// wait for the storage, and spinning does not end that sooner.
  mutating func spins(at now: UInt64, answered: UInt64, storageIsIdle: Bool) -> Bool {
    trial.look(at: now, answered: answered)
    return trial.spins && answered != spunAtAnswer && storageIsIdle
  }

  /// The controller spins now.
  mutating func beginSpin(answered: UInt64) { spunAtAnswer = answered }
}
