import Baton
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc
import Testing

@testable import BatonController

@Suite("Vouching: a process is killed where the kernel names it, and not for what a region says")
struct VouchingTests {
  /// A process that has nothing to do with any subsystem.
  final class Bystander {
    let pid: pid_t

    init() throws {
      var child: pid_t = 0
      let words: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("1000"), nil]
      defer { for word in words { free(word) } }
      let result = posix_spawnp(&child, "sleep", nil, nil, words, environ)
      if result != 0 { throw BatonError(result: -Int(result), "sleep", doing: "starting it") }
      pid = child
    }

    deinit {
      kill(pid, SIGKILL)
      waitpid(pid, nil, 0)
    }

    var isAlive: Bool { waitpid(pid, nil, WNOHANG) == 0 }
  }

  @Test("A region that names any process as the peer has nobody killed")
  func forgedRecord() throws {
    let folder = try ScratchFolder()
    let subsystem = try Subsystem.create(folder("subsystem"), units: [UnitSpecification(.null, size: 1 << 20)])
    let bystander = try Bystander()
    let forger = try Region(opening: subsystem.location)
    let record = forger.controller(.b)
    #expect(try forger.takeSeat(of: .b))
    record.setPhase(.serving, incarnation: 5)
    record.startTime.storeRelaxed(ProcessIdentity.startTicks(of: "\(bystander.pid)"))
    record.pid.storeReleasing(UInt64(bystander.pid))
    // b is a member in its fifth life, and a never was.
    let forged = MembershipWord(rawValue: UInt64(MembershipWord.memberHalf(5)) << 32)
    #expect(forger.membership.step(from: forger.membership.current, to: forged))
    var options = ControllerOptions()
    options.logger.logLevel = .error
    options.deadlineNanoseconds = ControllerOptions.deadlineNanosecondsMin
    var controller = try Controller(.a, of: subsystem, options: options)
    // Until the peer, which never answers, is fenced; a kill would follow at once.
    let patience = monotonicNanoseconds() + 60_000_000_000
    while forger.membership.current.standing(.b) != .fenced {
      controller.poll()
      try #require(monotonicNanoseconds() < patience)
    }
    for _ in 0..<1000 { controller.poll() }
    #expect(bystander.isAlive)
    controller.beginStop()
    while !controller.isStopped { controller.poll() }
  }

  @Test("The kernel names the listener at a socket, which must be the process that was expected")
  func listener() throws {
    let folder = try ScratchFolder()
    let path = folder("socket")
    let listener = OwnedDescriptor(try check(shim_socket_listen(path), path, doing: "listening"))
    let connection = OwnedDescriptor(try check(shim_socket_connect(path), path, doing: "connecting"))
    let (pid, start) = (UInt64(getpid()), ProcessIdentity.startTicks)
    let descriptor = PeerWatch.process(listeningAt: connection.number, pid: pid, startTime: start)
    #expect(descriptor >= 0)
    close(descriptor)
    let bystander = try Bystander()
    let other = ProcessIdentity.startTicks(of: "\(bystander.pid)")
    #expect(PeerWatch.process(listeningAt: connection.number, pid: UInt64(bystander.pid), startTime: other) == -1)
    #expect(PeerWatch.process(listeningAt: connection.number, pid: pid, startTime: start + 1) == -1)
    #expect(PeerWatch.process(listeningAt: connection.number, pid: 0, startTime: 0) == -1)
    #expect(PeerWatch.process(listeningAt: connection.number, pid: .max, startTime: start) == -1)
    // No socket at all.
    let file = OwnedDescriptor(try check(shim_open("/dev/null", false, false, false), "null", doing: "opening"))
    #expect(PeerWatch.process(listeningAt: file.number, pid: pid, startTime: start) == -1)
    _ = listener
  }
}
