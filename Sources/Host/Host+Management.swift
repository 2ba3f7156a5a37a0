import BatonChannel
import BatonOwnership
import BatonSubsystem
import BatonSystem
import CBatonShims

/// The subsystem and the controller that answered.
public struct SubsystemIdentity: Sendable, Equatable {
  /// The generation of this subsystem: two of one name differ in it.
  public let generation: UInt64
  /// The owner of the management function.
  public let controller: ControllerIdentity
  /// The life of it, by its incarnation.
  public let incarnation: UInt64
  /// Its process.
  public let pid: UInt64
  /// Units of the subsystem.
  public let unitCount: Int
}

/// A unit, as the management function describes it.
public struct UnitDescription: Sendable, Equatable {
  /// Its number.
  public let unit: Int
  /// Bytes.
  public let size: UInt64
  /// Offsets, lengths and buffers are multiples of this.
  public let blockSize: UInt64
  /// Whether it serves.
  public let state: UnitState
}

// Management requests, one at a time: each waits for its answer, and nothing else may be outstanding. The answers
// come through the first bytes of the arena. Each has two forms. One blocks the thread. The other, `turning:`, is for a
// thread that turns the controllers as well, and calls what polls them until the answer has come.
extension Host {
  private mutating func manage(
    _ request: Request, on controller: ControllerIdentity?, by waiting: Waiting, _ subject: @autoclosure () -> String
  ) throws(BatonError) -> UInt64 {
    let completion = try perform(request, on: controller, by: waiting)
    guard completion.status == .success else {
      throw BatonError(.invalid, subject(), "\(completion.status)")
    }
    return completion.value
  }

  /// The subsystem's identity, and the owner of its management function. Blocks the thread.
  public mutating func identify(
    on controller: ControllerIdentity? = nil
  ) throws(BatonError) -> SubsystemIdentity {
    try identify(on: controller, by: Self.block)
  }

  /// The subsystem's identity, and the owner of its management function.
  /// `turn` polls the controllers until the answer has come.
  public mutating func identify(
    on controller: ControllerIdentity? = nil, turning turn: () -> Void
  ) throws(BatonError) -> SubsystemIdentity {
    try identify(on: controller, by: { _, _ in turn() })
  }

  private mutating func identify(
    on controller: ControllerIdentity?, by waiting: Waiting
  ) throws(BatonError) -> SubsystemIdentity {
    let length = UInt64(MemoryLayout<baton_identity>.size)
    _ = try manage(Request(.identify, length: length), on: controller, by: waiting, "identify")
    let answer = arena.baseAddress!.load(as: baton_identity.self)
    return SubsystemIdentity(
      generation: answer.generation, controller: answer.controller == 0 ? .a : .b, incarnation: answer.incarnation,
      pid: answer.pid, unitCount: Int(clamping: answer.unit_count))
  }

  /// All units, in order. Blocks the thread.
  public mutating func units(
    on controller: ControllerIdentity? = nil
  ) throws(BatonError) -> [UnitDescription] {
    try units(on: controller, by: Self.block)
  }

  /// All units, in order.
  /// `turn` polls the controllers until the answer has come.
  public mutating func units(
    on controller: ControllerIdentity? = nil, turning turn: () -> Void
  ) throws(BatonError) -> [UnitDescription] {
    try units(on: controller, by: { _, _ in turn() })
  }

  private mutating func units(
    on controller: ControllerIdentity?, by waiting: Waiting
  ) throws(BatonError) -> [UnitDescription] {
    let each = MemoryLayout<baton_unit_description>.stride
    let total = try identify(on: controller, by: waiting).unitCount
    let length = UInt64(min(arena.count, Int(Request.transferMax)) / each * each)
    var units: [UnitDescription] = []
    while units.count < total {
      let request = Request(.listUnits, unit: UInt32(units.count), length: length)
      let count = try manage(request, on: controller, by: waiting, "list of units")
      for index in 0..<Int(clamping: count) {
        let description = arena.baseAddress!.load(fromByteOffset: index * each, as: baton_unit_description.self)
        units.append(
          UnitDescription(
            unit: Int(clamping: description.unit), size: description.size, blockSize: description.block_size,
            state: UnitState(rawValue: description.state) ?? .offline))
      }
      if count == 0 { break }
    }
    return units
  }

  /// The state of a unit: whether it serves. Blocks the thread.
  public mutating func state(
    ofUnit unit: Int, on controller: ControllerIdentity? = nil
  ) throws(BatonError) -> UnitState {
    try state(ofUnit: unit, on: controller, by: Self.block)
  }

  /// The state of a unit: whether it serves.
  /// `turn` polls the controllers until the answer has come.
  public mutating func state(
    ofUnit unit: Int, on controller: ControllerIdentity? = nil, turning turn: () -> Void
  ) throws(BatonError) -> UnitState {
    try state(ofUnit: unit, on: controller, by: { _, _ in turn() })
  }

  private mutating func state(
    ofUnit unit: Int, on controller: ControllerIdentity?, by waiting: Waiting
  ) throws(BatonError) -> UnitState {
    let request = Request(.unitState, unit: UInt32(clamping: unit))
    let value = try manage(request, on: controller, by: waiting, "unit \(unit)")
    return UnitState(rawValue: value) ?? .offline
  }

  /// Sets whether a unit serves. In force for every request that is submitted, to either controller, after this.
  /// Blocks the thread.
  public mutating func setState(
    _ state: UnitState, ofUnit unit: Int, on controller: ControllerIdentity? = nil
  ) throws(BatonError) {
    try setState(state, ofUnit: unit, on: controller, by: Self.block)
  }

  /// Sets whether a unit serves. In force for every request that is submitted, to either controller, after this.
  /// `turn` polls the controllers until the answer has come.
  public mutating func setState(
    _ state: UnitState, ofUnit unit: Int, on controller: ControllerIdentity? = nil, turning turn: () -> Void
  ) throws(BatonError) {
    try setState(state, ofUnit: unit, on: controller, by: { _, _ in turn() })
  }

  private mutating func setState(
    _ state: UnitState, ofUnit unit: Int, on controller: ControllerIdentity?, by waiting: Waiting
  ) throws(BatonError) {
    let request = Request(.setUnitState, unit: UInt32(clamping: unit), offset: state.rawValue)
    _ = try manage(request, on: controller, by: waiting, "unit \(unit)")
  }

  /// Both controllers' counters, by `Counter.rawValue`: a, then b. Blocks the thread.
  public mutating func statistics(
    on controller: ControllerIdentity? = nil
  ) throws(BatonError) -> [[UInt64]] {
    try statistics(on: controller, by: Self.block)
  }

  /// Both controllers' counters, by `Counter.rawValue`: a, then b.
  /// `turn` polls the controllers until the answer has come.
  public mutating func statistics(
    on controller: ControllerIdentity? = nil, turning turn: () -> Void
  ) throws(BatonError) -> [[UInt64]] {
    try statistics(on: controller, by: { _, _ in turn() })
  }

  private mutating func statistics(
    on controller: ControllerIdentity?, by waiting: Waiting
  ) throws(BatonError) -> [[UInt64]] {
    let counters = Counters.capacity
    let request = Request(.statistics, length: UInt64(2 * counters * 8))
    _ = try manage(request, on: controller, by: waiting, "statistics")
    return (0..<2).map { which in
      (0..<counters).map { arena.baseAddress!.load(fromByteOffset: (which * counters + $0) * 8, as: UInt64.self) }
    }
  }
}
