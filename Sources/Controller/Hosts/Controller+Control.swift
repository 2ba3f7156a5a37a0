import BatonChannel
import BatonOwnership
import BatonRing
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc
import Logging

// Control: hosts that attach and leave, the peer's doorbell, signals.
extension Controller {
  /// An attached host sends single bytes as doorbells and nothing else; a connection that sends more than this at a
  /// time floods.
  private static var messagesMax: Int { 1024 }
  /// Connections accepted in one turn: attaching a host takes long compared with a request, and everybody else waits.
  private static var acceptedMax: Int { 4 }
  /// How long a connection may stay without identifying itself.
  private static var silenceNanosecondsMax: UInt64 { 2_000_000_000 }
  private static var outOfDescriptors: String {
    "this controller has no descriptors left: raise its limit on open files ('ulimit -n', or LimitNOFILE= in a systemd "
      + "unit), or attach again when others have left"
  }

  mutating func watchControl() {
    _ = ring.watch(control.listener.number, for: .listener, index: 0)
    submit()
  }

  /// Stops gracefully when this descriptor (see `shim_termination_signals`) has a signal.
  mutating func watchSignals(_ descriptor: CInt) {
    control.signals = descriptor
    _ = ring.watch(descriptor, for: .signals, index: 0)
    submit()
  }

  @inline(never)
  mutating func controlReady(_ completion: RingEvent) {
    let (index, result, hasMore) = (completion.token.index, completion.result, completion.hasMore)
    switch completion.token.owner {
    case .listener:
      if life.hasJoined { acceptConnections() }
      if !hasMore { watchControl() }
    case .signals:
      var signal = shim_read_signal(control.signals)
      while signal > 0 {
        options.logger.info("controller \(identity): signal \(signal), leaving")
        beginStop()
        signal = shim_read_signal(control.signals)
      }
      if !hasMore { watchSignals(control.signals) }
    case .stopper:
      if !life.isStopping { options.logger.info("controller \(identity): stopped from its own process, leaving") }
      beginStop()
    case .connection:
      guard let connection = control.index(of: index) else { return }
      receiveMessages(connection)
      if !hasMore, control.index(of: index) != nil,
        !ring.watch(control.connections[connection].descriptor, for: .connection, index: index)
      {
        disconnect(connection, "its socket cannot be watched")
      }
    case .peerProcess:
      // An event of an earlier life's descriptor is of no interest any more.
      if peer.isMeant(by: index) { peerEnded(endsWait: false) }
    case .peerLife:
      // Woken, or the word has another value. Any other result means that the kernel cannot wait (-EINVAL and others):
      // then the pidfd reports the end.
      if peer.isMeant(by: index), result == 0 || result == -EAGAIN { peerEnded(endsWait: true) }
    case .doorbell: doorbellRang(Int(index), result)
    case .storage, .nobody, .clientReceive, .clientSend, .clientAccept, .handedListeners, .extents: break
    }
  }

  /// Slow control work, a few times a second: connections that were not announced, and connections that never identify
  /// themselves.
  mutating func tendConnections(at now: UInt64) {
    control.restoreSpare()
    acceptConnections()
    if life.isStopping { return }
    for index in control.connections.indices {
      guard isUnknown(index) else { continue }
      receiveMessages(index)
      guard isUnknown(index) else { continue }
      // A connection that was accepted just now is younger than `now`: a difference would wrap.
      if control.connections[index].since &+ Self.silenceNanosecondsMax < now {
        disconnect(index, "it has not identified itself for 2 seconds")
      }
    }
  }

  mutating func acceptConnections() {
    turn.due.remove(.connections)
    // A leaving controller attaches only hosts whose requests it recovers: without them it could not leave.
    if life.isOver || life.isEnding && recovery.standingCount == 0 { return }
    // Attaching finds the position of the host's channels. That needs the peer's journal, which says what was in
    // flight.
    if takeover.standsIn, !takeover.mayTakeOver {
      turn.due.insert(.connections)
      return
    }
    // `tendConnections` tries again in a moment.
    if control.disposal.isFull { return }
    for _ in 0..<Self.acceptedMax {
      let descriptor = shim_socket_accept(control.listener.number)
      if descriptor == -EMFILE || descriptor == -ENFILE {
        note(.connection, .warning, "cannot accept a connection: \(Self.outOfDescriptors)")
        if control.turnAway(ControlMessage.refusal(Self.outOfDescriptors)) { continue }
        return
      }
      // EAGAIN: no more connections wait. Any other error (the connection has ended) concerns this connection alone.
      if descriptor < 0 { return }
      // Before anything is received: a descriptor from a stranger is not even closed here.
      var pid: pid_t = 0
      var uid: uid_t = 0
      guard shim_socket_peer(descriptor, &pid, &uid) == 0, uid == geteuid() || uid == 0 else {
        _ = ControlMessage.sendReply(
          over: descriptor, ControlMessage.refusal("this subsystem belongs to another user"))
        control.disposal.end(socket: descriptor)
        continue
      }
      if let silent = control.silentOne(inTheWayOf: pid) {
        disconnect(silent, "process \(control.connections[silent].pid) has too many unidentified connections")
      }
      guard let connection = control.add(descriptor, pid: pid) else {
        note(.connection, .warning, "refuses a connection, \(ControlConnections.connectionsMax) are open")
        _ = ControlMessage.sendReply(over: descriptor, ControlMessage.refusal("too many connections"))
        control.disposal.end(socket: descriptor)
        continue
      }
      guard ring.watch(descriptor, for: .connection, index: control.token(connection)) else {
        // A connection that is not watched would never be heard again.
        control.close(connection)
        continue
      }
      // The other end may have sent before the watch began; an edge-triggered watch does not report that.
      receiveMessages(connection)
    }
    turn.due.insert(.connections)
  }

  private mutating func receiveMessages(_ connection: Int) {
    let descriptor = control.connections[connection].descriptor
    var passed: [CInt] = []
    for _ in 0..<Self.messagesMax {
      // As long as an attach request, and the same but for its end.
      var message = baton_listener_message()
      // `tendConnections` reads it again in a moment. An attached host sends nothing that has to be kept.
      if control.disposal.isFull, isUnknown(connection) { return }
      let count = ControlMessage.receive(over: descriptor, &message, passed: &passed)
      if count == -Int(EAGAIN) || count == -Int(EINTR) { return }
      // At most one descriptor, and only with a message that takes one. Surplus descriptors are closed off the loop.
      let isExpected = count > 1 && !isHost(connection)
      let handed = isExpected ? passed.first : nil
      for surplus in passed.dropFirst(isExpected ? 1 : 0) { control.disposal.close(surplus) }
      let hasSurplus = passed.count > (isExpected ? 1 : 0)
      switch (count, control.connections[connection].kind) {
      case (1, .host) where !hasSurplus, (1, .peer) where !hasSurplus:
        break  // the doorbell: being awake is the answer
      case (MemoryLayout<baton_listener_message>.size, .unknown) where isListener(message),
        (MemoryLayout<baton_listener_message>.size, .listeners) where isListener(message):
        guard isPeersProcess(control.connections[connection].pid) else {
          if let handed { control.disposal.close(handed) }
          return refuse(connection, "listening sockets are taken from the peer controller's process only")
        }
        control.connections[connection].kind = .listeners
        control.keepListener(handed, number: message.number)
      case (MemoryLayout<baton_attach_request>.size, .unknown):
        attach(connection, unsafeBitCast(message, to: baton_attach_request.self), handed)
        if control.connections[connection].descriptor < 0 { return }
      case (-Int(EMFILE), .unknown): return refuse(connection, Self.outOfDescriptors)
      default:
        if let handed { control.disposal.close(handed) }
        let reason =
          switch count {
          case -Int(EMFILE): "more descriptors than this controller has room for"
          case ...0: String?.none
          case _ where hasSurplus: "unexpected descriptors: \(passed.count)"
          default: "an unknown message of \(count) bytes"
          }
        disconnect(connection, reason)
        return
      }
    }
    disconnect(connection, "\(Self.messagesMax) messages at once")
  }

  private func isUnknown(_ connection: Int) -> Bool {
    if case .unknown = control.connections[connection].kind { true } else { false }
  }

  private func isHost(_ connection: Int) -> Bool {
    if case .host = control.connections[connection].kind { true } else { false }
  }

  /// Whether a process is the peer controller's. The kernel says which process connected, and the peer's record says
  /// which process the peer is. A process number alone can come to name another process; a number with its start time
  /// cannot.
  private func isPeersProcess(_ pid: pid_t) -> Bool {
    let record = region.controller(identity.peer)
    // Sync point "pid".
    guard pid > 0, record.pid.loadAcquiring() == UInt64(pid) else { return false }
    return ProcessIdentity.startTicks(of: "\(pid)") == record.startTime.loadRelaxed()
  }

  /// Whether the peer controller's process is at the other end of a connection.
  package func isPeer(over socket: CInt) -> Bool {
    var pid: pid_t = 0
    var uid: uid_t = 0
    return shim_socket_peer(socket, &pid, &uid) == 0 && isPeersProcess(pid)
  }

  /// Whether the peer hands a listening socket over.
  private func isListener(_ message: baton_listener_message) -> Bool {
    message.magic == baton_host_magic && message.layout_version == UInt32(BATON_LAYOUT_VERSION)
      && message.kind == UInt32(BATON_ATTACH_LISTENER)
  }

  /// A new life of the peer asks for the sockets that its earlier lives listened on. It gets all of them, and then a
  /// message that there are no more; this controller keeps them as well.
  private mutating func answerAsk(_ connection: Int) {
    let listeners = control.peersListeners
    for (number, listener) in (listeners + [-1]).enumerated() {
      let sent = ControlMessage.sendListener(
        over: control.connections[connection].descriptor, listener, number: number, count: listeners.count)
      // The peer asks again.
      if sent < 0 { return disconnect(connection, nil) }
    }
    control.connections[connection].kind = .listeners
  }

  private mutating func attach(
    _ connection: Int, _ message: baton_attach_request, _ handed: CInt?
  ) {
    var handed = handed
    // Unless it turns out to be a host's memory.
    defer { if let handed { control.disposal.close(handed) } }
    // The kernel recorded it when the other end connected. `acceptConnections` has checked the user.
    let pid = control.connections[connection].pid
    guard message.magic == baton_host_magic else { return refuse(connection, "the message is not an attach request") }
    guard message.layout_version == UInt32(BATON_LAYOUT_VERSION) else {
      return refuse(
        connection,
        "layout version \(message.layout_version), and this controller works with \(BATON_LAYOUT_VERSION)")
    }
    switch message.kind {
    case UInt32(BATON_ATTACH_PEER), UInt32(BATON_ATTACH_ASK):
      guard isPeersProcess(pid) else {
        return refuse(connection, "process \(pid) is not the peer controller's")
      }
      if message.kind == UInt32(BATON_ATTACH_ASK) { return answerAsk(connection) }
      control.connections[connection].kind = .peer
      _ = welcome(connection)
    case UInt32(BATON_ATTACH_HOST):
      // Its outstanding requests are meant for another subsystem.
      guard message.generation == 0 || message.generation == region.header.generation else {
        return refuse(
          connection, "the subsystem that this host was attached to is gone; this is a different one",
          kind: BATON_REFUSED_OTHER_SUBSYSTEM)
      }
      guard let number = handed else {
        return refuse(connection, "the descriptor of the host's memory did not come with the attach request")
      }
      do throws(BatonError) {
        let memory = try Self.attaching(number)
        try checkPages(of: memory, pid: pid)
        // From here on it is known to be memory, and mapped: closing it takes no time.
        handed = nil
        Glibc.close(number)
        let (place, refusal) = place(for: memory.header.identity)
        guard let place else { return refuse(connection, refusal) }
        guard admitsAnother(identity: memory.header.identity, place) else {
          return refuse(connection, "\(Journal.hostPlaces) hosts have requests with the two controllers already")
        }
        addHost(memory, place, connection, pid: pid)
        // A host whose connection has ended by now gets no positions: its memory may be unmapped.
        if welcome(connection) { takePositions(place) }
      } catch {
        refuse(connection, error.description)
      }
    default: refuse(connection, "an attach request of kind \(message.kind)")
    }
  }

  /// Accepts the other end of a connection. False when that end is gone: then the connection is closed.
  private mutating func welcome(_ connection: Int) -> Bool {
    var reply = baton_attach_reply()
    reply.magic = baton_host_magic
    reply.layout_version = UInt32(BATON_LAYOUT_VERSION)
    reply.controller = UInt64(identity.rawValue)
    reply.incarnation = incarnation
    reply.generation = region.header.generation
    reply.unit_count = UInt64(region.unitCount)
    if ControlMessage.sendReply(over: control.connections[connection].descriptor, reply) { return true }
    disconnect(connection, nil)
    return false
  }

  private mutating func refuse(_ connection: Int, _ reason: String, kind: Int = BATON_REFUSED) {
    note(.refusal, .warning, "refuses to attach process \(control.connections[connection].pid): \(reason)")
    count(.hostsRefused)
    _ = ControlMessage.sendReply(
      over: control.connections[connection].descriptor, ControlMessage.refusal(reason, kind: kind))
    disconnect(connection, nil)
  }

  /// Logs what a host has caused, unless there were too many lines of that kind just now (`LineLimits`).
  mutating func note(_ kind: LineLimits.Kind, _ level: Logger.Level, _ line: String) {
    if options.logger.logLevel > level { return }
    guard let withheld = control.lineLimits.admit(kind, at: turn.clock.time) else { return count(.linesWithheld) }
    let more = withheld == 0 ? "" : " (similar lines withheld before this one: \(withheld))"
    options.logger.log(level: level, "controller \(identity): \(line)\(more)")
  }
}
