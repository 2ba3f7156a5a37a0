import CBatonShims
import Synchronization

/// The store-then-load fence between one who publishes often and one who goes to sleep seldom.
///
/// A sender publishes work and then looks whether the receiver sleeps; a receiver announces its sleep and then
/// looks for work. Each store must be ordered before the load that follows it, on both sides, or both miss each
/// other. Sync point "sleep": the sender pays `light`, a compiler barrier; the receiver pays `heavy`,
/// membarrier(2), which makes every running thread of every registered process execute a full barrier
/// (kernel: Documentation of membarrier, GLOBAL_EXPEDITED, 4.16).
///
/// Where the kernel has no membarrier, `light` is a full fence in this process, and a sleeper must bound its sleep
/// by `sleepNanosecondsMax`, because it cannot make the others fence.
public enum AsymmetricFence {
  /// Whether this process is registered for membarrier. Settled once, at the first use.
  public static let isSupported: Bool = baton_membarrier_register() == 0

  /// How long a sleeper may sleep without looking again when the fast side may have missed its announcement.
  public static let sleepNanosecondsMax: Int64 = 1_000_000

  /// The sender's side: call between publishing and looking whether the receiver sleeps.
  ///
  /// `supported` is `isSupported`, read once by the caller and kept: a static is a load and a check.
  @inlinable @inline(__always)
  public static func light(supported: Bool) {
    if supported { baton_compiler_fence() } else { atomicMemoryFence(ordering: .sequentiallyConsistent) }
  }

  /// A sleeper's side for sleeps of `sleepNanosecondsMax` at the most: its own fence, without the others', which may
  /// miss the announcement, and then cost it the rest of that time. A hundredth of what `heavy` takes.
  public static func brief() { atomicMemoryFence(ordering: .sequentiallyConsistent) }

  /// The sleeper's side: call between announcing the sleep and looking for work.
  ///
  /// - Returns: whether every other process's earlier stores are now visible, or its later look will see ours.
  public static func heavy() -> Bool {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    return isSupported && baton_membarrier() == 0
  }
}
