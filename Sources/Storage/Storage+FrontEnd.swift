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
  /// - Returns: false if the ring takes nothing at present.
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
  /// - Returns: false if the ring takes nothing at present.
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
  /// - Returns: false if the ring takes nothing at present.
  public mutating func accept(_ listener: CInt, kind: UInt8, index: UInt32) -> Bool {
    guard let sqe = entry() else { return false }
    io_uring_prep_accept(sqe, listener, nil, nil, CInt(SOCK_CLOEXEC.rawValue))
    return tag(sqe, kind, index)
  }

  /// Waits once until a descriptor can be read.
  ///
  /// - Returns: false if the ring takes nothing at present.
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

  /// What it takes to find out which parts of a stretch of a unit are holes; nil: all is data, or nothing is known of
  /// it.
  ///
  /// Not done here: lseek(2) waits for the inode's lock (inode_lock_shared in ext4_seek_data and ext4_seek_hole,
  /// fs/ext4/file.c), which a discard holds while it waits for direct I/O in flight. On a slow disk that is seconds.
  /// Cost: one system call.
  public func extentQuery(unit: Int, offset: UInt64, length: UInt64) -> ExtentQuery? {
    let backend = backends[unit]
    guard backend.geometry.kind == .file, length > 0 else { return nil }
    // A descriptor of its own: the storage may be gone when the answer comes.
    let descriptor = fcntl(backend.descriptor, F_DUPFD_CLOEXEC, 0)
    guard descriptor >= 0 else { return nil }
    return ExtentQuery(
      descriptor: descriptor, blockSize: UInt64(backend.geometry.blockSize), offset: offset, length: length)
  }

  /// The file that a unit's blocks lie in, where they lie in memory: for sendfile(2), from there and without a copy.
  /// -1: there is none. It stays open as long as the storage lives.
  public func fileInMemory(unit: Int) -> CInt { backends[unit].pages }

  /// Whether a unit's blocks lie nowhere: what is read is what the buffer held.
  public func readsNothing(unit: Int) -> Bool { backends[unit].geometry.kind == .null }
}

/// A part of a unit: how far it goes, and whether nothing is allocated there, so that it reads as zeroes.
public struct Extent: Sendable, Equatable {
  /// Bytes.
  public let length: UInt64
  /// Whether it is a hole.
  public let isHole: Bool

  /// An extent of these.
  public init(length: UInt64, isHole: Bool) {
    self.length = length
    self.isHole = isHole
  }
}

/// A question to a file system that may take its time to answer. Its holder asks once.
public struct ExtentQuery: Sendable {
  let descriptor: CInt
  let blockSize: UInt64
  let offset: UInt64
  let length: UInt64

  /// Asks, and lets go of the file: so many extents at most, from the beginning of the stretch on, which they may not
  /// reach the end of. Blocks for as long as the file system does. Cost: two system calls an extent.
  public func run(extentsMax: Int) -> [Extent] {
    defer { close(descriptor) }
    var extents: [Extent] = []
    var position = offset
    let end = offset + length
    while position < end, extents.count < extentsMax {
      let extent = next(position, end - position)
      extents.append(extent)
      position += extent.length
    }
    return extents
  }

  /// Lets go of the file without asking.
  public func abandon() { close(descriptor) }

  private func next(_ offset: UInt64, _ length: UInt64) -> Extent {
    // The position of the description is nobody's: every transfer brings its offset along.
    let data = lseek(descriptor, off_t(offset), SEEK_DATA)
    // ENXIO: no data from here to the end of the file (lseek(2)). Any other error: nothing is known.
    if data < 0 { return Extent(length: length, isHole: errno == ENXIO) }
    let mask = ~(blockSize - 1)
    // A block that is a hole in part is data.
    let begin = UInt64(data) & mask
    if begin > offset { return Extent(length: min(begin - offset, length), isHole: true) }
    let hole = lseek(descriptor, data, SEEK_HOLE)
    if hole < 0 { return Extent(length: length, isHole: false) }
    let end = (UInt64(hole) + ~mask) & mask
    return Extent(length: end > offset ? min(end - offset, length) : length, isHole: false)
  }
}
