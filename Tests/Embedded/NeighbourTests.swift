import Baton
import BatonChannel
import BatonHost
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc
import Logging
import Synchronization
import Testing

@testable import BatonController

@Suite("What neighbours hand over, and how many of them come")
struct NeighbourTests {
  private static func attachRequest(kind: Int) -> [UInt8] {
    var message = baton_attach_request()
    message.magic = baton_host_magic
    message.layout_version = UInt32(BATON_LAYOUT_VERSION)
    message.kind = UInt32(kind)
    return withUnsafeBytes(of: &message) { [UInt8]($0) }
  }

  private static func listenerMessage(_ number: Int, of count: Int) -> [UInt8] {
    var message = baton_listener_message()
    message.magic = baton_host_magic
    message.layout_version = UInt32(BATON_LAYOUT_VERSION)
    message.kind = UInt32(BATON_ATTACH_LISTENER)
    message.number = UInt32(number)
    message.count = UInt32(count)
    return withUnsafeBytes(of: &message) { [UInt8]($0) }
  }

  // MARK: Closing

  enum Delivery: CaseIterable {
    /// All in one message, where one descriptor is expected, and it is none of these.
    case asMemory
    /// With a doorbell of a host that is attached.
    case withDoorbell
    /// Behind a message that ends the connection: nobody receives them.
    case unread
  }

  /// close(2) of a socket that lingers waits for seconds. A loop that does it gives up its CPU eight times.
  @Test("Descriptors whose close waits do not make the loop wait", arguments: Delivery.allCases)
  func lingering(delivery: Delivery) throws {
    let laboratory = try Laboratory()
    let path = laboratory.subsystem.location.socket(of: .a)
    let lingering = try LingeringSockets(count: 8, seconds: 1)
    let raw = try RawHost(laboratory, to: .a)
    #expect(try reply(over: raw.socket, laboratory) == .attached)
    let connection = try ControlMessage.connect(path: path, to: .a)
    let request = Self.attachRequest(kind: BATON_ATTACH_HOST)
    switch delivery {
    case .asMemory: #expect(send(request, lingering.sockets, over: connection.number) == request.count)
    case .withDoorbell: #expect(send([100], lingering.sockets, over: raw.socket.number) == 1)
    case .unread:
      #expect(send([1, 2, 3], [], over: connection.number) == 3)
      for socket in lingering.sockets { #expect(send([100], [socket], over: connection.number) == 1) }
    }
    // Nobody else has them then: a close of what is on its way waits.
    lingering.letGo()
    let before = voluntarySwitches
    for _ in 0..<200 { laboratory.poll(.a) }
    #expect(voluntarySwitches - before < 8, "the loop has waited")
    switch delivery {
    case .asMemory:
      guard case .refused = try reply(over: connection, laboratory) else {
        Issue.record("sockets were taken for memory")
        return
      }
    case .withDoorbell: #expect(try reply(over: raw.socket, laboratory) == .ended)
    case .unread: #expect(try reply(over: connection, laboratory) == .ended)
    }
    #expect(laboratory.count(.hosts, of: .a) == (delivery == .withDoorbell ? 1 : 2))
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
  }

  @Test("A sender of more than is asked for gets all of it closed, and nobody else's descriptors are touched")
  func surplus() throws {
    let laboratory = try Laboratory()
    let path = laboratory.subsystem.location.socket(of: .a)
    let memory = try HostMemory(linesPerChannel: 8, arenaSize: 65536)
    // What the controller holds shows in how often a pipe has writers: none is left, and it can be read to its end.
    for count in [1, 2, 8, 9, 64, 252] {
      var pipe: [CInt] = [0, 0]
      #expect(Glibc.pipe(&pipe) == 0)
      let connection = try ControlMessage.connect(path: path, to: .a)
      let request = Self.attachRequest(kind: BATON_ATTACH_HOST)
      let handed = [memory.descriptor.number] + [CInt](repeating: pipe[1], count: count)
      #expect(send(request, handed, over: connection.number) == request.count)
      close(pipe[1])
      #expect(try reply(over: connection, laboratory) == .attached)
      var end = pollfd(fd: pipe[0], events: Int16(POLLIN), revents: 0)
      let isClosed = eventually { Glibc.poll(&end, 1, 0) == 1 && end.revents & Int16(POLLHUP) != 0 }
      #expect(isClosed, "\(count) descriptors are kept")
      close(pipe[0])
      shutdown(connection.number, CInt(SHUT_RDWR))
      try laboratory.turn { laboratory.count(.hosts, of: .a) == 1 }
    }
  }

  // MARK: Connections

  @Test("Connections that say nothing keep nobody out")
  func silentConnections() throws {
    let laboratory = try Laboratory()
    for controller in ControllerIdentity.allCases {
      let path = laboratory.subsystem.location.socket(of: controller)
      var silent: [CInt] = []
      defer { for connection in silent { close(connection) } }
      for _ in 0..<2 * ControlConnections.connectionsMax {
        let connection = shim_socket_connect(path)
        if connection >= 0 { silent.append(connection) }
        laboratory.poll()
      }
      #expect(silent.count > ControlConnections.connectionsMax)
      let raw = try RawHost(laboratory, to: controller)
      #expect(try reply(over: raw.socket, laboratory) == .attached)
    }
  }

  @Test("A connection that is refused and ended before it has asked learns why", arguments: [true, false])
  func refusedBeforeAsking(saysWhy: Bool) throws {
    let folder = try ScratchFolder()
    let path = folder("socket")
    let listener = OwnedDescriptor(try check(shim_socket_listen(path), path, doing: "listening"))
    let connection = try ControlMessage.connect(path: path, to: .a)
    let accepted = OwnedDescriptor(try check(shim_socket_accept(listener.number), path, doing: "accepting"))
    if saysWhy { #expect(ControlMessage.sendReply(over: accepted.number, ControlMessage.refusal("no room"))) }
    _ = consume accepted
    try ControlMessage.sendAttach(over: connection, kind: UInt32(BATON_ATTACH_HOST), descriptor: -1)
    var reply = baton_attach_reply()
    let count = ControlMessage.receive(over: connection.number, &reply)
    #expect(count == (saysWhy ? MemoryLayout<baton_attach_reply>.size : 0))
    if saysWhy { #expect(ControlMessage.reason(reply) == "no room") }
  }

  @Test("A process that has too many silent connections loses its oldest; in a full table the oldest of all goes")
  func whoMakesRoom() throws {
    let folder = try ScratchFolder()
    var table = try ControlConnections(listeningAt: folder("socket"))
    let each = ControlConnections.silentPerProcessMax
    func add(_ pid: pid_t) -> Int { table.add(fcntl(0, F_DUPFD_CLOEXEC, 0), pid: pid) ?? -1 }
    func silent(_ pid: pid_t) -> Int? { table.silentOne(inTheWayOf: pid) }
    let first = add(1)
    for _ in 1..<each { _ = add(1) }
    var found = silent(2)
    #expect(found == nil)
    found = silent(1)
    #expect(found == first)
    table.close(first)
    found = silent(1)
    #expect(found == nil)
    let host = add(1)
    table.connections[host].kind = .host(place: HostPlace(0))
    found = silent(1)
    #expect(found == nil, "a host has said what it is")
    for pid in 2...1000 where silent(pid_t(pid)) == nil { _ = add(pid_t(pid)) }
    found = silent(5000)
    let oldest = try #require(found)
    let pid = table.connections[oldest].pid
    #expect(pid == 1 && oldest != host)
  }

  @Test("Only the peer controller's process is taken for the peer, and only its listening sockets are kept")
  func forgedPeer() throws {
    let laboratory = try Laboratory()
    let path = laboratory.subsystem.location.socket(of: .a)
    for kind in [BATON_ATTACH_PEER, BATON_ATTACH_ASK] {
      let stranger = try strangersConnection(to: path)
      let request = Self.attachRequest(kind: kind)
      #expect(send(request, [], over: stranger.number) == request.count)
      guard case .refused(let reason) = try reply(over: stranger, laboratory) else {
        Issue.record("a stranger was taken for the peer")
        return
      }
      #expect(reason.contains("not the peer controller's"))
    }
    let listener = OwnedDescriptor(shim_stream_listen_unix(laboratory.folder("forged")))
    let stranger = try strangersConnection(to: path)
    let message = Self.listenerMessage(0, of: 1)
    #expect(send(message, [listener.number], over: stranger.number) == message.count)
    guard case .refused(let reason) = try reply(over: stranger, laboratory) else {
      Issue.record("a stranger's listening socket was kept")
      return
    }
    #expect(reason.contains("the peer controller's process only"))
    // This very process is the peer's, and is believed.
    let peer = try ControlMessage.connect(path: path, to: .a)
    #expect(send(message, [listener.number], over: peer.number) == message.count)
    for _ in 0..<4 { laboratory.poll(.a) }
    let ask = try ControlMessage.connect(path: path, to: .a)
    try ControlMessage.sendAttach(over: ask, kind: UInt32(BATON_ATTACH_ASK), descriptor: -1)
    var answers: [UInt32] = []
    try laboratory.turn {
      var answer = baton_listener_message()
      let count = ControlMessage.receive(over: ask.number, &answer)
      if count == MemoryLayout<baton_listener_message>.size { answers.append(answer.count) }
      return answers.count == 2
    }
    #expect(answers == [1, 1])
  }

  // MARK: Memory

  @Test("A host of another process brings the pages of its arena along, or is told to")
  func sparseMemory() throws {
    let laboratory = try Laboratory()
    let path = laboratory.subsystem.location.socket(of: .a)
    var connections: [CInt] = []
    defer { for connection in connections { close(connection) } }
    func answer(arena: UInt64, isSparse: Bool) throws -> Reply {
      let memory = try HostMemory(linesPerChannel: 8, arenaSize: arena, isSparse: isSparse)
      let stranger = try strangersConnection(to: path)
      try ControlMessage.sendAttach(
        over: stranger, kind: UInt32(BATON_ATTACH_HOST), descriptor: memory.descriptor.number)
      let reply = try reply(over: stranger, laboratory)
      connections.append(stranger.release())
      return reply
    }
    let refusal = try answer(arena: 4 << 30, isSparse: true)
    guard case .refused(let reason) = refusal else {
      Issue.record("4 GiB without pages: \(refusal)")
      return
    }
    #expect(reason.contains("posix_fallocate"))
    #expect(try answer(arena: 32 << 20, isSparse: false) == .attached)
    // Hosts that know nothing of this and are small, as long as they are few.
    #expect(try answer(arena: 200 << 20, isSparse: true) == .attached)
    let sparse = connections[connections.count - 1]
    guard case .refused = try answer(arena: 200 << 20, isSparse: true) else {
      Issue.record("what others have left is not counted")
      return
    }
    shutdown(sparse, CInt(SHUT_RDWR))
    try laboratory.turn { laboratory.count(.hosts, of: .a) == 2 }
    #expect(try answer(arena: 200 << 20, isSparse: true) == .attached)
  }

  // MARK: Lines

  /// Counts lines, and takes none before it is let.
  private struct CountingLog: LogHandler {
    final class Lines: Sendable {
      let lines = Mutex<[String]>([])
      let isHeld = Atomic(false)
      var all: [String] { lines.withLock { $0 } }
    }

    let counted = Lines()
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .info

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      while counted.isHeld.load(ordering: .acquiring) { usleep(1000) }
      counted.lines.withLock { $0.append("\(event.message)") }
    }
  }

  @Test("A log that takes nothing makes nobody wait; what it has no room for is counted, and said when there is room")
  func queuedLog() {
    let log = CountingLog()
    let queued = QueuedLog(log, linesMax: 16)
    let logger = Logger(label: "test", factory: { _ in queued })
    log.counted.isHeld.store(true, ordering: .releasing)
    for number in 0..<100 { logger.info("line \(number)") }
    #expect(queued.dropped >= 100 - 17 && queued.dropped <= 100 - 15)
    let kept = 100 - Int(queued.dropped)
    log.counted.isHeld.store(false, ordering: .releasing)
    #expect(queued.flush(milliseconds: 60_000))
    logger.info("last")
    #expect(queued.flush(milliseconds: 60_000))
    var lines = log.counted.all
    #expect(lines.last == "last")
    lines.removeLast()
    // Said once, at the flush at the latest.
    #expect(lines.count { $0.contains("dropped here") && $0.hasSuffix(": \(100 - kept)") } == 1)
    lines.removeAll { $0.contains("dropped") }
    #expect(lines == (0..<kept).map { "line \($0)" })
  }

  @Test("Lines that a host can cause are limited in rate, and what was withheld is counted")
  func linesOfHosts() throws {
    let log = CountingLog()
    var options = Laboratory.controllerOptions
    options.logger = Logger(label: "test", factory: { _ in log })
    options.logger.logLevel = .info
    let laboratory = try Laboratory(controllers: options)
    let path = laboratory.subsystem.location.socket(of: .a)
    let began = monotonicNanoseconds()
    for _ in 0..<500 {
      let connection = try ControlMessage.connect(path: path, to: .a)
      #expect(send([1, 2, 3], [], over: connection.number) == 3)
      for _ in 0..<2 { laboratory.poll(.a) }
    }
    // One more for each interval that this has taken, however slow the machine is.
    let more = (monotonicNanoseconds() - began) / LineLimits.lineNanoseconds + 1
    let lines = log.counted.all.count { $0.contains("an unknown message") }
    #expect(lines >= Int(LineLimits.burst) && lines <= Int(LineLimits.burst + more))
    #expect(laboratory.count(.linesWithheld, of: .a) >= 500 - LineLimits.burst - more)
  }

  // MARK: The time of the last turn

  @Test("How long ago a loop turned is seen from outside, whether it works, sleeps or stands still")
  func lastTurn() throws {
    let laboratory = try Laboratory(units: ["null:1M", "fault:delay=2ms:mem:1M"])
    func turnedAt() -> UInt64 { laboratory.region.controller(.a).turnedAt.loadRelaxed() }
    let begun = turnedAt()
    #expect(begun > 0)
    for _ in 0..<128 { laboratory.poll(.a) }
    let worked = turnedAt()
    #expect(worked > begun)
    try laboratory.sleep(.a, over: 1)
    let slept = turnedAt()
    #expect(slept > worked)
    // Nobody turns it any more.
    let first = try #require(try laboratory.subsystem.status().controllers[0].nanosecondsSinceTurn)
    let second = try #require(try laboratory.subsystem.status().controllers[0].nanosecondsSinceTurn)
    #expect(second >= first)
    #expect(turnedAt() == slept)
    laboratory.drop(.a)
    #expect(try laboratory.subsystem.status().controllers[0].nanosecondsSinceTurn == nil)
  }
}
