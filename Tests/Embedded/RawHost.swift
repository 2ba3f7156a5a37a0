import Baton
import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc

/// A host that keeps to no rules: writes what it wants where it wants. Speaks to one controller.
final class RawHost {
  let memory: HostMemory
  let socket: OwnedDescriptor
  let controller: ControllerIdentity

  /// A host with memory in order, which asks to be attached and does not wait.
  init(_ laboratory: Laboratory, to controller: ControllerIdentity, linesPerChannel: Int = 8) throws {
    memory = try HostMemory(linesPerChannel: linesPerChannel, arenaSize: 65536)
    socket = try ControlMessage.connect(
      path: laboratory.subsystem.location.socket(of: controller), to: controller)
    self.controller = controller
    try ControlMessage.sendAttach(
      over: socket, kind: UInt32(BATON_ATTACH_HOST), descriptor: memory.descriptor.number)
  }

  /// Asks another controller to be attached too.
  func attach(_ laboratory: Laboratory, to controller: ControllerIdentity) throws -> OwnedDescriptor {
    let socket = try ControlMessage.connect(path: laboratory.subsystem.location.socket(of: controller), to: controller)
    try ControlMessage.sendAttach(over: socket, kind: UInt32(BATON_ATTACH_HOST), descriptor: memory.descriptor.number)
    return socket
  }

  /// The bytes of the request lines to its controller.
  var lines: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: memory.lines(to: controller), count: memory.linesPerChannel * 64)
  }

  func line(_ index: Int) -> RequestLine { RequestLine(memory.lines(to: controller) + index * 64) }

  /// What a line holds.
  func fields(_ index: Int) -> UnsafeMutablePointer<baton_request_line> {
    (memory.lines(to: controller) + index * 64).assumingMemoryBound(to: baton_request_line.self)
  }

  /// The flag of a line.
  func flag(_ index: Int) -> RequestFlag { RequestFlag(rawValue: line(index).flag.loadAcquiring()) }
}

extension RequestLine {
  /// Submits a request that names any number as the next line's.
  func submit(_ request: Request, _ submission: RequestFlag, next: Int, mayStay: Bool = false) {
    submit(request, submission, next: LineIndex(next), mayStay: mayStay)
  }
}

/// What came back over a control socket.
enum Reply: Equatable {
  case attached
  case refused(String)
  case ended
}

/// Turns the loops until the other end of a control socket has said something or hung up.
func reply(over socket: borrowing OwnedDescriptor, _ laboratory: Laboratory) throws -> Reply {
  let number = socket.number
  var found: Reply?
  try laboratory.turn {
    var reply = baton_attach_reply()
    let count = ControlMessage.receive(over: number, &reply)
    if count == -Int(EAGAIN) { return false }
    if count == MemoryLayout<baton_attach_reply>.size {
      found = reply.refusal == 0 ? .attached : .refused(ControlMessage.reason(reply))
    } else {
      found = .ended
    }
    return true
  }
  return found!
}
