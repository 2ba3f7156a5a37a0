import BatonOwnership
import BatonSharedMemory
import Logging

/// How a controller behaves where there is a choice.
public struct ControllerOptions: Sendable {
  /// How it waits when it has nothing to do.
  public var waiting = WaitStrategy.standard
  /// How long it keeps a function that the peer wants too.
  public var residency = ResidencyPolicy.standard
  /// Hosts that can be attached at once.
  public var hostsMax = 128
  /// How long the peer may leave a doorbell unanswered before this controller kills it and takes over; at least
  /// `deadlineNanosecondsMin`.
  ///
  /// An embedder must turn the loop more often than the peer's deadline.
  public var deadlineNanoseconds: UInt64 = 1_000_000_000
  /// How long a host may stay away while its requests are under recovery, before others that must wait for them are
  /// served. A host that comes later is told that nobody knows whether they were executed.
  public var hostAbsenceNanoseconds: UInt64 = 10_000_000_000
  /// How long a leaving controller waits for its requests to end, and for hosts whose requests it recovers. After that
  /// it goes like one that has died: the peer, or the next controller to start, recovers what is left.
  public var farewellNanoseconds: UInt64 = 15_000_000_000
  /// Where this controller stops itself (SIGSTOP), for tests of what happens then; nil: nowhere.
  package var stopOrder: StopOrder?
  /// A mistake made on purpose, for tests of a checker; nil: none.
  package var defect: PlantedDefect?
  /// Whether the controller enters requests in the in-flight journal. Without it a takeover is not safe: this is for
  /// measuring the cost of the journal.
  package var keepsJournal = true
  /// Entries moved from a dead controller's journal in one turn, at most: between turns the beat advances. Fewer in a
  /// simulation, where journals are short.
  package var journalEntriesPerTurn = 1024
  /// Whether a futex wakes the controller where the kernel can do that in a ring (6.7 and newer), rather than its
  /// control sockets, which cost more. For measuring the gain, and for testing what older kernels use.
  package var listensToWords = true
  /// Where the controller logs what happens: hosts that come and go, refusals, faults. Never anything per request.
  ///
  /// The loop calls the logger, and stands still for as long as it takes. `QueuedLog` makes a log handler that never
  /// blocks out of any other.
  public var logger = Logger(label: "baton.controller")

  /// The shortest sensible deadline: a machine under load keeps a process waiting that long.
  public static let deadlineNanosecondsMin: UInt64 = 20_000_000

  /// The defaults.
  public init() {}
}
