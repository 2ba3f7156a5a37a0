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

extension StorageLife {
  /// Whether the kernel has let go of everything that the lives before this one had given to it through this file.
  public func areEarlierOnesDrained(_ file: borrowing OwnedDescriptor) -> Bool {
    UnitLock.isDrained(file.number, self)
  }
}

/// The lock on a unit's file: one byte, exclusive, beyond every byte that can be data.
///
///     bit 61 | subsystem (31 bits of its generation) | controller (1) | incarnation (29)
///
/// It is taken on the open file description that all storage work of the life goes through (F_OFD_SETLK, fcntl(2)),
/// before the first of it. The kernel gives it up when the description goes, and a request that the kernel works on
/// holds on to it: so a lock that is gone says that nothing of that life will land any more. That is the drain proof.
/// A byte for each life, because the next one may use the file while the last one's requests still land. Any lock of
/// another subsystem says that the file is in use there.
///
/// One lock, and only on a file that is used: giving locks up is most of what the death of a controller with
/// thousands of units takes, and what waits for the last of them waits for all.
enum UnitLock {
  private static let first: Int64 = 1 << 61
  private static let count: Int64 = 1 << 61
  private static let countOfSubsystem: Int64 = 1 << 30
  private static let countOfController: Int64 = 1 << 29

  private static func subsystem(_ life: StorageLife) -> Int64 {
    first + Int64(life.subsystem & (1 << 31 - 1)) * countOfSubsystem
  }

  private static func byte(_ life: StorageLife) -> Int64 {
    subsystem(life) + Int64(life.controllerIndex) * countOfController + Int64(life.incarnation)
  }

  /// Takes the lock of a life. Two or three system calls.
  ///
  /// - Returns: 0; -EBUSY when a controller of another subsystem uses the file, or requests of a dead one still land;
  ///   -errno.
  static func take(_ descriptor: CInt, for life: StorageLife) -> CInt {
    let result = baton_ofd_try_lock(descriptor, byte(life))
    if result == -EAGAIN || result == -EACCES { return -EBUSY }
    if result < 0 { return result }
    // After one's own lock is taken: of two that come at once at least one sees the other.
    let strangers = isUsedElsewhere(descriptor, by: life)
    if strangers == 0 { return 0 }
    let undone = baton_ofd_unlock(descriptor, byte(life))
    return undone < 0 ? undone : strangers < 0 ? strangers : -EBUSY
  }

  /// Whether a controller of another subsystem uses the file: 1, 0 or -errno.
  static func isUsedElsewhere(_ descriptor: CInt, by life: StorageLife) -> CInt {
    let mine = subsystem(life)
    // A length of 0 would mean "to the end of the file" (fcntl(2)).
    let before = mine == first ? 0 : baton_ofd_is_locked_by_other(descriptor, first, mine - first)
    if before != 0 { return before }
    let next = mine + countOfSubsystem
    return next - first == count ? 0 : baton_ofd_is_locked_by_other(descriptor, next, count - (next - first))
  }

  /// Whether the kernel has let go of everything that lives of a controller before `incarnation` had given to it
  /// through this file. One system call. False also when the kernel does not say.
  static func isDrained(_ descriptor: CInt, _ life: StorageLife) -> Bool {
    if life.incarnation == 0 { return true }
    var first = life
    first.incarnation = 0
    return baton_ofd_is_locked_by_other(descriptor, byte(first), Int64(life.incarnation)) == 0
  }
}
