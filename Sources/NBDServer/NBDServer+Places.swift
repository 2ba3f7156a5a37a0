import BatonController
import BatonNBD
import BatonRing
import BatonSystem
import CBatonShims
import Glibc

// Places: which clients have one, and for how long.
extension NBDServer {
  /// If a client has moved at least so many bytes, its memory is returned when it goes; with fewer, the next client
  /// uses the touched pages.
  private static var bytesKept: UInt64 { 1 << 20 }
  /// Receives that empty a socket before it is closed: more than a socket's buffer holds.
  private static var readsOverMax: Int { 64 }

  /// A client has connected: takes its socket over if it is admitted; else the socket stays the caller's.
  mutating func admit(_ socket: CInt, _ controller: inout Controller, _ now: UInt64) -> Admission {
    let peer: PeerAddress?
    switch PeerAddress.found(of: socket) {
    case .tcp(let address): peer = address
    case .unix: peer = nil
    // It is gone already.
    case .none: return .refused
    }
    if let peer, clients.count(of: peer) >= options.peerConnectionsMax {
      // Other clients of its address make room, and no others.
      return makeRoom(now, of: peer) ? .waits : .refused
    }
    guard hasPlace(isTCP: peer != nil), let place = clients.vacantPlace else {
      _ = makeRoom(now)
      return .waits
    }
    // What is small is not to wait for more: each reply is waited for. A socket that refuses is as good as one without.
    _ = shim_stream_no_delay(socket)
    clients.begin(place, socket, peer, at: now)
    controller.setFrontEndConnections(clients.occupied + lingering.count)
    controller.countFrontEnd(.nbdAccepted, 1)
    options.logger.debug("controller \(identity): NBD client \(place) connected, \(clients.occupied) clients")
    clients.markDirty(place)
    return .admitted
  }

  // MARK: Sharing places

  /// Whether a client of that kind finds a place: TCP clients cannot use the owner's share.
  func hasPlace(isTCP: Bool) -> Bool {
    guard clients.occupied < options.connectionsMax else { return false }
    return !isTCP || clients.countOfTCP < options.tcpConnectionsMax
  }

  /// The client over TCP that nothing has come from and nothing has gone to for the longest time, of all or of one
  /// address; nil: each has asked for something a moment ago, or the storage works for it.
  func longestIdle(_ now: UInt64, of peer: PeerAddress? = nil) -> Int? {
    var longest: Int?
    for place in clients.indices {
      let state = clients.state(place)
      guard state.pointee.isTCP, !state.pointee.makesRoom else { continue }
      if let peer, state.pointee.peer != peer { continue }
      let moved = clients[place].pointee.bytesReceived &+ clients[place].pointee.bytesSent
      let silence = moved == state.pointee.progress ? now &- min(state.pointee.progressAt, now) : 0
      // An address that exceeds its share gives up one of its own clients: one that is idle at present is enough.
      let idleMin = peer == nil ? options.idleNanosecondsMin : 0
      let least = clients[place].pointee.isIdle ? idleMin : options.stalledNanosecondsMin
      guard clients[place].pointee.takesMore, !clients[place].pointee.isWorking, silence >= least else { continue }
      if let other = longest, clients.state(other).pointee.progressAt <= state.pointee.progressAt { continue }
      longest = place
    }
    return longest
  }

  /// Disconnects a client so that another one finds a place, unless one is being disconnected.
  ///
  /// - Returns: false if no client can be disconnected.
  private mutating func makeRoom(_ now: UInt64, of peer: PeerAddress? = nil) -> Bool {
    let isUnderWay = clients.indices.contains {
      let state = clients.state($0).pointee
      return state.isTCP && state.makesRoom && (peer == nil || state.peer == peer)
    }
    if isUnderWay { return true }
    guard let place = longestIdle(now, of: peer) else { return false }
    options.logger.info("controller \(identity): NBD client \(place) is idle and makes room for another one")
    clients.state(place).pointee.makesRoom = true
    clients[place].pointee.abandon()
    clients.markDirty(place)
    return true
  }

  /// Everything of a client has ended.
  mutating func vacate(_ place: Int, _ controller: inout Controller) {
    let socket = clients.state(place).pointee.socket
    // The last replies may still be on their way.
    if clients[place].pointee.isBroken {
      close(socket)
    } else if clients.state(place).pointee.peer != nil {
      lingering.add(OwnedDescriptor(socket), at: monotonicNanoseconds())
    } else {
      readOver(place)
      close(socket)
    }
    if clients[place].pointee.bytesReceived + clients[place].pointee.bytesSent > Self.bytesKept {
      // If the kernel does not do it the pages stay: they are bounded.
      _ = shim_remove_pages(clients.memory(of: place), options.limits.memorySize)
    }
    clients.end(place)
    controller.setFrontEndConnections(clients.occupied + lingering.count)
    options.logger.debug("controller \(identity): NBD client \(place) went, \(clients.occupied) clients")
    // Another client may wait for the place.
    tending.setDue()
  }

  /// Reads and drops what the client of a unix socket has sent and nobody takes any more: with unread data, closing it
  /// is an error at the client's next call (unix_release_sock, net/unix/af_unix.c).
  private func readOver(_ place: Int) {
    // Nobody else uses its memory any more.
    let memory = clients.memory(of: place)
    let socket = clients.state(place).pointee.socket
    shutdown(socket, CInt(SHUT_WR))
    for _ in 0..<Self.readsOverMax {
      if recv(socket, memory, options.limits.stagingSize, CInt(MSG_DONTWAIT)) <= 0 { return }
    }
  }

  /// Ends connections that keep others waiting: unfinished handshakes, half messages, last replies that nobody
  /// reads. A client that is idle between two requests may be so for ever.
  mutating func tendClients(at now: UInt64) {
    for place in clients.indices where clients.isOccupied(place) {
      let connection = clients[place]
      let state = clients.state(place)
      let progress = connection.pointee.bytesReceived &+ connection.pointee.bytesSent
      if progress != state.pointee.progress {
        state.pointee.progress = progress
        state.pointee.progressAt = now
      }
      // The storage's time is not the client's silence, nor is the time before the connection was to end.
      if !connection.pointee.takesMore, state.pointee.workedAt == 0 || connection.pointee.isWorking {
        state.pointee.workedAt = now
      }
      let silence = now &- min(max(state.pointee.progressAt, state.pointee.workedAt), now)
      let limit: UInt64? =
        if !connection.pointee.takesMore {
          options.farewellNanosecondsMax
        } else if connection.pointee.isMidMessage {
          options.messageNanosecondsMax
        } else {
          nil
        }
      let isLate =
        connection.pointee.isNegotiating && now &- min(state.pointee.since, now) > options.handshakeNanosecondsMax
      if isLate || limit.map({ silence > $0 }) ?? false {
        options.logger.debug("controller \(identity): NBD client \(place) keeps others waiting, is disconnected")
        connection.pointee.abandon()
        clients.markDirty(place)
      }
    }
  }

  /// The controller leaves: what was taken is answered, and nothing more is taken. Clients go to the peer.
  mutating func bidFarewell(at now: UInt64) {
    if leavingSince == 0 {
      leavingSince = now
      for place in clients.indices where clients.isOccupied(place) {
        clients[place].pointee.hangUp()
        clients.markDirty(place)
      }
    } else if now &- leavingSince > options.farewellNanosecondsMax {
      for place in clients.indices where clients.isOccupied(place) {
        // Replies that the storage delayed have the same time to go out.
        let workedAt = clients.state(place).pointee.workedAt
        if clients[place].pointee.isWorking || now &- min(workedAt, now) <= options.farewellNanosecondsMax { continue }
        clients[place].pointee.abandon()
        clients.markDirty(place)
      }
    }
  }
}
