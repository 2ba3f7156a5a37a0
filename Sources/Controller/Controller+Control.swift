import BatonChannel
import BatonOwnership
import BatonRing
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc
import Logging

// Control: hosts that attach and go, the peer's doorbell, signals.
extension Controller {
  /// One byte and a doorbell is all that an attached host sends; one that sends more than this at a time floods.
  private static var messagesMax: Int { 1024 }
  /// Connections accepted in one turn: attaching a host takes long beside a request, and everybody else waits.
  private static var acceptedMax: Int { 4 }
  /// How long a connection may stay without saying what it is.
  private static var silenceNanosecondsMax: UInt64 { 2_000_000_000 }
  /// Memory of all hosts together that may have no pages when they attach.
  private static var bytesWithoutPagesMax: UInt64 { 256 << 20 }
  private static var outOfDescriptors: String {
    "this controller has no descriptors left: raise its limit on open files ('ulimit -n', or LimitNOFILE= in a systemd "
      + "unit), or attach again when others have gone"
  }

  mutating func watchControl() {
    _ = ring.watch(control.listener.number, for: .listener, index: 0)
    submit()
  }

  /// Stops gracefully when this descriptor (see `baton_termination_signals`) has a signal.
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
      if hasJoined { acceptConnections() }
      if !hasMore { watchControl() }
    case .signals:
      var signal = baton_read_signal(control.signals)
      while signal > 0 {
        options.logger.info("controller \(identity): signal \(signal), leaving")
        beginStop()
        signal = baton_read_signal(control.signals)
      }
      if !hasMore { watchSignals(control.signals) }
    case .connection:
      guard let connection = control.index(of: index) else { return }
      receiveMessages(connection)
      if !hasMore, control.index(of: index) != nil,
        !ring.watch(control.connections[connection].descriptor, for: .connection, index: index)
      {
        disconnect(connection, "its socket cannot be watched")
      }
    case .peerProcess:
      // Of an earlier life's descriptor nobody wants to know any more.
      if index == peer.token { peerEnded() }
    case .peerLife:
      // Woken, or not what it was. The kernel cannot (-EINVAL, and whatever else): then the pidfd is what tells.
      if index == peer.token, result == 0 || result == -EAGAIN {
        peer.isLifeWatched = false
        peerEnded()
      }
    case .doorbell: doorbellRang(Int(index), result)
    case .storage, .nobody, .clientReceive, .clientSend, .clientAccept, .handedListeners, .extents: break
    }
  }

  /// Slow control work, a few times a second: connections whose arrival was not told of, and such as never say
  /// what they are.
  mutating func tendConnections(at now: UInt64) {
    control.restoreSpare()
    acceptConnections()
    if stop != .running { return }
    for index in control.connections.indices {
      guard isUnknown(index) else { continue }
      receiveMessages(index)
      guard isUnknown(index) else { continue }
      // One that was accepted just now is younger than `now`: a difference would wrap.
      if control.connections[index].since &+ Self.silenceNanosecondsMax < now {
        disconnect(index, "nothing said for seconds")
      }
    }
  }

  mutating func acceptConnections() {
    due.remove(.connections)
    // Who leaves attaches nobody, but for those whose requests it recovers: without them it could not leave.
    if stop == .stopped || stop == .leaving && takeover.standingCount == 0 { return }
    // A host that comes is attached where its channels stand, and that is known only when it is known what was in
    // flight.
    if peerIsGone, !takeover.hasReadJournal {
      due.insert(.connections)
      return
    }
    // Looked at again in a moment, by `tendConnections`.
    if control.disposal.isFull { return }
    for _ in 0..<Self.acceptedMax {
      let descriptor = baton_socket_accept(control.listener.number)
      if descriptor == -EMFILE || descriptor == -ENFILE {
        note(.connection, .warning, "cannot accept a connection: \(Self.outOfDescriptors)")
        if control.turnAway(ControlMessage.refusal(Self.outOfDescriptors)) { continue }
        return
      }
      // EAGAIN: that was all. Anything else (a connection that went) concerns that one alone.
      if descriptor < 0 { return }
      // Before anything is received: a descriptor from a stranger is not even closed here.
      var pid: pid_t = 0
      var uid: uid_t = 0
      guard baton_socket_peer(descriptor, &pid, &uid) == 0, uid == geteuid() || uid == 0 else {
        _ = ControlMessage.sendReply(
          over: descriptor, ControlMessage.refusal("this subsystem belongs to another user"))
        control.disposal.end(socket: descriptor)
        continue
      }
      if let silent = control.silentOne(inTheWayOf: pid) {
        disconnect(silent, "process \(control.connections[silent].pid) has too many connections that say nothing")
      }
      guard let connection = control.add(descriptor, pid: pid) else {
        note(.connection, .warning, "refuses a connection, \(ControlConnections.connectionsMax) are open")
        _ = ControlMessage.sendReply(over: descriptor, ControlMessage.refusal("too many connections"))
        control.disposal.end(socket: descriptor)
        continue
      }
      guard ring.watch(descriptor, for: .connection, index: control.token(connection)) else {
        // What cannot be watched would never be heard again.
        control.close(connection)
        continue
      }
      // It may have spoken before it was watched; what is edge-triggered does not tell of that.
      receiveMessages(connection)
    }
    due.insert(.connections)
  }

  private mutating func receiveMessages(_ connection: Int) {
    let descriptor = control.connections[connection].descriptor
    var passed: [CInt] = []
    for _ in 0..<Self.messagesMax {
      // As long as an attach request, and the same but for its end.
      var message = baton_listener_message()
      // Looked at again in a moment, by `tendConnections`. Whoever is attached sends nothing that would be held.
      if control.disposal.isFull, isUnknown(connection) { return }
      let count = ControlMessage.receive(over: descriptor, &message, passed: &passed)
      if count == -Int(EAGAIN) || count == -Int(EINTR) { return }
      // One descriptor, and only where a message has one to it. The others end off the loop.
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
          case -Int(EMFILE): "descriptors for which there is no room"
          case ...0: String?.none
          case _ where hasSurplus: "\(passed.count) descriptors that nobody asked for"
          default: "a message of \(count) bytes that means nothing here"
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

  /// Whether a process is the peer controller's: the kernel says who connected, and the peer's record which process it
  /// is. A number alone can come to name somebody else, a number with its start time cannot.
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
    return baton_socket_peer(socket, &pid, &uid) == 0 && isPeersProcess(pid)
  }

  /// Whether the peer hands a listening socket over.
  private func isListener(_ message: baton_listener_message) -> Bool {
    message.magic == baton_host_magic && message.layout_version == UInt32(BATON_LAYOUT_VERSION)
      && message.kind == UInt32(BATON_ATTACH_LISTENER)
  }

  /// A new life of the peer asks for the sockets that its earlier lives listened on. It gets all, and then the word
  /// that there are no more; they stay here as well.
  private mutating func answerAsk(_ connection: Int) {
    let listeners = control.peersListeners
    for (number, listener) in (listeners + [-1]).enumerated() {
      let sent = ControlMessage.sendListener(
        over: control.connections[connection].descriptor, listener, number: number, count: listeners.count)
      // It asks again.
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
    // Settled by the kernel when the other end connected; whether the user is the right one was looked at then.
    let pid = control.connections[connection].pid
    guard message.magic == baton_host_magic else { return refuse(connection, "that is no attach request") }
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
      // What it has outstanding was asked of another subsystem.
      guard message.generation == 0 || message.generation == region.header.generation else {
        return refuse(
          connection, "the subsystem that this host was attached to is gone; this one is another",
          kind: BATON_REFUSED_OTHER_SUBSYSTEM)
      }
      guard let number = handed else {
        return refuse(connection, "the descriptor of the host's memory did not come with the attach request")
      }
      do throws(BatonError) {
        let memory = try Self.attaching(number)
        try checkPages(of: memory, pid: pid)
        // From here on it is known to be memory, and mapped: to close it takes no time.
        handed = nil
        Glibc.close(number)
        let (place, refusal) = place(for: memory.header.identity)
        guard let place else { return refuse(connection, refusal) }
        guard admitsAnother(identity: memory.header.identity, place) else {
          return refuse(connection, "\(Journal.hostPlaces) hosts have requests with the two controllers already")
        }
        addHost(memory, place, connection, pid: pid)
        // A host that is gone by now is not: its memory may be unmapped.
        if welcome(connection) { takePositions(place) }
      } catch {
        refuse(connection, error.description)
      }
    default: refuse(connection, "an attach request of kind \(message.kind)")
    }
  }

  /// Maps a host's memory, which its descriptor leads to. The descriptor stays the caller's.
  private static func attaching(_ number: CInt) throws(BatonError) -> HostMemory {
    let descriptor = OwnedDescriptor(number)
    do throws(BatonError) {
      let memory = try HostMemory(attaching: descriptor)
      _ = descriptor.release()
      return memory
    } catch {
      _ = descriptor.release()
      throw error
    }
  }

  /// A page that nobody has used yet belongs to whoever touches it first: to this controller's cgroup, whose limit it
  /// then counts against, where this controller reads into it. So a host of another process brings its pages along; for
  /// those who come without, a little is left, over all hosts.
  ///
  /// What this cannot hold: a host may give pages back later (fallocate(2) punches holes in what it may write), and
  /// have this controller touch them. That is at most what it brought along, which its own cgroup had room for when it
  /// attached.
  private func checkPages(of memory: borrowing HostMemory, pid: pid_t) throws(BatonError) {
    let missing = pid == getpid() ? 0 : memory.bytesWithoutPages
    let others = (0..<Journal.hostPlaces).reduce(0) { $0 &+ (hosts[$1].hasMemory ? hosts[$1].bytesWithoutPages : 0) }
    guard missing > 0, others &+ missing > Self.bytesWithoutPagesMax else { return }
    throw BatonError(
      .exhausted, "host memory", "has no pages yet for \(ByteCount.describe(missing)) of its arena",
      fix: "take them with posix_fallocate(3) before attaching; all hosts together may leave "
        + "\(ByteCount.describe(Self.bytesWithoutPagesMax)) to this controller")
  }

  /// A place for a host: the one that is kept for it, or a free one.
  private func place(for identity: UInt64) -> (place: Int?, refusal: String) {
    var free: Int?
    for place in 0..<Journal.hostPlaces {
      switch hosts[place].phase {
      case .vacant: free = free ?? place
      case .expected: if hosts[place].identity == identity { return (place, "") }
      case .attached, .expelled, .closing:
        // Two channels on the same lines would both take a request. Who comes back before its earlier connection has
        // been seen to end asks again.
        if hosts[place].identity == identity { return (nil, "this host's memory is attached already") }
      }
    }
    // A host that went keeps its place until its last request has ended: places are what is counted.
    let kept = (0..<Journal.hostPlaces).count { hosts[$0].hasMemory }
    if kept >= options.hostsMax { return (nil, "\(options.hostsMax) hosts are attached already") }
    return (free, "no place is left for a host")
  }

  /// Whether one more host fits into either journal: a survivor must find a place for each host of both.
  ///
  /// Two controllers that admit a host each at the same time do so by the same rule: each enters its own host's record
  /// first, and then counts; the fence lets at least one of them see the other's. One that is refused leaves no record.
  private func admitsAnother(identity host: UInt64, _ place: Int) -> Bool {
    let record = region.journal(of: identity).host(place)
    if record.pointee.identity == host { return true }
    record.pointee.identity = host
    SharedWord(UnsafeMutableRawPointer(record)).fence()
    var known = Set<UInt64>()
    for controller in ControllerIdentity.allCases {
      let journal = region.journal(of: controller)
      for place in 0..<Journal.hostPlaces { known.insert(journal.host(place).pointee.identity) }
    }
    known.remove(0)
    if known.count <= Journal.hostPlaces { return true }
    record.pointee.identity = 0
    return false
  }

  private mutating func addHost(
    _ memory: consuming HostMemory, _ place: Int, _ connection: Int, pid: pid_t
  ) {
    hosts[place] = HostState(
      phase: .attached, identity: memory.header.identity, connection: connection,
      bytesWithoutPages: pid == getpid() ? 0 : memory.bytesWithoutPages)
    for side in ControllerIdentity.allCases {
      let channel = place << 1 | side.index
      // It may still stand in the list of those answered in this turn: it must not be listed twice.
      let isTouched = channels[channel].isTouched
      channels[channel] = ChannelState(memory, to: side)
      channels[channel].isTouched = isTouched
    }
    (hostMemories + place).initialize(to: memory)
    // Until requests are taken from its channel, and it is said there how this controller waits.
    hostMemories[place].controllerParked(identity).say(.drowsy)
    // Before anything of this host can stand in the journal.
    let record = region.journal(of: identity).host(place)
    record.pointee.identity = hosts[place].identity
    record.pointee.pid = UInt64(pid)
    record.pointee.start_time = ProcessIdentity.startTicks(of: "\(pid)")
    hostCount += 1
    control.connections[connection].kind = .host(place: place)
    count(.hostsAttached)
    setHostCount()
    note(.arrival, .info, "host process \(pid) attached, \(hostCount) hosts")
  }

  private func setHostCount() {
    counters[.hosts].storeRelaxed(UInt64(hostCount))
  }

  /// Accepts the other end of a connection. False when it is gone: then it is disconnected.
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

  /// A host broke the protocol: it is put out, and nobody else notices.
  ///
  /// Not at once: the caller walks the list that its channels stand in. `poll` does it at the end of the turn.
  /// Out of line, with its words: nothing of this belongs into the frame of the loop.
  @inline(never)
  mutating func expel(place: Int, for offence: Offence) {
    if hosts[place].phase != .attached { return }
    setPhase(.expelled, ofPlace: place)
    count(.hostsRefused)
    note(.offence, .warning, "disconnects a host that broke the protocol: \(offence)")
    due.insert(.expulsion)
    due.insert(.look)
  }

  private func setPhase(_ phase: HostPhase, ofPlace place: Int) {
    hosts[place].phase = phase
    channels[place << 1].phase = phase
    channels[place << 1 | 1].phase = phase
  }

  /// Disconnects those that were expelled in this turn.
  mutating func disconnectExpelled() {
    due.remove(.expulsion)
    for place in 0..<Journal.hostPlaces where hosts[place].phase == .expelled {
      disconnect(hosts[place].connection, nil)
    }
  }

  /// Ends a connection, and the channels that came by it.
  mutating func disconnect(_ connection: Int, _ reason: String?) {
    if let reason { note(.connection, .warning, "disconnects a host: \(reason)") }
    let kind = control.connections[connection].kind
    _ = ring.unwatch(.connection, index: control.token(connection))
    control.close(connection)
    if case .host(let place) = kind {
      setPhase(.closing, ofPlace: place)
      removeFromOrder(place << 1)
      removeFromOrder(place << 1 | 1)
      hostCount -= 1
      setHostCount()
      note(.departure, .info, "a host went, \(hostCount) hosts")
      free(place: place)
    }
  }

  /// Lets go of the memory of a host that went, once its last request has ended.
  mutating func free(place: Int) {
    guard hosts[place].phase == .closing, channels[place << 1].outstanding == 0,
      channels[place << 1 | 1].outstanding == 0
    else { return }
    setPhase(.vacant, ofPlace: place)
    control.disposal.unmap((hostMemories + place).move())
    // What is being recovered for it still names the place.
    if isNamedByRecovery(place) {
      hosts[place].phase = .expected
    } else {
      region.journal(of: identity).host(place).pointee.identity = 0
    }
  }

  /// Logs what a host has caused, unless it was too much of its kind just now (`LineLimits`).
  mutating func note(_ kind: LineLimits.Kind, _ level: Logger.Level, _ line: String) {
    if options.logger.logLevel > level { return }
    guard let withheld = lineLimits.admit(kind, at: lookedAt) else { return count(.linesWithheld) }
    let more = withheld == 0 ? "" : " (\(withheld) lines of this kind were withheld before it)"
    options.logger.log(level: level, "controller \(identity): \(line)\(more)")
  }

  /// Rings the peer if it sleeps, because a word has changed that concerns it.
  mutating func ringPeer() {
    due.remove(.peer)
    // Sync point "sleep": the words and hints are published before the look whether the peer sleeps.
    AsymmetricFence.light(supported: usesMembarrier)
    guard let bell = link.takePeerSleep() else { return }
    if bell == .word, link.ringPeer() {
      count(.peerDoorbells)
    } else {
      ringPeerAlways()
    }
  }

  /// Rings the peer, whether it sleeps or not: it turns its loop, or is silent.
  mutating func ringPeerAlways() {
    count(.peerDoorbells)
    if control.toPeer >= 0 {
      if ControlMessage.send(byte: CInt(BATON_MESSAGE_DOORBELL), over: control.toPeer) { return }
    }
    // Connecting wakes it as well as a byte does. A peer that does not run needs no waking.
    _ = connectToPeer()
  }

  /// Connects to the peer, in place of the connection that there may be. False when nobody listens.
  mutating func connectToPeer() -> Bool {
    if control.toPeer >= 0 { control.disposal.end(socket: control.toPeer) }
    control.toPeer = -1
    do throws(BatonError) {
      let socket = try ControlMessage.connect(path: control.peerSocketPath, to: identity.peer)
      try ControlMessage.sendAttach(over: socket, kind: UInt32(BATON_ATTACH_PEER), descriptor: -1)
      control.toPeer = socket.release()
      return true
    } catch {
      options.logger.debug("controller \(identity): cannot connect to the peer: \(error)")
      return false
    }
  }
}
