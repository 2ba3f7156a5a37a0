import BatonSharedMemory
import CBatonShims
import Glibc

/// Whose storage work a lock on a unit's file stands for: one life of one controller of one subsystem.
public struct StorageLife: Sendable {
  /// 0 for a, 1 for b.
  public var controllerIndex: Int
  /// Which life of it.
  public var incarnation: UInt64
  /// Which subsystem, by its generation.
  public var subsystem: UInt64

  /// That life.
  public init(controllerIndex: Int, incarnation: UInt64, subsystem: UInt64) {
    self.controllerIndex = controllerIndex
    self.incarnation = incarnation
    self.subsystem = subsystem
  }
}

/// The locks on a unit's file, beyond every byte that can be data:
///
///     2^61 + incarnation           exclusive: this life of a has the file open
///     2^61 + 2^60 + incarnation    exclusive: this life of b
///     2^62 + subsystem             shared: a controller of this subsystem has the file open
///
/// They are taken on the open file description that all storage work of the life goes through (F_OFD_SETLK,
/// fcntl(2)). The kernel gives them up when the description goes, and a request that the kernel works on holds on to
/// it: so a lock that is gone says that nothing of that life will land any more. That is the drain proof. A byte for
/// each life, because the next one may have the file open while the last one's requests still land.
enum UnitLock {
  private static let lives: Int64 = 1 << 61
  private static let livesEach: Int64 = 1 << 60
  private static let subsystems: Int64 = 1 << 62
  private static let subsystemsCount: Int64 = 1 << 61

  /// Takes the locks of a life.
  ///
  /// - Throws: `.busy` when a controller of another subsystem has the file open, or a dead one's requests still land
  ///   after so many milliseconds.
  static func take(
    _ file: borrowing OwnedDescriptor, for life: StorageLife, path: String, millisecondsMax: Int
  ) throws(BatonError) {
    let mine = subsystems + Int64(life.subsystem & UInt64(subsystemsCount - 1))
    var attempts = 0
    while true {
      try check(baton_ofd_try_lock_shared(file.number, mine), path, doing: "locking it for its subsystem")
      // After one's own lock is taken: of two that come at once at least one sees the other.
      let before = baton_ofd_is_locked_by_other(file.number, subsystems, mine - subsystems)
      let after = baton_ofd_is_locked_by_other(
        file.number, mine + 1, subsystems + subsystemsCount - mine - 1)
      // A length of 0 is "to the end of the file" (fcntl(2)), and the subsystem with the first byte has none before.
      if mine == subsystems || before == 0, after == 0 { break }
      try check(min(before, after, 0), path, doing: "looking at its locks")
      try check(baton_ofd_unlock(file.number, mine), path, doing: "unlocking it")
      guard attempts < millisecondsMax else {
        throw BatonError(
          .busy, path, "is in use by another subsystem",
          mend: "stop that subsystem's controllers; requests of dead ones may take a moment to end")
      }
      attempts += 1
      usleep(1000)
    }
    let result = baton_ofd_try_lock(file.number, byte(life.controllerIndex, life.incarnation))
    if result == -EAGAIN || result == -EACCES {
      throw BatonError(
        .busy, path, "is locked by this very life of controller \(life.controllerIndex == 0 ? "a" : "b")",
        mend: "name each file for one unit only")
    }
    try check(result, path, doing: "locking it")
  }

  /// Whether the kernel has let go of everything that lives of a controller before `incarnation` had given to it
  /// through this file. One system call. False also when the kernel does not say.
  static func isDrained(_ descriptor: CInt, controllerIndex: Int, before incarnation: UInt64) -> Bool {
    if incarnation == 0 { return true }
    let first = byte(controllerIndex, 0)
    return baton_ofd_is_locked_by_other(descriptor, first, Int64(incarnation)) == 0
  }

  private static func byte(_ controllerIndex: Int, _ incarnation: UInt64) -> Int64 {
    lives + Int64(controllerIndex) * livesEach + Int64(incarnation)
  }
}
