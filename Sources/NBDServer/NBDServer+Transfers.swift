import BatonController
import BatonNBD
import BatonRing
import BatonSystem
import CBatonShims
import Glibc

// Bytes in and bytes out of the sockets of clients.
extension NBDServer {
  /// Bytes that one client is sent per turn in calls of its own: others must not wait for it.
  private static var sentAtOnceMax: Int { 1 << 20 }
  /// Bytes that are copied if a socket is full.
  private static var pieceSize: Int { 4096 }

  /// Bytes in and bytes out: gives the ring the receives and sends that are due.
  mutating func move(_ place: Int, _ controller: inout Controller) -> Bool {
    let connection = clients[place]
    let state = clients.state(place)
    var hasWorked = false
    if !state.pointee.owesReceive {
      let vectors = connection.pointee.beginReceive()
      if vectors.count > 0 {
        clients.incoming(place).pointee.msg_iov = vectors.baseAddress
        clients.incoming(place).pointee.msg_iovlen = vectors.count
        state.pointee.owesReceive = true
      }
    }
    if !state.pointee.owesSend { prepareSend(place) }
    if !connection.pointee.takesMore { endMovement(place) }
    if state.pointee.owesSend, send(place, &controller) { hasWorked = true }
    if state.pointee.owesReceive {
      if connection.pointee.awaitsReply, connection.pointee.executing > 0, !state.pointee.hasPutOff {
        // What the storage does at once is answered in the next turn, and the reply goes first: to arm a receive takes
        // time, which a client that waits for the reply would lose.
        state.pointee.hasPutOff = true
        clients.markDirty(place)
        return hasWorked
      }
      if controller.ring.receive(
        state.pointee.socket, clients.incoming(place),
        isEmpty: connection.pointee.awaitsReply || connection.pointee.isIdle, for: .clientReceive,
        index: UInt32(truncatingIfNeeded: place))
      {
        state.pointee.owesReceive = false
        state.pointee.hasPutOff = false
        clients.beginTransfer()
        hasWorked = true
      } else {
        clients.markDirty(place)
      }
    }
    return hasWorked
  }

  /// Takes the next bytes to send from the connection.
  private func prepareSend(_ place: Int) {
    let output = clients[place].pointee.beginSend()
    if output.isEmpty { return }
    clients.outgoing(place).pointee.msg_iov = output.vectors.baseAddress
    clients.outgoing(place).pointee.msg_iovlen = output.vectors.count
    clients.state(place).pointee.output = output
    clients.state(place).pointee.owesSend = true
  }

  /// Sends what is owed. Some of it in calls of its own, which do not wait: the last reply that a client waits for,
  /// which then costs no submission and no completion; and data that is sent from where it lies, for which the ring
  /// would use a thread (io_splice, io_uring/splice.c). The ring sends the rest, and what the socket has no room for,
  /// and waits.
  private mutating func send(_ place: Int, _ controller: inout Controller) -> Bool {
    let connection = clients[place]
    let state = clients.state(place)
    var sent = 0
    while state.pointee.owesSend, sent < Self.sentAtOnceMax {
      let result: Int
      if state.pointee.output.count > 0 {
        result = shim_send_with_file(
          state.pointee.socket, clients.outgoing(place), controller.fileInMemory(unit: connection.pointee.unit),
          Int64(state.pointee.output.offset), min(state.pointee.output.count, Self.sentAtOnceMax))
      } else if connection.pointee.sendsLast {
        result = shim_send_at_once(state.pointee.socket, clients.outgoing(place))
      } else {
        break
      }
      if result < 0 {
        if state.pointee.output.count > 0 { copyPiece(place, controller) }
        break
      }
      sent += result
      state.pointee.owesSend = false
      connection.pointee.endSend(result)
      prepareSend(place)
    }
    var isLeft = connection.pointee.isBroken
    if state.pointee.owesSend {
      if sent >= Self.sentAtOnceMax {
        isLeft = true
      } else if controller.ring.send(
        state.pointee.socket, clients.outgoing(place), for: .clientSend, index: UInt32(truncatingIfNeeded: place))
      {
        state.pointee.owesSend = false
        clients.beginTransfer()
      } else {
        isLeft = true
      }
    }
    // The sent bytes have made room: for a request that waits where it was received, and for the next piece of a reply,
    // nothing else happens any more.
    if isLeft || sent > 0 && connection.pointee.hasUntaken { clients.markDirty(place) }
    return true
  }

  /// The socket is full at present. Copies a little of the data that is to be sent from where it lies, for a send that
  /// waits until there is room: a poll would end at once, again and again, for a client that has closed its direction
  /// (POLLRDHUP, which io_uring always adds).
  private func copyPiece(_ place: Int, _ controller: borrowing Controller) {
    let output = clients.state(place).pointee.output
    let file = controller.fileInMemory(unit: clients[place].pointee.unit)
    let count = pread(file, output.buffer, min(output.count, Self.pieceSize), off_t(output.offset))
    guard count > 0, let vectors = output.vectors.baseAddress else {
      // The file has been truncated underneath.
      clients.state(place).pointee.owesSend = false
      return clients[place].pointee.endSend(-Int(EIO))
    }
    vectors[output.vectors.count] = iovec(iov_base: output.buffer, iov_len: count)
    clients.outgoing(place).pointee.msg_iovlen = output.vectors.count + 1
    clients.state(place).pointee.output.count = 0
  }

  /// The connection ends: operations that only wait for the client are ended.
  private mutating func endMovement(_ place: Int) {
    let connection = clients[place]
    let state = clients.state(place)
    if state.pointee.owesReceive {
      state.pointee.owesReceive = false
      connection.pointee.endReceive(-Int(ECANCELED))
    }
    if connection.pointee.isBroken, state.pointee.owesSend {
      state.pointee.owesSend = false
      connection.pointee.endSend(-Int(ECANCELED))
    }
    if connection.pointee.isBroken, state.pointee.shut < 2 {
      state.pointee.shut = 2
      shutdown(state.pointee.socket, CInt(SHUT_RDWR))
    } else if connection.pointee.isReceiving, state.pointee.shut < 1 {
      state.pointee.shut = 1
      shutdown(state.pointee.socket, CInt(SHUT_RD))
    }
  }
}
