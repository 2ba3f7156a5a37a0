import CBatonShims
import CLiburing
import Glibc

// Sockets of a front end: one system call carries them and the storage, and a sleeping controller wakes for both. Each
// operation ends in one completion.
extension Ring {
  /// Receives into what `message` points at, as much as there is at once (recvmsg(2)). All of it stays until the
  /// completion.
  ///
  /// The socket must not be non-blocking: the ring would not always wait for it. With `isEmpty`, as far as one can
  /// know, nothing has come yet, and it is not tried before something has: an attempt for nothing costs as much as one
  /// that brings something.
  ///
  /// - Returns: false when the ring takes nothing at present.
  public func receive(
    _ descriptor: CInt, _ message: UnsafeMutablePointer<msghdr>, isEmpty: Bool, for owner: RingOwner,
    index: UInt32
  ) -> Bool {
    assert(message.pointee.msg_iovlen > 0, "nothing would be received into")
    assert(Self.mayWait(descriptor), "the ring would not wait for a non-blocking socket")
    return prepare(owner, index) { sqe in
      if message.pointee.msg_iovlen == 1 {
        // One piece needs none of the structures that describe several, and the kernel none of them copied and checked.
        io_uring_prep_recv(sqe, descriptor, message.pointee.msg_iov[0].iov_base, message.pointee.msg_iov[0].iov_len, 0)
      } else {
        io_uring_prep_recvmsg(sqe, descriptor, message, 0)
      }
      if isEmpty { shim_sqe_poll_first(sqe) }
    }
  }

  private static func mayWait(_ descriptor: CInt) -> Bool {
    let flags = fcntl(descriptor, F_GETFL)
    return flags < 0 || flags & O_NONBLOCK == 0
  }

  /// Sends what `message` points at, as much as the socket takes (sendmsg(2)). All of it stays until the completion.
  ///
  /// - Returns: false when the ring takes nothing at present.
  public func send(
    _ descriptor: CInt, _ message: UnsafeMutablePointer<msghdr>, for owner: RingOwner, index: UInt32
  ) -> Bool {
    // A client that is gone is an error of this send, not a signal for this process.
    prepare(owner, index) { io_uring_prep_sendmsg($0, descriptor, message, UInt32(MSG_NOSIGNAL)) }
  }

  /// Accepts one connection (accept4(2)): the completion's result is its descriptor, closed at exec.
  ///
  /// - Returns: false when the ring takes nothing at present.
  public func accept(_ listener: CInt, for owner: RingOwner, index: UInt32) -> Bool {
    prepare(owner, index) { io_uring_prep_accept($0, listener, nil, nil, CInt(SOCK_CLOEXEC.rawValue)) }
  }
}
