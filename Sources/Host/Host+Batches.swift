import BatonChannel
import BatonOwnership
import BatonSharedMemory

/// A request as the C interface lays it out: `struct baton_request`.
@frozen
public struct PackedRequest {
  /// Operation, flags, controller, a byte that is 0, and the unit.
  @usableFromInline let head: UInt64
  @usableFromInline let offset: UInt64
  @usableFromInline let length: UInt64
  @usableFromInline let buffer: UInt64
  @usableFromInline let cookie: UInt64
  let reserved: UInt64

  /// Bits of `head` that must be 0: unknown flags, and the reserved byte.
  static var headBitsUnknown: UInt64 { 0xff00_7e00 }
  /// The same and the controller's, apart from the one that tells b from a.
  @inlinable
  static var headBitsUncommon: UInt64 { @inline(__always) get { 0xfffe_7e00 } }
  @inlinable
  static var headBitOfB: UInt64 { @inline(__always) get { 0x1_0000 } }
  /// The bits of `head` that lie in a request line as they do here.
  @inlinable
  static var headBitsOfLine: UInt64 { @inline(__always) get { 0xffff_ffff_0000_81ff } }

  /// The controller; nil: either.
  var controller: ControllerIdentity? { ControllerIdentity(rawValue: UInt8(truncatingIfNeeded: head >> 16)) }

  /// Whether it says nothing that this version does not know. Unknown operations are refused by the controller.
  public var isSound: Bool {
    let which = head >> 16 & 0xff
    return head & Self.headBitsUnknown == 0 && (which <= 1 || which == 0xff)
  }

  @inlinable
  var copy: RequestCopy {
    @inline(__always) get {
      RequestCopy(checkedHead: head & Self.headBitsOfLine, offset: offset, length: length, buffer: buffer)
    }
  }
}

/// An answer as the C interface lays it out: `struct baton_completion`.
@frozen
public struct PackedCompletion {
  @usableFromInline let cookie: UInt64
  @usableFromInline let value: UInt64
  @usableFromInline let term: UInt64
  /// Status, controller, whether the request waited for a change of owner: a byte each.
  @usableFromInline let result: UInt64

  @inlinable @inline(__always)
  init(cookie: UInt64, status: UInt8, value: UInt64, service: Service) {
    self.cookie = cookie
    self.value = value
    term = service.term
    result = UInt64(status) | (service.rawValue & 0x101) << 8
  }

  @inlinable @inline(__always)
  init(_ completion: Completion) {
    self.init(
      cookie: completion.cookie, status: completion.status.rawValue, value: completion.value,
      service: completion.service)
  }
}

/// What became of a request in the fast path of one.
@frozen
public enum FastSubmission: UInt8 {
  /// Submitted.
  case done
  /// Submitted to a controller that may sleep: `ringForFast` follows.
  case mustRing
  /// Not submitted: `submit(_:_:)` does it, or knows why not.
  case unusual
}

// The C interface's way in. One request and one answer have paths without calls and without a loop, because a function
// that saves no registers costs a third less here. Several are submitted and taken by the loops of `RequestQueue`.
extension Host {
  /// Submits one request, if others to its controller are outstanding and nothing about it is out of the ordinary.
  @inlinable @inline(__always)
  public mutating func submitFast(_ request: UnsafePointer<PackedRequest>) -> FastSubmission {
    let head = request.pointee.head
    if head & PackedRequest.headBitsUncommon != 0 { return .unusual }
    let queue = head & PackedRequest.headBitOfB == 0 ? queueA : queueB
    if !queue.pointee.submitLean(request) { return .unusual }
    // Sync point "sleep": the request is published before the look whether the controller sleeps.
    AsymmetricFence.light(supported: true)
    return queue.pointee.controllerMayPark.isAwake ? .done : .mustRing
  }

  /// Submits one request that may be alone, if nothing else about it is out of the ordinary.
  @inlinable @inline(__always)
  public mutating func submitAlone(_ request: UnsafePointer<PackedRequest>) -> FastSubmission {
    let head = request.pointee.head
    if head & PackedRequest.headBitsUncommon != 0 { return .unusual }
    let queue = head & PackedRequest.headBitOfB == 0 ? queueA : queueB
    let isSubmitted = queue.pointee.submit { line, link in
      request.fill(line, head & PackedRequest.headBitsOfLine | link)
      return request.pointee.cookie
    }
    if !isSubmitted { return .unusual }
    // Sync point "sleep": the request is published before the look whether the controller sleeps.
    AsymmetricFence.light(supported: true)
    return queue.pointee.controllerMayPark.isAwake ? .done : .mustRing
  }

  /// The request that was submitted last goes to a controller that may sleep.
  ///
  /// - Returns: 1, how many were submitted. A caller that returns it as well jumps here, and needs no frame.
  @inline(never)
  public mutating func ringForFast(_ request: UnsafePointer<PackedRequest>) -> UInt32 {
    ring(request.pointee.head & PackedRequest.headBitOfB == 0 ? .a : .b)
    return 1
  }

  /// Submits requests in order. Stops at one that is not sound, and where there is no room.
  ///
  /// - Returns: how many it has submitted.
  public mutating func submit(_ requests: UnsafePointer<PackedRequest>, _ count: UInt32) -> UInt32 {
    var taken: UInt32 = 0
    while taken < count {
      let next = requests + Int(taken)
      let submitted = submitAlike(next, count &- taken)
      taken &+= submitted
      if submitted > 0 { continue }
      guard next.pointee.isSound,
        submit(next.pointee.copy, to: next.pointee.controller, cookie: next.pointee.cookie)
      else { break }
      taken &+= 1
    }
    return taken
  }

  /// Submits those from the first one on that go to one and the same controller, and have nothing out of the ordinary.
  @inline(__always)
  private mutating func submitAlike(_ requests: UnsafePointer<PackedRequest>, _ count: UInt32) -> UInt32 {
    // The bits that all of them must have in common: the controller's, and zeroes.
    let common = requests.pointee.head & PackedRequest.headBitOfB
    var request = requests
    let queue = common == 0 ? queueA : queueB
    let submitted = queue.pointee.submit(Int(count)) { line, link in
      // Without the bits that all have in common, which are no part of a line, only a line's bits may be left.
      let head = request.pointee.head ^ common
      if head & ~PackedRequest.headBitsOfLine != 0 { return nil }
      request.fill(line, head | link)
      let cookie = request.pointee.cookie
      request += 1
      return cookie
    }
    if submitted > 0 { submittedSeveral(to: common == 0 ? .a : .b) }
    return UInt32(truncatingIfNeeded: submitted)
  }

  /// The oldest answer of the controller whose turn it is, unless its request may have been alone.
  ///
  /// - Returns: false if it has not come, or if something else is due: `nextAlone` must follow, and then `next`.
  @inlinable @inline(__always)
  public mutating func nextFast(_ completion: UnsafeMutablePointer<PackedCompletion>) -> Bool {
    // Counted down at once, in memory: kept until the end, it would take a register that has to be saved.
    looksLeft &-= 1
    if looksLeft == 0 || !turn.pointee.nextLean(completion) { return false }
    turn.pointee.head &+= 1
    return true
  }

  /// After `nextFast`: the answer to a request that was submitted alone. The next one may be in its line again.
  ///
  /// - Returns: false if it has not come, or if something else is due: `next` finds out.
  @inlinable @inline(__always)
  public mutating func nextAlone(_ completion: UnsafeMutablePointer<PackedCompletion>) -> Bool {
    // What `nextFast` has counted.
    let looks = looksLeft &+ 1
    looksLeft = looks
    if looks < 2 { return false }
    guard let done = turn.pointee.nextInTurn() else { return false }
    looksLeft = looks &- 1
    completion.initialize(to: PackedCompletion(done))
    return true
  }

  /// Answers that there are at present, up to `max`.
  public mutating func next(_ completions: UnsafeMutablePointer<PackedCompletion>, _ max: UInt32) -> UInt32 {
    var completion = completions
    let end = completions + Int(max)
    while completion != end {
      let found = takeAnswers(most: end - completion) { done in
        completion.initialize(to: PackedCompletion(done))
        completion += 1
      }
      if found == 0 { break }
    }
    return UInt32(truncatingIfNeeded: completion - completions)
  }
}

extension UnsafePointer<PackedRequest> {
  /// Writes the request into a line, with this head, word by word, so that few registers are in use at a time.
  @inlinable @inline(__always)
  func fill(_ line: RequestLine, _ head: @autoclosure () -> UInt64) {
    line.fill(head: head(), offset: pointee.offset, length: pointee.length, buffer: pointee.buffer)
  }
}

extension RequestQueue {
  /// `submit`, straight from the caller's memory; not for a request that is alone, which may keep its line. Its head
  /// must have no bits but a line's and the controller's.
  @inlinable @inline(__always)
  mutating func submitLean(_ request: UnsafePointer<PackedRequest>) -> Bool {
    let tail = tail
    let outstanding = tail &- head
    if outstanding == 0 || outstanding >= room { return false }
    mayStay = false
    let place = place(at: tail)
    let line = line(place)
    request.fill(line, request.pointee.head & ~PackedRequest.headBitOfB | self.place(at: tail &+ 1).link)
    let submission = RequestFlag.submitted(tail &+ 1)
    // Word by word, so that they need one register.
    let slot = Self.slot(slots, place)
    slot.pointee.due = submission.answered(.success)
    slot.pointee.cookie = request.pointee.cookie
    line.submit(submission)
    self.tail = tail &+ 1
    assert(outstanding < mask, "one line is always promised")
    return true
  }

  /// `nextInTurn`, straight into the caller's memory; not for a request that may keep its line. The caller takes it
  /// from the order: a position that is kept until then would take a register that has to be saved.
  @inlinable @inline(__always)
  func nextLean(_ completion: UnsafeMutablePointer<PackedCompletion>) -> Bool {
    if head == tail || mayStay { return false }
    let place = place(at: head)
    let line = line(place)
    let asked = Self.slot(slots, place)
    // Acquire: sync point "answer", the controller's release of the flag.
    if line.flag.loadAcquiring() != asked.pointee.due.rawValue { return false }
    let words = UnsafeMutableRawPointer(completion).assumingMemoryBound(to: UInt64.self)
    words[0] = asked.pointee.cookie
    let (value, service) = line.response
    words[1] = value
    words[2] = service.rawValue &>> 16
    words[3] = (service.rawValue & 0x101) &<< 8
    return true
  }
}
