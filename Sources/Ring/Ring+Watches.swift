import CBatonShims
import CLiburing
import Glibc

// Watches: descriptors that can be read, futex words that are rung.
extension Ring {
  /// Asks for a completion whenever `descriptor` can be read. Edge-triggered, and it goes on while `hasMore`.
  ///
  /// - Returns: false when the ring takes nothing at present.
  public func watch(_ descriptor: CInt, for owner: RingOwner, index: UInt32) -> Bool {
    prepare(owner, index) { shim_prep_poll_multishot($0, descriptor, UInt32(POLLIN)) }
  }

  /// Waits once until a descriptor can be read.
  ///
  /// - Returns: false when the ring takes nothing at present.
  public func waitToRead(_ descriptor: CInt, for owner: RingOwner, index: UInt32) -> Bool {
    prepare(owner, index) { io_uring_prep_poll_add($0, descriptor, UInt32(POLLIN)) }
  }

  /// Asks for one completion when the futex word at `address` is woken, or is not `expected` in the first place. Its
  /// result is -EINVAL where the kernel cannot do this (before 6.7).
  ///
  /// - Returns: false when the ring takes nothing at present.
  public func watchFutex(
    _ address: UnsafeMutableRawPointer, while expected: UInt32, for owner: RingOwner, index: UInt32
  ) -> Bool {
    prepare(owner, index) { shim_prep_futex_wait($0, address, UInt64(expected)) }
  }

  /// Ends the watch of a descriptor. Needed before the descriptor is closed: the ring holds on to the file until then.
  ///
  /// - Returns: false when the ring takes nothing at present.
  public func unwatch(_ owner: RingOwner, index: UInt32) -> Bool {
    assert(owner != .nobody, "nobody watches")
    return prepare(.nobody, 0) { io_uring_prep_poll_remove($0, RingToken(owner, index).rawValue) }
  }

  /// Ends the watch of a futex word, or an operation on a socket: its completion comes, with -ECANCELED or with what it
  /// brought before. The word may be unmapped meanwhile: the kernel looks at it when the watch begins and not again.
  ///
  /// - Returns: false when the ring takes nothing at present.
  public func cancel(_ owner: RingOwner, index: UInt32) -> Bool {
    assert(owner != .nobody, "a cancellation is not cancelled")
    return prepare(.nobody, 0) { io_uring_prep_cancel64($0, RingToken(owner, index).rawValue, 0) }
  }
}
