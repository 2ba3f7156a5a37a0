import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSystem
import Glibc

/// A subsystem as it is at each moment, read from its region without a controller's help. The region is opened and
/// checked once: after that each question is a load or a few, and only `isRunning` is a system call.
///
/// `Subsystem.status()` opens the region each time, and gives all of it as it was at one moment.
public struct SubsystemView: ~Copyable {
  private let region: Region

  /// The phase of a controller's life.
  public typealias Phase = ControllerRecord.Phase
  /// A controller's standing in the membership word.
  public typealias Standing = MembershipWord.Standing
  /// A controller's progress in standing in for its peer.
  public typealias Takeover = TakeoverStage
  /// The storage that holds a unit's blocks.
  public typealias UnitKind = UnitGeometry.Kind

  /// One of the two controllers.
  public struct ControllerView: Sendable {
    /// The phase of its present life, or its last one.
    public let phase: Phase
    /// Its standing.
    public let standing: Standing
    /// Its progress in standing in for its peer.
    public let takeover: Takeover
    /// Its life.
    public let incarnation: UInt64
    /// The process, of this life or the last.
    public let pid: UInt64
    /// Whether it sleeps.
    public let isParked: Bool
  }

  /// The ownership of one function.
  public struct Ownership: Sendable, Equatable {
    /// Its owner, or nil.
    public let owner: ControllerIdentity?
    /// Whether the owner's peer requests it.
    public let isRequested: Bool
    /// Changes of owner so far.
    public let term: UInt64

    init(_ word: SharedWord) {
      let word = OwnershipWord(rawValue: word.loadAcquiring())
      owner = word.owner
      isRequested = word.isRequested
      term = word.term
    }
  }

  /// One unit, as it was created.
  public struct UnitView: Sendable, Equatable {
    /// The storage that holds its blocks.
    public let kind: UnitKind
    /// Size in bytes.
    public let size: UInt64
    /// Offsets, lengths and buffers are multiples of this.
    public let blockSize: UInt32
    /// Whether the page cache is bypassed.
    public let isDirect: Bool
    /// Whether it serves at present.
    public let state: UnitState
  }

  /// Opens the region for reading.
  ///
  /// - Throws: `.missing` if there is none, or an error that says what is wrong with it.
  public init(of subsystem: Subsystem) throws(BatonError) {
    region = try Region(opening: subsystem.location, writable: false)
  }

  /// The subsystem of this name, by its generation: two of one name differ in it.
  public var generation: UInt64 { region.header.generation }

  /// Units of the subsystem.
  public var unitCount: Int { region.unitCount }

  /// The ownership of a unit. One load.
  public func ownership(ofUnit unit: Int) -> Ownership {
    Ownership(region.ownership.word(Function(unit: unit).index))
  }

  /// The ownership of the management function. One load.
  public var managementOwnership: Ownership { Ownership(region.ownership.word(Function.management.index)) }

  /// A unit. The name and the path are in `Subsystem.status()`.
  public func unit(_ unit: Int) -> UnitView {
    let geometry = region.geometry(ofUnit: unit)
    return UnitView(
      kind: geometry.kind, size: geometry.size, blockSize: geometry.blockSize, isDirect: geometry.isDirect,
      state: UnitStateWord(rawValue: region.unitStates.word(unit).loadRelaxed()).state)
  }

  /// A controller. Four loads.
  public func controller(_ controller: ControllerIdentity) -> ControllerView {
    let record = region.controller(controller)
    let phase = record.phase
    return ControllerView(
      phase: phase.phase, standing: region.membership.current.standing(controller),
      takeover: TakeoverStage(rawValue: record.takeover.loadRelaxed()) ?? .none, incarnation: phase.incarnation,
      pid: record.pid.loadRelaxed(), isParked: record.parked.saysAsleep)
  }

  /// Whether a controller serves. One load; a process that was killed a moment ago may still seem to.
  public func isServing(_ controller: ControllerIdentity) -> Bool {
    region.controller(controller).phase.phase == .serving
  }

  /// Whether a process holds a controller's seat. One system call.
  public func isRunning(_ controller: ControllerIdentity) -> Bool { region.isSeatTaken(of: controller) }

  /// One of a controller's counters. One load.
  public func count(_ counter: Counter, of controller: ControllerIdentity) -> UInt64 {
    region.controller(controller).counters[counter].loadRelaxed()
  }
}

extension Subsystem {
  /// Waits until these controllers serve, however they were started. Blocks the thread.
  ///
  /// - Throws: `.busy` with the controllers that do not, if that took longer; an error of the region.
  public func waitUntilServing(
    _ controllers: [ControllerIdentity] = ControllerIdentity.allCases, nanoseconds: UInt64 = 10_000_000_000
  ) throws(BatonError) {
    let view = try SubsystemView(of: self)
    let deadline = monotonicNanoseconds() &+ min(nanoseconds, 1 << 62)
    while true {
      let missing = controllers.filter { !view.isServing($0) || !view.isRunning($0) }
      if missing.isEmpty { return }
      if monotonicNanoseconds() >= deadline {
        let names = missing.map { "controller \($0)" }.joined(separator: " and ")
        throw BatonError(
          .busy, "subsystem '\(location.name)'",
          "\(names) did not serve within \(nanoseconds / 1_000_000) ms",
          fix: "start it with 'baton controller \(location.name) \(missing[0])', or read its log")
      }
      usleep(200)
    }
  }
}
