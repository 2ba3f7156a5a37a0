import BatonOwnership
import BatonSystem
import CBatonShims
import Glibc

/// The messages on a control socket: attaching and doorbells. One record each (SOCK_SEQPACKET).
public enum ControlMessage {
  /// A connection to a controller's control socket.
  public static func connect(path: String, to controller: ControllerIdentity) throws(BatonError) -> OwnedDescriptor {
    let socket = OwnedDescriptor(
      try check(
        shim_socket_connect(path), "controller \(controller)", doing: "connecting to \(path)",
        fix: "start it with 'baton controller'"))
    // The listener gets all of a host's memory: it must run as this user, or as root.
    var pid: pid_t = 0
    var uid: uid_t = 0
    try check(shim_socket_peer(socket.number, &pid, &uid), path, doing: "asking which process listens there")
    guard uid == geteuid() || uid == 0 else {
      throw BatonError(
        .permission, path, "user \(uid) listens there, not user \(geteuid())",
        fix: "run as that user, or set BATON_HOME to a folder of your own")
    }
    return socket
  }

  /// Host or peer: asks to be attached, passing `descriptor` (-1: none). `generation` is that of the subsystem to which
  /// the host was attached before (0: none): another subsystem of that name must not get its requests.
  ///
  /// Not an error: the connection has ended already. The reader of the answer learns that, and the reason.
  public static func sendAttach(
    over socket: borrowing OwnedDescriptor, kind: UInt32, descriptor: CInt, generation: UInt64 = 0
  ) throws(BatonError) {
    var message = baton_attach_request()
    message.magic = baton_host_magic
    message.layout_version = UInt32(BATON_LAYOUT_VERSION)
    message.kind = kind
    message.generation = generation
    let sent = shim_socket_send(socket.number, &message, MemoryLayout<baton_attach_request>.size, descriptor)
    // The listener has ended the connection before it was asked. What it said first, as a rule a refusal, is still to
    // be read, and the end after that (unix(7)).
    if sent == -Int(EPIPE) || sent == -Int(ECONNRESET) { return }
    try check(sent, "control socket", doing: "sending the attach request")
  }

  /// Controller: passes one of so many listening sockets (-1: there are no more). Negative: -errno.
  public static func sendListener(over socket: CInt, _ descriptor: CInt, number: Int, count: Int) -> Int {
    var message = baton_listener_message()
    message.magic = baton_host_magic
    message.layout_version = UInt32(BATON_LAYOUT_VERSION)
    message.kind = UInt32(BATON_ATTACH_LISTENER)
    message.number = UInt32(truncatingIfNeeded: number)
    message.count = UInt32(truncatingIfNeeded: count)
    return shim_socket_send(socket, &message, MemoryLayout<baton_listener_message>.size, descriptor)
  }

  /// Receives one record into `message`, and into `passed` the descriptors that came with it; the caller owns them from
  /// then on. Cost: two system calls, three when there are descriptors.
  ///
  /// - Returns: bytes, 0 at the end, or -errno. -EMFILE: the record carries more descriptors than this process may
  ///   open. It stays unread.
  public static func receive<Message: BitwiseCopyable>(
    over socket: CInt, _ message: inout Message, passed: inout [CInt]
  ) -> Int {
    withUnsafeTemporaryAllocation(of: CInt.self, capacity: Int(BATON_PASSED_MAX)) { space in
      var count: CInt = 0
      let result = withUnsafeMutableBytes(of: &message) {
        shim_socket_receive(socket, $0.baseAddress, $0.count, space.baseAddress, &count)
      }
      passed = count == 0 ? [] : Array(space.prefix(Int(count)))
      return result
    }
  }

  /// The same if no descriptors are expected: those that come are closed at once. Not for a loop that must not wait,
  /// unless the sender is known.
  public static func receive<Message: BitwiseCopyable>(over socket: CInt, _ message: inout Message) -> Int {
    var passed: [CInt] = []
    let result = receive(over: socket, &message, passed: &passed)
    for descriptor in passed { shim_close_foreign(descriptor) }
    return result
  }

  /// Sends one byte. A full socket is not an error: the message has been sent already.
  ///
  /// - Returns: false if the other side is gone.
  @discardableResult
  public static func send(byte: CInt, over socket: CInt) -> Bool {
    var value = UInt8(truncatingIfNeeded: byte)
    let sent = shim_socket_send(socket, &value, 1, -1)
    return sent == 1 || sent == -Int(EAGAIN)
  }

  /// Controller: accepts or refuses.
  public static func sendReply(over socket: CInt, _ reply: baton_attach_reply) -> Bool {
    var reply = reply
    return shim_socket_send(socket, &reply, MemoryLayout<baton_attach_reply>.size, -1) > 0
  }

  /// A reply that refuses, for this reason; `kind` identifies the reason for programs.
  public static func refusal(_ reason: String, kind: Int = BATON_REFUSED) -> baton_attach_reply {
    var reply = baton_attach_reply()
    reply.magic = baton_host_magic
    reply.layout_version = UInt32(BATON_LAYOUT_VERSION)
    reply.refusal = UInt32(kind)
    withUnsafeMutableBytes(of: &reply.reason) { space in
      // The last byte stays zero.
      for (index, byte) in reason.utf8.prefix(space.count - 1).enumerated() { space[index] = byte }
    }
    return reply
  }

  /// The reason in a refusal.
  public static func reason(_ reply: baton_attach_reply) -> String {
    var reply = reply
    return withUnsafeBytes(of: &reply.reason) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
