import Baton
import BatonNBD
import BatonNBDServer
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc
import Testing

@Suite("NBD server: units as disks")
struct ServerTests {
  static func pattern(_ count: Int, _ seed: UInt8) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7) &+ seed }
  }

  @Test(
    "Reads and writes of more than one operation, of every kind of unit",
    arguments: ["mem:12M", "%/disk:12M", "/dev/shm"], [false, true])
  func inPieces(_ unit: String, structured: Bool) throws {
    let folder = try ScratchFolder(onTmpfs: true)
    let rig = try ServerRig(units: [unit == "/dev/shm" ? "\(folder.path)/file:12M" : unit])
    let data = ServerTests.pattern(9 << 20, 3)
    let client = try rig.client(.a, structured: structured)
    #expect(try rig.ask(client, Say.request(1, cookie: 1, offset: 4096, flags: 1, payload: data)).error == 0)
    let other = try rig.client(.b, structured: structured)
    other.say(Say.request(0, cookie: 2, offset: 4096, length: 9 << 20))
    var read: [UInt8] = []
    var isOver = false
    try rig.turn {
      other.hear()
      var listener = Listener(other.heard, allowsPieces: true)
      while let reply = listener.reply(reads: [2: 9 << 20]) {
        #expect(reply.error == 0 && reply.cookie == 2)
        read += reply.data
        isOver = reply.isLast
      }
      other.heard.removeFirst(listener.at)
      return isOver || other.isEnded
    }
    #expect(areSame(read, data))
  }

  @Test("Exports have the names that were given at creation, and their numbers")
  func names() throws {
    let rig = try ServerRig(units: ["as:first:mem:1M", "mem:2M"])
    for identity in ControllerIdentity.allCases {
      let client = try rig.connect(identity)
      client.say(Say.flags() + Say.option(3))
      var answers: [OptionAnswer] = []
      try rig.turn {
        client.hear()
        var listener = Listener(Array(client.heard.dropFirst(18)))
        answers = listener.answers()
        return answers.last?.type == OptionAnswer.acknowledge
      }
      let names = answers.dropLast().map { answer in
        String(decoding: answer.data[4..<4 + Int(answer.data.big(0, as: UInt32.self))], as: UTF8.self)
      }
      #expect(names == ["first", "unit1"])
      for name in ["first", "unit0", "unit1", ""] { _ = try rig.client(identity, export: name) }
    }
  }

  @Test(
    "Written through one controller, read through the other",
    arguments: ["mem:1M", "%/disk:1M", "fault:delay=1us:mem:1M"])
  func acrossControllers(_ unit: String) throws {
    let rig = try ServerRig(units: [unit])
    let (a, b) = (try rig.client(.a), try rig.client(.b))
    for (number, (writer, reader)) in [(a, b), (b, a), (a, b)].enumerated() {
      let data = Self.pattern(262_144, UInt8(number + 1))
      #expect(try rig.ask(writer, Say.request(1, cookie: 7, offset: 65536, payload: data)).error == 0)
      #expect(try rig.read(reader, offset: 65536, count: 262_144) == data)
      #expect(try rig.ask(reader, Say.request(6, cookie: 8, offset: 65536, length: 4096)).error == 0)
      #expect(
        try rig.read(writer, offset: 65536, count: 8192) == [UInt8](repeating: 0, count: 4096) + data[4096..<8192])
      #expect(try rig.ask(reader, Say.request(4, cookie: 9, offset: 65536, length: 262_144, flags: 1)).error == 0)
    }
    #expect(try rig.count(.terms, of: .a) + rig.count(.terms, of: .b) >= 6, "ownership moves")
  }

  @Test(
    "Multi-conn: written and flushed on one, read on the other, always the new data",
    arguments: ["mem:1M", "%/disk:1M"])
  func multiConn(_ unit: String) throws {
    let rig = try ServerRig(units: [unit])
    let clients = [try rig.client(.a), try rig.client(.b)]
    var random = SeededRandom(seed: 1)
    for round in 0..<2000 {
      let offset = UInt64(round % 16) * 4096
      let data = random.bytes(4096)
      let writer = clients[round % 2]
      try rig.ask(writer, Say.request(1, cookie: 2, offset: offset, payload: data))
      #expect(try rig.ask(writer, Say.request(3, cookie: 3)).error == 0)
      guard areSame(try rig.read(clients[1 - round % 2], offset: offset, count: 4096), data) else {
        Issue.record("round \(round): not what was written and flushed")
        return
      }
    }
  }

  @Test("Long reads of units in memory: every byte, holes too, during writes through the other controller")
  func inMemory() throws {
    let folder = try ScratchFolder(onTmpfs: true)
    for unit in ["mem:8M", "\(folder.path)/file:8M"] {
      let rig = try ServerRig(units: [unit])
      let clients = [try rig.client(.a), try rig.client(.b, structured: true)]
      var random = SeededRandom(seed: 6)
      var model = [UInt8](repeating: 0, count: 8 << 20)
      for round in 0..<200 {
        let blocks = Int.random(in: 1...100, using: &random)
        let first = Int.random(in: 0...2048 - blocks, using: &random)
        let range = first * 4096..<(first + blocks) * 4096
        let writer = clients[round % 2]
        if round % 7 == 0 {
          model.clear(range)
          let trim = Say.request(4, cookie: 1, offset: UInt64(range.lowerBound), length: UInt32(range.count))
          #expect(try rig.ask(writer, trim).error == 0)
        } else {
          let data = random.bytes(range.count)
          model.put(data, at: range.lowerBound)
          let write = Say.request(1, cookie: 1, offset: UInt64(range.lowerBound), payload: data)
          #expect(try rig.ask(writer, write).error == 0)
        }
        let count = 4096 << Int.random(in: 0...9, using: &random)
        let offset = Int.random(in: 0...2048 - count / 4096, using: &random) * 4096
        let read = try rig.read(clients[1 - round % 2], offset: UInt64(offset), count: count)
        guard areSame(read[...], model[offset..<offset + count]) else {
          Issue.record("\(unit), round \(round): \(count) bytes at \(offset) are others")
          return
        }
      }
    }
  }

  @Test("A client that goes in the middle of a long reply, and a file cut short underneath, end their connection alone")
  func endsInMemory() throws {
    let folder = try ScratchFolder(onTmpfs: true)
    let rig = try ServerRig(units: ["\(folder.path)/file:8M"])
    let other = try rig.client()
    let data = Self.pattern(1 << 20, 8)
    #expect(try rig.ask(other, Say.request(1, cookie: 1, payload: data)).error == 0)
    for _ in 0..<20 {
      let client = try rig.client()
      client.say((1...8).flatMap { Say.request(0, cookie: $0, length: 1 << 20) })
      try rig.turn {
        client.hear()
        return client.heard.count > 65536
      }
    }
    try rig.turn { rig.a?.connections == 1 }
    #expect(areSame(try rig.read(other, offset: 0, count: 1 << 20), data))
    #expect(truncate(folder("file"), 1 << 20) == 0)
    let cut = try rig.client()
    cut.say(Say.request(0, cookie: 1, offset: 2 << 20, length: 1 << 20))
    try rig.turn {
      cut.hear()
      return cut.isEnded
    }
    #expect(cut.heard.count <= 16, "no byte that is none of the unit's")
    #expect(areSame(try rig.read(other, offset: 0, count: 1 << 20), data))
  }

  @Test("A file's holes are told as such, and what is written in them is not")
  func holes() throws {
    let rig = try ServerRig(units: ["%/disk:1M"])
    let client = try rig.client(structured: true, allocation: true)
    try rig.ask(client, Say.request(1, cookie: 1, offset: 262_144, payload: Self.pattern(65536, 3)))
    let reply = try rig.ask(client, Say.request(7, cookie: 2, length: 1 << 20))
    #expect(reply.extents == [[262_144, 3], [65536, 0], [720_896, 3]])
    let one = try rig.ask(client, Say.request(7, cookie: 2, offset: 262_144, length: 1 << 19, flags: 8))
    #expect(one.extents == [[65536, 0]])
  }

  /// lseek(2) waits for the inode's lock, and a loop that calls it stands still for as long: the answer comes from
  /// elsewhere, in a turn that follows.
  @Test("Which parts are holes is not asked in the loop: the turn that takes the question does not answer it")
  func holesAskedElsewhere() throws {
    let rig = try ServerRig(units: ["%/disk:1M"])
    let client = try rig.client(structured: true, allocation: true)
    let before = try rig.count(.nbdRequests, of: .a)
    client.say(Say.request(7, cookie: 1, length: 1 << 20) + Say.request(7, cookie: 2, length: 1 << 19))
    try rig.turn { try rig.count(.nbdRequests, of: .a) > before }
    client.hear()
    #expect(client.heard.isEmpty)
    // One that breaks the connection off meanwhile harms nobody.
    let other = try rig.client(structured: true, allocation: true)
    other.say((1...16).flatMap { Say.request(7, cookie: $0, length: 1 << 20) } + [UInt8](repeating: 1, count: 100))
    try rig.turn {
      other.hear()
      return other.isEnded
    }
    var listener: Listener
    var replies: [Reply] = []
    repeat {
      try rig.turn {
        client.hear()
        return !client.heard.isEmpty
      }
      listener = Listener(client.heard)
      replies = []
      while let reply = listener.reply(reads: [:]) { replies.append(reply) }
    } while replies.count < 2
    #expect(replies.map(\.extents) == [[[1 << 20, 3]], [[1 << 19, 3]]])
    try rig.turn { rig.a?.connections == 1 }
  }

  @Test(
    "A client on a unix socket cannot hand descriptors over, which the loop would have to close",
    .enabled(if: shim_kernel_is_since(6, 16)))
  func noDescriptors() throws {
    let rig = try ServerRig()
    let socket = OwnedDescriptor(Glibc.socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0))
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: rig.path(.a).utf8) }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(socket.number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    #expect(result == 0)
    for _ in 0..<2 {
      var byte = UInt8(0)
      #expect(shim_socket_send(socket.number, &byte, 1, socket.number) == -Int(EPERM))
      try rig.turn { rig.a?.connections == 1 }
    }
  }

  @Test("Zeroes that must be fast and leave no hole: not on tmpfs, and it is said at once")
  func fastZeroes() throws {
    let folder = try ScratchFolder(onTmpfs: true)
    let rig = try ServerRig(units: ["\(folder.path)/file:1M"])
    let client = try rig.client()
    #expect(try rig.ask(client, Say.request(1, cookie: 1, payload: Self.pattern(65536, 3))).error == 0)
    #expect(try rig.ask(client, Say.request(6, cookie: 2, length: 4096, flags: 18)).error == 95)
    #expect(try rig.ask(client, Say.request(6, cookie: 3, length: 4096, flags: 16)).error == 0)
    #expect(try rig.ask(client, Say.request(6, cookie: 4, offset: 8192, length: 4096, flags: 2)).error == 0)
    let zeroes = [UInt8](repeating: 0, count: 4096)
    let data = Self.pattern(65536, 3)
    #expect(try rig.read(client, offset: 0, count: 12288) == zeroes + data[4096..<8192] + zeroes)
  }

  @Test("A null unit reads as zeroes, whatever the buffer held")
  func nullUnit() throws {
    let rig = try ServerRig(units: ["null:1M", "mem:1M"])
    let writer = try rig.client(export: "unit1")
    try rig.ask(writer, Say.request(1, cookie: 1, payload: Self.pattern(65536, 9)))
    let reader = try rig.client(export: "unit0")
    try rig.ask(reader, Say.request(1, cookie: 1, payload: Self.pattern(65536, 9)))
    #expect(try rig.read(reader, offset: 0, count: 65536) == [UInt8](repeating: 0, count: 65536))
  }

  @Test("A unit that is read-only is told as such, and refuses")
  func readOnly() throws {
    let rig = try ServerRig(units: ["mem:1M"])
    let before = try rig.client()
    var host = try Host(of: rig.subsystem)
    try rig.turn {
      host.maintain()
      return host.isAttached(to: .a)
    }
    host.submit(Request(.setUnitState, unit: 0, offset: UnitState.readOnly.rawValue), to: .a)
    var status: Status?
    try rig.turn {
      status = host.next()?.status
      return status != nil
    }
    #expect(status == .success)
    #expect(try rig.ask(before, Say.request(1, cookie: 1, payload: Self.pattern(512, 1))).error == 1)
    let client = try rig.connect(.b)
    client.say(Say.flags() + Say.option(1, Array("unit0".utf8)))
    try rig.turn {
      client.hear()
      return client.heard.count >= 28
    }
    #expect(client.heard.big(26, as: UInt16.self) & 2 == 2)
  }

  @Test("A unit that fails answers with an error, and the connection lives on")
  func failing() throws {
    let rig = try ServerRig(units: ["fault:error-every=2:mem:1M"])
    let client = try rig.client()
    for number in 1...10 {
      let error = try rig.ask(client, Say.request(1, cookie: 5, payload: Self.pattern(512, 1))).error
      #expect(error == (number % 2 == 0 ? 5 : 0))
    }
  }

  // MARK: Addresses

  @Test("An address at which another process listens is an error that names it, and the controller leaves")
  func stranger() throws {
    let rig = try ServerRig(starting: []) { $0.busyNanosecondsMax = 50_000_000 }
    let listener = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
    defer { close(listener) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: rig.path(.a).utf8) }
    withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        #expect(bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0)
      }
    }
    #expect(listen(listener, 5) == 0)
    try rig.start(.a)
    try rig.turn { rig.a?.isStopped ?? true }
    #expect(rig.a?.failure?.code == .busy)
    #expect(rig.a?.failure?.description.contains(rig.path(.a)) ?? false)
  }

  @Test("A socket that nobody listens at is removed; a file is not")
  func stale() throws {
    var patience = NBDServerOptions().busyNanosecondsMax
    let rig = try ServerRig(starting: []) { $0.busyNanosecondsMax = patience }
    // Left by a life that nobody cleaned up after.
    try rig.start(.a)
    try rig.turn { rig.a?.isListening ?? false }
    rig.drop(.a)
    try rig.start(.a)
    try rig.turn { rig.a?.isListening ?? false }
    _ = try rig.client()
    try rig.stop(.a)
    #expect(FileFacts(path: rig.path(.a)) == nil, "the last one removes it")
    try rig.folder.write([1], to: "b.nbd")
    patience = 50_000_000
    try rig.start(.b)
    try rig.turn { rig.b?.isStopped ?? true }
    #expect(rig.b?.failure?.code == .busy)
    #expect(try readBytes(of: rig.path(.b)) == [1])
  }

  @Test(
    "Addresses",
    arguments: [
      ("unix:/a/b", "unix:/a/b", "nbd+unix:///unit0?socket=/a/b"),
      ("tcp:10809", "tcp:127.0.0.1:10809", "nbd://localhost:10809/unit0"),
      ("tcp:10.1.2.3:1", "tcp:10.1.2.3:1", "nbd://10.1.2.3:1/unit0"),
      ("tcp:[::1]:65535", "tcp:[::1]:65535", "nbd://[::1]:65535/unit0"),
      ("tcp:[0:0::1]:5", "tcp:[::1]:5", "nbd://[::1]:5/unit0"),
      ("unix:/a b?", "unix:/a b?", "nbd+unix:///unit0?socket=/a%20b%3F"),
    ])
  func addresses(_ text: String, _ description: String, _ uri: String) throws {
    let address = try NBDAddress(parsing: text)
    #expect(address.description == description)
    #expect(address.uri(export: "unit0") == uri)
    #expect(try NBDAddress(parsing: description) == address)
  }

  @Test(
    "What is not an address",
    arguments: [
      "", "unix:", "tcp:", "tcp:0", "tcp:65536", "tcp:-1", "tcp:x", "tcp:localhost:1", "tcp:::1:1", "tcp:[::1]",
      "tcp:[::1:5", "tcp:[1.2.3.4]:5", "tcp:1.2.3:5", "udp:5", "5", "/a/b",
      "unix:/" + String(repeating: "x", count: 107),
    ])
  func noAddresses(_ text: String) {
    expectError(.invalid, naming: "NBD address") { try NBDAddress(parsing: text) }
  }
}
