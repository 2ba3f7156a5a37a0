/// A word that says whether one process sleeps, its sleeper, and how the others, its callers, wake it.
///
/// Callers publish what the sleeper looks for (a request, an answer, the owner of a function) and then look at the
/// word; the sleeper writes the word and then looks for what is published. Each side stores and then loads something
/// else, and unless the store is visible before the load both can miss each other. Sync point "sleep".
///
///      0 awake      the sleeper says `drowsy` before it sleeps; callers need no fence and do no more than look once
///      1 drowsy     awake, but about to sleep often: a caller fences and looks again
///      2 asleep     or about to be, and wakes by something else: by its control socket
///      3 listening  the same, and wakes by this word: futex(2), or FUTEX_WAIT in its ring
///
/// Invariants:
/// - the sleeper goes from awake to drowsy, and from there to asleep or listening only after `AsymmetricFence.heavy`
///   has succeeded in between; it comes back to drowsy when it wakes. So a sleeper that sleeps often asks nothing of
///   others when it sleeps, and one that is busy costs its callers no fence;
/// - between asleep or listening and the sleep it fences, and then looks for everything that callers publish;
/// - others change the word in one way only: from asleep or listening to drowsy. The caller that does so rings.
///
/// No call is lost. Take a caller that has published L and looks at the word once, and the sleeper's next look for L.
/// - It finds *awake*. The word said drowsy before the heavy fence, so this look came before that fence made the
///   caller's processor fence, and L is older than the look: the sleeper, which looks after the heavy fence, finds L.
/// - It finds anything else: it fences and looks again. Both sides have now stored, fenced and loaded. Either that
///   second look finds this sleep, and the caller rings; or it came before the sleeper's fence, and the sleeper finds
///   L; or it finds that the sleeper is awake again already, and will look before it sleeps the next time: for that
///   sleep the same holds, with this look before the sleeper's fence.
/// - It rings. Its compare-and-swap changed the word before the wake: a sleeper that is not on the futex's queue yet
///   finds another value than `listening` there, looked at under the lock of that queue, and does not sleep; one that
///   is on the queue is woken. A wait that an earlier sleep has left on the queue is as good. If the compare-and-swap
///   fails, the sleeper or another caller has changed the word since: one is awake, the other rings.
///
/// `SleepExplorer`, a test, walks through every interleaving and every order in which stores become visible.
@frozen
public struct SleepWord<Word: AtomicWord> {
  @usableFromInline let word: Word

  /// The values of the word.
  @frozen
  public enum State: UInt64 { case awake, drowsy, asleep, listening }

  /// The event that wakes the sleeper.
  @frozen
  public enum Bell { case word, other }

  /// The word at which these processes meet.
  @inlinable @inline(__always)
  public init(_ word: Word) { self.word = word }

  // MARK: Callers

  /// Caller, after it has published something and `AsymmetricFence.light`: whether that was all. Cost: one load.
  @inlinable @inline(__always)
  public var isAwake: Bool { word.loadRelaxed() == State.awake.rawValue }

  /// Caller, when that was not all: whether it is this one's to ring, and what. At most one caller a sleep is told so.
  /// Cost: a full fence and a load while the sleeper is awake, else a compare-and-swap as well.
  @inlinable
  public func takeSleep() -> Bell? {
    word.fence()
    let seen = word.loadRelaxed()
    if seen < State.asleep.rawValue { return nil }
    if !word.compareExchange(expected: seen, desired: State.drowsy.rawValue).exchanged { return nil }
    return seen == State.listening.rawValue ? .word : .other
  }

  // MARK: The sleeper

  /// Sleeper: says where it stands. The invariants above are its own to keep.
  @inlinable @inline(__always)
  public func say(_ state: State) { word.storeRelaxed(state.rawValue) }

  /// Sleeper, after it has said that it sleeps, and before it looks: everything said is visible first.
  @inlinable @inline(__always)
  public func fence() { word.fence() }

  /// Bystander: whether the sleeper sleeps or is about to.
  @inlinable
  public var saysAsleep: Bool { word.loadRelaxed() >= State.asleep.rawValue }
}

/// A sleep word in shared memory.
public typealias SharedSleepWord = SleepWord<SharedWord>

extension SleepWord where Word == SharedWord {
  /// The half of the word that futex(2) compares: states fit into it.
  public var futex: SharedFutexWord { SharedFutexWord(word.address + Self.futexOffset) }

  #if _endian(little)
    private static var futexOffset: Int { 0 }
  #else
    private static var futexOffset: Int { 4 }
  #endif

  /// Sleeper: sleeps while the word says `listening`, up to that time. One system call.
  ///
  /// - Returns: whether somebody has rung, and the word says so, as far as is known.
  public func wait(nanoseconds: Int64) -> Bool {
    futex.wait(while: UInt32(State.listening.rawValue), nanoseconds: nanoseconds)
  }

  /// Caller: wakes the listener. One system call.
  ///
  /// - Returns: false if nobody listened: the sleeper had not got to sleep, and does not now; or it is dead.
  public func ring() -> Bool { futex.wake() > 0 }
}
