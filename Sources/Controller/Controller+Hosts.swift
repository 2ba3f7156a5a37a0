import BatonChannel
import BatonOwnership
import BatonRing
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import BatonSystem
import Glibc

// Hosts: attaching, expelling, and letting go of their memory.
extension Controller {
  /// Memory of all hosts together that may have no pages when they attach.
  private static var bytesWithoutPagesMax: UInt64 { 256 << 20 }

  /// Maps a host's memory, which its descriptor leads to. The descriptor stays the caller's.
  static func attaching(_ number: CInt) throws(BatonError) -> HostMemory {
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
  func checkPages(of memory: borrowing HostMemory, pid: pid_t) throws(BatonError) {
    let missing = pid == getpid() ? 0 : memory.bytesWithoutPages
    let others = hosts.bytesWithoutPages
    guard missing > 0, others &+ missing > Self.bytesWithoutPagesMax else { return }
    throw BatonError(
      .exhausted, "host memory", "has no pages yet for \(ByteCount.describe(missing)) of its arena",
      fix: "take them with posix_fallocate(3) before attaching; all hosts together may leave "
        + "\(ByteCount.describe(Self.bytesWithoutPagesMax)) to this controller")
  }

  /// A place for a host: the one that is kept for it, or a free one.
  func place(for identity: UInt64) -> (place: Int?, refusal: String) {
    if let place = hosts.place(of: identity) {
      // Two channels on the same lines would both take a request. A host that comes back before its earlier connection
      // has been seen to end asks again.
      return hosts[place].phase == .expected ? (place, "") : (nil, "this host's memory is attached already")
    }
    // A host that went keeps its place until its last request has ended: places are what is counted.
    if hosts.mappedCount >= options.hostsMax { return (nil, "\(options.hostsMax) hosts are attached already") }
    return (hosts.vacantPlace, "no place is left for a host")
  }

  /// Whether one more host fits into either journal: a survivor must find a place for each host of both.
  ///
  /// Two controllers that admit a host each at the same time do so by the same rule: each enters its own host's record
  /// first, and then counts; the fence lets at least one of them see the other's. One that is refused leaves no record.
  func admitsAnother(identity host: UInt64, _ place: Int) -> Bool {
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

  mutating func addHost(
    _ memory: consuming HostMemory, _ place: Int, _ connection: Int, pid: pid_t
  ) {
    let state = HostState(
      phase: .attached, identity: memory.header.identity, connection: connection,
      bytesWithoutPages: pid == getpid() ? 0 : memory.bytesWithoutPages)
    for side in ControllerIdentity.allCases {
      let channel = place << 1 | side.index
      // It may still stand in the list of those answered in this turn: it must not be listed twice.
      let isTouched = channels[channel].isTouched
      channels[channel] = ChannelState(memory, to: side)
      channels[channel].isTouched = isTouched
    }
    hosts.attach(place, state, memory)
    // Until requests are taken from its channel, and it is said there how this controller waits.
    hosts.say(.drowsy, place, as: identity)
    // Before anything of this host can stand in the journal.
    let record = region.journal(of: identity).host(place)
    record.pointee.identity = state.identity
    record.pointee.pid = UInt64(pid)
    record.pointee.start_time = ProcessIdentity.startTicks(of: "\(pid)")
    control.connections[connection].kind = .host(place: place)
    count(.hostsAttached)
    setHostCount()
    note(.arrival, .info, "host process \(pid) attached, \(hosts.attachedCount) hosts")
  }

  private func setHostCount() {
    counters[.hosts].storeRelaxed(UInt64(hosts.attachedCount))
  }

  /// A host broke the protocol: it is put out, and nobody else notices.
  ///
  /// Not at once: the caller walks the list that its channels stand in. `poll` does it at the end of the turn.
  /// Out of line, with its words: nothing of this belongs into the frame of the loop.
  @inline(never)
  mutating func expel(place: Int, for offence: Offence) {
    if hosts[place].phase != .attached { return }
    hosts.expel(place)
    setChannelPhase(.expelled, ofPlace: place)
    count(.hostsRefused)
    note(.offence, .warning, "disconnects a host that broke the protocol: \(offence)")
    due.insert(.expulsion)
    due.insert(.look)
  }

  private func setChannelPhase(_ phase: HostPhase, ofPlace place: Int) {
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
      hosts.close(place, at: monotonicNanoseconds())
      setChannelPhase(.closing, ofPlace: place)
      removeFromOrder(place << 1)
      removeFromOrder(place << 1 | 1)
      setHostCount()
      note(.departure, .info, "a host went, \(hosts.attachedCount) hosts")
      free(place: place)
    }
  }

  /// Lets go of the memory of a host that went, once its last request has ended.
  mutating func free(place: Int) {
    guard hosts[place].phase == .closing, channels[place << 1].outstanding == 0,
      channels[place << 1 | 1].outstanding == 0
    else { return }
    setChannelPhase(.vacant, ofPlace: place)
    // What is being recovered for it still names the place.
    let isExpected = isNamedByRecovery(place)
    control.disposal.unmap(hosts.release(place, isExpected: isExpected))
    if !isExpected { region.journal(of: identity).host(place).pointee.identity = 0 }
  }
}
