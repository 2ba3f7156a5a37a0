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
// that saves no registers costs a third less here; batches keep in registers what a single request has to load.
extension Host {
  /// Submits one request, if nothing about it is out of the ordinary.
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

  /// The request that was submitted last goes to a controller that may sleep.
  public mutating func ringForFast(_ request: UnsafePointer<PackedRequest>) {
    ring(request.pointee.head & PackedRequest.headBitOfB == 0 ? .a : .b)
  }

  /// Submits requests in order. Stops at one that is not sound, and where there is no room.
  ///
  /// - Returns: how many it has submitted.
  public mutating func submit(_ requests: UnsafePointer<PackedRequest>, _ count: UInt32) -> UInt32 {
    var taken: UInt32 = 0
    while taken < count {
      let next = requests + Int(taken)
      let head = next.pointee.head
      if head & PackedRequest.headBitsUncommon == 0 {
        let isForB = head & PackedRequest.headBitOfB != 0
        let queue = isForB ? queueB : queueA
        let submitted = queue.pointee.submit(next, count &- taken)
        if submitted > 0 {
          taken &+= submitted
          // Sync point "sleep": the requests are published before the look whether the controller sleeps.
          AsymmetricFence.light(supported: true)
          if !queue.pointee.controllerMayPark.isAwake { ring(isForB ? .b : .a) }
          continue
        }
      }
      guard next.pointee.isSound,
        submit(next.pointee.copy, to: next.pointee.controller, cookie: next.pointee.cookie)
      else { break }
      taken &+= 1
    }
    return taken
  }

  /// The oldest answer of the controller whose turn it is, unless its request may have been alone.
  ///
  /// - Returns: false if it has not come, or if something else is due: `nextAlone`, and then `next`, find out.
  @inlinable @inline(__always)
  public mutating func nextFast(_ completion: UnsafeMutablePointer<PackedCompletion>) -> Bool {
    let looks = looksLeft
    if looks < 2 || turn.pointee.mayStay || !turn.pointee.nextLean(completion) { return false }
    looksLeft = looks &- 1
    return true
  }

  /// The same for a request that was submitted alone: the next one may be in its line again.
  @inlinable @inline(__always)
  public mutating func nextAlone(_ completion: UnsafeMutablePointer<PackedCompletion>) -> Bool {
    let looks = looksLeft
    if looks < 2 { return false }
    guard let done = turn.pointee.nextInTurn() else { return false }
    looksLeft = looks &- 1
    completion.initialize(to: PackedCompletion(done))
    return true
  }

  /// Answers that there are at present, up to `max`.
  public mutating func next(_ completions: UnsafeMutablePointer<PackedCompletion>, _ max: UInt32) -> UInt32 {
    var taken: UInt32 = 0
    while taken < max {
      // One after the other where there are many, as long as no look around is due.
      if looksLeft > 1 {
        let found = turn.pointee.next(completions + Int(taken), Swift.min(max &- taken, looksLeft &- 1))
        looksLeft &-= found
        taken &+= found
        if taken == max { break }
      }
      guard let done = next() else { break }
      (completions + Int(taken)).initialize(to: PackedCompletion(done))
      taken &+= 1
    }
    return taken
  }
}

extension RequestQueue {
  /// `submit` for one request. Each word goes from the caller's memory to the line at once, so that few registers are
  /// in use at a time.
  @inlinable @inline(__always)
  mutating func submitLean(_ request: UnsafePointer<PackedRequest>) -> Bool {
    let tail = tail
    let outstanding = tail &- head
    if outstanding >= room { return false }
    mayStay = outstanding == 0
    let mask = mask
    let order = order
    let slot = UInt64(order[Int(truncatingIfNeeded: tail & mask)])
    let next = UInt64(order[Int(truncatingIfNeeded: (tail &+ 1) & mask)])
    let line = RequestLine(lines + Int(truncatingIfNeeded: slot &<< 6))
    // Sync point "submit": see `RequestLine.submit`.
    releaseFence()
    line.word(16).storeRelaxed(request.pointee.offset)
    line.word(24).storeRelaxed(request.pointee.length)
    line.word(32).storeRelaxed(request.pointee.buffer)
    line.word(8).storeRelaxed(
      request.pointee.head & PackedRequest.headBitsOfLine | next &<< 16 | (outstanding == 0 ? RequestLine.stayBit : 0))
    let due = slots + Int(truncatingIfNeeded: slot)
    due.pointee.cookie = request.pointee.cookie
    let flag = RequestFlag.submitted(tail &+ 1)
    due.pointee.due = flag.answered(.success)
    line.flag.storeReleasing(flag.rawValue)
    self.tail = tail &+ 1
    return true
  }

  /// `nextInTurn`, straight into the caller's memory; not for a request that may keep its line.
  @inlinable @inline(__always)
  mutating func nextLean(_ completion: UnsafeMutablePointer<PackedCompletion>) -> Bool {
    let head = head
    if head == tail { return false }
    let slot = UInt64(order[Int(truncatingIfNeeded: head & mask)])
    let line = RequestLine(lines + Int(truncatingIfNeeded: slot &<< 6))
    let asked = slots + Int(truncatingIfNeeded: slot)
    // Acquire: sync point "answer", the controller's release of the flag.
    if line.flag.loadAcquiring() != asked.pointee.due.rawValue { return false }
    let words = UnsafeMutableRawPointer(completion).assumingMemoryBound(to: UInt64.self)
    words[0] = asked.pointee.cookie
    let (value, service) = line.response
    words[1] = value
    words[2] = service.rawValue &>> 16
    words[3] = (service.rawValue & 0x101) &<< 8
    self.head = head &+ 1
    return true
  }

  /// Submits sound requests to one and the same controller: those from the first one on.
  ///
  /// - Returns: how many there was room for.
  mutating func submit(_ requests: UnsafePointer<PackedRequest>, _ count: UInt32) -> UInt32 {
    let head = head
    var tail = tail
    let free = room &- Swift.min(tail &- head, room)
    var left = UInt32(truncatingIfNeeded: Swift.min(UInt64(count), free))
    if left == 0 { return 0 }
    let (lines, order, slots, mask) = (lines, order, slots, mask)
    // The bits that all of them must have in common: the controller's, and zeroes.
    let common = requests.pointee.head & PackedRequest.headBitOfB
    var request = requests
    // Only one that comes alone may keep its line for the next one.
    let isAlone = tail == head && left == 1
    var slot = Int(order[Int(truncatingIfNeeded: tail & mask)])
    var flag = RequestFlag.submitted(sequence)
    repeat {
      let packed = request.pointee
      if (packed.head ^ common) & (PackedRequest.headBitsUncommon | PackedRequest.headBitOfB) != 0 { break }
      tail &+= 1
      let next = Int(order[Int(truncatingIfNeeded: tail & mask)])
      slots[slot] = Slot(due: flag.answered(.success), cookie: packed.cookie)
      line(lines, slot).submit(packed.copy, flag, next: next, mayStay: isAlone)
      slot = next
      flag = flag.following
      request += 1
      left &-= 1
    } while left != 0
    if request == requests { return 0 }
    mayStay = isAlone
    self.tail = tail
    return UInt32(truncatingIfNeeded: request - requests)
  }

  @inline(__always)
  private func line(_ lines: UnsafeMutableRawPointer, _ index: Int) -> RequestLine {
    RequestLine(lines + index &* RequestLine.stride)
  }

  /// The answers to the oldest outstanding requests, in their order, as far as they have ended well; up to `max`.
  mutating func next(_ completions: UnsafeMutablePointer<PackedCompletion>, _ max: UInt32) -> UInt32 {
    // A lone request may have to keep its line: `nextInTurn` sees to it.
    if mayStay { return 0 }
    var head = head
    let end = head &+ Swift.min(tail &- head, UInt64(max))
    let (lines, order, slots, mask) = (lines, order, slots, mask)
    var completion = completions
    while head != end {
      let slot = Int(order[Int(truncatingIfNeeded: head & mask)])
      let line = line(lines, slot)
      let asked = slots[slot]
      // Acquire: sync point "answer", the controller's release of the flag.
      if line.flag.loadAcquiring() != asked.due.rawValue { break }
      let (value, service) = line.response
      completion.initialize(to: PackedCompletion(cookie: asked.cookie, status: 0, value: value, service: service))
      completion += 1
      head &+= 1
    }
    self.head = head
    return UInt32(truncatingIfNeeded: completion - completions)
  }
}
