import BatonSharedMemory
import BatonSystem
import Glibc

/// A controller's means for a unit's storage work: an open file, a stretch of memory, or nothing.
///
/// A plain record without ownership of its own, so that a table of them costs no reference counting on the hot
/// path; `Storage` opens and closes them. What depends on the kind was decided when it was opened: the hot path asks
/// flags.
@frozen
public struct Backend {
  /// The unit's properties, found when its subsystem was created.
  public let geometry: UnitGeometry
  /// Whether every operation is over when `Storage.start` returns, and does nothing.
  @usableFromInline let doesNothing: Bool
  /// Whether operations are I/O, or are made to look like it.
  @usableFromInline let isStorage: Bool
  /// What `Storage.start` does not do at once is done here.
  let work: Work
  /// Whether short transfers are done where they are started, by pread(2) and pwrite(2). Files on tmpfs: the ring hands
  /// each of their transfers to a thread of its own, which takes ten times as long as the copy.
  let copiesAtOnce: Bool
  let hasFaults: Bool
  let faults: FaultPlan
  /// The open file description that every operation of this controller on the unit goes through, or -1.
  let descriptor: CInt
  /// The first byte, for memory.
  let base: UnsafeMutableRawPointer?
  /// The file behind a memory unit; -1: it is not kept, or the unit is another one.
  private let memoryFile: CInt
  /// The lock that keeps a block device apart from its partitions and other names, see `BlockDeviceLock`; -1: none.
  private let deviceHold: CInt
  /// Operations begun so far, where there are faults.
  var operations: UInt64 = 0
  /// Operations of the ring that have not ended and may hold the file's lock for long, see `FileBackend.copy`.
  var lengthy: Int32 = 0
  /// Whether there may be a way to make zeroes that is quicker than to write them.
  let mayZeroQuickly: Bool
  /// Whether the file system or device has refused to make a hole, or to zero a range that stays allocated.
  private(set) var refusesHoles = false
  private(set) var refusesZeroRange: Bool

  /// Where the work is done that cannot be done at once.
  @usableFromInline
  enum Work: UInt8 {
    /// There is none: operations are over as soon as a delay is.
    case nothing
    /// In the controller's own thread, in pieces.
    case thread
    /// By the kernel, through the ring and `descriptor`.
    case ring
  }

  /// The means of a unit that is being opened. It owns the descriptors and the memory, until `close`.
  init(
    _ unit: UnitToOpen, work: Work, isStorage: Bool, descriptor: CInt = -1, memory base: UnsafeMutableRawPointer? = nil,
    memoryFile: CInt = -1, deviceHold: CInt = -1, copiesAtOnce: Bool = false, mayZeroQuickly: Bool = true,
    refusesZeroRange: Bool = false
  ) {
    precondition((work == .ring) == (descriptor >= 0), "the ring works on a descriptor")
    precondition((work == .thread) == (base != nil), "the thread works on memory")
    geometry = unit.geometry
    faults = unit.faults
    hasFaults = !unit.faults.isEmpty
    doesNothing = work == .nothing && unit.faults.isEmpty
    self.isStorage = isStorage || !unit.faults.isEmpty
    self.work = work
    // Faults are the ring's: they delay and shorten its calls.
    self.copiesAtOnce = copiesAtOnce && unit.faults.isEmpty
    self.descriptor = descriptor
    self.base = base
    self.memoryFile = memoryFile
    self.deviceHold = deviceHold
    self.mayZeroQuickly = mayZeroQuickly
    self.refusesZeroRange = refusesZeroRange
  }

  /// Closes what was opened.
  func close() {
    for number in [descriptor, memoryFile, deviceHold] where number >= 0 { _ = OwnedDescriptor(number) }
    if let base { _ = Mapping(adopting: base, count: Int(geometry.size)) }
  }

  /// The file whose pages can be sent as they are (sendfile(2)), because they are where its blocks lie; -1: there is
  /// none. Through O_DIRECT, which a subsystem of an earlier version may have of tmpfs, they would be copied.
  var pages: CInt {
    if hasFaults { return -1 }
    return copiesAtOnce && !geometry.isDirect ? descriptor : memoryFile
  }

  /// Whether a stretch of the unit lies within it. Operations without an extent have a length of 0.
  @inline(__always)
  func contains(_ offset: UInt64, _ length: UInt64) -> Bool {
    length <= geometry.size && offset <= geometry.size - length
  }
}

/// A unit that is about to be opened, for one life of a controller.
struct UnitToOpen {
  let geometry: UnitGeometry
  let path: String
  let faults: FaultPlan
  let life: StorageLife
  /// Milliseconds to wait for what a dead controller of another subsystem has in flight.
  let lockMillisecondsMax: Int
  /// Whether there are enough descriptors to keep those that are only useful, see `BackendKind.descriptorsUseful`.
  let keepsUsefulDescriptors: Bool
}

// How a stretch is made zero.
extension Backend {
  /// Ways to make a stretch of a file zero. A hole frees the storage, so it comes first where it may, and a thin image
  /// stays thin. A zeroed range stays allocated; what can do neither is written.
  @usableFromInline
  enum ZeroingMethod: UInt8 {
    case punchHole, zeroRange, writeZeroes
  }

  /// The best way to make zeroes, as far as it is known. What a backend has refused it never offers again, so an
  /// operation that is under way and asks again only moves on.
  func zeroing(_ operation: Storage.Operation, mustBeFast: Bool) -> ZeroingMethod {
    if mustBeFast, !mayZeroQuickly { return .writeZeroes }
    if operation != .fillZeroes, !refusesHoles { return .punchHole }
    return refusesZeroRange ? .writeZeroes : .zeroRange
  }

  /// A way was refused: it is not tried again.
  mutating func refuses(_ method: ZeroingMethod) {
    switch method {
    case .punchHole: refusesHoles = true
    case .zeroRange: refusesZeroRange = true
    case .writeZeroes: break
    }
  }
}
