import Baton
import BatonNBD
import BatonNBDServer
import BatonSubsystem
import BatonTestSupport
import Glibc
import Testing

@Suite("NBD server: controllers that go and come back")
struct ServerTakeoverTests {
  @Test(
    "A controller that leaves: its clients come to its peer, and back when it does",
    arguments: ControllerIdentity.allCases)
  func leaves(_ identity: ControllerIdentity) throws {
    let rig = try ServerRig(units: ["%/disk:1M"])
    let first = try rig.client(identity)
    let data = ServerTests.pattern(4096, 5)
    try rig.ask(first, Say.request(1, cookie: 1, payload: data))
    try rig.stop(identity)
    try rig.turn {
      first.hear()
      return first.isEnded
    }
    // The same address, another controller.
    let second = try rig.client(identity)
    #expect(try rig.read(second, offset: 0, count: 4096) == data)
    #expect(rig[identity.peer]?.connections == 1)
    try rig.start(identity)
    try rig.turn { rig[identity]?.isListening ?? false }
    try rig.turn { rig[identity]?.isServing ?? false }
    // The peer still accepts until it has seen that.
    for _ in 0..<1000 { rig.turn() }
    let third = try rig.client(identity)
    #expect(try rig.read(third, offset: 0, count: 4096) == data)
    try rig.turn { rig[identity]?.connections == 1 && rig[identity.peer]?.connections == 1 }
    // A client that had come to the peer stays there.
    #expect(try rig.read(second, offset: 0, count: 4096) == data)
    // And all of it once more: the sockets went back and forth.
    try rig.stop(identity)
    #expect(try rig.read(rig.client(identity), offset: 0, count: 4096) == data)
  }

  @Test("A controller that dies: nobody who connects is refused at any moment")
  func dies() throws {
    let rig = try ServerRig(units: ["mem:1M"])
    var served = 0
    for round in 0..<20 {
      let identity: ControllerIdentity = round % 2 == 0 ? .a : .b
      rig.drop(identity)
      // Nobody accepts yet, and nobody is refused.
      let waiting = try (0..<5).map { _ in try rig.connect(identity) }
      if round % 3 == 0 { try rig.start(identity) }
      for client in waiting {
        client.say(Say.flags() + Say.go("unit0"))
        try rig.turn {
          client.hear()
          return client.heard.count >= 18 + 20
        }
        served += 1
      }
      if round % 3 != 0 { try rig.start(identity) }
      try rig.turn { rig[identity]?.isListening ?? false }
      try rig.turn { rig[identity]?.isServing ?? false }
      _ = try rig.client(identity)
    }
    #expect(served == 100)
  }

  @Test("Both die, and either comes back")
  func bothDie() throws {
    let rig = try ServerRig(units: ["%/disk:1M"])
    let data = ServerTests.pattern(4096, 7)
    try rig.ask(rig.client(.a), Say.request(1, cookie: 1, payload: data))
    rig.drop(.a)
    rig.drop(.b)
    // A client that connects at once could still be let in, see `eventually`.
    let isNobodyThere = eventually { (try? rig.connect(.a)) == nil }
    #expect(isNobodyThere)
    try rig.start(.b)
    try rig.turn { rig.b?.isListening ?? false }
    #expect(try rig.read(rig.client(.b), offset: 0, count: 4096) == data)
    try rig.start(.a)
    try rig.turn { rig.a?.isListening ?? false }
    #expect(try rig.read(rig.client(.a), offset: 0, count: 4096) == data)
  }

  @Test("One has left and its peer dies: the next life of either listens at both addresses")
  func leftAndDied() throws {
    for again in ControllerIdentity.allCases {
      let rig = try ServerRig(units: ["%/disk:1M"])
      let data = ServerTests.pattern(4096, 9)
      try rig.ask(rig.client(.a), Say.request(1, cookie: 1, payload: data))
      try rig.stop(.a)
      #expect(try rig.read(rig.client(.a), offset: 0, count: 4096) == data)
      rig.drop(.b)
      // A client that connects at once could still be let in, see `eventually`.
      let isNobodyThere = eventually { (try? rig.connect(.a)) == nil && (try? rig.connect(.b)) == nil }
      #expect(isNobodyThere)
      try rig.start(again)
      for identity in ControllerIdentity.allCases {
        try rig.turn { (try? rig.connect(identity)) != nil }
        #expect(try rig.read(rig.client(identity), offset: 0, count: 4096) == data)
      }
      // And the one that was away gets its address back.
      try rig.start(again.peer)
      try rig.turn { rig[again.peer]?.isListening ?? false }
      try rig.turn { rig[again.peer]?.isServing ?? false }
      for _ in 0..<1000 { rig.turn() }
      let there = rig[again.peer]?.connections ?? 0
      let last = try rig.client(again.peer)
      #expect(try rig.read(last, offset: 0, count: 4096) == data)
      #expect(rig[again.peer]?.connections == there + 1)
      // When both have left, nobody is to listen there any more.
      try rig.stop(.a)
      try rig.stop(.b)
      #expect((try? rig.connect(.a)) == nil && (try? rig.connect(.b)) == nil)
      try rig.start(.b)
      try rig.turn { rig.b?.isListening ?? false }
      for _ in 0..<1000 { rig.turn() }
      #expect((try? rig.connect(.a)) == nil)
    }
  }

  @Test("A controller that leaves answers what it has taken, and ends the connection then")
  func farewell() throws {
    let rig = try ServerRig(units: ["fault:delay=20ms:mem:1M"])
    let client = try rig.client()
    client.say(
      (1...8).flatMap { Say.request(1, cookie: $0, offset: $0 * 4096, payload: [UInt8](repeating: 1, count: 4096)) })
    try rig.turn { try rig.count(.storageOperations, of: .a) >= 8 }
    rig.a?.beginStop()
    try rig.turn {
      client.hear()
      return client.isEnded
    }
    var listener = Listener(client.heard)
    var cookies: Set<UInt64> = []
    while let reply = listener.reply(reads: [:]) {
      #expect(reply.error == 0)
      cookies.insert(reply.cookie)
    }
    #expect(cookies == Set(1...8) && listener.left == 0)
    try rig.turn { rig.a?.isStopped ?? true }
  }

  @Test("What the storage takes longer for than a client may is answered all the same, whichever side ends it")
  func farewellToSlowStorage() throws {
    for end in 0..<3 {
      let rig = try ServerRig(units: ["fault:delay=600ms:mem:1M"]) { $0.farewellNanosecondsMax = 200_000_000 }
      let client = try rig.client()
      client.say(Say.request(1, cookie: 1, payload: [UInt8](repeating: 0x25, count: 512)))
      try rig.turn { try rig.count(.storageOperations, of: .a) >= 1 }
      switch end {
      case 0: client.say(Say.request(2, cookie: 2))
      case 1: client.sayNoMore()
      default: rig.a?.beginStop()
      }
      try rig.turn {
        client.hear()
        return client.isEnded
      }
      var listener = Listener(client.heard)
      #expect(listener.reply(reads: [:]) == Reply(cookie: 1))
    }
  }

  @Test("What was answered arrives, whatever the client has said that nobody takes any more")
  func endsWithUnreadInput() throws {
    let rig = try ServerRig(units: ["mem:1M"])
    let client = try rig.client()
    let reads = (1...30).flatMap { Say.request(0, cookie: UInt64($0), length: 16384) }
    client.say(reads + [UInt8](repeating: 0x25, count: 1 << 18))
    try rig.turn {
      client.hear()
      return client.isEnded
    }
    var listener = Listener(client.heard)
    let lengths = Dictionary(uniqueKeysWithValues: (1...30).map { (UInt64($0), 16384) })
    var cookies: [UInt64] = []
    while let reply = listener.reply(reads: lengths) { cookies.append(reply.cookie) }
    #expect(cookies == (1...30).map { UInt64($0) })
  }

  @Test("What was answered arrives over TCP though the client goes on sending after the server has ended")
  func endsWhileClientSends() throws {
    let port = try StreamClient.freePort()
    let rig = try ServerRig(units: ["mem:1M"], starting: [.a]) {
      $0.addresses.append(.tcp(address: "127.0.0.1", port: port))
    }
    let client = try rig.enter(StreamClient(port: port))
    // More than the sockets hold: the rest is still to be sent when the server has handed out its last byte.
    let reads = (1...64).flatMap { Say.request(0, cookie: UInt64($0), length: 32768) }
    client.say(reads + Say.request(2, cookie: 65))
    try rig.turn {
      if rig.a?.connections == 0 { return true }
      client.hear(atMost: 16384)
      return false
    }
    for _ in 0..<20 {
      client.say([UInt8](repeating: 0x25, count: 4096))
      rig.turn()
    }
    try rig.turn {
      client.hear()
      return client.isEnded
    }
    #expect(!client.wasReset)
    var listener = Listener(client.heard)
    let lengths = Dictionary(uniqueKeysWithValues: (1...64).map { (UInt64($0), 32768) })
    var cookies: [UInt64] = []
    while let reply = listener.reply(reads: lengths) { cookies.append(reply.cookie) }
    #expect(cookies == (1...64).map { UInt64($0) })
  }

  @Test("A client over TCP that never closes its side keeps no controller from leaving")
  func lingersNotForEver() throws {
    let port = try StreamClient.freePort()
    let rig = try ServerRig(units: ["mem:1M"], starting: [.a]) {
      $0.addresses.append(.tcp(address: "127.0.0.1", port: port))
      $0.farewellNanosecondsMax = 1_000_000
    }
    let client = try rig.enter(StreamClient(port: port))
    rig.a?.beginStop()
    try rig.turn { rig.a?.isStopped ?? true }
    client.hear()
    #expect(client.isEnded)
  }

  @Test("A client that reads nothing keeps no controller from leaving")
  func farewellUnheard() throws {
    let rig = try ServerRig(units: ["mem:16M"]) { $0.farewellNanosecondsMax = 1_000_000 }
    let client = try rig.client()
    client.say((0..<64).flatMap { Say.request(0, cookie: $0, length: 64 << 10) })
    try rig.turn { try rig.count(.nbdRequests, of: .a) >= 4 }
    rig.a?.beginStop()
    try rig.turn { rig.a?.isStopped ?? true }
  }
}
