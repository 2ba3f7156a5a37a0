import BatonOwnership
import BatonSharedMemory
import CBatonShims
import Glibc

/// The messages on a control socket: attaching and doorbells. One record each (SOCK_SEQPACKET).
public enum ControlMessage {
  /// A connection to a controller's control socket.
  public static func connect(path: String, to controller: ControllerIdentity) throws(BatonError) -> OwnedDescriptor {
    let socket = OwnedDescriptor(
      try check(
        baton_socket_connect(path), "controller \(controller)", doing: "connecting to \(path)",
        fix: "start it with 'baton controller'"))
    // The listener gets all of a host's memory: it must run as this user, or as root.
    var pid: pid_t = 0
    var uid: uid_t = 0
    try check(baton_socket_peer(socket.number, &pid, &uid), path, doing: "asking which process listens there")
    guard uid == geteuid() || uid == 0 else {
      throw BatonError(
        .permission, path, "user \(uid) listens there, not user \(geteuid())",
        fix: "run as that user, or set BATON_HOME to a folder of your own")
    }
    return socket
  }

  /// Host or peer: asks to be attached, handing `descriptor` over (-1: none). `generation` is that of the subsystem
  /// which a host has been attached to before (0: it has not): another one of its name must not have its requests.
  public static func sendAttach(
    over socket: borrowing OwnedDescriptor, kind: UInt32, descriptor: CInt, generation: UInt64 = 0
  ) throws(BatonError) {
    var message = baton_attach_request()
    message.magic = baton_host_magic
    message.layout_version = UInt32(BATON_LAYOUT_VERSION)
    message.kind = kind
    message.generation = generation
    try check(
      baton_socket_send(socket.number, &message, MemoryLayout<baton_attach_request>.size, descriptor),
      "control socket", doing: "sending the attach request")
  }

  /// Controller: hands over one of so many listening sockets (-1: says that there are no more). Negative: -errno.
  public static func sendListener(over socket: CInt, _ descriptor: CInt, number: Int, count: Int) -> Int {
    var message = baton_listener_message()
    message.magic = baton_host_magic
    message.layout_version = UInt32(BATON_LAYOUT_VERSION)
    message.kind = UInt32(BATON_ATTACH_LISTENER)
    message.number = UInt32(truncatingIfNeeded: number)
    message.count = UInt32(truncatingIfNeeded: count)
    return baton_socket_send(socket, &message, MemoryLayout<baton_listener_message>.size, descriptor)
  }

  /// Receives one record into `message`, and in `passed` the descriptors that came with it: they are the caller's from
  /// then on. Cost: two system calls, three when there are descriptors.
  ///
  /// - Returns: bytes, 0 at the end, or -errno. -EMFILE: the record carries descriptors and this process may not have
  ///   so many more. It stays unread.
  public static func receive<Message: BitwiseCopyable>(
    over socket: CInt, _ message: inout Message, passed: inout [CInt]
  ) -> Int {
    withUnsafeTemporaryAllocation(of: CInt.self, capacity: Int(BATON_PASSED_MAX)) { space in
      var count: CInt = 0
      let result = withUnsafeMutableBytes(of: &message) {
        baton_socket_receive(socket, $0.baseAddress, $0.count, space.baseAddress, &count)
      }
      passed = count == 0 ? [] : Array(space.prefix(Int(count)))
      return result
    }
  }

  /// The same where nothing is expected to come with the record: whatever does is closed at once. Not for a loop that
  /// must not wait, unless the sender is known.
  public static func receive<Message: BitwiseCopyable>(over socket: CInt, _ message: inout Message) -> Int {
    var passed: [CInt] = []
    let result = receive(over: socket, &message, passed: &passed)
    for descriptor in passed { baton_close_foreign(descriptor) }
    return result
  }

  /// One byte. A full socket is not an error: what would be said has been said already.
  ///
  /// - Returns: false when the other side is gone.
  @discardableResult
  public static func send(byte: CInt, over socket: CInt) -> Bool {
    var value = UInt8(truncatingIfNeeded: byte)
    let sent = baton_socket_send(socket, &value, 1, -1)
    return sent == 1 || sent == -Int(EAGAIN)
  }

  /// Controller: accepts or refuses.
  public static func sendReply(over socket: CInt, _ reply: baton_attach_reply) -> Bool {
    var reply = reply
    return baton_socket_send(socket, &reply, MemoryLayout<baton_attach_reply>.size, -1) > 0
  }

  /// A reply that refuses, for this reason; `kind` is what a program can tell it by.
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
