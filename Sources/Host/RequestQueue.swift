import BatonChannel
import BatonOwnership
import BatonSharedMemory

/// The request lines of one channel as a host keeps them: which are free, and which wait for an answer.
///
/// Each request names the line of the next one, so the controller looks at one line and nowhere else, and a line
/// whose request takes long blocks no other. One line is therefore always promised.
///
/// Bare pointers, freed by `HostChannel`: as `Table`s of a noncopyable queue they cost two instructions per request at
/// depth 1.
@frozen
@usableFromInline
struct RequestQueue {
  @usableFromInline let lines: UnsafeMutableRawPointer
  /// Whether the controller sleeps.
  let controllerParked: SharedSleepWord
  /// The same for a look without a fence. Where only a fence would make the controller's sleep visible, it is a word of
  /// the host's own that never says awake: then every look goes on to `takeSleep`, which fences.
  @usableFromInline let controllerMayPark: SharedSleepWord
  private let neverAwake: UnsafeMutablePointer<UInt64>
  /// Every line, in a ring: those from `head` up to `tail` are outstanding, roughly in the order of submission, and the
  /// others are free. The first free one is promised to the next request: its line was named in the last one. The one
  /// that was answered last comes last, so that many that are outstanding follow each other in memory, as processors
  /// expect it. One that is outstanding alone stays in its line, which moves back and forth faster than any two.
  @usableFromInline let order: UnsafeMutablePointer<LinePlace>
  /// What is known of each line's request, kept outside the line, where a controller could change it.
  @usableFromInline let slots: UnsafeMutablePointer<Slot>
  @usableFromInline let mask: UInt64
  /// Requests answered, and requests submitted, since the beginning: positions in the ring, once masked.
  @usableFromInline var head: UInt64 = 0
  @usableFromInline var tail: UInt64 = 0
  /// Requests that can be outstanding: one line is always promised. None while the controller takes no requests.
  @usableFromInline var room: UInt64 = 0
  /// Whether the last request has told the controller that the next one may be in its line again.
  @usableFromInline var mayStay = false
  /// The next place to look for answers out of turn.
  @usableFromInline var cursor: UInt64 = 0
  /// Whether the controller takes requests, and whether a trace is written of them: then `room` is 0, and every request
  /// and every answer goes the way that is out of the ordinary.
  private var isOpen = false
  private var isTraced = false
  /// Answers that belong to nothing that was asked. There are none, unless a controller is broken.
  @usableFromInline var strayAnswers: UInt64 = 0

  @frozen
  @usableFromInline
  struct Slot {
    /// The flag of a successful answer.
    @usableFromInline var due: RequestFlag
    @usableFromInline var cookie: UInt64

    @inlinable @inline(__always)
    init(due: RequestFlag, cookie: UInt64) {
      self.due = due
      self.cookie = cookie
    }
  }

  /// How many lines ahead of the one that was answered the host asks for. With fewer the line comes too late, and with
  /// more the host takes it from a controller that has not answered it (docs/performance.md). The host does not ask for
  /// the line that it looks at: where two cores are near each other, a lone request took a seventh longer with that.
  @inlinable
  static var linesAhead: Int { @inline(__always) get { 2 } }

  /// Lines looked at from the oldest on, and from the cursor on, in one poll.
  private static let looksMax = 4

  init(_ memory: borrowing HostMemory, to controller: ControllerIdentity) {
    let capacity = memory.linesPerChannel
    precondition(capacity > 1 && capacity & (capacity - 1) == 0, "one line is promised, a mask wraps")
    mask = UInt64(capacity) - 1
    lines = memory.lines(to: controller)
    controllerParked = memory.controllerParked(controller)
    neverAwake = .allocate(capacity: 1)
    neverAwake.initialize(to: SharedSleepWord.State.drowsy.rawValue)
    controllerMayPark = AsymmetricFence.isSupported ? controllerParked : SharedSleepWord(SharedWord(neverAwake))
    precondition(
      MemoryLayout<Slot>.stride == LinePlace.stride
        && RequestLine.stride == LinePlace.stride &* LinePlace.slotsPerLine, "a place leads to a slot and to a line")
    order = .allocate(capacity: capacity)
    slots = .allocate(capacity: capacity)
    // Line 0 is where the first request is looked for.
    for index in 0..<capacity { (order + index).initialize(to: LinePlace(LineIndex(index))) }
    slots.initialize(repeating: Slot(due: RequestFlag(rawValue: 0), cookie: 0), count: capacity)
  }

  func deallocate() {
    neverAwake.deallocate()
    slots.deallocate()
    order.deallocate()
  }

  @inlinable @inline(__always)
  func place(at position: UInt64) -> LinePlace { order[Int(truncatingIfNeeded: position & mask)] }

  @inlinable @inline(__always)
  static func line(_ lines: UnsafeMutableRawPointer, _ place: LinePlace) -> RequestLine {
    RequestLine(lines + place.offset &* LinePlace.slotsPerLine)
  }

  @inlinable @inline(__always)
  static func slot(_ slots: UnsafeMutablePointer<Slot>, _ place: LinePlace) -> UnsafeMutablePointer<Slot> {
    (UnsafeMutableRawPointer(slots) + place.offset).assumingMemoryBound(to: Slot.self)
  }

  @inlinable @inline(__always)
  func line(_ place: LinePlace) -> RequestLine { Self.line(lines, place) }

  /// The line at a position.
  func index(at position: UInt64) -> LineIndex { place(at: position).line }

  /// Requests submitted and not answered.
  @inlinable
  var outstanding: Int { @inline(__always) get { Int(truncatingIfNeeded: tail &- head) } }

  /// Requests that can be submitted. Outstanding ones stay when the controller goes.
  var freeCount: Int { isOpen ? Int(mask) - outstanding : 0 }

  /// Whether the controller takes requests.
  mutating func setOpen(_ isOpen: Bool) {
    self.isOpen = isOpen
    room = isOpen && !isTraced ? mask : 0
  }

  /// Whether a trace is written of the requests: they come by `submitTraced`.
  mutating func setTraced(_ isTraced: Bool) {
    self.isTraced = isTraced
    setOpen(isOpen)
  }

  /// Submits a request whose answer `nextInTurn` does not find: it comes by `next`, where it is noted.
  mutating func submitTraced(_ request: RequestCopy, cookie: UInt64) -> Bool {
    precondition(isTraced, "no trace is written")
    let place = place(at: tail)
    room = isOpen ? mask : 0
    defer { room = 0 }
    guard submit(request, cookie: cookie) else { return false }
    // No answer has these bits.
    Self.slot(slots, place).pointee.due = RequestFlag(rawValue: tail << 16 | 0xffff)
    return true
  }

  /// The number that the next request will carry: they are counted from 1.
  @inlinable
  var sequence: UInt64 { @inline(__always) get { tail &+ 1 } }

  /// Submits a request in the promised line. `fill` writes it there, with the line of the next one in its head, and
  /// returns its cookie. False when there is no room or no controller.
  @inlinable @inline(__always)
  mutating func submit(_ fill: (RequestLine, _ link: UInt64) -> UInt64) -> Bool {
    let tail = tail
    let outstanding = tail &- head
    guard outstanding < room else { return false }
    mayStay = outstanding == 0
    let place = place(at: tail)
    let line = line(place)
    let stay = outstanding == 0 ? RequestLine.stayBit : 0
    let cookie = fill(line, self.place(at: tail &+ 1).link | stay)
    let submission = RequestFlag.submitted(tail &+ 1)
    Self.slot(slots, place).pointee = Slot(due: submission.answered(.success), cookie: cookie)
    line.submit(submission)
    self.tail = tail &+ 1
    assert(outstanding < mask, "one line is always promised")
    return true
  }

  /// The same for a request of the caller's.
  @inlinable @inline(__always)
  mutating func submit(_ request: RequestCopy, cookie: UInt64) -> Bool {
    submit { line, link in
      line.fill(
        head: request.head | link, offset: request.offset, length: request.length, buffer: request.buffer)
      return cookie
    }
  }

  /// Submits up to so many requests, one after the other, with one look at everything that does not change meanwhile.
  /// `fill` writes each into its line, as above; nil: it has written nothing, and they end before this one.
  ///
  /// - Returns: how many were submitted; fewer also if there is no more room.
  @inlinable @inline(__always)
  mutating func submit(_ count: Int, _ fill: (RequestLine, _ link: UInt64) -> UInt64?) -> Int {
    let first = tail
    let outstanding = first &- head
    var left = min(count, room > outstanding ? Int(truncatingIfNeeded: room &- outstanding) : 0)
    if left < 1 { return 0 }
    // Only one that comes alone may keep its line for the next one.
    if left == 1, outstanding == 0 {
      let place = place(at: first)
      let link = self.place(at: first &+ 1).link | RequestLine.stayBit
      guard let cookie = fill(line(place), link) else { return 0 }
      mayStay = true
      let submission = RequestFlag.submitted(first &+ 1)
      Self.slot(slots, place).pointee = Slot(due: submission.answered(.success), cookie: cookie)
      line(place).submit(submission)
      tail = first &+ 1
      return 1
    }
    let (lines, order, slots, mask) = (lines, order, slots, mask)
    var submission = RequestFlag.submitted(first &+ 1)
    // The position in the ring is counted apart from the flag's number, which would have to be shifted each time.
    var position = first
    var place = order[Int(truncatingIfNeeded: first & mask)]
    repeat {
      position = (position &+ 1) & mask
      let next = order[Int(truncatingIfNeeded: position)]
      let line = Self.line(lines, place)
      guard let cookie = fill(line, next.link) else { break }
      Self.slot(slots, place).pointee = Slot(due: submission.answered(.success), cookie: cookie)
      line.submit(submission)
      submission = submission.following
      place = next
      left &-= 1
    } while left != 0
    let submitted = (submission.sequence &- 1 &- first) & RequestFlag.sequenceMask
    if submitted == 0 { return 0 }
    mayStay = false
    tail = first &+ submitted
    assert(tail &- head <= mask, "one line is always promised")
    return Int(truncatingIfNeeded: submitted)
  }

  /// Takes the oldest outstanding requests as long as they have ended well, at most so many.
  ///
  /// - Returns: how many.
  @inlinable @inline(__always)
  mutating func takeInTurn(most: Int, _ body: (Completion) throws -> Void) rethrows -> Int {
    // Alone in its line, which may be used again: as a batch it has nothing to gain.
    if mayStay {
      guard let completion = nextInTurn() else { return 0 }
      try body(completion)
      return 1
    }
    let (lines, order, slots, mask, tail) = (lines, order, slots, mask, tail)
    let first = head
    let end = first &+ min(tail &- first, UInt64(most))
    var head = first
    // Also when the caller throws: what it was given is taken.
    defer { self.head = head }
    while head != end {
      let place = order[Int(truncatingIfNeeded: head & mask)]
      let line = Self.line(lines, place)
      let slot = Self.slot(slots, place)
      // Acquire: sync point "answer", the controller's release of the flag.
      if line.flag.loadAcquiring() != slot.pointee.due.rawValue { break }
      if _fastPath(tail &- head > Self.linesAhead) { line.prefetch(linesAhead: Self.linesAhead) }
      let (value, service) = line.response
      head &+= 1
      try body(Completion(cookie: slot.pointee.cookie, status: .success, value: value, service: service))
    }
    return Int(truncatingIfNeeded: head &- first)
  }

  /// The oldest outstanding request, if it has ended well.
  @inlinable @inline(__always)
  mutating func nextInTurn() -> Completion? {
    // Everything is loaded before anything is stored: a store could have changed it, as far as a compiler knows.
    let (head, tail) = (head, tail)
    if head == tail { return nil }
    let place = place(at: head)
    let line = line(place)
    let asked = Self.slot(slots, place).pointee
    // Acquire: sync point "answer", the controller's release of the flag.
    guard line.flag.loadAcquiring() == asked.due.rawValue else { return nil }
    let (value, service) = line.response
    // With more outstanding than these, the line after the next one has been answered, or is about to be.
    if tail &- head > Self.linesAhead { line.prefetch(linesAhead: Self.linesAhead) }
    if mayStay { stay() }
    self.head = head &+ 1
    return Completion(cookie: asked.cookie, status: .success, value: value, service: service)
  }

  /// The oldest outstanding line is about to become free. If it is the one that may be used again, it is promised
  /// instead of the one that it has named.
  @inlinable @inline(__always)
  mutating func stay() {
    // Alone when it was submitted, and alone now: it is the last one that was.
    if tail &- head != 1 { return }
    let oldest = order + Int(truncatingIfNeeded: head & mask)
    let promised = order + Int(truncatingIfNeeded: tail & mask)
    (oldest.pointee, promised.pointee) = (promised.pointee, oldest.pointee)
  }

  /// Whether the oldest outstanding request has ended.
  @inlinable
  var isOldestAnswered: Bool {
    @inline(__always) get {
      // Acquire: sync point "answer", the controller's release of the flag.
      head != tail && RequestFlag(rawValue: line(place(at: head)).flag.loadAcquiring()).isAnswered
    }
  }

  /// The position in the order of an outstanding line that has been answered: looks at the oldest ones, and at a few
  /// from a cursor on that wraps around.
  private mutating func answered() -> UInt64? {
    for position in head..<min(head + UInt64(Self.looksMax), tail) where isAnswered(at: position) { return position }
    if outstanding <= Self.looksMax { return nil }
    for _ in 0..<Self.looksMax {
      cursor = cursor < head || cursor + 1 >= tail ? head : cursor + 1
      if isAnswered(at: cursor) { return cursor }
    }
    return nil
  }

  /// Whether any outstanding line has been answered: looks at all of them.
  func anyAnswered() -> Bool {
    for position in head..<tail where isAnswered(at: position) { return true }
    return false
  }

  private func isAnswered(at position: UInt64) -> Bool {
    // Acquire: sync point "answer", the controller's release of the flag.
    RequestFlag(rawValue: line(place(at: position)).flag.loadAcquiring()).isAnswered
  }

  /// Frees the line at that place of the order; the oldest outstanding one comes into its place.
  private mutating func retire(at position: UInt64) {
    assert(position >= head && position < tail, "only an outstanding line becomes free")
    let place = order + Int(truncatingIfNeeded: position & mask)
    let oldest = order + Int(truncatingIfNeeded: head & mask)
    (oldest.pointee, place.pointee) = (place.pointee, oldest.pointee)
    if mayStay { stay() }
    head &+= 1
  }

  /// The result of `next`.
  enum Outcome {
    case completion(Completion, sequence: UInt64)
    /// The controller leaves, or has gone, and has not executed this.
    case notExecuted(Request, cookie: UInt64, Service, sequence: UInt64)
  }

  /// The next outstanding request that has ended, however and whenever it was submitted.
  mutating func next() -> Outcome? {
    guard let position = answered() else { return nil }
    let place = place(at: position)
    let line = line(place)
    let flag = RequestFlag(rawValue: line.flag.loadRelaxed())
    let (value, service) = line.response
    let asked = Self.slot(slots, place).pointee
    retire(at: position)
    if flag.sequence != asked.due.sequence { return stray(asked, service) }
    if flag.status != .leaving {
      return .completion(
        Completion(cookie: asked.cookie, status: flag.status, value: value, service: service),
        sequence: flag.sequence)
    }
    // What was asked stands in the line as it was submitted: controllers write nothing there.
    guard let request = line.request else { return stray(asked, service) }
    return .notExecuted(request, cookie: asked.cookie, service, sequence: flag.sequence)
  }

  /// A line carries an answer to another request than the one that was asked in it.
  private mutating func stray(_ asked: Slot, _ service: Service) -> Outcome {
    strayAnswers += 1
    return .completion(
      Completion(cookie: asked.cookie, status: .controllerLost, value: 0, service: service),
      sequence: asked.due.sequence)
  }
}
