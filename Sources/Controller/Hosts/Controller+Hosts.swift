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

  /// Maps a host's memory from its descriptor, which stays the caller's.
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

  /// The kernel charges an unused page to the process that touches it first. When this controller reads into such a
  /// page, the page counts against the limit of its own cgroup. So a host of another process allocates its pages before
  /// it attaches; for hosts without pages a small allowance is left, over all hosts.
  ///
  /// This check has a limit: a host may give pages back later (fallocate(2) punches holes in what it may write), and
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
  func place(for identity: UInt64) -> (place: HostPlace?, refusal: String) {
    if let place = hosts.place(of: identity) {
      // Two channels on the same lines would both take a request. A host that comes back before this controller has
      // seen its earlier connection end must ask again.
      return hosts[place].phase == .expected ? (place, "") : (nil, "this host's memory is attached already")
    }
    // A host that left keeps its place until its last request has ended: the limit counts places.
    if hosts.mappedCount >= options.hostsMax { return (nil, "\(options.hostsMax) hosts are attached already") }
    return (hosts.vacantPlace, "no place is left for a host")
  }

  /// Whether one more host fits into either journal: a survivor must find a place for each host of both.
  ///
  /// Two controllers that admit a host each at the same time follow the same rule: each first enters its own host's
  /// record, and then counts. The fence lets at least one of them see the other's record. A refused host leaves no
  /// record.
  func admitsAnother(identity host: UInt64, _ place: HostPlace) -> Bool {
    let record = region.journal(of: identity).host(place.number)
    if record.pointee.identity == host { return true }
    record.pointee.identity = host
    SharedWord(UnsafeMutableRawPointer(record)).fence()
    var known = Set<UInt64>()
    for controller in ControllerIdentity.allCases {
      let journal = region.journal(of: controller)
      for place in HostPlace.all { known.insert(journal.host(place.number).pointee.identity) }
    }
    known.remove(0)
    if known.count <= Journal.hostPlaces { return true }
    record.pointee.identity = 0
    return false
  }

  mutating func addHost(
    _ memory: consuming HostMemory, _ place: HostPlace, _ connection: Int, pid: pid_t
  ) {
    let state = HostState(
      phase: .attached, identity: memory.header.identity, connection: connection,
      bytesWithoutPages: pid == getpid() ? 0 : memory.bytesWithoutPages)
    for side in ControllerIdentity.allCases {
      let channel = place.channel(to: side)
      let state = channels.address(channel)
      state.pointee = ChannelState(memory, to: side, isTouched: state.pointee.isTouched)
    }
    // Sync point "trace": a host that is asked to write finds the file of the trace.
    memory.trace.storeReleasing(traceForHosts)
    hosts.attach(place, state, memory)
    noteHost(place)
    // The word says so until the controller takes requests from the channel, and says there how it waits.
    hosts.say(.drowsy, place, as: identity)
    // Before any request of this host can be in the journal.
    let record = region.journal(of: identity).host(place.number)
    record.pointee.identity = state.identity
    record.pointee.pid = UInt64(pid)
    record.pointee.start_time = ProcessIdentity.startTicks(of: "\(pid)")
    control.connections[connection].kind = .host(place: place)
    count(.hostsAttached)
    setHostCount()
    note(.arrival, .info, "host process \(pid) attached; hosts now: \(hosts.attachedCount)")
  }

  private func setHostCount() {
    counters[.hosts].storeRelaxed(UInt64(hosts.attachedCount))
  }

  /// A host broke the protocol: the controller disconnects it, and no other host notices.
  ///
  /// Not at once: the caller iterates over the list that its channels are in. `poll` does it at the end of the turn.
  /// Out of line, with its text: nothing of this belongs into the frame of the loop.
  @inline(never)
  mutating func expel(place: HostPlace, for offence: Offence) {
    if hosts[place].phase != .attached { return }
    hosts.expel(place)
    setChannelPhase(.expelled, ofPlace: place)
    count(.hostsRefused)
    note(.offence, .warning, "disconnects a host that broke the protocol: \(offence)")
    turn.due.insert(.expulsion)
    turn.due.insert(.look)
  }

  private func setChannelPhase(_ phase: HostPhase, ofPlace place: HostPlace) {
    for side in ControllerIdentity.allCases { channels.address(place.channel(to: side)).pointee.setPhase(phase) }
  }

  /// Disconnects those that were expelled in this turn.
  mutating func disconnectExpelled() {
    turn.due.remove(.expulsion)
    for place in HostPlace.all where hosts[place].phase == .expelled {
      disconnect(hosts[place].connection, nil)
    }
  }

  /// Ends a connection, and the channels of its host.
  mutating func disconnect(_ connection: Int, _ reason: String?) {
    if let reason { note(.connection, .warning, "disconnects a host: \(reason)") }
    let kind = control.connections[connection].kind
    _ = ring.unwatch(.connection, index: control.token(connection))
    control.close(connection)
    if case .host(let place) = kind {
      hosts.close(place, at: monotonicNanoseconds())
      setChannelPhase(.closing, ofPlace: place)
      for side in ControllerIdentity.allCases { removeFromOrder(place.channel(to: side)) }
      setHostCount()
      note(.departure, .info, "a host left; hosts now: \(hosts.attachedCount)")
      free(place: place)
    }
  }

  /// Releases the memory of a host that left, once its last request has ended.
  mutating func free(place: HostPlace) {
    guard hosts[place].phase == .closing,
      ControllerIdentity.allCases.allSatisfy({ channels[place.channel(to: $0)].outstanding == 0 })
    else { return }
    setChannelPhase(.vacant, ofPlace: place)
    // Its requests under recovery still name the place.
    let isExpected = recovery.names(place)
    control.disposal.unmap(hosts.release(place, isExpected: isExpected))
    if !isExpected { region.journal(of: identity).host(place.number).pointee.identity = 0 }
  }
}
