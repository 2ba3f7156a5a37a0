import CBatonShims
import Synchronization

/// The store-then-load fence between a caller that publishes often and a sleeper that goes to sleep seldom.
///
/// A caller publishes something and then looks whether the sleeper sleeps; a sleeper announces its sleep and then
/// looks for what was published. Each store must be ordered before the load that follows it, on both sides, or both
/// miss each other. Sync point "sleep", see `SleepWord`: the caller pays `light`, a compiler barrier; the sleeper pays
/// `heavy`, membarrier(2), which makes every running thread of every registered process execute a full barrier
/// (kernel: Documentation of membarrier, GLOBAL_EXPEDITED, 4.16), but not for each sleep.
///
/// Where the kernel has no membarrier, `light` is a full fence in this process, and a sleeper must bound its sleep
/// by `sleepNanosecondsMax`, because it cannot make the others fence.
public enum AsymmetricFence {
  /// Whether this process is registered for membarrier. Settled once, at the first use.
  public static let isSupported: Bool = shim_membarrier_register() == 0

  /// How long a sleeper may sleep without looking again when the fast side may have missed its announcement.
  public static let sleepNanosecondsMax: Int64 = 1_000_000

  /// The caller's side: call between publishing and looking whether the sleeper sleeps.
  ///
  /// `supported` is `isSupported`, read once by the caller and kept: a static is a load and a check.
  @inlinable @inline(__always)
  public static func light(supported: Bool) {
    if supported { shim_compiler_fence() } else { atomicMemoryFence(ordering: .sequentiallyConsistent) }
  }

  /// The sleeper's side: call between saying that it sleeps often and saying that it sleeps.
  ///
  /// - Returns: whether every other process's earlier stores are now visible, or its later look will see ours.
  public static func heavy() -> Bool {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    return isSupported && shim_membarrier() == 0
  }
}
