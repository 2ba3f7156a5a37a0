import ArgumentParser
import Baton
import BatonCommandKit
import BatonSystem
import Glibc

/// Controllers as child processes: one, or both of a subsystem. Starts each again when it ends (`RestartRule`), until
/// this process is told to end.
///
/// Invariants:
/// - the end of one controller, and anything that keeps it from starting again, costs its peer nothing;
/// - a life counts as one that serves when the controller itself says so, through a pipe (`ServingNotice`): the
///   subsystem's folder may be gone by then;
/// - every process that was started is ended on every way out.
struct Supervision: ~Copyable {
  /// One controller, over all its lives. A class, because an array holds them; the present life ends with it.
  private final class Seat {
    let identity: ControllerIdentity
    let words: [String]
    /// Nil: it does not run.
    var process: ControllerProcess?
    /// A descriptor that can be read once it has ended; nil if the kernel gives none.
    var handle: OwnedDescriptor?
    /// The end of the pipe on which it says that it serves; nil: it has, or does not run.
    var notice: OwnedDescriptor?
    var startedAt: UInt64 = 0
    /// When it is started; nil: when its peer serves, or not at all.
    var due: UInt64? = 0

    init(_ identity: ControllerIdentity, words: [String]) {
      self.identity = identity
      self.words = words
    }

    var isRunning: Bool { process != nil }
    /// Whether it has said that it serves: nil as long as it has not; false if it can no longer say so.
    var hasAnnounced: Bool? {
      switch notice {
      case .some(let notice): ServingNotice.read(notice)
      case nil: nil
      }
    }
    /// The descriptors to wait for.
    var descriptors: [CInt] { [handle?.number, notice?.number].compactMap { $0 } }
  }

  private let subsystem: Subsystem
  private let generation: UInt64
  private let seats: [Seat]
  private var rule: RestartRule
  private let interruption: Interruption
  private var isEnding = false
  /// The reason if this ends before it was told to.
  private var failure: (any Error)?

  /// The interval at which the loop checks a process that has no handle.
  private static let lookMilliseconds: CInt = 20

  /// A supervision of a subsystem's controllers, with the words of each one's command line.
  init(
    _ subsystem: Subsystem, _ identities: [ControllerIdentity], words: (ControllerIdentity) -> [String]
  ) throws(BatonError) {
    let generation = try subsystem.status().generation
    interruption = try Interruption()
    self.subsystem = subsystem
    self.generation = generation
    seats = identities.map { Seat($0, words: ServingNotice.words(generation) + words($0)) }
    rule = RestartRule(seats: identities.count)
  }

  /// Until this process has been told to end and all controllers have left. `isSettled` is called once, when a
  /// controller serves and it is known of the others whether they do.
  ///
  /// - Throws: the reason that keeps every controller from serving, if any.
  consuming func run(whenSettled isSettled: () -> Void = {}) throws {
    var wasSettled = false
    while true {
      for index in seats.indices {
        startIfDue(index)
        readNotice(index)
        reap(index)
      }
      if interruption.take() != 0 || failure != nil, !isEnding { beginEnd() }
      if seats.allSatisfy({ !$0.isRunning && $0.due == nil }), isEnding { break }
      if !wasSettled, !isEnding, rule.isSettled {
        wasSettled = true
        isSettled()
      }
      wait()
    }
    if let failure { throw failure }
  }

  private mutating func beginEnd() {
    isEnding = true
    for seat in seats {
      seat.due = nil
      seat.process?.send(SIGTERM)
    }
  }

  /// Until a signal comes, a controller ends or serves, or one is due.
  private func wait() {
    let now = monotonicNanoseconds()
    let dues = seats.compactMap { seat in seat.isRunning ? nil : seat.due }
    var milliseconds: CInt = -1
    if let due = dues.min() { milliseconds = due > now ? CInt((due - now) / 1_000_000) + 1 : 0 }
    // Without a handle the loop looks at intervals.
    if seats.contains(where: { $0.isRunning && $0.handle == nil }) {
      milliseconds = milliseconds < 0 ? Self.lookMilliseconds : min(milliseconds, Self.lookMilliseconds)
    }
    interruption.wait(orReadable: seats.flatMap(\.descriptors), milliseconds: milliseconds)
  }

  // MARK: One life

  private mutating func startIfDue(_ index: Int) {
    let seat = seats[index]
    guard !seat.isRunning, !isEnding, failure == nil else { return }
    let now = monotonicNanoseconds()
    if seat.due == nil, rule.hasServed { seat.due = now + rule.delay(index) }
    guard let due = seat.due, due <= now else { return }
    rule.began(index)
    seat.startedAt = now
    seat.due = nil
    do throws(BatonError) {
      let pipe = try ServingNotice.pipe()
      let process = try ControllerProcess(seat.identity, words: seat.words, announcing: pipe)
      seat.handle = try? process.handle()
      seat.process = consume process
      seat.notice = pipe.takeReader()
    } catch {
      Console.error("baton: \(error)")
      decide(index, nil, error)
    }
  }

  private mutating func readNotice(_ index: Int) {
    let seat = seats[index]
    guard let hasCome = seat.hasAnnounced else { return }
    if hasCome { rule.served(index) }
    seat.notice = nil
  }

  private mutating func reap(_ index: Int) {
    let seat = seats[index]
    guard case .ended(let ending) = seat.process?.look() else { return }
    // What it has said before it ended.
    readNotice(index)
    seat.notice = nil
    seat.handle = nil
    seat.process = nil
    // A terminal interrupts the whole group: the signal has come here as well then.
    if !isEnding, interruption.take() != 0 { beginEnd() }
    if isEnding {
      // One that was told to leave before it held the signal back has died of that.
      if failure == nil, ending != .exited(0), !ending.isByTerminationSignal { failure = ExitCode(ending.code) }
      return
    }
    // The controller has reported the error.
    decide(index, ending, ExitCode(ending.code))
  }

  /// What follows the end of a life, or a start that failed.
  private mutating func decide(_ index: Int, _ ending: ProcessEnding?, _ reason: any Error) {
    let now = monotonicNanoseconds()
    let hadServed = rule.serves(index)
    let next = rule.ended(index, ending)
    if !hadServed, seats.allSatisfy({ !$0.isRunning }), let loss = lossOfSubsystem() {
      failure = loss
      return
    }
    let identity = seats[index].identity
    let lived = Figure.duration(now - seats[index].startedAt)
    let what =
      switch ending {
      case nil: "could not be started"
      case .exited(0): "left after \(lived), told to by somebody else"
      case let ending?: "\(ending) after \(lived)"
      }
    switch next {
    case .again(let delay):
      seats[index].due = now + delay
      Console.error("baton: controller \(identity) \(what); started again in \(Figure.duration(delay))")
    case .whenPeerServes:
      Console.error(
        "baton: controller \(identity) \(what), before it served; started again if controller \(identity.peer) serves")
    case .giveUp:
      failure = reason
      Console.error("baton: controller \(identity) \(what), before \(seats.count > 1 ? "either" : "it") ever served")
    }
  }

  /// Whether no controller can serve this subsystem any more: its folder is gone, or is another subsystem's.
  private func lossOfSubsystem() -> BatonError? {
    do throws(BatonError) {
      if try subsystem.status().generation == generation { return nil }
      return BatonError(
        .missing, "subsystem '\(subsystem.location.name)'",
        "was replaced by another one of that name while it was served", fix: "start again to serve that one")
    } catch {
      return error.code == .missing
        ? BatonError(
          .missing, "subsystem '\(subsystem.location.name)'", "was removed while it was served: \(error)",
          fix: "create it again with 'baton create'")
        : nil
    }
  }
}
