import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import CBatonShims

// Takeover: serving in the other one's place, once it is gone for certain: its functions and its channels. What it had
// in flight is recovered, see Controller+Recovery.
extension Controller {
  /// Hosts whose channel is looked through in one turn at the most: the first ones are not to wait for all.
  private static var positionsMax: Int { 2 }
  /// Words looked at in one turn at the most.
  private static var sweepMax: Int { 256 }

  /// The other one is gone for certain: it has left, or this controller holds the fence and has seen its exit.
  mutating func standIn(for seen: MembershipWord, at now: UInt64) {
    peerIsGone = true
    takeover.beganAt = now
    takeover.sweepLeft = region.functionCount
    takeover.placeCursor = 0
    takeover.isReleasing = false
    if seen.standing(identity.peer) == .fenced {
      count(.takeovers)
      options.logger.notice("controller \(identity): serves in place of controller \(identity.peer)")
      beginJournal()
    }
    takeover.setStage(.recovers, record)
  }

  /// One turn of it.
  @inline(never)
  mutating func continueTakeover() -> Int {
    guard peerIsGone else { return 0 }
    var work = 0
    if takeover.journalCursor < takeover.journalTop { work += readJournal() }
    // Only then: what stands in the journal must not be taken for something new.
    if takeover.journalCursor == takeover.journalTop {
      if takeover.placeCursor < Journal.hostPlaces { work += adoptChannels() }
      if takeover.recoveringHead >= 0 { work += recover() }
      if takeover.heldHead >= 0 { work += releaseHeld() }
    }
    if takeover.sweepLeft > 0 { work += sweepForTakeover() }
    if takeover.placeCursor == Journal.hostPlaces, takeover.sweepLeft == 0, takeover.standingCount == 0 {
      takeover.setStage(.standsIn, record)
    }
    return work
  }

  // MARK: Functions

  /// Takes one function over, if the other one owned it.
  mutating func takeOver(_ function: Function) {
    let word = region.ownership.word(function.index)
    reach(.takeOverBefore)
    if arbiter.takeOver(word) {
      reach(.takeOverAfter)
      count(.functionsTakenOver)
      functions[function.index].isRelinquishing = false
    }
  }

  /// Every function, in time: when the other one comes back, nothing may stand as owned or requested by its former
  /// life.
  private mutating func sweepForTakeover() -> Int {
    let part = min(takeover.sweepLeft, Self.sweepMax)
    for _ in 0..<part {
      takeover.sweepLeft -= 1
      let index = takeover.sweepLeft
      let word = region.ownership.word(index)
      let value = arbiter.look(word)
      if value.isOwned(by: identity.peer) {
        takeOver(Function(index: index))
        // Somebody here may wait for it.
        if functions[index].hasPending { wantAttention(Function(index: index)) }
      } else if value.isRequested {
        _ = arbiter.dismiss(word)
      }
    }
    return part
  }

  // MARK: Channels

  /// Looks through the other one's channels of some hosts, and takes from them from now on.
  private mutating func adoptChannels() -> Int {
    var looked = 0
    while takeover.placeCursor < Journal.hostPlaces, looked < Self.positionsMax {
      let place = takeover.placeCursor
      if hosts[place].phase == .attached {
        looked += 1
        guard takePosition(place << 1 | identity.peer.index) else { return looked }
      }
      takeover.placeCursor += 1
    }
    return looked + 1
  }

  /// A host has attached: finds where its channels stand.
  mutating func takePositions(_ place: Int) {
    bindRecovered(place)
    if !takePosition(place << 1 | identity.index) { expel(place: place, for: .noRoom) }
    if peerIsGone, !takeover.isReleasing, takeover.journalCursor == takeover.journalTop {
      if !takePosition(place << 1 | identity.peer.index) {
        // Later, with those of the others.
        takeover.placeCursor = min(takeover.placeCursor, place)
      }
    }
  }

  /// Finds where a channel stands by looking through its lines, receives what was submitted and is neither answered nor
  /// being recovered, in the order of its submission, and takes requests from the channel from now on.
  ///
  /// A line whose request is over may be in use again, so the lines are no chain; but each carries its number, and the
  /// newest one names the line that comes next. A host may go on submitting meanwhile: what is newer than the newest
  /// line that the first pass saw is left to the polls that follow.
  ///
  /// - Returns: false when there is no room for all of them at present: nothing has been taken.
  private mutating func takePosition(_ channel: Int) -> Bool {
    let state = channels + channel
    if state.pointee.isPolled || state.pointee.phase != .attached { return true }
    let place = channel >> 1
    var newest: UInt64 = 0
    var next = 0
    for slot in 0...state.pointee.lineMask {
      // Acquire: sync point "submit".
      let line = state.pointee.line(slot)
      let flag = RequestFlag(rawValue: line.flag.loadAcquiring())
      if flag.sequence > newest {
        newest = flag.sequence
        next = Int(line.copy().next)
      }
    }
    var found = 0
    for slot in 0...state.pointee.lineMask {
      let flag = RequestFlag(rawValue: state.pointee.line(slot).flag.loadAcquiring())
      guard flag.isSubmitted, flag.sequence <= newest else { continue }
      unanswered[found] = flag.sequence << Self.slotBits | UInt64(slot)
      found += 1
    }
    if found > requests.free { return false }
    var ordered = UnsafeMutableBufferPointer(start: unanswered, count: found)
    ordered.sort()
    guard next <= state.pointee.lineMask, found <= state.pointee.lineMask,
      !zip(ordered, ordered.dropFirst()).contains(where: { $0 >> Self.slotBits == $1 >> Self.slotBits })
    else {
      expel(place: place, for: .wrongLines)
      return true
    }
    state.pointee.next = next
    state.pointee.sequence = newest &+ 1
    state.pointee.outstanding = 0
    let isAdopted = channel & 1 != identity.index
    addToOrder(channel)
    for entry in ordered {
      let slot = Int(entry & (1 << Self.slotBits - 1))
      let sequence = entry >> Self.slotBits
      if isRecovering(channel, slot, sequence) { continue }
      if isAdopted { count(.adopted) }
      state.pointee.outstanding += 1
      receive(state.pointee.line(slot).copy(), channel: channel, slot: slot, sequence: sequence)
    }
    return true
  }

  /// Lines of a channel fit into so many bits beside a sequence number.
  private static var slotBits: UInt64 { 12 }

  // MARK: Letting go

  /// A new life of the other one waits to join: takes nothing more in its place.
  mutating func beginReleasing() {
    takeover.isReleasing = true
    for place in 0..<Journal.hostPlaces { removeFromOrder(place << 1 | identity.peer.index) }
  }

  /// Whether everything that was taken in the other one's place has been answered.
  var isReleased: Bool {
    (0..<Journal.hostPlaces).allSatisfy { channels[$0 << 1 | identity.peer.index].outstanding == 0 }
  }

  /// The new life is gone again: takes in its place as before.
  mutating func stopReleasing() {
    takeover.isReleasing = false
    takeover.placeCursor = 0
  }
}
