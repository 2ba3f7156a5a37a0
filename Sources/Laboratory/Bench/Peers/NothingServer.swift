import ArgumentParser
import Baton
import BatonNBD
import BatonSystem
import CBatonShims
import Glibc

/// An NBD server with nothing behind it: every request is done as soon as it has come, and a read is whatever the
/// memory holds. One client at a time, at a unix socket; `RivalCommand` becomes it.
///
/// It blocks: no server that sleeps when it has nothing to do can be faster. Where a client gets not much more out of
/// it than out of another server, the client is the bottleneck.
struct NothingServerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "bench-nothing", shouldDisplay: false)

  @Argument var path: String
  @Argument var size: UInt64

  func run() throws {
    let listener = try check(shim_stream_listen_unix(path), path, doing: "listening")
    defer { close(listener) }
    let exports = try NBDExports([NBDExport(size: size, blockSize: 512)])
    let limits = NBDLimits()
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: limits.memorySize, alignment: NBDLimits.memoryAlignment)
    defer { memory.deallocate() }
    var connection = NBDConnection(memory: memory, limits: limits)
    while true {
      let client = try check(accept(listener, nil, nil), path, doing: "accepting")
      connection.begin()
      while !connection.isFinished { Self.turn(&connection, client, exports) }
      connection.end()
      close(client)
    }
  }

  /// All that has come is answered in one send; then it waits for more.
  private static func turn(_ connection: inout NBDConnection, _ client: CInt, _ exports: NBDExports) {
    if connection.isNegotiating { connection.negotiate(exports) }
    while let operation = connection.next() { connection.finish(operation.slot, .done) }
    let output = connection.beginSend()
    if !output.isEmpty {
      var message = msghdr()
      message.msg_iov = output.vectors.baseAddress
      message.msg_iovlen = output.vectors.count
      return connection.endSend(moved(sendmsg(client, &message, CInt(MSG_NOSIGNAL))))
    }
    let room = connection.beginReceive()
    if room.isEmpty { return connection.abandon() }
    var message = msghdr()
    message.msg_iov = room.baseAddress
    message.msg_iovlen = room.count
    connection.endReceive(moved(recvmsg(client, &message, 0)))
  }

  private static func moved(_ result: Int) -> Int { result < 0 ? -Int(errno) : result }
}
