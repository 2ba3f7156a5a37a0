import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import CBatonShims

// Journals: the controller moves what a dead controller had in flight into its own journal, entry by entry.
extension Controller {
  /// Recovers what an earlier life of this very controller had in flight: its entries stay where they are.
  mutating func recoverEarlierLife() {
    let journal = region.journal(of: identity)
    var found: [RequestIndex] = []
    requests.adopt { found.append($0) }
    var isNeeded = [Bool](repeating: false, count: Journal.hostPlaces)
    for index in found {
      let request = requests.entry(index)
      guard isSound(request.pointee), journal.host(request.pointee.origin.place.number).pointee.identity != 0 else {
        reportDamage(request.pointee, in: identity)
        leaveJournal(request)
        requests.giveBack(index)
        continue
      }
      isNeeded[request.pointee.origin.place.number] = true
      enlist(index)
    }
    for place in HostPlace.all {
      if isNeeded[place.number] {
        hosts.expect(place, identity: journal.host(place.number).pointee.identity)
      } else {
        journal.host(place.number).pointee.identity = 0
      }
    }
  }

  /// Moves entries of the peer's journal to this controller's. An entry is first in both journals, then here alone: a
  /// survivor that recovers from the death of this controller finds it in at least one. An entry found in both is one
  /// request, and its line says whether it has been answered.
  mutating func readJournal() -> Int {
    var moved = 0
    takeover.journal.setBlocked(false)
    while moved < options.journalEntriesPerTurn, let theirs = takeover.journal.entry {
      if theirs.inFlight.loadAcquiring() != 0 {
        // An entry becomes free when a request of this controller's own has ended.
        guard requests.free > 0 else {
          takeover.journal.setBlocked(true)
          return moved
        }
        let isNew = move(theirs.pointee)
        if isNew {
          moved += 1
          reach(.journalCopied)
        }
        theirs.inFlight.storeReleasing(0)
        if isNew { reach(.journalMoved) }
      }
      takeover.journal.advance()
    }
    if takeover.journal.isAtEnd {
      interventions.note(.journalRead, TraceDetail(value: UInt64(max(recovery.standingCount, 0))))
    }
    return moved
  }

  /// Copies an entry of the peer's journal to this controller's.
  ///
  /// - Returns: false if it stands there already, or is damaged.
  private mutating func move(_ theirs: AcceptedRequest) -> Bool {
    guard isSound(theirs), let place = localPlace(theirs.origin.place) else {
      reportDamage(theirs, in: identity.peer)
      return false
    }
    let channel = place.channel(to: theirs.origin.controller)
    // The earlier life of this controller died between copying and clearing it.
    if takeover.journal.mayBeMoved, recovery.contains(channel, theirs.line, theirs.sequence) { return false }
    let index = requests.take()
    requests.entry(index).enter(theirs, channel: channel)
    enlist(index)
    return true
  }

  /// The peer's journal has been read to its end, and nothing in it names a host any more. A remaining record would
  /// count among the hosts of both controllers (`admitsAnother`).
  mutating func clearPeersHosts() {
    let journal = region.journal(of: identity.peer)
    for place in HostPlace.all where journal.host(place.number).pointee.identity != 0 {
      journal.host(place.number).pointee.identity = 0
    }
  }

  /// Whether a controller can have written an entry: it is a request that passed every check. The journal is the
  /// controllers' own memory, but a controller checks everything from shared memory before it uses it. `isUnanswered`
  /// checks the bounds of the host's arena once the host is attached.
  private mutating func isSound(_ entry: AcceptedRequest) -> Bool {
    guard entry.state == 1, Int(entry.channel) < ChannelIndex.count,
      entry.sequence <= RequestFlag.sequenceMask, Int(entry.slot) < Int(BATON_LINES_MAX)
    else { return false }
    let copy = RequestCopy(
      operation: entry.operation, unit: entry.unit, offset: entry.offset, length: entry.length, buffer: entry.buffer)
    return refusal(of: copy, arenaSize: UInt64.max) == nil
  }

  /// Reports an entry that no controller can have written, and that is ignored: once per life, however many there are.
  private mutating func reportDamage(_ entry: AcceptedRequest, in owner: ControllerIdentity) {
    count(.journalDamage)
    if counters[.journalDamage].loadRelaxed() > 1 { return }
    options.logger.error(
      """
      controller \(identity): the journal of controller \(owner) is damaged: an entry names operation \
      \(entry.operation), unit \(entry.unit), offset \(entry.offset), length \(entry.length), host place \
      \(entry.channel >> 1), which no request can have; it is ignored
      """)
  }

  /// The place here of a host that has a place in the peer's journal. A host that is not attached gets a new place.
  ///
  /// Nil where the journal is damaged: a record without a host, or more hosts than both controllers together admit
  /// (`admitsAnother`).
  private mutating func localPlace(_ place: HostPlace) -> HostPlace? {
    if let known = takeover.journal.place(of: place) { return known }
    let theirs = takeover.journal.journal.host(place.number).pointee
    if theirs.identity == 0 { return nil }
    var found = hosts.place(of: theirs.identity)
    if found == nil, let free = hosts.vacantPlace {
      hosts.expect(free, identity: theirs.identity)
      region.journal(of: identity).host(free.number).pointee = theirs
      found = free
    }
    if let found { takeover.journal.setPlace(of: place, to: found) }
    return found
  }

  /// A request that was found in a journal stands in this controller's own from now on.
  private mutating func enlist(_ index: RequestIndex) {
    let request = requests.entry(index)
    let isAttached = hosts[request.pointee.origin.place].phase == .attached
    guard recovery.add(index, hostIsAttached: isAttached) else { return }
    functions.address(request.pointee.function.index).pointee.beginRecovery()
    count(.recovered)
  }
}
