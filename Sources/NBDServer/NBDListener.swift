import BatonSystem
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
  fileprivate(set) var isOpen = true
  /// Whether an accept is on the ring.
  fileprivate(set) var isArmed = false
  /// Whether that is being ended.
  fileprivate(set) var isCancelled = false
  /// A client that was accepted and found no place; -1: none.
  fileprivate(set) var waiting: CInt = -1
  /// Not before this: the kernel has refused to accept.
  fileprivate(set) var restsUntil: UInt64 = 0

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

/// The listening sockets of a server: those of its own controller, then those of the peer while it stands in.
///
/// Invariant: a listener keeps its number as long as an event of it may come.
struct ListenerTable: ~Copyable {
  private var listeners: [NBDListener] = []
  /// The life of the peer that has this controller's listening sockets.
  private(set) var handedTo: UInt64 = 0
  /// Whether it has checked, since it began to stand in for its peer, where the peer used to listen.
  private(set) var hasLookedForPeers = false

  deinit { for listener in listeners { listener.close() } }

  /// The numbers of all.
  var indices: Range<Int> { listeners.indices }

  subscript(_ index: Int) -> NBDListener { listeners[index] }

  /// The open ones of its own controller.
  var own: [NBDListener] { listeners.filter { !$0.isPeers && $0.isOpen } }

  /// Whether any is the peer's.
  var hasPeers: Bool { listeners.contains { $0.isPeers } }

  /// Adds a socket.
  mutating func add(_ socket: consuming OwnedDescriptor, isPeers: Bool) {
    listeners.append(NBDListener(socket.release(), isPeers: isPeers))
  }

  /// Closes the peer's, except those of which an event may come.
  mutating func closePeers() {
    for index in listeners.indices where listeners[index].isPeers && !listeners[index].isArmed {
      listeners[index].close()
      listeners[index].isOpen = false
      listeners[index].waiting = -1
    }
    // Numbers of the others stay what they are while events may come: these stand behind this controller's own.
    while let last = listeners.last, last.isPeers, !last.isOpen { listeners.removeLast() }
  }

  /// That life of the peer has this controller's sockets; 0: no life has.
  mutating func setHandedTo(_ life: UInt64) { handedTo = life }

  /// It checks now where the peer used to listen.
  mutating func lookForPeers() { hasLookedForPeers = true }

  /// This server does not stand in any more.
  mutating func endStandingIn() { hasLookedForPeers = false }

  // MARK: Accepting

  /// Whether the ring accepts there.
  mutating func setArmed(_ index: Int, _ isArmed: Bool) { listeners[index].isArmed = isArmed }

  /// Whether the ring is about to accept no more there.
  mutating func setCancelled(_ index: Int, _ isCancelled: Bool) { listeners[index].isCancelled = isCancelled }

  /// An accept has ended.
  mutating func endAccept(_ index: Int) { (listeners[index].isArmed, listeners[index].isCancelled) = (false, false) }

  /// The kernel has refused to accept: not before that time again.
  mutating func rest(_ index: Int, until time: UInt64) { listeners[index].restsUntil = time }

  /// A client was accepted and found no place.
  mutating func keep(waiting socket: CInt, _ index: Int) { listeners[index].waiting = socket }

  /// That client; nil: there is none.
  mutating func takeWaiting(_ index: Int) -> CInt? {
    defer { listeners[index].waiting = -1 }
    return listeners[index].waiting >= 0 ? listeners[index].waiting : nil
  }
}

/// How a server gets its listening sockets: from its peer, which has had them from an earlier life of this controller,
/// or else by binding them again.
struct ListenerAcquisition: ~Copyable {
  /// Whether all have been acquired.
  private(set) var isDone = false
  /// A connection to the peer's control socket, on which the peer was asked; -1: none.
  private(set) var asked: CInt = -1
  private var askedAt: UInt64 = 0
  /// Whether the ring waits for the answer.
  private(set) var isWaiting = false
  /// When the next step is due.
  private var due: UInt64 = 0
  /// When an address was first found to be in use.
  private var busySince: UInt64 = 0

  /// How long the peer may take to answer before an address is tried without it.
  private static var askNanosecondsMax: UInt64 { 1_000_000_000 }
  private static var askAgainNanoseconds: UInt64 { 20_000_000 }

  deinit { if asked >= 0 { Glibc.close(asked) } }

  /// Whether the next step is due. If so, the one after it is due a little later.
  mutating func beginStep(at now: UInt64) -> Bool {
    if now < due { return false }
    due = now + Self.askAgainNanoseconds
    return true
  }

  /// The peer has been asked over that socket.
  mutating func beginAsking(_ socket: consuming OwnedDescriptor, at now: UInt64) {
    asked = socket.release()
    askedAt = now
  }

  /// Whether the peer has had its time to answer.
  func isLate(at now: UInt64) -> Bool { now &- askedAt > Self.askNanosecondsMax }

  /// Whether the ring waits for the answer.
  mutating func setWaiting(_ isWaiting: Bool) { self.isWaiting = isWaiting }

  /// The answer has come, or will not come.
  mutating func endAsking() {
    if asked >= 0 {
      shutdown(asked, CInt(SHUT_RDWR))
      Glibc.close(asked)
    }
    asked = -1
  }

  /// An address is in use.
  ///
  /// - Returns: for how long one has been.
  mutating func noteBusy(at now: UInt64) -> UInt64 {
    if busySince == 0 { busySince = now }
    return now &- busySince
  }

  /// All have been acquired.
  mutating func end() { isDone = true }
}
