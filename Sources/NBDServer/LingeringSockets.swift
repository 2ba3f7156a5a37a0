import BatonSystem
import Glibc

/// Sockets of clients over TCP whose connection has ended on this side: they are shut down for writing, and read until
/// the client closes its side.
///
/// A close with unread data, or data that arrives after a close, resets the connection, and replies that are still on
/// their way to the client are lost (RFC 9293, 3.10.4; RFC 2525, 2.17). Unix sockets need no such care: what was sent
/// lies with the receiver already.
struct LingeringSockets: ~Copyable {
  private var sockets: [(descriptor: CInt, since: UInt64)] = []
  private let socketsMax: Int
  private let nanosecondsMax: UInt64

  /// Bytes that are dropped of one socket in one go: a client that continues to send must not keep the loop.
  private static var droppedMax: Int { 1 << 20 }

  /// - Parameters:
  ///   - socketsMax: how many of them at once. One more closes the oldest.
  ///   - nanosecondsMax: how long a client may leave its side open.
  init(socketsMax: Int, nanosecondsMax: UInt64) {
    self.socketsMax = socketsMax
    self.nanosecondsMax = nanosecondsMax
  }

  deinit {
    for socket in sockets { close(socket.descriptor) }
  }

  var count: Int { sockets.count }

  /// Takes a socket whose last byte has been given to the kernel.
  mutating func add(_ descriptor: consuming OwnedDescriptor, at now: UInt64) {
    if shutdown(descriptor.number, CInt(SHUT_WR)) != 0 || Self.hasEnded(descriptor.number) { return }
    if sockets.count >= socketsMax { close(sockets.removeFirst().descriptor) }
    sockets.append((descriptor.release(), now))
  }

  /// Drops what has come, and closes the sockets whose clients have closed their side or have had their time.
  mutating func tend(at now: UInt64) {
    sockets.removeAll { socket in
      let isOver = Self.hasEnded(socket.descriptor) || now &- min(socket.since, now) > nanosecondsMax
      if isOver { close(socket.descriptor) }
      return isOver
    }
  }

  /// Drops what has come. True if nothing more will come.
  private static func hasEnded(_ descriptor: CInt) -> Bool {
    // With MSG_TRUNC a TCP socket drops the bytes and copies none (tcp(7)).
    let result = recv(descriptor, nil, droppedMax, CInt(MSG_DONTWAIT) | CInt(MSG_TRUNC))
    if result < 0 { return errno != EAGAIN && errno != EINTR }
    return result == 0
  }
}
