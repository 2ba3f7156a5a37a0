import CBatonShims
import Glibc

/// A socket that clients come to: this controller's own or, while it stands in, its peer's.
struct NBDListener {
  let socket: CInt
  /// Whether it is the peer's.
  let isPeers: Bool
  /// Whether clients come over TCP.
  let isTCP: Bool
  /// Whether it exists at all: the place of a closed one may have an event to come.
  var isOpen = true
  /// Whether an accept is on the ring.
  var isArmed = false
  /// Whether that is being ended.
  var isCancelled = false
  /// A client that was accepted and found no place; -1: none.
  var waiting: CInt = -1
  /// Not before this: the kernel has refused to accept.
  var restsUntil: UInt64 = 0

  init(_ socket: CInt, isPeers: Bool) {
    self.socket = socket
    self.isPeers = isPeers
    isTCP = NBDAddress.text(of: socket)?.hasPrefix("tcp:") ?? false
  }

  func close() {
    if waiting >= 0 { Glibc.close(waiting) }
    if isOpen { Glibc.close(socket) }
  }

  /// Removes a unix socket from the file system.
  func removePath() { Self.removePath(of: socket) }

  static func removePath(of socket: CInt) {
    guard let text = NBDAddress.text(of: socket), text.hasPrefix("unix:") else { return }
    unlink(String(text.dropFirst("unix:".count)))
  }
}

/// How a server gets its listening sockets: from its peer, which has had them from an earlier life of this controller,
/// or else by binding them again.
struct ListenerAcquisition {
  /// Whether all have been acquired.
  var isDone = false
  /// A connection to the peer's control socket, on which the peer was asked; -1: none.
  var asked: CInt = -1
  var askedAt: UInt64 = 0
  /// Whether the ring waits for the answer.
  var isWaiting = false
  /// When the next step is due.
  var due: UInt64 = 0
  /// When an address was first found to be in use.
  var busySince: UInt64 = 0

  mutating func endAsking() {
    if asked >= 0 {
      shutdown(asked, CInt(SHUT_RDWR))
      Glibc.close(asked)
    }
    asked = -1
  }

  func close() { if asked >= 0 { Glibc.close(asked) } }
}
