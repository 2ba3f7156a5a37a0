import BatonOwnership
import BatonSharedMemory
import Logging

/// How a controller behaves where there is a choice.
public struct ControllerOptions: Sendable {
  /// How it waits when it has nothing to do.
  public var waiting = WaitStrategy.standard
  /// How long it keeps a function that the other one wants too.
  public var residency = ResidencyPolicy.standard
  /// Hosts that can be attached at once.
  public var hostsMax = 128
  /// How long the other controller may leave a doorbell unanswered before this one kills it and takes over: from
  /// `deadlineNanosecondsMin` on.
  ///
  /// An embedder must turn the loop more often than the other controller's deadline.
  public var deadlineNanoseconds: UInt64 = 1_000_000_000
  /// How long a host may stay away with requests that are being recovered, before others that must wait for them are
  /// served. When it comes after that, it is told that nobody knows whether they were executed.
  public var hostAbsenceNanoseconds: UInt64 = 10_000_000_000
  /// How long a controller that leaves waits for what it has taken to end, and for hosts whose requests it recovers.
  /// After that it goes like one that has died: the peer, or the next controller to start, recovers what is left.
  public var farewellNanoseconds: UInt64 = 15_000_000_000
  /// Where this controller stops itself (SIGSTOP), for whoever tests what happens then; nil: nowhere.
  package var stopOrder: StopOrder?
  /// A mistake made on purpose, for whoever tests a checker; nil: none.
  package var defect: PlantedDefect?
  /// Whether requests are entered in the in-flight journal. Without it a takeover is not safe: this is for measuring
  /// what the journal costs.
  package var keepsJournal = true
  /// Whether it is woken by a futex where the kernel can do that in a ring (6.7 and newer), and not by its control
  /// sockets, which cost more: for measuring what that gives, and for testing what is done elsewhere.
  package var listensToWords = true
  /// Where it says what happens: hosts that come and go, refusals, faults. Never anything per request.
  ///
  /// It is called in the loop, which stands still for as long as it takes: `QueuedLog` makes any log handler into one
  /// that takes no time.
  public var logger = Logger(label: "baton.controller")

  /// The shortest deadline that makes sense: a machine under load keeps a process waiting that long.
  public static let deadlineNanosecondsMin: UInt64 = 20_000_000

  /// The defaults.
  public init() {}
}
