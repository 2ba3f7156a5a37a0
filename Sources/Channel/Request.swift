/// The operations that a host can request. The raw values lie in request lines.
@frozen
public enum Operation: UInt8, Sendable, Equatable, CaseIterable {
  /// Moves blocks of a unit into the arena.
  case read = 1
  /// Moves blocks of the arena to a unit.
  case write = 2
  /// Moves everything answered before on the unit, through either controller, to stable storage.
  case flush = 3
  /// The blocks' contents are no longer needed.
  case discard = 4
  /// The blocks read as zeroes from now on.
  case writeZeroes = 5
  /// The blocks read as zeroes from now on, and stay allocated: no hole is made.
  case fillZeroes = 6
  /// The caller reads the blocks where they lie: nothing goes into the arena. For a front end in the controller's own
  /// process, which sends them on from there. Only units in memory support it.
  case readInPlace = 7

  /// Management: the subsystem and the controller that answer.
  case identify = 16
  /// Management: the units, from a first one on, as many as the buffer holds.
  case listUnits = 17
  /// Management: the state of a unit.
  case unitState = 18
  /// Management: sets the state of a unit.
  case setUnitState = 19
  /// Management: both controllers' counters.
  case statistics = 20

  /// Whether this goes to the management function.
  @inlinable @inline(__always)
  public var isManagement: Bool { rawValue >= 16 }

  /// Whether blocks move to or from the arena.
  @inlinable @inline(__always)
  public var usesBuffer: Bool { rawValue <= 2 || rawValue == 16 || rawValue == 17 || rawValue == 20 }

  /// Whether this changes the unit's blocks.
  @inlinable @inline(__always)
  public var changesUnit: Bool { Self.changesUnit(rawValue) }

  /// Whether an operation changes the unit's blocks, by its number.
  @inlinable @inline(__always)
  public static func changesUnit(_ number: UInt8) -> Bool {
    number == write.rawValue || number == discard.rawValue || number == writeZeroes.rawValue
      || number == fillZeroes.rawValue
  }
}

/// A service request: block I/O on a unit, or management of the subsystem.
@frozen
public struct Request: Sendable, Equatable {
  /// The requested operation.
  public var operation: Operation
  /// Whether the answer waits until the data is on stable storage (FUA). Writes and write zeroes only.
  public var isDurable: Bool
  /// Write zeroes: refuse with `.unsupported`, with nothing changed, if the storage would take as long as for a write.
  public var mustBeFast: Bool
  /// The unit's number. For `listUnits` the first one. Not used by `identify` and `statistics`.
  public var unit: UInt32
  /// Bytes from the unit's start, a multiple of its block size. For `setUnitState` the state.
  public var offset: UInt64
  /// Bytes, a multiple of the block size.
  public var length: UInt64
  /// The place of the data in the host's arena: bytes from its start, a multiple of the unit's block size.
  public var buffer: UInt64

  /// A request of these parts.
  @inlinable
  public init(
    _ operation: Operation, unit: UInt32 = 0, offset: UInt64 = 0, length: UInt64 = 0, buffer: UInt64 = 0,
    isDurable: Bool = false, mustBeFast: Bool = false
  ) {
    self.operation = operation
    self.isDurable = isDurable
    self.mustBeFast = mustBeFast
    self.unit = unit
    self.offset = offset
    self.length = length
    self.buffer = buffer
  }

  /// Bytes that one read or write moves, at most.
  public static let transferMax: UInt64 = 4 << 20
  /// Bytes that one discard or write zeroes covers, at most.
  public static let extentMax: UInt64 = 1 << 30
}

/// The result of a request. The raw values lie in request lines.
@frozen
public enum Status: UInt8, Sendable, Equatable, CustomStringConvertible, CaseIterable {
  /// Done.
  case success = 0
  /// No such operation.
  case invalidOperation = 1
  /// No such unit.
  case noSuchUnit = 2
  /// The extent exceeds the end of the unit.
  case outOfRange = 3
  /// Offset, length or buffer is not a multiple of the unit's block size.
  case misaligned = 4
  /// The length is zero.
  case zeroLength = 5
  /// The length exceeds the limit of one request.
  case tooLong = 6
  /// The buffer lies outside of the arena.
  case badBuffer = 7
  /// A value is invalid.
  case invalidValue = 8
  /// The unit is read-only.
  case readOnly = 9
  /// The unit is offline.
  case offline = 10
  /// The storage failed.
  case inputOutputError = 11
  /// The storage is full.
  case noSpace = 12
  /// The storage cannot do this.
  case unsupported = 13
  /// The controller leaves the subsystem and has not executed the request: ask its peer.
  case leaving = 14
  /// The controller died with the request, and this host was away for too long for others to wait: whether it
  /// was executed is unknown.
  case controllerLost = 15
  /// The unit's file is in use by another subsystem.
  case inUse = 16

  /// For people.
  public var description: String {
    switch self {
    case .success: "success"
    case .invalidOperation: "no such operation"
    case .noSuchUnit: "no such unit"
    case .outOfRange: "past the end of the unit"
    case .misaligned: "offset, length or buffer is not a multiple of the block size"
    case .zeroLength: "the length is zero"
    case .tooLong: "the length is more than one request may have"
    case .badBuffer: "the buffer lies outside of the arena"
    case .invalidValue: "a value that makes no sense"
    case .readOnly: "the unit is read-only"
    case .offline: "the unit is offline"
    case .inputOutputError: "input/output error"
    case .noSpace: "no space left on the storage"
    case .unsupported: "the storage cannot do this"
    case .leaving: "the controller leaves; not executed"
    case .inUse: "the unit's file is in use by another subsystem"
    case .controllerLost: "the controller died with the request"
    }
  }
}
