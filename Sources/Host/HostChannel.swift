import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import CBatonShims
import Glibc

/// A host's side of the channel to one controller: which lines are free, and which wait for an answer.
///
/// Each request names the line of the next one, so the controller looks at one line and nowhere else, and a line
/// whose request takes long blocks no other. One line is therefore always reserved.
struct HostChannel: ~Copyable {
  enum Phase {
    /// No connection. What is outstanding stays so: whoever serves in the controller's place answers it, or its next
    /// life.
    case detached
    /// The attach request is sent, the reply has not come.
    case attaching
    /// Requests go.
    case attached
  }

  let controller: ControllerIdentity
  let capacity: Int
  let lines: UnsafeMutableRawPointer
  let controllerParked: SharedWord

  var phase = Phase.detached
  var socket: CInt = -1
  private(set) var incarnation: UInt64 = 0
  /// The first number that this life of the controller is asked with: smaller ones went to an earlier life.
  private var firstSequence: UInt64 = 1
  /// Why the controller refused, when it did.
  var refusal: String?
  /// Answers that belong to nothing that was asked. There are none, unless a controller is broken.
  private(set) var strayAnswers: UInt64 = 0
  /// The connection has ended with requests outstanding: the other controller should know.
  var hasLost = false

  /// The line that the next request will use, promised in the last one.
  private var reserved = 0
  private var sequence: UInt64 = 1
  // Free lines, oldest first, so that the lines are walked in order and a line rests before it is used again.
  private let freeLines: UnsafeMutablePointer<UInt16>
  private var freeHead = 0
  private(set) var freeCount: Int
  // Outstanding lines, a list in the order of submission.
  private let following: UnsafeMutablePointer<Int16>
  private let preceding: UnsafeMutablePointer<Int16>
  private(set) var first: Int16 = -1
  private var last: Int16 = -1
  private var cursor: Int16 = -1
  private(set) var outstanding = 0
  /// What was submitted in each line, for asking the other controller instead.
  let requests: UnsafeMutablePointer<Request>
  let cookies: UnsafeMutablePointer<UInt64>
  let sequences: UnsafeMutablePointer<UInt64>

  /// Lines looked at from the oldest on, and from the cursor on, in one poll.
  private static let looksMax = 4

  init(_ memory: borrowing HostMemory, to controller: ControllerIdentity) {
    self.controller = controller
    capacity = memory.linesPerChannel
    lines = memory.lines(to: controller)
    controllerParked = memory.controllerParked(controller)
    freeLines = .allocate(capacity: capacity)
    following = .allocate(capacity: capacity)
    preceding = .allocate(capacity: capacity)
    requests = .allocate(capacity: capacity)
    cookies = .allocate(capacity: capacity)
    sequences = .allocate(capacity: capacity)
    freeLines.initialize(repeating: 0, count: capacity)
    following.initialize(repeating: -1, count: capacity)
    preceding.initialize(repeating: -1, count: capacity)
    requests.initialize(repeating: Request(.flush), count: capacity)
    cookies.initialize(repeating: 0, count: capacity)
    sequences.initialize(repeating: 0, count: capacity)
    for index in 0..<capacity { freeLines[index] = UInt16(truncatingIfNeeded: index) }
    // Line 0 is where the first request is looked for.
    freeHead = 1
    freeCount = capacity - 1
  }

  deinit {
    if socket >= 0 { close(socket) }
    freeLines.deallocate()
    following.deallocate()
    preceding.deallocate()
    requests.deallocate()
    cookies.deallocate()
    sequences.deallocate()
  }

  @inline(__always)
  func line(_ index: Int) -> RequestLine { RequestLine(lines + index &* 64) }

  /// Puts a request into the reserved line. The caller has seen that `freeCount` is not 0.
  @inline(__always)
  mutating func submit(_ request: Request, cookie: UInt64) {
    let slot = reserved
    let next = freeLines[freeHead]
    freeHead = (freeHead &+ 1) & (capacity &- 1)
    freeCount &-= 1
    requests[slot] = request
    cookies[slot] = cookie
    sequences[slot] = sequence
    line(slot).submit(request, sequence: sequence, next: next)
    sequence &+= 1
    reserved = Int(next)
    // Last in the list of outstanding lines.
    let name = Int16(truncatingIfNeeded: slot)
    following[slot] = -1
    preceding[slot] = last
    if last >= 0 { following[Int(last)] = name } else { first = name }
    last = name
    outstanding &+= 1
  }

  /// Takes a line out of the outstanding ones and frees it.
  @inline(__always)
  mutating func retire(_ slot: Int) {
    let before = preceding[slot]
    let after = following[slot]
    if before >= 0 { following[Int(before)] = after } else { first = after }
    if after >= 0 { preceding[Int(after)] = before } else { last = before }
    if cursor == Int16(truncatingIfNeeded: slot) { cursor = after }
    freeLines[(freeHead &+ freeCount) & (capacity &- 1)] = UInt16(truncatingIfNeeded: slot)
    freeCount &+= 1
    outstanding &-= 1
  }

  /// An outstanding line that has been answered, or -1. Looks at the oldest ones, where in-order answers are found
  /// at the first look, and at a few from a cursor on that goes round, where all others are.
  @inline(__always)
  mutating func answered() -> Int {
    var slot = first
    var looks = 0
    while slot >= 0, looks < Self.looksMax {
      if isAnswered(Int(slot)) { return Int(slot) }
      slot = following[Int(slot)]
      looks &+= 1
    }
    if slot < 0 { return -1 }
    slot = cursor >= 0 ? cursor : slot
    looks = 0
    while slot >= 0, looks < Self.looksMax {
      if isAnswered(Int(slot)) {
        cursor = slot
        return Int(slot)
      }
      slot = following[Int(slot)]
      looks &+= 1
    }
    cursor = slot
    return -1
  }

  /// Whether any outstanding line has been answered: looks at all of them.
  func anyAnswered() -> Bool {
    var slot = first
    while slot >= 0 {
      if isAnswered(Int(slot)) { return true }
      slot = following[Int(slot)]
    }
    return false
  }

  @inline(__always)
  private func isAnswered(_ slot: Int) -> Bool {
    // Acquire: sync point "answer", the controller's release of the flag.
    RequestFlag(rawValue: line(slot).flag.loadAcquiring()).isAnswered
  }

  var isAttached: Bool {
    @inline(__always) get { if case .attached = phase { true } else { false } }
  }

  /// Submits, and rings the controller if it sleeps. False when there is no room or no controller.
  @inline(__always)
  mutating func submitAndRing(_ request: Request, cookie: UInt64, usesMembarrier: Bool) -> Bool {
    guard isAttached, freeCount > 0 else { return false }
    submit(request, cookie: cookie)
    // Sync point "sleep": the request is published before the look whether the controller sleeps.
    AsymmetricFence.light(supported: usesMembarrier)
    if controllerParked.loadRelaxed() != 0 { ring() }
    return true
  }

  private mutating func ring() {
    // Who turns the word back rings. A socket that is full means that the controller wakes anyhow; one that is broken,
    // that whoever serves in its place must be rung.
    if controllerParked.exchange(0) != 0, !ControlMessage.send(byte: CInt(BATON_MESSAGE_DOORBELL), over: socket) {
      hasLost = true
    }
  }

  /// Rings the controller, whether it sleeps or not.
  func ringAlways() {
    if socket >= 0 { ControlMessage.send(byte: CInt(BATON_MESSAGE_DOORBELL), over: socket) }
  }

  /// What `next` found.
  enum Outcome {
    case completion(Completion)
    /// The controller leaves and has not executed this.
    case notExecuted(Request, cookie: UInt64, Service, byPresentLife: Bool)
  }

  /// The next outstanding request that has ended.
  @inline(__always)
  mutating func next() -> Outcome? {
    if outstanding == 0 { return nil }
    let slot = answered()
    if slot < 0 { return nil }
    let line = line(slot)
    let flag = RequestFlag(rawValue: line.flag.loadRelaxed())
    let response = line.response
    let cookie = cookies[slot]
    retire(slot)
    if flag.sequence != sequences[slot] { return stray(cookie) }
    if flag.status == .leaving {
      return .notExecuted(
        requests[slot], cookie: cookie, response.service,
        byPresentLife: isAttached && flag.sequence >= firstSequence)
    }
    return .completion(
      Completion(cookie: cookie, status: flag.status, value: response.value, service: response.service))
  }

  /// A line carries an answer to another request than the one that was asked in it.
  @inline(never)
  private mutating func stray(_ cookie: UInt64) -> Outcome {
    strayAnswers += 1
    let service = Service(controller: controller, isTransferred: false, term: 0)
    return .completion(Completion(cookie: cookie, status: .controllerLost, value: 0, service: service))
  }

  // MARK: Control

  /// Connects and asks to be attached. Does not wait for the reply; returns what prevented it.
  mutating func connect(_ memory: borrowing HostMemory, _ location: SubsystemLocation) -> BatonError? {
    do throws(BatonError) {
      let connection = try ControlMessage.connect(path: location.socket(of: controller), to: controller)
      try ControlMessage.sendAttach(
        over: connection, kind: UInt32(BATON_ATTACH_HOST), descriptor: memory.descriptor.number)
      socket = connection.release()
      phase = .attaching
      return nil
    } catch {
      return error
    }
  }

  /// Reads what the controller has sent: a reply, the end. Returns the unit count of a reply.
  mutating func receiveControl() -> Int? {
    var unitCount: Int?
    while socket >= 0 {
      var reply = baton_attach_reply()
      var passed: CInt = -1
      let count = baton_socket_receive(socket, &reply, MemoryLayout<baton_attach_reply>.size, &passed)
      _ = OwnedDescriptor(passed)
      if count == -Int(EAGAIN) || count == -Int(EINTR) { break }
      // The other end closed with something unread; what it had sent before still follows (unix(7)).
      if count == -Int(ECONNRESET) { continue }
      if count == MemoryLayout<baton_attach_reply>.size, case .attaching = phase, reply.magic == baton_host_magic {
        if reply.refusal == 0 {
          phase = .attached
          if incarnation != reply.incarnation { firstSequence = sequence }
          incarnation = reply.incarnation
          refusal = nil
          unitCount = Int(reply.unit_count)
        } else {
          refusal = ControlMessage.reason(reply)
        }
      } else {
        disconnected()
      }
    }
    return unitCount
  }

  /// The connection has ended.
  private mutating func disconnected() {
    close(socket)
    socket = -1
    phase = .detached
    if outstanding > 0 { hasLost = true }
  }
}
