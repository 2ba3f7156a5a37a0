import Baton
import BatonNBD
import BatonNBDServer
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc
import Logging

/// A subsystem whose two controllers serve NBD on unix sockets, in one process and on one thread: the test's own loop
/// turns them.
final class ServerRig {
  /// One controller and its server.
  final class Side {
    private var server: NBDServer
    private var controller: Controller

    init(_ identity: ControllerIdentity, _ subsystem: Subsystem, _ options: NBDServerOptions) throws {
      var controllerOptions = ControllerOptions()
      controllerOptions.logger.logLevel = getenv("BATON_TEST_LOG") == nil ? .critical : .debug
      // A controller that is not turned for a while is not to be taken for dead.
      controllerOptions.deadlineNanoseconds = 60_000_000_000
      controller = try Controller(identity, of: subsystem, options: controllerOptions)
      server = try NBDServer(identity, of: subsystem, options: options)
    }

    /// Whether there was anything to do.
    @discardableResult
    func turn() -> Bool {
      let hasWorked = controller.poll()
      return server.turn(&controller) || hasWorked
    }

    var connections: Int { server.connectionCount }
    var isListening: Bool { server.isListening }
    var failure: BatonError? { server.failure }
    var isServing: Bool { controller.isServing }
    var isStopped: Bool { controller.isStopped }
    func beginStop() { controller.beginStop() }
    func finish() { server.finish(controller) }
  }

  let folder: ScratchFolder
  let subsystem: Subsystem
  private(set) var a: Side?
  private(set) var b: Side?
  private let change: (inout NBDServerOptions) -> Void

  /// Units as `UnitSpecification` has them, with `%` for the test's own folder.
  init(
    units: [String] = ["mem:1M"], starting: [ControllerIdentity] = [.a, .b],
    _ change: @escaping (inout NBDServerOptions) -> Void = { _ in }
  ) throws {
    let folder = try ScratchFolder()
    self.folder = folder
    self.change = change
    subsystem = try Subsystem.create(
      folder("subsystem"), units: units.map { try UnitSpecification(parsing: $0.replacing("%", with: folder.path)) })
    for identity in starting { try start(identity) }
    try turn { [a, b].allSatisfy { $0?.isListening ?? true } }
  }

  func path(_ identity: ControllerIdentity) -> String { folder("\(identity).nbd") }

  subscript(_ identity: ControllerIdentity) -> Side? { identity == .a ? a : b }

  func start(_ identity: ControllerIdentity) throws {
    var options = NBDServerOptions(addresses: [.unix(path: path(identity))])
    options.logger.logLevel = getenv("BATON_TEST_LOG") == nil ? .critical : .debug
    change(&options)
    let side = try Side(identity, subsystem, options)
    if identity == .a { a = side } else { b = side }
  }

  /// Lets go of a controller where it stands, as if it had died.
  func drop(_ identity: ControllerIdentity) {
    if identity == .a { a = nil } else { b = nil }
  }

  /// Has a controller leave, and lets go of it.
  func stop(_ identity: ControllerIdentity) throws {
    self[identity]?.beginStop()
    try turn { self[identity]?.isStopped ?? true }
    self[identity]?.finish()
    drop(identity)
  }

  func turn() {
    // One that has stopped is not to be turned any more.
    if a?.isStopped == false { a?.turn() }
    if b?.isStopped == false { b?.turn() }
  }

  /// Turns both until the condition holds. Bounded by turns, not by time.
  func turn(turnsMax: Int = 20_000_000, until condition: () throws -> Bool) throws {
    for _ in 0..<turnsMax {
      if try condition() { return }
      turn()
    }
    throw BatonError(.system, "server rig", "nothing came of \(turnsMax) turns")
  }

  /// A client that has connected and said nothing.
  func connect(_ identity: ControllerIdentity = .a) throws -> StreamClient { try StreamClient(path(identity)) }

  /// A client that may make requests of an export.
  func client(
    _ identity: ControllerIdentity = .a, export: String = "unit0", structured: Bool = false, allocation: Bool = false
  ) throws -> StreamClient {
    try enter(connect(identity), export: export, structured: structured, allocation: allocation)
  }

  /// Through the handshake, with a client that has connected.
  func enter(
    _ client: StreamClient, export: String = "unit0", structured: Bool = false, allocation: Bool = false
  ) throws -> StreamClient {
    var says = Say.flags()
    if structured { says += Say.structuredReply }
    if allocation { says += Say.contexts(10, export, ["base:allocation"]) }
    client.say(says + Say.go(export))
    try turn {
      client.hear()
      var listener = Listener(Array(client.heard.dropFirst(18)))
      let answers = listener.answers()
      return answers.contains { $0.option == 7 && $0.type == 1 } || client.isEnded
    }
    if client.isEnded { throw BatonError(.system, "client", "was disconnected in its handshake") }
    client.heard = []
    return client
  }

  /// What a read brings.
  func read(_ client: StreamClient, offset: UInt64, count: Int) throws -> [UInt8] {
    let reply = try ask(client, Say.request(0, cookie: 1, offset: offset, length: UInt32(count)), reads: [1: count])
    guard reply.error == 0 else { throw BatonError(.system, "read", "failed with \(reply.error)") }
    return reply.data
  }

  /// Sends one request and waits for its reply.
  @discardableResult
  func ask(_ client: StreamClient, _ request: [UInt8], reads: [UInt64: Int] = [:]) throws -> Reply {
    client.say(request)
    var found: Reply?
    try turn {
      client.hear()
      var listener = Listener(client.heard)
      found = listener.reply(reads: reads)
      if found != nil { client.heard.removeFirst(listener.at) }
      return found != nil || client.isEnded
    }
    guard let found else { throw BatonError(.system, "client", "was disconnected") }
    return found
  }

  /// What a controller has counted.
  func count(_ counter: Counter, of identity: ControllerIdentity) throws -> UInt64 {
    try subsystem.status().controllers[Int(identity.rawValue)][counter]
  }
}

/// A client's socket, which never blocks.
final class StreamClient {
  private let socket: CInt
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 64)
  /// What could not be sent yet.
  private var unsent: [UInt8] = []
  /// What came and was not looked at.
  var heard: [UInt8] = []
  /// Whether the server has ended the connection.
  private(set) var isEnded = false
  /// Whether the connection ended with an error, so that what was on its way may be lost.
  private(set) var wasReset = false

  init(_ path: String) throws {
    socket = try Self.connect(path)
  }

  /// Over TCP, from an address of the loopback.
  init(port: UInt16, from address: String = "127.0.0.1") throws {
    let socket = OwnedDescriptor(try Self.tcpSocket(boundTo: address, port: 0))
    var there = Self.address("127.0.0.1", port)
    let result = withUnsafePointer(to: &there) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(socket.number, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    if result != 0 { throw BatonError(result: -Int(errno), "port \(port)", doing: "connecting") }
    self.socket = socket.release()
  }

  /// A port that nobody listens at.
  static func freePort() throws -> UInt16 {
    let socket = OwnedDescriptor(try tcpSocket(boundTo: "127.0.0.1", port: 0))
    var address = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket.number, $0, &length) }
    }
    if result != 0 { throw BatonError(result: -Int(errno), "socket", doing: "asking for its port") }
    return UInt16(bigEndian: address.sin_port)
  }

  private static func address(_ text: String, _ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = inet_addr(text)
    address.sin_port = port.bigEndian
    return address
  }

  private static func tcpSocket(boundTo text: String, port: UInt16) throws -> CInt {
    let socket = OwnedDescriptor(
      try check(
        Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0), text,
        doing: "making a socket"))
    var here = address(text, port)
    let result = withUnsafePointer(to: &here) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(socket.number, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    if result != 0 { throw BatonError(result: -Int(errno), text, doing: "binding") }
    return socket.release()
  }

  deinit {
    close(socket)
    buffer.deallocate()
  }

  private static func connect(_ path: String) throws -> CInt {
    let socket = Glibc.socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    try check(socket, path, doing: "making a socket")
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    if result != 0 {
      let failure = errno
      close(socket)
      throw BatonError(result: -Int(failure), path, doing: "connecting")
    }
    return socket
  }

  /// Says something, as far as the socket takes it; the rest goes with what is said and heard next.
  func say(_ bytes: [UInt8]) {
    unsent += bytes
    flush()
  }

  private func flush() {
    while !unsent.isEmpty {
      let sent = unsent.withUnsafeBytes {
        send(socket, $0.baseAddress!, $0.count, CInt(MSG_DONTWAIT) | CInt(MSG_NOSIGNAL))
      }
      if sent <= 0 {
        // A server that takes no more has ended it.
        if errno != EAGAIN { unsent = [] }
        return
      }
      unsent.removeFirst(sent)
    }
  }

  /// Says that nothing more comes, and hears on.
  func sayNoMore() { shutdown(socket, CInt(SHUT_WR)) }

  /// Takes what has come, or at least so much of it.
  func hear(atMost bytes: Int = .max) {
    flush()
    let end = bytes == .max ? Int.max : heard.count + bytes
    while !isEnded, heard.count < end {
      let count = recv(socket, buffer.baseAddress, min(buffer.count, end - heard.count), CInt(MSG_DONTWAIT))
      if count < 0, errno == EAGAIN { return }
      if count <= 0 {
        wasReset = count < 0
        isEnded = true
      } else {
        heard += UnsafeRawBufferPointer(rebasing: buffer[..<count])
      }
    }
  }
}
