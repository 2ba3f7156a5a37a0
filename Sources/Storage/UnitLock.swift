import BatonSystem
import CBatonShims
import Glibc

/// The holder of a lock on a unit's file: one life of one controller of one subsystem.
public struct StorageLife: Sendable {
  /// 0 for a, 1 for b.
  public var controllerIndex: Int
  /// The life of it, by its incarnation.
  public var incarnation: UInt64
  /// The subsystem, by its generation.
  public var subsystem: UInt64

  /// That life.
  public init(controllerIndex: Int, incarnation: UInt64, subsystem: UInt64) {
    self.controllerIndex = controllerIndex
    self.incarnation = incarnation
    self.subsystem = subsystem
  }
}

extension StorageLife {
  /// Whether the kernel has let go of everything that the lives before this one had given to it through this file.
  public func areEarlierOnesDrained(_ file: borrowing OwnedDescriptor) -> Bool {
    UnitLock.isDrained(file.number, self)
  }
}

/// The locks on a unit's file: bytes beyond every byte that can be data.
///
///     bit 62 or 61 | subsystem (31 bits of its generation) | controller (1) | incarnation (29)
///
/// Each life of a controller takes both when it starts, before it serves anything, and holds them to its end. So
/// every controller of a running subsystem holds each of its units, and no other subsystem gets one, whichever dies.
/// - Bit 61, the drain lock, on the open file description that all storage work of the life goes through (F_OFD_SETLK,
///   fcntl(2)). The kernel gives it up when the description goes, and a request that the kernel works on holds on to
///   it: so a lock that is gone says that nothing of that life will land any more. That is the drain proof. A byte for
///   each life, because the next one may use the file while the last one's requests still land.
/// - Bit 62, the process's lock (F_SETLK). The kernel gives it up when the process ends, whatever is still in flight.
///   It decides nothing but how long another subsystem waits: one that is refused by a life that goes on is told so at
///   once, and one that finds the drain lock alone waits for what a dead controller had in flight. (It goes early where
///   one process closes the file twice, as an embedder with both controllers does; then the refusal takes longer.)
enum UnitLock {
  private static let drain: Int64 = 1 << 61
  private static let process: Int64 = 1 << 62
  private static let count: Int64 = 1 << 61
  private static let countOfSubsystem: Int64 = 1 << 30
  private static let countOfController: Int64 = 1 << 29

  /// The kind of a lock request.
  enum Outcome: Equatable {
    case taken
    /// A life of another subsystem has it, of the subsystem with that number (31 bits). `isAlive`: its process goes on.
    case heldElsewhere(subsystem: Int64, isAlive: Bool)
    /// -errno; -EBUSY: this very life has it, through another description.
    case failed(CInt)
  }

  static func subsystem(_ life: StorageLife) -> Int64 { Int64(life.subsystem & (1 << 31 - 1)) }

  private static func byte(_ life: StorageLife) -> Int64 {
    precondition(life.controllerIndex & ~1 == 0, "a controller is 0 or 1")
    precondition(life.incarnation < UInt64(countOfController), "an incarnation has 29 bits")
    return subsystem(life) * countOfSubsystem + Int64(life.controllerIndex) * countOfController
      + Int64(life.incarnation)
  }

  /// Takes both locks of a life, or none. Four system calls.
  static func take(_ descriptor: CInt, for life: StorageLife) -> Outcome {
    let result = shim_ofd_try_lock(descriptor, drain + byte(life))
    if result < 0 { return .failed(result == -EAGAIN || result == -EACCES ? -EBUSY : result) }
    // Where it cannot be had, refusals take longer.
    _ = shim_process_try_lock(descriptor, process + byte(life))
    // After one's own lock is taken: of two that come at once at least one sees the other.
    let outcome = look(descriptor, for: life)
    if outcome != .taken { _ = shim_ofd_unlock(descriptor, drain + byte(life)) }
    return outcome
  }

  /// The drain lock alone, shared, on a descriptor that is open for reading and carries no storage work.
  static func takeShared(_ descriptor: CInt, for life: StorageLife) -> CInt {
    shim_ofd_try_shared_lock(descriptor, drain + byte(life))
  }

  /// Whether a life of another subsystem holds the file; `.taken`: none does. Two system calls where none does.
  static func look(_ descriptor: CInt, for life: StorageLife) -> Outcome {
    var found: Int64 = 0
    let isHeld = isHeldElsewhere(descriptor, drain, life, &found)
    if isHeld <= 0 { return isHeld < 0 ? .failed(isHeld) : .taken }
    var living: Int64 = 0
    let isAlive = isHeldElsewhere(descriptor, process, life, &living)
    return .heldElsewhere(
      subsystem: (isAlive == 1 ? living - process : found - drain) / countOfSubsystem, isAlive: isAlive == 1)
  }

  /// Whether there is a lock of another subsystem behind `base`: 1, 0 or -errno.
  private static func isHeldElsewhere(
    _ descriptor: CInt, _ base: Int64, _ life: StorageLife, _ found: inout Int64
  ) -> CInt {
    let mine = subsystem(life) * countOfSubsystem
    // A length of 0 would mean "to the end of the file" (fcntl(2)).
    let before = mine == 0 ? 0 : shim_lock_of_other(descriptor, base, mine, &found)
    if before != 0 { return before }
    let next = mine + countOfSubsystem
    return next == count ? 0 : shim_lock_of_other(descriptor, base + next, count - next, &found)
  }

  /// Whether the kernel has let go of everything that lives of a controller before `incarnation` had given to it
  /// through this file. One system call. False also when the kernel does not say.
  static func isDrained(_ descriptor: CInt, _ life: StorageLife) -> Bool {
    if life.incarnation == 0 { return true }
    var first = life
    first.incarnation = 0
    return shim_ofd_is_locked_by_other(descriptor, drain + byte(first), Int64(life.incarnation)) == 0
  }
}

// Waiting for a lock.
extension UnitLock {
  /// How long one of two subsystems that start at the same moment waits for the other to give in.
  private static let contentionMillisecondsMax = 100

  /// Takes a unit for one life of a controller. What a dead controller of another subsystem had in flight is waited
  /// for; a living one is a refusal at once.
  static func hold(_ file: borrowing OwnedDescriptor, _ unit: UnitToOpen) throws(BatonError) {
    try hold(unit.path, for: unit.life, unit.lockMillisecondsMax) { take(file.number, for: unit.life) }
  }

  /// The same for any kind of lock.
  static func hold(
    _ path: String, for life: StorageLife, _ millisecondsMax: Int, _ take: () -> Outcome
  ) throws(BatonError) {
    var attempts = 0
    while true {
      let attemptsMax: Int
      switch take() {
      case .taken: return
      case .failed(-EBUSY): attemptsMax = millisecondsMax
      case .failed(let result): throw BatonError(result: Int(result), path, doing: "locking the unit")
      case .heldElsewhere(let subsystem, isAlive: true):
        // Both may have come at once and have seen each other: then the one with the larger number gives in.
        let mayGiveIn = self.subsystem(life) < subsystem
        attemptsMax = mayGiveIn ? min(contentionMillisecondsMax, millisecondsMax) : 0
      case .heldElsewhere(_, isAlive: false): attemptsMax = millisecondsMax
      }
      guard attempts < attemptsMax else {
        throw BatonError(
          .busy, path, "is in use by another subsystem",
          fix: "stop that subsystem's controllers, or name another file")
      }
      attempts += 1
      usleep(1000)
    }
  }

  /// Refuses a file that a subsystem uses at present, for one that is about to be created.
  static func checkUnused(_ file: borrowing OwnedDescriptor, _ path: String) throws(BatonError) {
    let nobody = StorageLife(controllerIndex: 0, incarnation: 0, subsystem: 0)
    try hold(path, for: nobody, Storage.lockMillisecondsMax) { look(file.number, for: nobody) }
  }
}
