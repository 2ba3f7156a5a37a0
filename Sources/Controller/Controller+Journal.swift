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
    var found: [Int32] = []
    requests.adopt { found.append($0) }
    var isNeeded = [Bool](repeating: false, count: Journal.hostPlaces)
    for index in found {
      let request = requests.entry(index)
      guard isSound(request.pointee), journal.host(Int(request.pointee.channel) >> 1).pointee.identity != 0 else {
        reportDamage(request.pointee, in: identity)
        leaveJournal(request)
        requests.giveBack(index)
        continue
      }
      isNeeded[Int(request.pointee.channel) >> 1] = true
      enlist(index)
    }
    takeover.hasEarlierLifes = !found.isEmpty
    for place in 0..<Journal.hostPlaces {
      if isNeeded[place] {
        hosts.expect(place, identity: journal.host(place).pointee.identity)
      } else {
        journal.host(place).pointee.identity = 0
      }
    }
  }

  /// Begins to read the peer's journal.
  mutating func beginJournal() {
    let journal = region.journal(of: identity.peer)
    takeover.journalCursor = 0
    takeover.journalTop = Int(min(journal.top.loadAcquiring(), UInt64(Journal.capacity)))
    takeover.places = [Int16](repeating: -1, count: Journal.hostPlaces)
    if interventions.makes(.noJournal) {
      for index in 0..<takeover.journalTop { (journal.entries + index).inFlight.storeReleasing(0) }
      takeover.journalTop = 0
    }
    _ = readJournal()
  }

  /// Moves entries of the peer's journal to this controller's. An entry is first in both journals, then here alone: a
  /// survivor that recovers from the death of this controller finds it in at least one. An entry found in both is one
  /// request, and its line says whether it has been answered.
  mutating func readJournal() -> Int {
    let journal = region.journal(of: identity.peer)
    var moved = 0
    takeover.isJournalBlocked = false
    while takeover.journalCursor < takeover.journalTop, moved < options.journalEntriesPerTurn {
      let theirs = journal.entries + takeover.journalCursor
      if theirs.inFlight.loadAcquiring() != 0 {
        // An entry becomes free when a request of this controller's own has ended.
        guard requests.free > 0 else {
          takeover.isJournalBlocked = true
          return moved
        }
        let copy = theirs.pointee
        if isSound(copy), let place = localPlace(Int(copy.channel) >> 1, journal) {
          let channel = place << 1 | Int(copy.channel & 1)
          // The earlier life of this controller died between copying and clearing it.
          if takeover.hasEarlierLifes, isRecovering(channel, Int(copy.slot), copy.sequence) {
            theirs.inFlight.storeReleasing(0)
            takeover.journalCursor += 1
            continue
          }
          moved += 1
          let index = requests.take()
          (requests.entry(index)).enter(copy, channel: UInt32(truncatingIfNeeded: channel))
          enlist(index)
        } else {
          reportDamage(copy, in: identity.peer)
        }
        reach(.journalCopied)
        theirs.inFlight.storeReleasing(0)
        reach(.journalMoved)
      }
      takeover.journalCursor += 1
    }
    return moved
  }

  /// The peer's journal has been read to its end, and nothing in it names a host any more. A remaining record would
  /// count among the hosts of both controllers (`admitsAnother`).
  mutating func clearPeersHosts() {
    let journal = region.journal(of: identity.peer)
    for place in 0..<Journal.hostPlaces where journal.host(place).pointee.identity != 0 {
      journal.host(place).pointee.identity = 0
    }
  }

  /// Whether a controller can have written an entry: it is a request that passed every check. The journal is the
  /// controllers' own memory, but a controller checks everything from shared memory before it uses it. `isUnanswered`
  /// checks the bounds of the host's arena once the host is attached.
  private mutating func isSound(_ entry: AcceptedRequest) -> Bool {
    guard entry.state == 1, Int(entry.channel) < 2 * Journal.hostPlaces,
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
  private mutating func localPlace(_ place: Int, _ journal: Journal) -> Int? {
    if takeover.places[place] >= 0 { return Int(takeover.places[place]) }
    let theirs = journal.host(place).pointee
    if theirs.identity == 0 { return nil }
    var found = hosts.place(of: theirs.identity)
    if found == nil, let free = hosts.vacantPlace {
      hosts.expect(free, identity: theirs.identity)
      region.journal(of: identity).host(free).pointee = theirs
      found = free
    }
    if let found { takeover.places[place] = Int16(found) }
    return found
  }

  private mutating func enlist(_ index: Int32) {
    let request = requests.entry(index)
    request.pointee.flags &= AcceptedRequest.Flag.lasting
    request.pointee.flags |= AcceptedRequest.Flag.recovered
    request.pointee.next = takeover.recoveringHead
    takeover.recoveringHead = index
    takeover.recoveringCount += 1
    // An abandoned request stays so, whichever controller recovers it: others have been served meanwhile. Its host may
    // be attached.
    if !request.pointee.isStanding {
      if hosts[Int(request.pointee.channel) >> 1].phase == .attached { takeover.mustBind = true }
      return
    }
    takeover.standingCount += 1
    let state = functions.address(request.pointee.function.index)
    // Any earlier proof was about other requests.
    state.pointee.isDrained = false
    state.pointee.recovering += 1
    count(.recovered)
  }
}
