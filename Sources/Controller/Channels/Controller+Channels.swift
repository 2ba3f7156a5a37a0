import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem

// Requests in: the controller takes what hosts submit from their channels, in arrival order.
extension Controller {
  /// Takes requests from this channel from now on.
  mutating func addToOrder(_ channel: ChannelIndex) {
    if channels.poll(channel) { sayFirst(channel) }
  }

  /// The reverse: the controller takes no more requests from it. Not while iterating over the order.
  mutating func removeFromOrder(_ channel: ChannelIndex) {
    if channels.stopPolling(channel) { endListening(channel) }
  }

  /// Polls every hot channel and one cold one.
  @inline(__always)
  mutating func pollChannels() -> Int {
    var work = 0
    var position = 0
    while position < channels.polling.hotCount {
      let taken = pollChannel(channels.polling[position])
      // Wrapping: the batch per channel bounds it.
      work &+= taken
      if taken == 0, channels.noteIdle(at: position) { continue }
      position &+= 1
    }
    if channels.polling.count > channels.polling.hotCount { work &+= pollColdChannel() }
    return work
  }

  private mutating func pollColdChannel() -> Int {
    guard let position = channels.nextCold() else { return 0 }
    let taken = pollChannel(channels.polling[position])
    if taken > 0 { channels.heat(position: position) }
    return taken
  }

  /// Polls every channel, hot or not: before sleeping, and when leaving.
  mutating func pollAllChannels() -> Int {
    var work = 0
    var position = 0
    while position < channels.polling.count {
      let taken = pollChannel(channels.polling[position])
      work += taken
      if taken > 0, position >= channels.polling.hotCount { channels.heat(position: position) }
      position += 1
    }
    return work
  }

  /// Takes at most one batch of what a host has submitted since the last poll.
  @inline(__always)
  private mutating func pollChannel(_ index: ChannelIndex) -> Int {
    let channel = channels.address(index)
    var first = channel.pointee.staying
    channel.pointee.line(first).prefetch()
    // Acquire: sync point "submit", the host's release of the flag.
    var flag = RequestFlag(rawValue: channel.pointee.line(first).flag.loadAcquiring())
    if flag != channel.pointee.due {
      first = channel.pointee.next
      if first == channel.pointee.staying {
        if flag.isSubmitted { noticeOffence() }
        return 0
      }
      channel.pointee.line(first).prefetch()
      flag = RequestFlag(rawValue: channel.pointee.line(first).flag.loadAcquiring())
      if flag != channel.pointee.due {
        if flag.isSubmitted { noticeOffence() }
        return 0
      }
    }
    return interventions.isPlain
      ? takeRequests(index, from: first, isPlain: true) : takeRequests(index, from: first, isPlain: false)
  }

  /// The same, with a request submitted in line `first`. `isPlain` is the constant of that name, known at each call, so
  /// that one source becomes two loops. One passes protocol points and heeds planted defects; the other contains none
  /// of that.
  @inline(__always)
  private mutating func takeRequests(_ index: ChannelIndex, from first: LineIndex, isPlain: Bool) -> Int {
    let channel = channels.address(index)
    let begin = channel.pointee.due
    // The due number counts the taken requests: one variable less in a loop that has none to spare.
    let end = begin.advanced(by: takeable(channel))
    if begin == end { return 0 }
    let bounds = ChannelBounds(channel.pointee)
    var current = first
    var staying = first
    var due = begin
    var slowly = 0
    var line = channel.pointee.line(current)
    // Each turn of the loop begins with a submitted request in `current`.
    batch: repeat {
      if let run = beginRun(with: line.copy(), isPlain: isPlain) {
        let (following, isOver) = serve(run, of: index, from: &line, due: &due, end: end, bounds, isPlain: isPlain)
        if let following {
          current = channel.pointee.index(of: isOver ? following : line)
          staying = current
          if !isOver { continue }
          if run.mayStay { staying = channel.pointee.index(of: line) }
          // Each request that names its own line as the next one's ends its run, because that line has been answered.
          if following.flag.address == line.flag.address {
            expel(place: index.place, for: .wrongNext(current.number, outstanding: channel.pointee.outstanding))
          }
          break
        }
      }
      if turn.holdsBack(index) { break }
      if !isPlain { reach(.requestTaken, .taken, TraceDetail(line, channels[index], index, due)) }
      guard let next = takeSlowly(index, current, sequence: due.sequence) else { break }
      slowly &+= 1
      due = due.following
      staying = next.mayStay ? current : next.line
      current = next.line
      if due == end { break }
      line = channel.pointee.line(current)
    } while line.flag.loadAcquiring() == due.rawValue
    let taken = due.distance(from: begin)
    if taken > 0 {
      channel.pointee.advance(to: current, staying: staying, due: due)
      if slowly < taken {
        let atOnce = UInt64(truncatingIfNeeded: taken &- slowly)
        count(.requests, atOnce)
        count(.direct, atOnce)
        count(.answered, atOnce)
        noteAnswers(index, channel)
      }
    }
    return taken
  }

  /// Serves requests of a run, the first one submitted in `line`, and answers each at once. The loop calls nothing, so
  /// that its variables stay in registers.
  ///
  /// - Returns: the line where the next request is or will be, or nil if no request was served; and whether the run is
  ///   over, because no request is due there. If it is not over, the request in `line` is not like the others.
  @inline(__always)
  private func serve(
    _ run: RunAtOnce, of channel: ChannelIndex, from line: inout RequestLine, due: inout RequestFlag, end: RequestFlag,
    _ bounds: ChannelBounds, isPlain: Bool
  ) -> (following: RequestLine?, isOver: Bool) {
    // Never 0 after a request: it counts at most `channelBatchMax` lengths.
    var bytes: UInt64 = 0
    var following = line
    var isOver = false
    repeat {
      let copy = line.copy()
      let next = copy.next(ifLike: run.likeness)
      guard next <= bounds.lineMask else { break }
      following = bounds.line(LineIndex(Int(truncatingIfNeeded: next)))
      // The next two are on their way while this one is served.
      following.prefetch()
      following.prefetch(linesAhead: 1)
      guard run.admits(copy, arenaSize: bounds.arenaSize) else { break }
      if !isPlain {
        reach(.requestTaken, .taken, TraceDetail(line, channels[channel], channel, due))
        let term = run.service.term
        reach(.responseBefore, .answered, TraceDetail(line, channels[channel], channel, due, answeredIn: term))
      }
      line.answer(due.answered(.success), value: copy.length, service: run.service)
      if !isPlain { reach(.responseAfter) }
      bytes &+= copy.length
      due = due.following
      isOver = due == end
      if isOver { break }
      // Acquire: sync point "submit".
      isOver = following.flag.loadAcquiring() != due.rawValue
      if isOver { break }
      line = following
    } while true
    if bytes == 0 { return (nil, false) }
    run.bytesMoved.addAsOnlyWriter(bytes)
    return (following, isOver)
  }

  @inline(never)
  private mutating func noticeOffence() {
    turn.due.insert(.look)
    turn.due.insert(.offence)
  }

  /// Finds hosts whose submission does not carry the due number.
  mutating func lookForOffences() {
    turn.due.remove(.offence)
    for position in 0..<channels.polling.count {
      let index = channels.polling[position]
      let channel = channels.address(index)
      guard channel.pointee.phase == .attached else { continue }
      // In the line that may be used again the last request may still stand.
      let flag = RequestFlag(rawValue: channel.pointee.line(channel.pointee.next).flag.loadAcquiring())
      guard flag.isSubmitted, flag != channel.pointee.due else { continue }
      // Since the poll of the reusable line the host may have submitted the due request in that line, and the one after
      // it here. It submits in that order, so the first is visible now.
      let staying = RequestFlag(rawValue: channel.pointee.line(channel.pointee.staying).flag.loadAcquiring())
      if staying != channel.pointee.due {
        expel(place: index.place, for: .wrongSequence(found: flag.sequence, due: channel.pointee.due.sequence))
      }
    }
  }

  /// Takes the request submitted in that line, which is not over at once. It is copied again: each copy is checked and
  /// used by itself.
  ///
  /// - Returns: the line of the request after it, and whether that request may be in this line again; nil when the
  ///   controller expels the host, because it names a line that does not exist or has more requests outstanding than
  ///   lines.
  private mutating func takeSlowly(
    _ index: ChannelIndex, _ line: LineIndex, sequence: UInt64
  ) -> (line: LineIndex, mayStay: Bool)? {
    let channel = channels.address(index)
    let copy = channel.pointee.line(line).copy()
    let named = Int(copy.next)
    guard named <= channel.pointee.lineMask, named != line.number,
      channel.pointee.outstanding < channel.pointee.lineMask
    else {
      expel(place: index.place, for: .wrongNext(named, outstanding: channel.pointee.outstanding))
      return nil
    }
    let next = LineIndex(named)
    channel.pointee.line(next).prefetch()
    channel.pointee.beginRequest()
    count(.requests)
    receive(copy, channel: index, line: line, sequence: sequence)
    return (next, copy.mayStay)
  }

  /// How many more requests of this host the controller can take now. When half of the table is full, a host that has
  /// its share waits: slow requests of one host never keep the others out. Each request taken uses up at most one
  /// entry.
  @inline(__always)
  private func takeable(_ channel: UnsafeMutablePointer<ChannelState>) -> Int {
    guard channel.pointee.phase == .attached else { return 0 }
    if requests.free > Self.requestsMax / 2 + Self.channelBatchMax { return Self.channelBatchMax }
    return Self.takeable(free: requests.free, outstanding: channel.pointee.outstanding, hostsMax: options.hostsMax)
  }

  @inline(never)
  private static func takeable(free: Int, outstanding: Int, hostsMax: Int) -> Int {
    if free > requestsMax / 2 { return min(free - requestsMax / 2, channelBatchMax) }
    return max(min(free - requestsReserved, requestsMax / 2 / hostsMax - outstanding, channelBatchMax), 0)
  }

  /// Begins a run of requests that are over as soon as they have begun: they move blocks of a null unit that this
  /// controller owns, and nothing is before them or in their way. Here the conditions are checked that hold for the
  /// whole run, because the loop of a run calls nothing that could change them:
  ///
  /// - which operation and unit they have: the run ends at the first request that is not like this one;
  /// - that this controller is the owner: only the owner grants, and this one is in the loop of a run;
  /// - that the function admits requests, which is this controller's own matter;
  /// - that this life is a member. A controller that stands still after this check, whether for one request or for
  ///   many, goes on only to its end: the peer serves in its place when it has seen this one's exit.
  ///
  /// Any other request takes the way through `receive`, which checks the same conditions and has an answer to each.
  ///
  /// These requests are not entered in the journal. A journal says what a dead controller may have done without having
  /// said so, and a null unit does nothing: neither the unit nor the host's memory differs before and after. So a
  /// request whose line still says "submitted" when its controller has died is as good as one that was never taken, and
  /// the survivor takes it as that, in its order among the host's others. It is answered once, because the answer is
  /// one release of its flag. It collides with nothing, so a survivor that does not know of it yet, because its host
  /// comes later, undoes nothing.
  ///
  /// For memory units, and for files on tmpfs, that is not so, although their requests may be over within the turn
  /// too. Take a write that was executed, and whose controller died before the answer. Some host reads the new data
  /// through the survivor and then overwrites it; the writer's own host comes to the survivor after that. Without an
  /// entry that holds the others off, the survivor would execute the older write again, and undo an answered one. It
  /// would do so even if all hosts were attached already, because it finds the position of one channel after another. A
  /// discard or write zeroes is a write in this, and the state of a unit that was set meanwhile must not refuse what
  /// may have been executed. `AtOnceTests.memoryNeedsTheJournal` shows it.
  ///
  /// - Returns: nil when a condition does not hold: nothing has been done.
  @inline(__always)
  private func beginRun(with first: RequestCopy, isPlain: Bool) -> RunAtOnce? {
    // Read and write are 1 and 2.
    guard first.operation &- Operation.read.rawValue <= 1, first.unit < units.count else { return nil }
    let unit = units.address(Int(first.unit))
    let word = arbiter.look(unit.pointee.ownership)
    guard word.isOwned(by: identity), unit.pointee.function.pointee.admits,
      isPlain ? life.isNamed : isStillMember && !life.isOver
    else { return nil }
    return RunAtOnce(
      like: first, unit, service: Service(rawValue: word.rawValue & ~0xffff | UInt64(identity.rawValue)),
      bytesMoved: counters.bytesMoved(by: first.operation))
  }
}
