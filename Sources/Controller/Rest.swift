/// How a controller that serves nothing but clients at sockets spends the time between their messages.
///
/// It turns until neither it nor the front end can go on without the kernel, and then submits and sleeps in one system
/// call; or it spins first, where that brings more answers (`SpinTrial`).
struct Rest {
  /// Whether what is prepared waits for the sleep that is about to come, which gives it to the kernel: one system call
  /// for both.
  private(set) var defersSubmission = false
  /// When the controller has last looked after what nobody tells of.
  private var lookedAt: UInt64 = 0
  private var trial = SpinTrial()
  /// The answers counted when it last spun.
  private var spunAtAnswer: UInt64 = 0

  /// Nanoseconds between two looks at what nobody tells of.
  private static var lookNanoseconds: UInt64 { 1_000_000 }

  /// A row of turns begins, or ends, in which nothing is submitted.
  mutating func deferSubmission(_ isDeferred: Bool) { defersSubmission = isDeferred }

  /// Whether it is time to look after what nobody tells of; then the next look is due later.
  mutating func isLookDue(at now: UInt64) -> Bool {
    if now &- lookedAt < Self.lookNanoseconds { return false }
    lookedAt = now
    return true
  }

  /// Whether to spin before this sleep, with so many requests answered until now.
  ///
  /// Once an answer, so that a client that has gone away costs one spin. And not while the storage is at work: clients
  /// wait for that, and its end takes as long as it takes.
  mutating func spins(at now: UInt64, answered: UInt64, storageIsIdle: Bool) -> Bool {
    trial.look(at: now, answered: answered)
    return trial.spins && answered != spunAtAnswer && storageIsIdle
  }

  /// It spins now.
  mutating func beginSpin(answered: UInt64) { spunAtAnswer = answered }
}
