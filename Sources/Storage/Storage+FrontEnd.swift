import CLiburing
import Glibc

// What a front end has on the controller's ring: sockets, so that one system call carries them and the storage, and a
// sleeping controller wakes for both. Each ends in one `Event.ready` with the front end's kind and index.
extension Storage {
  /// Kinds of tokens that belong to a front end; smaller ones are the controller's.
  public static let frontEndKinds: ClosedRange<UInt8> = 128...254

  /// Receives into what `message` points at, as much as there is at once (recvmsg(2)). All of it stays until the event.
  ///
  /// The socket must not be non-blocking: the ring would not always wait for it. With `isEmpty`, as far as one can
  /// know, nothing has come yet, and it is not tried before something has: an attempt for nothing costs as much as one
  /// that brings something.
  ///
  /// - Returns: false when the ring takes nothing at present.
  public mutating func receive(
    _ descriptor: CInt, _ message: UnsafeMutablePointer<msghdr>, isEmpty: Bool, kind: UInt8, index: UInt32
  ) -> Bool {
    guard let sqe = entry() else { return false }
    if message.pointee.msg_iovlen == 1 {
      // One piece needs none of the structures that describe several, and the kernel none of them copied and checked.
      io_uring_prep_recv(sqe, descriptor, message.pointee.msg_iov[0].iov_base, message.pointee.msg_iov[0].iov_len, 0)
    } else {
      io_uring_prep_recvmsg(sqe, descriptor, message, 0)
    }
    if isEmpty { baton_sqe_poll_first(sqe) }
    return tag(sqe, kind, index)
  }

  /// Sends what `message` points at, as much as the socket takes (sendmsg(2)). All of it stays until the event.
  ///
  /// - Returns: false when the ring takes nothing at present.
  public mutating func send(
    _ descriptor: CInt, _ message: UnsafeMutablePointer<msghdr>, kind: UInt8, index: UInt32
  ) -> Bool {
    guard let sqe = entry() else { return false }
    // A client that is gone is an error of this send, not a signal for this process.
    io_uring_prep_sendmsg(sqe, descriptor, message, UInt32(MSG_NOSIGNAL))
    return tag(sqe, kind, index)
  }

  /// Accepts one connection (accept4(2)): the event's result is its descriptor, closed at exec.
  ///
  /// - Returns: false when the ring takes nothing at present.
  public mutating func accept(_ listener: CInt, kind: UInt8, index: UInt32) -> Bool {
    guard let sqe = entry() else { return false }
    io_uring_prep_accept(sqe, listener, nil, nil, CInt(SOCK_CLOEXEC.rawValue))
    return tag(sqe, kind, index)
  }

  /// Waits once until a descriptor can be read.
  ///
  /// - Returns: false when the ring takes nothing at present.
  public mutating func waitToRead(_ descriptor: CInt, kind: UInt8, index: UInt32) -> Bool {
    guard let sqe = entry() else { return false }
    io_uring_prep_poll_add(sqe, descriptor, UInt32(POLLIN))
    return tag(sqe, kind, index)
  }

  /// Submits what is prepared and sleeps until something happens. One system call.
  public func wait(nanoseconds: Int64) { ring.wait(nanoseconds: nanoseconds) }

  private func tag(_ sqe: UnsafeMutablePointer<baton_uring_sqe>, _ kind: UInt8, _ index: UInt32) -> Bool {
    precondition(Self.frontEndKinds.contains(kind), "a front end's operation under another one's kind")
    baton_sqe_set_token(sqe, Self.token(kind, index))
    return true
  }

  /// What is known of a stretch of a unit from `offset` on: how far it goes, `length` at the most, and whether nothing
  /// is allocated there, so that it reads as zeroes. Of a file that its file system tells of; of anything else all is
  /// allocated. Cost: two system calls for a file.
  public func extent(unit: Int, offset: UInt64, length: UInt64) -> (length: UInt64, isHole: Bool) {
    let backend = backends[unit]
    guard backend.geometry.kind == .file, length > 0 else { return (length, false) }
    // The position of the description is nobody's: every transfer brings its offset along.
    let data = lseek(backend.descriptor, off_t(offset), SEEK_DATA)
    // ENXIO: no data from here to the end of the file (lseek(2)). Any other error: nothing is known.
    if data < 0 { return (length, errno == ENXIO) }
    let mask = ~(UInt64(backend.geometry.blockSize) - 1)
    // A block that is a hole in part is data.
    let begin = UInt64(data) & mask
    if begin > offset { return (min(begin - offset, length), true) }
    let hole = lseek(backend.descriptor, data, SEEK_HOLE)
    if hole < 0 { return (length, false) }
    let end = (UInt64(hole) + ~mask) & mask
    return (end > offset ? min(end - offset, length) : length, false)
  }

  /// The file that a unit's blocks lie in, where they lie in memory: for sendfile(2), from there and without a copy.
  /// -1: there is none. It stays open as long as the storage lives.
  public func fileInMemory(unit: Int) -> CInt { backends[unit].pages }

  /// Whether a unit's blocks lie nowhere: what is read is what the buffer held.
  public func readsNothing(unit: Int) -> Bool { backends[unit].geometry.kind == .null }
}
