import BatonNBD
import Testing

@Suite("NBD: handshake")
struct HandshakeTests {
  /// Past the client's flags.
  func rig(
    _ exports: [NBDExport] = [NBDExport(size: 1 << 20, blockSize: 512)], flags: UInt32 = 3,
    limits: NBDLimits = NBDLimits()
  ) throws -> NBDRig {
    let rig = try NBDRig(exports: exports, limits: limits)
    rig.say(Say.flags(flags))
    _ = rig.heard()
    return rig
  }

  /// That the handshake goes on as if nothing had happened.
  func expectGoingOn(_ rig: NBDRig, sourceLocation: SourceLocation = #_sourceLocation) {
    rig.say(Say.structuredReply)
    #expect(
      rig.answers() == [OptionAnswer(option: 8, type: 1, data: [])], "the next option",
      sourceLocation: sourceLocation)
  }

  func expectClosed(_ rig: NBDRig, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(rig.heard() == [], "nothing is said", sourceLocation: sourceLocation)
    #expect(rig.isFinished, sourceLocation: sourceLocation)
    rig.say(Say.structuredReply)
    #expect(rig.heard() == [], "nothing is answered any more", sourceLocation: sourceLocation)
  }

  /// One error and nothing else, with a reason in words, and that it goes on.
  func expectError(
    _ rig: NBDRig, _ option: UInt32, _ type: UInt32, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let answers = rig.answers()
    #expect(answers.count == 1, sourceLocation: sourceLocation)
    #expect(answers.first?.option == option, sourceLocation: sourceLocation)
    #expect(answers.first?.type == type, sourceLocation: sourceLocation)
    #expect(answers.first?.data.isEmpty == false, "a reason", sourceLocation: sourceLocation)
    expectGoingOn(rig, sourceLocation: sourceLocation)
  }

  @Test("The greeting is the first thing said, and all before the client's flags")
  func greeting() throws {
    let rig = try NBDRig()
    rig.run()
    #expect(rig.heard() == Say.greeting)
    #expect(rig.isNegotiating && rig.isMidMessage)
    #expect(rig.isReceiving)
  }

  @Test("Client flags that are known are taken", arguments: [0, 1, 2, 3] as [UInt32])
  func knownFlags(_ flags: UInt32) throws {
    let rig = try rig(flags: flags)
    expectGoingOn(rig)
  }

  @Test("Any other client flag ends the connection", arguments: 2..<32)
  func unknownFlags(_ bit: Int) throws {
    let rig = try rig(flags: 3 | 1 << UInt32(bit))
    expectClosed(rig)
  }

  // MARK: EXPORT_NAME

  @Test("EXPORT_NAME: size, flags, and zeroes for clients that want them", arguments: [1, 3] as [UInt32])
  func exportName(_ flags: UInt32) throws {
    let rig = try rig(flags: flags)
    rig.say(Say.option(1, Array("unit0".utf8)))
    let zeroes = [UInt8](repeating: 0, count: flags == 3 ? 0 : 124)
    // HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, MULTI_CONN, CACHE, FAST_ZERO.
    #expect(rig.heard() == [UInt8](big: UInt64(1 << 20)) + [0x0d, 0x6d] + zeroes)
    rig.say(Say.request(0, cookie: 7, length: 512))
    #expect(rig.replies(reads: [7: 512]) == [Reply(cookie: 7, data: [UInt8](repeating: 0, count: 512))])
  }

  @Test("EXPORT_NAME: the default export, a name that was given, unit numbers")
  func exportNames() throws {
    let exports = (0..<12).map { NBDExport(size: UInt64($0 + 1) << 20, blockSize: 512, name: $0 == 3 ? "root" : "") }
    for (name, unit) in [("", 0), ("unit0", 0), ("unit3", 3), ("root", 3), ("unit11", 11)] {
      let rig = try rig(exports)
      rig.say(Say.option(1, Array(name.utf8)))
      #expect(Array(rig.heard().prefix(8)) == [UInt8](big: UInt64(unit + 1) << 20), "\(name)")
    }
  }

  @Test(
    "EXPORT_NAME with a name that means nothing ends the connection",
    arguments: [
      "unit1", "unit", "unit00", "unit-1", "unit+0", "unit0 ", "UNIT0", "unit99999999999999999999", "x", "\0",
    ])
  func exportNameUnknown(_ name: String) throws {
    let rig = try rig()
    rig.say(Say.option(1, Array(name.utf8)))
    expectClosed(rig)
  }

  @Test("EXPORT_NAME with a name that is no UTF-8, too long, or longer than any option")
  func exportNameBad() throws {
    for data in [[0xff, 0xfe], [UInt8](repeating: 0x61, count: 5000)] as [[UInt8]] {
      let rig = try rig()
      rig.say(Say.option(1, data))
      expectClosed(rig)
    }
    let large = try rig()
    large.say(Say.optionHeader(1, length: 100_000))
    expectClosed(large)
  }

  // MARK: ABORT

  @Test("ABORT is acknowledged, whatever comes with it, and ends the connection")
  func abort() throws {
    for message in [
      Say.option(2), Say.option(2, [1, 2, 3]), Say.optionHeader(2, length: 50_000),
      Say.optionHeader(2, length: .max),
    ] {
      let rig = try rig()
      rig.say(message)
      #expect(rig.answers() == [OptionAnswer(option: 2, type: 1, data: [])])
      expectClosed(rig)
    }
  }

  // MARK: LIST

  @Test("LIST: each export once, with its description")
  func list() throws {
    let rig = try rig([
      NBDExport(size: 1 << 20, blockSize: 512), NBDExport(size: 1 << 20, blockSize: 512, name: "swap"),
      NBDExport(size: 1 << 20, blockSize: 512, description: "for people: ü"),
    ])
    rig.say(Say.option(3))
    #expect(
      rig.answers() == [
        OptionAnswer(option: 3, type: 2, data: Say.string("unit0")),
        OptionAnswer(option: 3, type: 2, data: Say.string("swap")),
        OptionAnswer(option: 3, type: 2, data: Say.string("unit2") + Array("for people: ü".utf8)),
        OptionAnswer(option: 3, type: 1, data: []),
      ])
    expectGoingOn(rig)
  }

  @Test("LIST of as many exports as there can be, through memory that does not grow, with a client that reads slowly")
  func listLong() throws {
    let name = String(repeating: "n", count: 240)
    let exports = (0..<65_536).map {
      NBDExport(
        size: 512, blockSize: 512, name: $0 % 3 == 0 ? "\(name)\($0)" : "",
        description: $0 % 5 == 0 ? name + name.prefix(15) : "")
    }
    let rig = try rig(exports)
    rig.sendCount = { max($0 / 2, 1000) }
    rig.say(Say.option(3))
    let answers = rig.answers()
    #expect(answers.count == exports.count + 1)
    for (unit, answer) in answers.enumerated().prefix(exports.count) {
      let expected = Say.string(exports[unit].name.isEmpty ? "unit\(unit)" : exports[unit].name)
      guard answer.type == 2, answer.data == expected + Array(exports[unit].description.utf8) else {
        Issue.record("the answer for unit \(unit)")
        break
      }
    }
    #expect(answers.last == OptionAnswer(option: 3, type: 1, data: []))
    #expect(rig.isGuardIntact)
    expectGoingOn(rig)
  }

  @Test("LIST of no exports")
  func listNone() throws {
    let rig = try rig([])
    rig.say(Say.option(3))
    #expect(rig.answers() == [OptionAnswer(option: 3, type: 1, data: [])])
    rig.say(Say.go())
    expectError(rig, 7, OptionAnswer.unknown)
  }

  @Test("Options that take no data refuse it", arguments: [3, 5, 8] as [UInt32])
  func noData(_ option: UInt32) throws {
    let rig = try rig()
    rig.say(Say.option(option, [0]))
    expectError(rig, option, OptionAnswer.invalid)
  }

  @Test("STARTTLS is refused: this server speaks without TLS")
  func startTLS() throws {
    let rig = try rig()
    rig.say(Say.option(5))
    expectError(rig, 5, OptionAnswer.unsupported)
  }

  @Test(
    "Options that are not known are refused, their data read over",
    arguments: [0, 4, 11, 12, 0x7fff_ffff, 0xffff_ffff] as [UInt32])
  func unknown(_ option: UInt32) throws {
    for data in [[], [1, 2, 3], [UInt8](repeating: 0x49, count: 16 << 10)] as [[UInt8]] {
      let rig = try rig()
      rig.say(Say.option(option, data))
      expectError(rig, option, OptionAnswer.unsupported)
    }
  }

  // MARK: INFO and GO

  static let infoExport: [UInt8] = [0, 0] + [UInt8](big: UInt64(1 << 20)) + [0x0d, 0x6d]
  static let infoBlockSize: [UInt8] =
    [0, 3] + [UInt8](big: UInt32(512)) + [UInt8](big: UInt32(4096)) + [UInt8](big: UInt32(32 << 20))

  @Test("INFO and GO: what a client must know, asked for or not", arguments: [6, 7] as [UInt32])
  func inform(_ option: UInt32) throws {
    for wanted in [[], [0], [3], [0, 3], [3, 3, 77, 0xffff]] as [[UInt16]] {
      let rig = try rig()
      rig.say(Say.inform(option, "unit0", wanted))
      #expect(
        rig.answers() == [
          OptionAnswer(option: option, type: 3, data: Self.infoExport),
          OptionAnswer(option: option, type: 3, data: Self.infoBlockSize),
          OptionAnswer(option: option, type: 1, data: []),
        ])
      #expect(rig.isNegotiating == (option == 6))
      if option == 6 { expectGoingOn(rig) }
    }
  }

  @Test("INFO and GO: name and description for clients that ask", arguments: [6, 7] as [UInt32])
  func informNames(_ option: UInt32) throws {
    let exports = [NBDExport(size: 1 << 20, blockSize: 512, name: "swap", description: "a place to swap to")]
    for name in ["", "unit0", "swap"] {
      let rig = try rig(exports)
      rig.say(Say.inform(option, name, [1, 2]))
      #expect(
        rig.answers() == [
          OptionAnswer(option: option, type: 3, data: Self.infoExport),
          OptionAnswer(option: option, type: 3, data: Self.infoBlockSize),
          OptionAnswer(option: option, type: 3, data: [0, 1] + Array("swap".utf8)),
          OptionAnswer(option: option, type: 3, data: [0, 2] + Array("a place to swap to".utf8)),
          OptionAnswer(option: option, type: 1, data: []),
        ])
    }
    let plain = try rig()
    plain.say(Say.inform(option, "", [2]))
    #expect(plain.answers().count == 3, "no description, so none is told")
  }

  @Test("Longest names and descriptions fit")
  func informLongest() throws {
    let long = String(repeating: "x", count: 255)
    let rig = try rig([NBDExport(size: 1 << 20, blockSize: 512, name: long, description: long)])
    rig.say(Say.inform(6, long, [1, 2]))
    let answers = rig.answers()
    #expect(answers.count == 5)
    #expect(answers[2].data == [0, 1] + Array(long.utf8))
  }

  @Test("Block sizes of a unit with large blocks")
  func blockSizes() throws {
    for size in [512, 1024, 4096, 8192, 65536] as [UInt32] {
      let rig = try rig([NBDExport(size: 1 << 20, blockSize: size)])
      rig.say(Say.inform(6, ""))
      let answer = rig.answers()[1].data
      #expect(answer.big(2, as: UInt32.self) == size)
      #expect(answer.big(6, as: UInt32.self) == max(size, 4096))
    }
  }

  @Test("Transmission flags: read-only, and DF with structured replies")
  func transmissionFlags() throws {
    for isReadOnly in [false, true] {
      for structured in [false, true] {
        let rig = try rig([NBDExport(size: 1 << 20, blockSize: 512, isReadOnly: isReadOnly)])
        if structured { rig.say(Say.structuredReply) }
        _ = rig.heard()
        rig.say(Say.inform(6, ""))
        // HAS_FLAGS, FLUSH, FUA, MULTI_CONN, CACHE; then READ_ONLY, or TRIM, WRITE_ZEROES, FAST_ZERO; then DF.
        let expected: UInt16 = 0x050d | (isReadOnly ? 0x0002 : 0x0860) | (structured ? 0x0080 : 0)
        #expect(rig.answers().first?.data.big(10, as: UInt16.self) == expected)
      }
    }
  }

  @Test("A unit that becomes read-only is so for clients that connect afterwards")
  func readOnlyLater() throws {
    let rig = try rig()
    rig.exports.setReadOnly(true, unit: 0)
    rig.say(Say.go())
    #expect(rig.answers().first?.data.big(10, as: UInt16.self) == 0x050f)
    rig.say(Say.request(1, cookie: 1, payload: [UInt8](repeating: 1, count: 512)))
    #expect(rig.replies() == [Reply(cookie: 1, error: 1)])
  }

  /// "The server MUST reply with the same set of information", if nothing comes between the two.
  @Test("A unit that becomes read-only between INFO and GO is not so yet for this client, and refuses all the same")
  func readOnlyBetween() throws {
    let cases: [(between: [UInt8], flags: UInt16)] = [
      ([], 0x0d6d), (Say.option(3), 0x050f), (Say.inform(6, "unit9"), 0x050f),
      (Say.option(99, [UInt8](repeating: 0, count: 20_000)), 0x050f),
    ]
    for (between, flags) in cases {
      let rig = try rig()
      rig.say(Say.inform(6, ""))
      #expect(rig.answers().first?.data.big(10, as: UInt16.self) == 0x0d6d)
      rig.exports.setReadOnly(true, unit: 0)
      rig.say(between)
      _ = rig.answers()
      rig.say(Say.inform(7, "unit0"))
      #expect(rig.answers().first?.data.big(10, as: UInt16.self) == flags)
      rig.outcome = { _ in .failed(.notPermitted) }
      rig.say(Say.request(1, cookie: 1, payload: [UInt8](repeating: 1, count: 512)))
      #expect(rig.replies() == [Reply(cookie: 1, error: 1)])
    }
  }

  @Test("INFO and GO with a name that means nothing", arguments: [6, 7] as [UInt32])
  func informUnknown(_ option: UInt32) throws {
    for name in ["unit1", "nothing", String(repeating: "a", count: 300), String(repeating: "a", count: 4096)] {
      let rig = try rig()
      rig.say(Say.inform(option, name))
      expectError(rig, option, OptionAnswer.unknown)
    }
  }

  @Test("INFO and GO with a name longer than the protocol allows", arguments: [6, 7] as [UInt32])
  func informTooLong(_ option: UInt32) throws {
    let rig = try rig()
    rig.say(Say.inform(option, String(repeating: "a", count: 4097)))
    expectError(rig, option, OptionAnswer.tooBig)
  }

  @Test("INFO and GO with lengths that contradict each other", arguments: [6, 7] as [UInt32])
  func informMalformed(_ option: UInt32) throws {
    let name = Array("unit0".utf8)
    let five = [UInt8](big: UInt32(5))
    for data in [
      [], [0], [0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1, 0],
      [0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1, 0, 0], [0xff, 0xff, 0xff, 0xff, 0, 0],
      [0x7f, 0xff, 0xff, 0xff, 0, 0], five + name, five + name + [0], five + name + [0, 2, 0, 0],
      five + name + [0xff, 0xff], five + name + [0, 0, 0, 0],
    ] as [[UInt8]] {
      let rig = try rig()
      rig.say(Say.option(option, data))
      expectError(rig, option, OptionAnswer.invalid)
    }
  }

  @Test("After GO come requests, and no padding")
  func goEnters() throws {
    let rig = try rig(flags: 1)
    rig.say(Say.go() + Say.request(0, cookie: 1, length: 512))
    var listener = Listener(rig.heard())
    #expect(listener.answers().map(\.type) == [3, 3, 1])
    #expect(listener.reply(reads: [1: 512])?.data.count == 512)
    #expect(listener.left == 0)
  }

  // MARK: Metadata contexts

  static let allocation = Array("base:allocation".utf8)

  @Test("LIST_META_CONTEXT: all there are, wildcard, exact name; each once")
  func listContexts() throws {
    for queries in [[], ["base:"], ["base:allocation"], ["x-nothing:y", "base:", "base:allocation"]] {
      let rig = try rig()
      rig.say(Say.structuredReply + Say.contexts(9, "unit0", queries))
      #expect(
        rig.answers().dropFirst() == [
          OptionAnswer(option: 9, type: 4, data: [0, 0, 0, 0] + Self.allocation),
          OptionAnswer(option: 9, type: 1, data: []),
        ], "\(queries)")
    }
  }

  @Test("SET_META_CONTEXT selects by the exact name alone")
  func setContexts() throws {
    let rig = try rig()
    rig.say(Say.structuredReply + Say.contexts(10, "unit0", ["qemu:dirty-bitmap:x", "base:allocation"]))
    #expect(
      rig.answers().dropFirst() == [
        OptionAnswer(option: 10, type: 4, data: [0, 0, 0, 1] + Self.allocation),
        OptionAnswer(option: 10, type: 1, data: []),
      ])
  }

  @Test("Queries that find nothing are no error", arguments: [9, 10] as [UInt32])
  func noContext(_ option: UInt32) throws {
    for queries in [["base:x"], ["other:allocation"], ["no colon"], [""], [":"], ["base:allocation "]] {
      let rig = try rig()
      rig.say(Say.structuredReply + Say.contexts(option, "", queries))
      #expect(rig.answers().dropFirst() == [OptionAnswer(option: option, type: 1, data: [])], "\(queries)")
    }
    let rig = try rig()
    rig.say(Say.structuredReply + Say.contexts(10, "", ["base:"]) + Say.contexts(10, "", []))
    #expect(rig.answers().dropFirst().map(\.type) == [1, 1], "a wildcard selects nothing, nor does nothing")
  }

  @Test("Contexts need structured replies, a known export and lengths that fit", arguments: [9, 10] as [UInt32])
  func badContexts(_ option: UInt32) throws {
    let early = try rig()
    early.say(Say.contexts(option, "", []))
    expectError(early, option, OptionAnswer.invalid)
    let unknown = try rig()
    unknown.say(Say.structuredReply)
    _ = unknown.heard()
    unknown.say(Say.contexts(option, "unit7", ["base:allocation"]))
    expectError(unknown, option, OptionAnswer.unknown)
    for (name, query) in [(4097, 3), (3, 4097)] {
      let long = try rig()
      long.say(Say.structuredReply)
      _ = long.heard()
      long.say(
        Say.contexts(option, String(repeating: "a", count: name), [String(repeating: "b", count: query)]))
      expectError(long, option, OptionAnswer.tooBig)
    }
    for data in [
      [], [0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 0, 0],
      [0, 0, 0, 9, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
      [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff],
      [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x62, 0x62],
    ] as [[UInt8]] {
      let rig = try rig()
      rig.say(Say.structuredReply)
      _ = rig.heard()
      rig.say(Say.option(option, data))
      expectError(rig, option, OptionAnswer.invalid)
    }
  }

  @Test("As many queries as an option has room for")
  func manyQueries() throws {
    let rig = try rig()
    let queries = [String](repeating: "base:allocation", count: (16384 - 8) / 19)
    rig.say(Say.structuredReply + Say.contexts(10, "", queries))
    #expect(rig.answers().map(\.type) == [1, 4, 1])
  }

  // MARK: Limits and ends

  @Test("An option with as much data as is read, and with more: too big, skipped, and the handshake continues")
  func optionLength() throws {
    for (count, type) in [
      (16384, OptionAnswer.unsupported), (16385, OptionAnswer.tooBig), (1 << 20, OptionAnswer.tooBig),
    ] {
      let rig = try rig()
      rig.say(Say.option(77, [UInt8](repeating: 0x55, count: count)))
      expectError(rig, 77, type)
    }
    for option in [3, 5, 6, 7, 8, 9, 10] as [UInt32] {
      let rig = try rig()
      rig.say(Say.option(option, [UInt8](repeating: 0, count: 20_000)))
      expectError(rig, option, OptionAnswer.tooBig)
    }
  }

  @Test("An option with more data than is read over ends the connection before any of it has come")
  func optionTooLong() throws {
    for length in [1 << 20 + 1, 1 << 31, .max] as [UInt32] {
      let rig = try rig()
      rig.say(Say.optionHeader(6, length: length))
      expectClosed(rig)
    }
  }

  @Test("An option without its magic number ends the connection", arguments: 0..<8)
  func wrongMagic(_ byte: Int) throws {
    let rig = try rig()
    var message = Say.option(3)
    message[byte] ^= 1
    rig.say(message)
    expectClosed(rig)
  }

  @Test("A selection that failed leaves none: too big, malformed, unknown")
  func failedSelection() throws {
    for failure in [
      Say.contexts(10, "unit9", ["base:allocation"]), Say.option(10, [1]),
      Say.option(10, [UInt8](repeating: 0, count: 20_000)), Say.contexts(10, "", []),
    ] {
      let rig = try rig()
      rig.say(Say.structuredReply + Say.contexts(10, "", ["base:allocation"]) + failure + Say.go())
      _ = rig.heard()
      rig.say(Say.request(7, cookie: 1, length: 512))
      #expect(rig.replies().map(\.error) == [22])
    }
  }

  @Test("A selection for one export is none for another")
  func selectionOfOther() throws {
    let exports = [NBDExport](repeating: NBDExport(size: 1 << 20, blockSize: 512), count: 2)
    for (name, error) in [("unit1", 22), ("unit0", 0), ("", 0)] as [(String, UInt32)] {
      let rig = try rig(exports)
      rig.say(Say.structuredReply + Say.contexts(10, "", ["base:allocation"]) + Say.go(name))
      _ = rig.heard()
      rig.say(Say.request(7, cookie: 1, length: 512))
      #expect(rig.replies().map(\.error) == [error], "\(name)")
    }
  }

  @Test("The client goes in the middle of the handshake")
  func goes() throws {
    for bytes in [[], [0], Say.flags(), Say.flags() + [0x49], Say.flags() + Say.optionHeader(7, length: 10)] {
      let rig = try NBDRig()
      rig.isClosed = true
      rig.say(bytes)
      #expect(rig.heard() == Say.greeting)
      #expect(rig.isFinished)
      #expect(rig.tearDown() == nil)
    }
  }

  @Test("Half an option is half a message; nothing owed between options")
  func midMessage() throws {
    let rig = try rig()
    #expect(!rig.isMidMessage)
    let messages = rig.messages
    let option = Say.contexts(10, "unit0", ["base:allocation"])
    for byte in option.dropLast() {
      rig.say([byte])
      #expect(rig.isMidMessage)
      #expect(rig.messages == messages)
    }
    rig.say([option.last ?? 0])
    #expect(!rig.isMidMessage)
    #expect(rig.messages == messages + 1)
    rig.say(Say.optionHeader(7, length: 500_000))
    #expect(rig.isMidMessage, "data that is read over is owed as well")
  }

  @Test("Many options without entering cost no memory")
  func manyOptions() throws {
    let rig = try rig()
    let round = Say.inform(6, "unit0") + Say.option(3) + Say.option(99, [1, 2, 3]) + Say.structuredReply
    for _ in 0..<2000 {
      rig.say(round)
      #expect(rig.answers().map(\.type) == [3, 3, 1, 2, 1, OptionAnswer.unsupported, 1])
    }
    #expect(rig.memoryInUse == 4096)
    #expect(rig.messages == 1 + 4 * 2000)
  }
}
