import BatonOwnership
import BatonSharedMemory
import BatonSystem

/// The state of a subsystem at one moment, read from its region without a controller's help.
public struct SubsystemStatus: Sendable {
  /// One of the two controllers.
  public struct ControllerStatus: Sendable {
    /// Its identity.
    public let identity: ControllerIdentity
    /// Whether a process holds the seat.
    public let isRunning: Bool
    /// `absent`, `starting`, `serving`, `leaving`.
    public let phase: String
    /// `vacant`, `member`, `fenced`, `left`: its standing in the membership word.
    public let standing: String
    /// Its progress in standing in for its peer; see `TakeoverStage`.
    public let takeover: String
    /// Its life.
    public let incarnation: UInt64
    /// The process, of this life or the last.
    public let pid: UInt64
    /// Whether it sleeps.
    public let isParked: Bool
    /// How its loop waits when it has nothing to do, as it was started; nil: unknown.
    public let waiting: WaitStrategy?
    /// How long ago its loop last turned, in nanoseconds; nil: it does not run, or has not turned. A loop that turns or
    /// sleeps says so at least once a second; one that is stopped or stalled does not.
    public let nanosecondsSinceTurn: UInt64?
    /// By `Counter.rawValue`.
    public let counters: [UInt64]

    /// One counter.
    public subscript(_ counter: Counter) -> UInt64 { counters[counter.rawValue] }
  }

  /// One function.
  public struct FunctionStatus: Sendable {
    /// `management` or `unit 3`.
    public let name: String
    /// The unit, or nil for management.
    public let unit: Int?
    /// Its owner, or nil.
    public let owner: ControllerIdentity?
    /// Whether the owner's peer requests it.
    public let isRequested: Bool
    /// Changes of owner so far.
    public let term: UInt64
  }

  /// One unit.
  public struct UnitStatus: Sendable {
    /// Its number.
    public let unit: Int
    /// Its given name; empty: none.
    public let name: String
    /// The file or device; empty for memory and null.
    public let path: String
    /// `file`, `blockDevice`, `memory`, `null`.
    public let kind: String
    /// Size in bytes.
    public let size: UInt64
    /// Block size in bytes.
    public let blockSize: UInt64
    /// Whether the page cache is bypassed.
    public let isDirect: Bool
    /// Whether it serves.
    public let state: UnitState
  }

  /// Its name.
  public let name: String
  /// The subsystem of that name, by its generation.
  public let generation: UInt64
  /// a and b.
  public let controllers: [ControllerStatus]
  /// Management, then the units.
  public let functions: [FunctionStatus]
  /// In order.
  public let units: [UnitStatus]

  /// Changes of owner over all functions.
  public var terms: UInt64 { functions.reduce(0) { $0 + $1.term } }
}

extension Subsystem {
  /// Reads the region as it is now.
  ///
  /// - Throws: an error that says what is wrong with the region.
  public func status() throws(BatonError) -> SubsystemStatus {
    let region = try Region(opening: location, writable: false)
    var controllers: [SubsystemStatus.ControllerStatus] = []
    for identity in ControllerIdentity.allCases {
      let record = region.controller(identity)
      let phase = record.phase
      let isRunning = region.isSeatTaken(of: identity)
      let turnedAt = record.turnedAt.loadRelaxed()
      let now = monotonicNanoseconds()
      controllers.append(
        SubsystemStatus.ControllerStatus(
          identity: identity, isRunning: isRunning, phase: "\(phase.phase)",
          standing: "\(region.membership.current.standing(identity))",
          takeover: "\(TakeoverStage(rawValue: record.takeover.loadRelaxed()) ?? .none)",
          incarnation: phase.incarnation, pid: record.pid.loadRelaxed(), isParked: record.parked.saysAsleep,
          waiting: isRunning ? record.waiting : nil,
          nanosecondsSinceTurn: isRunning && turnedAt > 0 ? now &- min(turnedAt, now) : nil,
          counters: record.counters.values))
    }
    var functions: [SubsystemStatus.FunctionStatus] = []
    for index in 0..<region.functionCount {
      let function = Function(index: index)
      let word = OwnershipWord(rawValue: region.ownership.word(index).loadAcquiring())
      functions.append(
        SubsystemStatus.FunctionStatus(
          name: "\(function)", unit: function.unit, owner: word.owner, isRequested: word.isRequested, term: word.term))
    }
    var units: [SubsystemStatus.UnitStatus] = []
    for unit in 0..<region.unitCount {
      let (geometry, path, _) = region.unit(unit)
      units.append(
        SubsystemStatus.UnitStatus(
          unit: unit, name: region.name(ofUnit: unit), path: path, kind: "\(geometry.kind)", size: geometry.size,
          blockSize: UInt64(geometry.blockSize),
          isDirect: geometry.isDirect,
          state: UnitStateWord(rawValue: region.unitStates.word(unit).loadRelaxed()).state))
    }
    return SubsystemStatus(
      name: location.name, generation: region.header.generation, controllers: controllers, functions: functions,
      units: units)
  }
}
