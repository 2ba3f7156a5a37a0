import CBatonShims
import Glibc
import Synchronization

/// The atomics facade: one 64-bit word that several processes change.
///
/// Everything that is protocol (the arbiter, the hint ring, the request line) is written against this, so that a
/// test can run it on a memory of its own and choose every interleaving. The memory order is part of each name:
/// an order that is chosen at run time cannot be compiled to one instruction, and one that is not named at the
/// call cannot be reviewed there.
public protocol AtomicWord {
  /// No order with anything else.
  func loadRelaxed() -> UInt64
  /// Sees everything that was written before the release that stored the value it returns.
  func loadAcquiring() -> UInt64
  /// No order with anything else.
  func storeRelaxed(_ value: UInt64)
  /// Publishes everything that this process wrote before.
  func storeReleasing(_ value: UInt64)
  /// Writes `desired` if the word holds `expected`, as one step in the single order of all such steps.
  ///
  /// - Returns: whether it did, and what it found. One `lock cmpxchg`: also a full fence on x86.
  func compareExchange(expected: UInt64, desired: UInt64) -> (exchanged: Bool, original: UInt64)
  /// Writes `value` and returns the old value, as one step. Also a full fence on x86.
  func exchange(_ value: UInt64) -> UInt64
  /// Everything that this thread wrote before, here or elsewhere, is visible before anything that it reads after.
  func fence()
  /// Says that a store to this word will soon follow: no order with anything else, and no effect on any value.
  func prefetchForWriting()
}

extension AtomicWord {
  /// Nothing, for words that lie in no memory that others share.
  @inlinable @inline(__always)
  public func prefetchForWriting() {}
}

/// A word in shared memory. A pointer and nothing more: copying it copies the address.
@frozen
public struct SharedWord: AtomicWord {
  @usableFromInline let pointer: UnsafeMutablePointer<Atomic<UInt64>>

  /// The word at `address`, which must be 8-byte aligned and stay mapped while this value is used.
  @inlinable @inline(__always)
  public init(_ address: UnsafeMutableRawPointer) {
    pointer = address.assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Where it lies.
  @inlinable @inline(__always)
  public var address: UnsafeMutableRawPointer { UnsafeMutableRawPointer(pointer) }

  #if Simulation
    /// The word as the simulated machine takes it, which is asked at each step what this process finds and leaves.
    @inlinable @inline(__always)
    var plain: UnsafeMutablePointer<UInt64> {
      UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: UInt64.self)
    }
  #endif

  /// See `AtomicWord`: a plain load.
  @inlinable @inline(__always)
  public func loadRelaxed() -> UInt64 {
    #if Simulation
      return shim_simulated_load(plain)
    #else
      return pointer.pointee.load(ordering: .relaxed)
    #endif
  }

  /// See `AtomicWord`: a plain load on x86.
  @inlinable @inline(__always)
  public func loadAcquiring() -> UInt64 {
    #if Simulation
      return shim_simulated_load(plain)
    #else
      return pointer.pointee.load(ordering: .acquiring)
    #endif
  }

  /// See `AtomicWord`: a plain store.
  @inlinable @inline(__always)
  public func storeRelaxed(_ value: UInt64) {
    #if Simulation
      shim_simulated_store(plain, value)
    #else
      pointer.pointee.store(value, ordering: .relaxed)
    #endif
  }

  /// See `AtomicWord`: a plain store on x86.
  @inlinable @inline(__always)
  public func storeReleasing(_ value: UInt64) {
    #if Simulation
      shim_simulated_store(plain, value)
    #else
      pointer.pointee.store(value, ordering: .releasing)
    #endif
  }

  /// See `AtomicWord`: one `lock cmpxchg` on x86.
  @inlinable @inline(__always)
  public func compareExchange(expected: UInt64, desired: UInt64) -> (exchanged: Bool, original: UInt64) {
    #if Simulation
      shim_simulated_step(pointer)
    #endif
    return pointer.pointee.compareExchange(
      expected: expected, desired: desired, ordering: .sequentiallyConsistent)
  }

  /// See `AtomicWord`: one `xchg` on x86.
  @inlinable @inline(__always)
  public func exchange(_ value: UInt64) -> UInt64 {
    #if Simulation
      shim_simulated_step(pointer)
    #endif
    return pointer.pointee.exchange(value, ordering: .sequentiallyConsistent)
  }

  /// See `AtomicWord`: an `mfence` or its like.
  @inlinable @inline(__always)
  public func fence() {
    #if Simulation
      shim_simulated_step(pointer)
    #endif
    atomicMemoryFence(ordering: .sequentiallyConsistent)
  }

  /// Asks for the word's line for writing. Does not wait.
  ///
  /// A load of a line that another core has written brings a shared copy, and the store that follows must then ask for
  /// the line a second time, so that it moves twice. Called before the load, this brings the line for both at once. For
  /// looks that a store follows, or that find a line that its writer is done with: otherwise it takes the line from a
  /// writer that needs it. What it gains depends on the processor (docs/performance.md).
  @inlinable @inline(__always)
  public func prefetchForWriting() { shim_prefetch_for_writing(pointer) }

  /// Adds to a counter that only this process writes and others read: no bus lock needed.
  @inlinable @inline(__always)
  public func addAsOnlyWriter(_ amount: UInt64) {
    storeRelaxed(loadRelaxed() &+ amount)
  }
}

/// Orders what this thread has loaded before, from any word, ahead of what it loads and stores after. No instruction on
/// x86, where loads are not reordered.
@inlinable @inline(__always)
public func acquireFence() { atomicMemoryFence(ordering: .acquiring) }

/// Orders what this thread has loaded and stored before ahead of what it stores after. No instruction on x86, where
/// stores are not reordered.
@inlinable @inline(__always)
public func releaseFence() { atomicMemoryFence(ordering: .releasing) }

/// A 32-bit word in shared memory that a process can sleep on: what futex(2) takes.
@frozen
public struct SharedFutexWord {
  @usableFromInline let pointer: UnsafeMutablePointer<Atomic<UInt32>>

  /// The word at `address`, which must be 4-byte aligned and stay mapped while this value is used.
  @inlinable @inline(__always)
  public init(_ address: UnsafeMutableRawPointer) {
    pointer = address.assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// No order with anything else.
  @inlinable @inline(__always)
  public func loadRelaxed() -> UInt32 {
    #if Simulation
      return shim_simulated_load_half(UnsafeRawPointer(pointer).assumingMemoryBound(to: UInt32.self))
    #else
      return pointer.pointee.load(ordering: .relaxed)
    #endif
  }

  /// No order with anything else.
  @inlinable @inline(__always)
  public func storeRelaxed(_ value: UInt32) {
    #if Simulation
      shim_simulated_step(pointer)
    #endif
    pointer.pointee.store(value, ordering: .relaxed)
  }

  /// Writes `value` and returns the old value, as one step.
  @inlinable @inline(__always)
  public func exchange(_ value: UInt32) -> UInt32 {
    #if Simulation
      shim_simulated_step(pointer)
    #endif
    return pointer.pointee.exchange(value, ordering: .sequentiallyConsistent)
  }

  /// Sees everything that was written before the release that stored the value it returns.
  @inlinable @inline(__always)
  public func loadAcquiring() -> UInt32 {
    #if Simulation
      return shim_simulated_load_half(UnsafeRawPointer(pointer).assumingMemoryBound(to: UInt32.self))
    #else
      return pointer.pointee.load(ordering: .acquiring)
    #endif
  }

  /// Writes `desired` if the word holds `expected`, as one step.
  public func compareExchange(expected: UInt32, desired: UInt32) -> Bool {
    #if Simulation
      shim_simulated_step(pointer)
    #endif
    return pointer.pointee.compareExchange(
      expected: expected, desired: desired, ordering: .sequentiallyConsistent
    ).exchanged
  }

  /// Where it lies.
  public var address: UnsafeMutableRawPointer { UnsafeMutableRawPointer(pointer) }

  /// Sleeps while the word is `expected`, up to that time (nil: for ever). One system call.
  ///
  /// Returns after a wake, a change of the word, a signal or the time: the caller looks again in any case.
  ///
  /// - Returns: whether it was one of the first two.
  @discardableResult
  public func wait(while expected: UInt32, nanoseconds: Int64?) -> Bool {
    let word = UnsafeRawPointer(pointer).assumingMemoryBound(to: UInt32.self)
    let result = shim_futex_wait(word, expected, nanoseconds ?? -1)
    return result == 0 || result == -EAGAIN
  }

  /// Wakes every sleeper on the word. One system call.
  ///
  /// - Returns: how many slept.
  @discardableResult
  public func wake() -> Int {
    max(Int(shim_futex_wake(UnsafeRawPointer(pointer).assumingMemoryBound(to: UInt32.self), CInt.max)), 0)
  }
}
