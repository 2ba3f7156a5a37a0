import BatonChannel
import BatonOwnership
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc

/// A host's side of the connection to one controller, and the queue of requests that it carries.
struct HostChannel: ~Copyable {
  enum Phase {
    /// No connection. Outstanding requests stay so: the survivor in the controller's place answers them, or the
    /// controller's next life.
    case detached
    /// The attach request is sent, the reply has not come.
    case attaching
    /// Requests go.
    case attached
  }

  let controller: ControllerIdentity
  /// In memory of its own, so that `Host.submit` and `Host.next` can be compiled into their callers.
  let queue: UnsafeMutablePointer<RequestQueue>

  private(set) var phase = Phase.detached {
    didSet { queue.pointee.setOpen(isAttached) }
  }
  var socket: CInt = -1
  /// Whether that socket is in the host's set of sockets to wait on.
  private var isWatched = false
  private(set) var incarnation: UInt64 = 0
  /// Of the subsystem, once a controller has told it.
  private(set) var generation: UInt64 = 0
  /// The first number that this life of the controller is asked with: smaller ones went to an earlier life.
  private var firstSequence: UInt64 = 1
  /// Why the controller refused, when it did.
  var refusal: String?
  /// Whether it refused because it serves another subsystem than the one that this host was attached to.
  private(set) var isOfOtherSubsystem = false
  /// The connection has ended with requests outstanding: the other controller should know.
  var hasLost = false

  init(_ memory: borrowing HostMemory, to controller: ControllerIdentity) {
    self.controller = controller
    queue = .allocate(capacity: 1)
    queue.initialize(to: RequestQueue(memory, to: controller))
  }

  deinit {
    if socket >= 0 { close(socket) }
    queue.pointee.deallocate()
    queue.deallocate()
  }

  var isAttached: Bool { if case .attached = phase { true } else { false } }

  /// Requests submitted and not answered.
  var outstanding: Int { queue.pointee.outstanding }

  /// Wakes the controller that serves this channel, to which a request has just been submitted, if it sleeps. At most
  /// two system calls, as a rule one.
  mutating func ring() {
    guard let bell = queue.pointee.controllerParked.takeSleep() else { return }
    if bell == .word, queue.pointee.controllerParked.ring() { return }
    // It listens to the socket only, or has not got to sleep yet, or it is gone. A socket that is full means that the
    // controller wakes anyhow; one that is broken, that the survivor must be rung.
    if !ControlMessage.send(byte: CInt(BATON_MESSAGE_DOORBELL), over: socket) { hasLost = true }
  }

  /// Rings the controller, whether it sleeps or not.
  func ringAlways() {
    if socket >= 0 { ControlMessage.send(byte: CInt(BATON_MESSAGE_DOORBELL), over: socket) }
  }

  /// Whether a request with that number was submitted to the life of the controller that is attached now.
  func isOfPresentLife(_ sequence: UInt64) -> Bool {
    isAttached && !RequestFlag.isNewer(firstSequence, than: sequence)
  }

  // MARK: Control

  /// Connects and asks to be attached, to that subsystem and no other one of its name (0: to whichever there is). Does
  /// not wait for the reply; returns what prevented it.
  mutating func connect(
    _ memory: borrowing HostMemory, _ location: SubsystemLocation, generation: UInt64 = 0
  ) -> BatonError? {
    precondition(socket < 0, "a channel has one connection")
    do throws(BatonError) {
      let connection = try ControlMessage.connect(path: location.socket(of: controller), to: controller)
      try ControlMessage.sendAttach(
        over: connection, kind: UInt32(BATON_ATTACH_HOST), descriptor: memory.descriptor.number,
        generation: generation)
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
      let count = ControlMessage.receive(over: socket, &reply)
      if count == -Int(EAGAIN) || count == -Int(EINTR) { break }
      // The other end closed with something unread; what it had sent before still follows (unix(7)).
      if count == -Int(ECONNRESET) { continue }
      // A doorbell, for a host that sleeps on its sockets: that it has come is all that it says.
      if count == 1, isAttached { continue }
      if count == MemoryLayout<baton_attach_reply>.size, case .attaching = phase, reply.magic == baton_host_magic {
        if reply.refusal == UInt32(BATON_ATTACHED) {
          phase = .attached
          if incarnation != reply.incarnation { firstSequence = queue.pointee.sequence }
          incarnation = reply.incarnation
          generation = reply.generation
          refusal = nil
          unitCount = Int(reply.unit_count)
        } else {
          refusal = ControlMessage.reason(reply)
          if reply.refusal == UInt32(BATON_REFUSED_OTHER_SUBSYSTEM) { isOfOtherSubsystem = true }
        }
      } else {
        disconnected()
      }
    }
    return unitCount
  }

  /// Adds the socket to a set, unless it is in there already. A closed one has left the set by itself (epoll(7)). Where
  /// the kernel cannot, it tries again the next time.
  mutating func watch(in set: CInt) {
    if isWatched || socket < 0 { return }
    isWatched = shim_poll_set_add(set, socket) == 0
  }

  /// The connection has ended.
  private mutating func disconnected() {
    close(socket)
    socket = -1
    isWatched = false
    phase = .detached
    if queue.pointee.outstanding > 0 { hasLost = true }
  }
}
