import BatonChannel
import BatonController
import BatonHost
import BatonNBD
import BatonRing
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc

// Clients: turns what they send into requests and answers into replies, and gives them places.
extension NBDServer {
  /// If a client has moved at least so many bytes, its memory is returned when it goes; with fewer, the next client
  /// uses the touched pages.
  private static var bytesKept: UInt64 { 1 << 20 }

  /// A read of at least so many bytes from a unit in memory is sent from where it lies. The calls for each such reply,
  /// and the pieces in which the client receives it, cost as much as copying so much. For a request that is alone the
  /// limit is lower, because no other reply could go with it.
  private static var inPlaceMin: UInt64 { 32_768 }
  private static var inPlaceMinAlone: UInt64 { 4096 }
  /// Bytes that one client is sent per turn in calls of its own: others must not wait for it.
  private static var sentAtOnceMax: Int { 1 << 20 }
  /// Bytes that are copied if a socket is full.
  private static var pieceSize: Int { 4096 }

  /// Receives that empty a socket before it is closed: more than a socket's buffer holds.
  private static var readsOverMax: Int { 64 }

  /// The place is to be tended before this turn ends.
  @inline(__always)
  mutating func markDirty(_ place: Int) {
    if places[place].isDirty { return }
    places[place].isDirty = true
    dirty[dirtyCount] = Int32(truncatingIfNeeded: place)
    dirtyCount += 1
  }

  /// Takes what the controller has answered.
  mutating func takeAnswers() -> Bool {
    if host.pointee.outstanding == 0 {
      // It tends its connection when it is polled.
      if !host.pointee.isAttached(to: identity) { _ = host.pointee.next() }
      return false
    }
    var hasWorked = false
    while true {
      if let completion = host.pointee.next() {
        hasWorked = true
        let place = Int(truncatingIfNeeded: completion.cookie >> 16)
        connections[place].finish(Int(completion.cookie & 0xffff), Self.outcome(completion.status))
        markDirty(place)
      } else if !host.pointee.hasAnswer {
        return hasWorked
      }
    }
  }

  private static func outcome(_ status: Status) -> NBDOutcome {
    switch status {
    case .success: .done
    case .readOnly: .failed(.notPermitted)
    case .inputOutputError, .offline, .inUse: .failed(.inputOutput)
    case .noSpace: .failed(.noSpace)
    case .unsupported: .failed(.notSupported)
    case .leaving, .controllerLost: .withdrawn
    case .invalidOperation, .noSuchUnit, .outOfRange, .misaligned, .zeroLength, .tooLong, .badBuffer, .invalidValue:
      .failed(.invalid)
    }
  }

  /// Tends every place that has an event.
  mutating func serveDirty(_ controller: inout Controller) -> Bool {
    var hasWorked = false
    let count = dirtyCount
    swap(&dirty, &dirtyNow)
    dirtyCount = 0
    for position in 0..<count {
      let place = Int(dirtyNow[position])
      places[place].isDirty = false
      if places[place].socket >= 0, serve(place, &controller) { hasWorked = true }
    }
    if requestsCounted > 0 {
      controller.countFrontEnd(.nbdRequests, requestsCounted)
      requestsCounted = 0
    }
    return hasWorked
  }

  /// Takes one client as far as it goes at present.
  private mutating func serve(_ place: Int, _ controller: inout Controller) -> Bool {
    let connection = connections + place
    var hasWorked = false
    if connection.pointee.isNegotiating {
      for unit in 0..<exports.count {
        exports.setReadOnly(controller.isReadOnly(unit: unit), unit: unit)
      }
      connection.pointee.negotiate(exports)
    }
    while true {
      // An operation without room waits where it is; it is tried again in the next turn.
      guard host.pointee.room(to: identity) > 0 || !connection.pointee.takesMore else {
        markDirty(place)
        break
      }
      guard let operation = connection.pointee.next() else { break }
      hasWorked = true
      start(operation, place, &controller)
    }
    if move(place, &controller) { hasWorked = true }
    if connection.pointee.isFinished {
      hasWorked = true
      vacate(place, &controller)
    }
    return hasWorked
  }

  /// Hands an operation to the controller, or ends it at once if there is nothing to do.
  private mutating func start(_ operation: NBDOperation, _ place: Int, _ controller: inout Controller) {
    requestsCounted += 1
    let unit = UInt32(truncatingIfNeeded: operation.unit)
    var request: Request
    switch operation.kind {
    case .read where isSentInPlace(operation, place, controller):
      request = Request(.readInPlace, unit: unit, offset: operation.offset, length: operation.length)
      connections[place].readsInPlace(operation.slot)
    case .read:
      request = Request(.read, unit: unit, offset: operation.offset, length: operation.length)
      // The buffer's old content may be another client's.
      if controller.readsNothing(unit: operation.unit) {
        memset(arena + place * options.limits.memorySize + operation.buffer, 0, Int(operation.length))
      }
    case .write: request = Request(.write, unit: unit, offset: operation.offset, length: operation.length)
    case .flush: request = Request(.flush, unit: unit)
    case .trim: request = Request(.discard, unit: unit, offset: operation.offset, length: operation.length)
    case .writeZeroes:
      request = Request(
        operation.keepsAllocation ? .fillZeroes : .writeZeroes, unit: unit, offset: operation.offset,
        length: operation.length, mustBeFast: operation.mustBeFast)
    // Advice, and there is nothing to do: the data is where it is fastest.
    case .cache: return connections[place].finish(operation.slot, .done)
    case .blockStatus: return askForExtents(operation, place, &controller)
    }
    request.buffer = UInt64(place * options.limits.memorySize + operation.buffer)
    request.isDurable = operation.isDurable
    let cookie = UInt64(place) << 16 | UInt64(operation.slot)
    // There was room, so the controller takes nothing any more.
    if !host.pointee.submit(request, to: identity, cookie: cookie) {
      connections[place].finish(operation.slot, .withdrawn)
    }
  }

  /// Whether a read is sent from where it lies in the unit.
  private func isSentInPlace(_ operation: NBDOperation, _ place: Int, _ controller: borrowing Controller) -> Bool {
    let least = connections[place].awaitsReply ? Self.inPlaceMinAlone : Self.inPlaceMin
    return sendsPages && operation.length >= least && controller.fileInMemory(unit: operation.unit) >= 0
  }

  /// Bytes in and bytes out: gives the ring the receives and sends that are due.
  private mutating func move(_ place: Int, _ controller: inout Controller) -> Bool {
    let connection = connections + place
    let state = places + place
    var hasWorked = false
    if !state.pointee.owesReceive {
      let vectors = connection.pointee.beginReceive()
      if vectors.count > 0 {
        messages[2 * place].msg_iov = vectors.baseAddress
        messages[2 * place].msg_iovlen = vectors.count
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
        markDirty(place)
        return hasWorked
      }
      if controller.ring.receive(
        state.pointee.socket, messages + 2 * place,
        isEmpty: connection.pointee.awaitsReply || connection.pointee.isIdle, for: .clientReceive,
        index: UInt32(truncatingIfNeeded: place))
      {
        state.pointee.owesReceive = false
        state.pointee.hasPutOff = false
        underWay += 1
        hasWorked = true
      } else {
        markDirty(place)
      }
    }
    return hasWorked
  }

  /// Takes the next bytes to send from the connection.
  private func prepareSend(_ place: Int) {
    let output = connections[place].beginSend()
    if output.isEmpty { return }
    messages[2 * place + 1].msg_iov = output.vectors.baseAddress
    messages[2 * place + 1].msg_iovlen = output.vectors.count
    places[place].output = output
    places[place].owesSend = true
  }

  /// Sends what is owed. Some of it in calls of its own, which do not wait: the last reply that a client waits for,
  /// which then costs no submission and no completion; and data that is sent from where it lies, for which the ring
  /// would use a thread (io_splice, io_uring/splice.c). The ring sends the rest, and what the socket has no room for,
  /// and waits.
  private mutating func send(_ place: Int, _ controller: inout Controller) -> Bool {
    let connection = connections + place
    let state = places + place
    var sent = 0
    while state.pointee.owesSend, sent < Self.sentAtOnceMax {
      let result: Int
      if state.pointee.output.count > 0 {
        result = shim_send_with_file(
          state.pointee.socket, messages + (2 * place + 1), controller.fileInMemory(unit: connection.pointee.unit),
          Int64(state.pointee.output.offset), min(state.pointee.output.count, Self.sentAtOnceMax))
      } else if connection.pointee.sendsLast {
        result = shim_send_at_once(state.pointee.socket, messages + (2 * place + 1))
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
        state.pointee.socket, messages + (2 * place + 1), for: .clientSend, index: UInt32(truncatingIfNeeded: place))
      {
        state.pointee.owesSend = false
        underWay += 1
      } else {
        isLeft = true
      }
    }
    // The sent bytes have made room: for a request that waits where it was received, and for the next piece of a reply,
    // nothing else happens any more.
    if isLeft || sent > 0 && connection.pointee.hasUntaken { markDirty(place) }
    return true
  }

  /// The socket is full at present. Copies a little of the data that is to be sent from where it lies, for a send that
  /// waits until there is room: a poll would end at once, again and again, for a client that has closed its direction
  /// (POLLRDHUP, which io_uring always adds).
  private func copyPiece(_ place: Int, _ controller: borrowing Controller) {
    let output = places[place].output
    let file = controller.fileInMemory(unit: connections[place].unit)
    let count = pread(file, output.buffer, min(output.count, Self.pieceSize), off_t(output.offset))
    guard count > 0, let vectors = output.vectors.baseAddress else {
      // The file has been truncated underneath.
      places[place].owesSend = false
      return connections[place].endSend(-Int(EIO))
    }
    vectors[output.vectors.count] = iovec(iov_base: output.buffer, iov_len: count)
    messages[2 * place + 1].msg_iovlen = output.vectors.count + 1
    places[place].output.count = 0
  }

  /// The connection ends: operations that only wait for the client are ended.
  private mutating func endMovement(_ place: Int) {
    let connection = connections + place
    let state = places + place
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

  // MARK: Places

  /// A client has connected: takes its socket over if it is admitted; else the socket stays the caller's.
  mutating func admit(_ socket: CInt, _ controller: inout Controller, _ now: UInt64) -> Admission {
    let peer: PeerAddress?
    switch PeerAddress.found(of: socket) {
    case .tcp(let address): peer = address
    case .unix: peer = nil
    // It is gone already.
    case .none: return .refused
    }
    if let peer, count(of: peer) >= options.peerConnectionsMax {
      // Other clients of its address make room, and no others.
      return makeRoom(now, of: peer) ? .waits : .refused
    }
    guard hasPlace(isTCP: peer != nil), let place = (0..<options.connectionsMax).first(where: { places[$0].socket < 0 })
    else {
      _ = makeRoom(now)
      return .waits
    }
    if !places[place].isMade {
      (connections + place).initialize(
        to: NBDConnection(memory: arena + place * options.limits.memorySize, limits: options.limits))
    }
    // What is small is not to wait for more: each reply is waited for. A socket that refuses is as good as one without.
    _ = shim_stream_no_delay(socket)
    connections[place].begin()
    places[place] = Place(socket: socket, isMade: true, peer: peer, isDirty: places[place].isDirty)
    places[place].since = now
    places[place].progressAt = places[place].since
    occupied += 1
    controller.setFrontEndConnections(occupied + lingering.count)
    controller.countFrontEnd(.nbdAccepted, 1)
    options.logger.debug("controller \(identity): NBD client \(place) connected, \(occupied) clients")
    markDirty(place)
    return .admitted
  }

  // MARK: Sharing places

  /// Whether a client of that kind finds a place: TCP clients cannot use the owner's share.
  func hasPlace(isTCP: Bool) -> Bool {
    guard occupied < options.connectionsMax else { return false }
    return !isTCP || (0..<options.connectionsMax).count { isTCPClient($0) } < options.tcpConnectionsMax
  }

  private func isTCPClient(_ place: Int) -> Bool { places[place].socket >= 0 && places[place].peer != nil }

  private func count(of peer: PeerAddress) -> Int {
    (0..<options.connectionsMax).count { isTCPClient($0) && places[$0].peer == peer }
  }

  /// The client over TCP that nothing has come from and nothing has gone to for the longest time, of all or of one
  /// address; nil: each has asked for something a moment ago, or the storage works for it.
  func longestIdle(_ now: UInt64, of peer: PeerAddress? = nil) -> Int? {
    var longest: Int?
    for place in 0..<options.connectionsMax where isTCPClient(place) && !places[place].makesRoom {
      if let peer, places[place].peer != peer { continue }
      let moved = connections[place].bytesReceived &+ connections[place].bytesSent
      let silence = moved == places[place].progress ? now &- min(places[place].progressAt, now) : 0
      // An address that exceeds its share gives up one of its own clients: one that is idle at present is enough.
      let idleMin = peer == nil ? options.idleNanosecondsMin : 0
      let least = connections[place].isIdle ? idleMin : options.stalledNanosecondsMin
      guard connections[place].takesMore, !connections[place].isWorking, silence >= least else { continue }
      if let other = longest, places[other].progressAt <= places[place].progressAt { continue }
      longest = place
    }
    return longest
  }

  /// Disconnects a client so that another one finds a place, unless one is being disconnected.
  ///
  /// - Returns: false if no client can be disconnected.
  private mutating func makeRoom(_ now: UInt64, of peer: PeerAddress? = nil) -> Bool {
    let isUnderWay = (0..<options.connectionsMax).contains {
      isTCPClient($0) && places[$0].makesRoom && (peer == nil || places[$0].peer == peer)
    }
    if isUnderWay { return true }
    guard let place = longestIdle(now, of: peer) else { return false }
    options.logger.info("controller \(identity): NBD client \(place) is idle and makes room for another one")
    places[place].makesRoom = true
    connections[place].abandon()
    markDirty(place)
    return true
  }

  /// Everything of a client has ended.
  private mutating func vacate(_ place: Int, _ controller: inout Controller) {
    // The last replies may still be on their way.
    if connections[place].isBroken {
      close(places[place].socket)
    } else if places[place].peer != nil {
      lingering.add(OwnedDescriptor(places[place].socket), at: monotonicNanoseconds())
    } else {
      readOver(place)
      close(places[place].socket)
    }
    if connections[place].bytesReceived + connections[place].bytesSent > Self.bytesKept {
      // If the kernel does not do it the pages stay: they are bounded.
      _ = shim_remove_pages(arena + place * options.limits.memorySize, options.limits.memorySize)
    }
    connections[place].end()
    places[place].socket = -1
    occupied -= 1
    controller.setFrontEndConnections(occupied + lingering.count)
    options.logger.debug("controller \(identity): NBD client \(place) went, \(occupied) clients")
    // Another client may wait for the place.
    mustTend = true
  }

  /// Reads and drops what the client of a unix socket has sent and nobody takes any more: with unread data, closing it
  /// is an error at the client's next call (unix_release_sock, net/unix/af_unix.c).
  private func readOver(_ place: Int) {
    // Nobody else uses its memory any more.
    let memory = arena + place * options.limits.memorySize
    shutdown(places[place].socket, CInt(SHUT_WR))
    for _ in 0..<Self.readsOverMax {
      if recv(places[place].socket, memory, options.limits.stagingSize, CInt(MSG_DONTWAIT)) <= 0 { return }
    }
  }

  /// Ends connections that keep others waiting: unfinished handshakes, half messages, last replies that nobody
  /// reads. A client that is idle between two requests may be so for ever.
  mutating func tendClients(at now: UInt64) {
    for place in 0..<options.connectionsMax where places[place].socket >= 0 {
      let connection = connections + place
      let progress = connection.pointee.bytesReceived &+ connection.pointee.bytesSent
      if progress != places[place].progress {
        places[place].progress = progress
        places[place].progressAt = now
      }
      // The storage's time is not the client's silence, nor is the time before the connection was to end.
      if !connection.pointee.takesMore, places[place].workedAt == 0 || connection.pointee.isWorking {
        places[place].workedAt = now
      }
      let silence = now &- min(max(places[place].progressAt, places[place].workedAt), now)
      let limit: UInt64? =
        if !connection.pointee.takesMore {
          options.farewellNanosecondsMax
        } else if connection.pointee.isMidMessage {
          options.messageNanosecondsMax
        } else {
          nil
        }
      let isLate =
        connection.pointee.isNegotiating && now &- min(places[place].since, now) > options.handshakeNanosecondsMax
      if isLate || limit.map({ silence > $0 }) ?? false {
        options.logger.debug("controller \(identity): NBD client \(place) keeps others waiting, is disconnected")
        connection.pointee.abandon()
        markDirty(place)
      }
    }
  }

  /// The controller leaves: what was taken is answered, and nothing more is taken. Clients go to the peer.
  mutating func bidFarewell(at now: UInt64) {
    if leavingSince == 0 {
      leavingSince = now
      for place in 0..<options.connectionsMax where places[place].socket >= 0 {
        connections[place].hangUp()
        markDirty(place)
      }
    } else if now &- leavingSince > options.farewellNanosecondsMax {
      for place in 0..<options.connectionsMax where places[place].socket >= 0 {
        // Replies that the storage delayed have the same time to go out.
        if connections[place].isWorking || now &- min(places[place].workedAt, now) <= options.farewellNanosecondsMax {
          continue
        }
        connections[place].abandon()
        markDirty(place)
      }
    }
  }
}
