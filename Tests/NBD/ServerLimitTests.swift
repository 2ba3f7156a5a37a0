import Baton
import BatonNBD
import BatonNBDServer
import BatonSubsystem
import BatonTestSupport
import Glibc
import Testing

@Suite("NBD server: limits, and clients that mean harm")
struct ServerLimitTests {
  @Test("A client that comes when all places are taken waits until one is free")
  func places() throws {
    let rig = try ServerRig { $0.connectionsMax = 3 }
    var clients = try (0..<3).map { _ in try rig.client() }
    let fourth = try rig.connect()
    let fifth = try rig.connect()
    for _ in 0..<10_000 { rig.turn() }
    fourth.hear()
    #expect(fourth.heard.isEmpty && !fourth.isEnded)
    #expect(rig.a?.connections == 3)
    // The connected ones are served meanwhile.
    #expect(try rig.read(clients[0], offset: 0, count: 512).count == 512)
    clients.removeLast()
    try rig.turn {
      fourth.hear()
      return fourth.heard.count >= 18
    }
    fifth.hear()
    #expect(fifth.heard.isEmpty && !fifth.isEnded)
    clients.removeAll()
    try rig.turn {
      fifth.hear()
      return fifth.heard.count >= 18
    }
  }

  /// A rig whose controller a also listens on TCP, and the port.
  private func tcpRig(_ change: @escaping (inout NBDServerOptions) -> Void) throws -> (ServerRig, UInt16) {
    let port = try StreamClient.freePort()
    let rig = try ServerRig(starting: [.a]) {
      $0.addresses.append(.tcp(address: "127.0.0.1", port: port))
      change(&$0)
    }
    return (rig, port)
  }

  private func greets(_ rig: ServerRig, _ client: StreamClient) throws {
    try rig.turn {
      client.hear()
      return client.heard.count >= 18 || client.isEnded
    }
    #expect(!client.isEnded)
  }

  @Test("Whatever comes over TCP, the owner's own socket has places")
  func ownersShare() throws {
    let (rig, port) = try tcpRig {
      ($0.connectionsMax, $0.tcpConnectionsMax, $0.peerConnectionsMax) = (4, 3, 3)
      $0.idleNanosecondsMin = .max
    }
    // More than would fit, and each of them idle.
    let strangers = try (0..<3).map { _ in try rig.enter(StreamClient(port: port)) }
    let others = try (0..<8).map { _ in try StreamClient(port: port, from: "127.0.0.2") }
    for _ in 0..<1000 { rig.turn() }
    #expect(rig.a?.connections == 3)
    let owner = try rig.client()
    #expect(try rig.read(owner, offset: 0, count: 512).count == 512)
    for other in others {
      other.hear()
      #expect(other.heard.isEmpty && !other.isEnded)
    }
    #expect(try rig.read(strangers[0], offset: 0, count: 512).count == 512)
  }

  @Test("The longest idle client over TCP makes room, one that is in the middle of something does not")
  func idleMakeRoom() throws {
    let (rig, port) = try tcpRig {
      ($0.connectionsMax, $0.tcpConnectionsMax, $0.peerConnectionsMax) = (4, 3, 3)
      ($0.idleNanosecondsMin, $0.stalledNanosecondsMin) = (0, .max)
    }
    let owner = try rig.client()
    let busy = try rig.enter(StreamClient(port: port))
    busy.say(Array(Say.request(1, cookie: 7, payload: [UInt8](repeating: 9, count: 512)).prefix(100)))
    var idle: [StreamClient] = []
    for _ in 0..<2 { idle.append(try rig.enter(StreamClient(port: port))) }
    // Its half request has come.
    for _ in 0..<1000 { rig.turn() }
    for number in 0..<10 {
      let next = try StreamClient(port: port, from: "127.0.0.\(number + 2)")
      try greets(rig, next)
      idle.append(next)
      #expect((rig.a?.connections ?? 0) <= 4)
    }
    for client in idle { client.hear() }
    #expect(idle.count { !$0.isEnded } == 2)
    busy.hear()
    #expect(!busy.isEnded)
    #expect(try rig.read(owner, offset: 0, count: 512).count == 512, "the owner's own make room for nobody")
  }

  @Test("A client over TCP that leaves half a message, or reads no reply, makes room", arguments: [false, true])
  func stalledMakeRoom(readsNothing: Bool) throws {
    let (rig, port) = try tcpRig {
      ($0.connectionsMax, $0.tcpConnectionsMax, $0.peerConnectionsMax) = (2, 1, 1)
      ($0.idleNanosecondsMin, $0.stalledNanosecondsMin) = (.max, 0)
    }
    let stalled = try rig.enter(StreamClient(port: port))
    if readsNothing {
      // More than the sockets between the two hold.
      stalled.say((0..<200).flatMap { Say.request(0, cookie: $0, length: 1 << 20) })
    } else {
      stalled.say(Array(Say.request(3, cookie: 7).prefix(20)))
    }
    for _ in 0..<1000 { rig.turn() }
    try greets(rig, StreamClient(port: port, from: "127.0.0.2"))
  }

  @Test("One address over TCP leaves places for others, and one beyond its share is disconnected")
  func shareOfAnAddress() throws {
    let (rig, port) = try tcpRig {
      ($0.connectionsMax, $0.tcpConnectionsMax, $0.peerConnectionsMax) = (4, 3, 2)
      ($0.idleNanosecondsMin, $0.stalledNanosecondsMin) = (.max, .max)
    }
    let greedy = try (0..<2).map { _ in try rig.enter(StreamClient(port: port)) }
    // In the middle of something, each of them.
    let half = Say.request(1, cookie: 7, payload: [UInt8](repeating: 9, count: 512))
    for client in greedy { client.say(Array(half.prefix(100))) }
    for _ in 0..<1000 { rig.turn() }
    let beyond = try (0..<5).map { _ in try StreamClient(port: port) }
    try rig.turn {
      for client in beyond { client.hear() }
      return beyond.allSatisfy(\.isEnded)
    }
    do {
      let other = try rig.enter(StreamClient(port: port, from: "127.0.0.2"))
      #expect(try rig.read(other, offset: 0, count: 512).count == 512)
    }
    try rig.turn { rig.a?.connections == 2 }
    for client in greedy { client.hear() }
    #expect(greedy.allSatisfy { !$0.isEnded })
    // One that has nothing to ask makes room for another one of its address, however short its idleness.
    #expect(try rig.ask(greedy[0], Array(half.dropFirst(100))) == Reply(cookie: 7))
    let another = try StreamClient(port: port)
    try greets(rig, another)
    try rig.turn {
      greedy[0].hear()
      return greedy[0].isEnded
    }
    greedy[1].hear()
    #expect(!greedy[1].isEnded)
  }

  @Test("A handshake that does not end is ended", arguments: [0, 2, 4, 20])
  func handshake(_ count: Int) throws {
    let rig = try ServerRig { $0.handshakeNanosecondsMax = 1_000_000 }
    let client = try rig.connect()
    client.say(Array((Say.flags() + Say.option(6, Say.string("unit0"))).prefix(count)))
    try rig.turn {
      client.hear()
      return client.isEnded && rig.a?.connections == 0
    }
    #expect(client.heard.starts(with: Say.greeting))
  }

  @Test("Half a message and then silence is ended; an idle client is not")
  func silence() throws {
    let rig = try ServerRig { $0.messageNanosecondsMax = 1_000_000 }
    let idle = try rig.client()
    let silent = try rig.client()
    silent.say(Array(Say.request(1, cookie: 1, length: 4096).prefix(20)))
    let later = try rig.client()
    later.say(Say.request(1, cookie: 1, length: 4096) + [1, 2, 3])
    try rig.turn {
      silent.hear()
      later.hear()
      return silent.isEnded && later.isEnded
    }
    #expect(try rig.read(idle, offset: 0, count: 512).count == 512)
  }

  @Test("A client that does not read costs nobody else anything, and loses nothing")
  func slowReader() throws {
    let rig = try ServerRig(units: ["mem:4M"])
    let data = ServerTests.pattern(1 << 20, 3)
    let other = try rig.client()
    try rig.ask(other, Say.request(1, cookie: 1, payload: data))
    let slow = try rig.client()
    slow.say((0..<200).flatMap { Say.request(0, cookie: $0, length: 1 << 20) })
    for number in 0..<500 {
      #expect(
        try rig.read(other, offset: UInt64(number) * 512, count: 512) == Array(data[number * 512..<number * 512 + 512]))
    }
    // It has room for eight of them at a time; and reads them all in the end.
    var seen = 0
    var heard = 0
    let reads = Dictionary(uniqueKeysWithValues: (0..<200).map { (UInt64($0), 1 << 20) })
    try rig.turn {
      slow.hear()
      var listener = Listener(slow.heard)
      while let reply = listener.reply(reads: reads) {
        #expect(reply.error == 0)
        if !areSame(reply.data, data) { Issue.record("reply \(reply.cookie) brings other data") }
        seen += 1
      }
      heard += listener.at
      slow.heard.removeFirst(listener.at)
      return seen == 200 || slow.isEnded
    }
    #expect(seen == 200 && heard == 200 * (16 + 1 << 20))
  }

  @Test("Replies that make room for a request that waits in memory have it taken", arguments: [false, true])
  func waitingForRoom(isOnTmpfs: Bool) throws {
    let folder = try ScratchFolder(onTmpfs: true)
    let rig = try ServerRig(units: [isOnTmpfs ? "\(folder.path)/file:16M" : "mem:16M"])
    let client = try rig.client()
    // The second lies in the middle of the client's memory, and leaves no room for the third.
    let lengths = [4080 << 10, 64 << 10, 4 << 20]
    let reads = Dictionary(uniqueKeysWithValues: lengths.enumerated().map { (UInt64($0), $1) })
    for _ in 0..<5 {
      client.say(lengths.indices.flatMap { Say.request(0, cookie: UInt64($0), length: UInt32(lengths[$0])) })
      var seen = 0
      try rig.turn {
        client.hear()
        var listener = Listener(client.heard)
        while let reply = listener.reply(reads: reads) { seen += reply.error == 0 ? 1 : 0 }
        client.heard.removeFirst(listener.at)
        return seen == 3 || client.isEnded
      }
    }
  }

  @Test(
    "A client that reads no replies costs no work, whether it may still speak or not",
    arguments: ["mem:16M", "null:16M"], [(8, 1 << 20), (64, 262_144), (600, 16384)])
  func unreadReplies(_ unit: String, _ reads: (count: Int, length: Int)) throws {
    let rig = try ServerRig(units: [unit]) { $0.farewellNanosecondsMax = 60_000_000_000 }
    let client = try rig.client()
    client.say((0..<reads.count).flatMap { Say.request(0, cookie: UInt64($0), length: UInt32(reads.length)) })
    func workingTurns() -> Int {
      for _ in 0..<20_000 { rig.turn() }
      return (0..<20_000).count { _ in rig.a?.turn() ?? false }
    }
    #expect(workingTurns() < 200)
    client.sayNoMore()
    #expect(workingTurns() < 200)
    rig.a?.beginStop()
    #expect(workingTurns() < 200)
    // And all that was taken is answered when it reads.
    try rig.turn {
      client.hear()
      return client.isEnded
    }
    #expect(client.heard.count % (16 + reads.length) == 0 && !client.heard.isEmpty)
  }

  @Test("A client that asks one thing after the other and reads no reply costs nobody else anything, and loses nothing")
  func lateReader() throws {
    let rig = try ServerRig(units: ["mem:1M"])
    let data = ServerTests.pattern(32768, 5)
    let other = try rig.client()
    try rig.ask(other, Say.request(1, cookie: 1, payload: data))
    let late = try rig.client()
    // Its socket is full after some of them.
    for number in 0..<24 {
      late.say(Say.request(0, cookie: UInt64(number), length: 32768))
      #expect(try rig.read(other, offset: 512, count: 512) == Array(data[512..<1024]))
    }
    var seen: [UInt64] = []
    let reads = Dictionary(uniqueKeysWithValues: (0..<24).map { (UInt64($0), 32768) })
    try rig.turn {
      late.hear()
      var listener = Listener(late.heard)
      while let reply = listener.reply(reads: reads) {
        #expect(reply.error == 0 && areSame(reply.data, data))
        seen.append(reply.cookie)
      }
      late.heard.removeFirst(listener.at)
      return seen.count == 24 || late.isEnded
    }
    #expect(seen == (0..<24).map { UInt64($0) })
  }

  @Test("Bad messages: answered as the protocol says or disconnected, and nobody else notices")
  func badMessages() throws {
    let rig = try ServerRig(units: ["mem:1M"])
    let other = try rig.client(.a)
    let go = Say.flags() + Say.go("unit0")
    let says: [[UInt8]] = [
      [0xff, 0xff, 0xff, 0xff], Say.flags() + Say.optionHeader(7, length: .max),
      Say.flags() + Say.optionHeader(1, length: .max),
      Say.flags() + Say.option(99, [UInt8](repeating: 1, count: 20_000)) + Say.option(2),
      Say.flags() + Say.option(1, Array("none".utf8)),
      Say.flags() + [UInt8](repeating: 0x55, count: 4096), go + [UInt8](repeating: 0, count: 28),
      go + Say.request(99, cookie: 1) + Say.request(2, cookie: 2),
      go + Say.request(0, cookie: 1, length: 512, flags: 0xffff) + Say.request(2, cookie: 2),
      go + Say.request(0, cookie: 1, offset: .max - 511, length: 512) + Say.request(2, cookie: 2),
      go + Say.request(0, cookie: 1, offset: 1 << 20, length: 512) + Say.request(2, cookie: 2),
      go + Say.request(0, cookie: 1, length: .max) + Say.request(2, cookie: 2),
      go + Say.request(1, cookie: 1, length: .max) + [UInt8](repeating: 1, count: 65536),
      go + Say.request(1, cookie: 1, offset: 1 << 30, length: 65536) + [UInt8](repeating: 1, count: 65536)
        + Say.request(2, cookie: 2),
      go + Say.request(0, cookie: 1, offset: 1, length: 512) + Say.request(3, cookie: 2, offset: 3)
        + Say.request(2, cookie: 3),
    ]
    for (number, say) in says.enumerated() {
      let client = try rig.connect()
      client.say(say)
      try rig.turn {
        client.hear()
        return client.isEnded
      }
      #expect(try rig.read(other, offset: 0, count: 4096).count == 4096, "after number \(number)")
    }
    try rig.turn { rig.a?.connections == 1 }
  }

  @Test("A thousand connections, opened and dropped at every stage")
  func thousand() throws {
    let rig = try ServerRig(units: ["mem:1M"]) { $0.connectionsMax = 8 }
    let other = try rig.client(.a)
    let says =
      Say.flags() + Say.go("unit0") + Say.request(0, cookie: 1, length: 65536)
      + Say.request(1, cookie: 2, payload: [UInt8](repeating: 1, count: 65536))
    var random = SeededRandom(seed: 1)
    for number in 0..<1000 {
      let client = try rig.connect()
      client.say(Array(says.prefix(Int.random(in: 0...says.count, using: &random))))
      for _ in 0..<Int.random(in: 0...40, using: &random) { rig.turn() }
      if number % 50 == 0 { #expect(try rig.read(other, offset: 0, count: 512).count == 512) }
    }
    try rig.turn { rig.a?.connections == 1 }
    #expect(try rig.count(.nbdAccepted, of: .a) <= 1001)
    #expect(try rig.read(other, offset: 0, count: 512).count == 512)
  }

  @Test("Thousands of requests at once from many clients, more than there is room for at a time")
  func many() throws {
    let rig = try ServerRig(units: ["fault:delay=1us:mem:1M"])
    let clients = try (0..<24).map { _ in try rig.client() }
    for client in clients {
      client.say(
        (0..<1000).flatMap { Say.request($0 % 2 == 0 ? 0 : 5, cookie: $0, offset: $0 % 64 * 512, length: 512) })
    }
    let reads = Dictionary(uniqueKeysWithValues: stride(from: UInt64(0), to: 1000, by: 2).map { ($0, 512) })
    for client in clients {
      var cookies: Set<UInt64> = []
      try rig.turn {
        client.hear()
        var listener = Listener(client.heard)
        while let reply = listener.reply(reads: reads) {
          #expect(reply.error == 0)
          cookies.insert(reply.cookie)
        }
        client.heard.removeFirst(listener.at)
        return cookies.count == 1000 || client.isEnded
      }
      #expect(cookies.count == 1000)
    }
  }

  @Test("What makes no sense as options is refused")
  func options() throws {
    expectError(.invalid, naming: "controller a") { try ServerRig(starting: [.a]) { $0.connectionsMax = 0 } }
    expectError(.invalid, naming: "controller a") {
      try ServerRig(starting: [.a]) { options in
        options.addresses = (0..<9).map { NBDAddress.unix(path: "/nowhere/\($0)") }
      }
    }
  }
}
