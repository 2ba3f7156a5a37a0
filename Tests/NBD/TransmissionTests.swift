import BatonNBD
import Testing

@Suite("NBD: requests and replies")
struct TransmissionTests {
  static let size: UInt64 = 1 << 20

  /// In the transmission phase.
  func rig(
    structured: Bool = false, allocation: Bool = false, isReadOnly: Bool = false, size: UInt64 = size,
    blockSize: UInt32 = 512, limits: NBDLimits = NBDLimits()
  ) throws -> NBDRig {
    let rig = try NBDRig(
      exports: [NBDExport(size: size, blockSize: blockSize, isReadOnly: isReadOnly)], limits: limits)
    rig.enter(structured: structured || allocation, allocation: allocation)
    return rig
  }

  func pattern(_ count: Int, _ seed: UInt8 = 1) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7) &+ seed }
  }

  // MARK: Commands

  @Test("READ in a simple reply")
  func simpleRead() throws {
    let rig = try rig()
    rig.disks[0].replaceSubrange(1024..<3072, with: pattern(2048))
    rig.say(Say.request(0, cookie: 0x0102_0304_0506_0708, offset: 1024, length: 2048))
    #expect(
      rig.heard() == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8] + pattern(2048))
    #expect(rig.log.map(\.kind) == [.read])
    #expect(rig.log.first?.offset == 1024 && rig.log.first?.length == 2048 && rig.log.first?.unit == 0)
  }

  @Test("READ in a structured reply: one chunk, whether it may be in pieces or not", arguments: [0, 4, 5] as [UInt16])
  func structuredRead(_ flags: UInt16) throws {
    let rig = try rig(structured: true)
    rig.disks[0].replaceSubrange(512..<1024, with: pattern(512))
    rig.say(Say.request(0, cookie: 9, offset: 512, length: 512, flags: flags))
    #expect(
      rig.heard() == [0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9] + [UInt8](big: UInt32(520))
        + [UInt8](big: UInt64(512)) + pattern(512))
  }

  @Test("READ of the longest transfer, and of all of a unit")
  func longestRead() throws {
    let rig = try rig(structured: true, size: 4 << 20)
    rig.disks[0] = pattern(4 << 20)
    rig.say(Say.request(0, cookie: 1, length: 4 << 20, flags: 4))
    #expect(rig.replies().first?.data == rig.disks[0])
  }

  @Test("WRITE, with and without FUA")
  func write() throws {
    for flags in [0, 1] as [UInt16] {
      let rig = try rig()
      rig.say(Say.request(1, cookie: 3, offset: 4096, flags: flags, payload: pattern(1536)))
      #expect(rig.heard() == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3])
      #expect(Array(rig.disks[0][4096..<5632]) == pattern(1536))
      #expect(rig.log.map(\.isDurable) == [flags == 1])
    }
  }

  @Test("A success without data is a simple reply, structured or not")
  func shortReplies() throws {
    let rig = try rig(allocation: true)
    for type in [3, 4, 5, 6] as [UInt16] {
      rig.say(Say.request(type, cookie: UInt64(type), length: type == 3 ? 0 : 512))
    }
    rig.say(Say.request(1, cookie: 1, payload: pattern(512)))
    #expect(rig.replies() == [3, 4, 5, 6, 1].map { Reply(cookie: $0) })
  }

  @Test("FLUSH has no extent")
  func flush() throws {
    let rig = try rig()
    rig.say(Say.request(3, cookie: 1) + Say.request(3, cookie: 2, flags: 1))
    #expect(rig.replies().map(\.error) == [0, 0])
    #expect(rig.log.map(\.kind) == [.flush, .flush])
    #expect(rig.log.allSatisfy { $0.length == 0 && $0.offset == 0 && !$0.isDurable })
    rig.say(Say.request(3, cookie: 1, offset: 512) + Say.request(3, cookie: 2, length: 512))
    #expect(rig.replies().map(\.error) == [22, 22])
  }

  @Test("TRIM and WRITE_ZEROES, and what their flags mean")
  func trimAndZeroes() throws {
    let rig = try rig()
    rig.disks[0] = pattern(1 << 20)
    rig.say(Say.request(4, cookie: 1, offset: 512, length: 1024, flags: 1))
    for flags in [0, 1, 2, 16, 19] as [UInt16] {
      rig.say(Say.request(6, cookie: 2, offset: 2048, length: 512, flags: flags))
    }
    #expect(rig.replies().allSatisfy { $0.error == 0 })
    #expect(rig.log.map(\.kind) == [.trim] + [NBDOperation.Kind](repeating: .writeZeroes, count: 5))
    #expect(rig.log.map(\.isDurable) == [true, false, true, false, false, true])
    #expect(rig.log.map(\.keepsAllocation) == [false, false, false, true, false, true])
    #expect(rig.log.map(\.mustBeFast) == [false, false, false, false, true, true])
    #expect(rig.disks[0][2048..<2560].allSatisfy { $0 == 0 })
    #expect(rig.disks[0][2560] != 0)
  }

  @Test("CACHE is handed out like any other")
  func cache() throws {
    let rig = try rig()
    rig.say(Say.request(5, cookie: 1, offset: 512, length: 512))
    #expect(rig.log.map(\.kind) == [.cache])
    #expect(rig.replies() == [Reply(cookie: 1)])
  }

  @Test("DISC ends the connection without a reply, after what was asked before")
  func disconnect() throws {
    let rig = try rig()
    rig.isPrompt = false
    rig.say(Say.request(0, cookie: 1, length: 512) + Say.request(2, cookie: 2) + Say.request(0, cookie: 3, length: 512))
    #expect(!rig.isFinished)
    #expect(rig.heard() == [])
    rig.completeAll()
    #expect(rig.replies(reads: [1: 512]).map(\.cookie) == [1])
    #expect(rig.isFinished)
    #expect(rig.log.count == 1, "nothing after a DISC is taken")
  }

  // MARK: Block status

  @Test("BLOCK_STATUS of which nothing is known: allocated, all of it")
  func statusUnknown() throws {
    for flags in [0, 8] as [UInt16] {
      let rig = try rig(allocation: true)
      rig.say(Say.request(7, cookie: 4, offset: 512, length: 8192, flags: flags))
      #expect(
        rig.heard() == [0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 4] + [UInt8](big: UInt32(12))
          + [0, 0, 0, 1] + [UInt8](big: UInt32(8192)) + [0, 0, 0, 0])
    }
  }

  @Test("BLOCK_STATUS: extents, equal neighbours as one, cut at the end of what was asked")
  func status() throws {
    let rig = try rig(allocation: true)
    rig.extents = { _ in
      [
        (512, true, true), (0, false, false), (512, true, true), (1024, false, false), (512, false, true),
        (1 << 40, true, false),
      ]
    }
    rig.say(Say.request(7, cookie: 1, length: 8192) + Say.request(7, cookie: 2, length: 8192, flags: 8))
    let replies = rig.replies()
    #expect(replies.map(\.context) == [1, 1])
    #expect(replies.first?.extents == [[1024, 3], [1024, 0], [512, 2], [5632, 1]])
    #expect(replies.last?.extents == [[1024, 3]], "one and no more")
  }

  @Test("BLOCK_STATUS with more extents than a reply has room for")
  func statusMany() throws {
    let rig = try rig(allocation: true)
    rig.extents = { _ in (0..<2000).map { (512, $0 % 2 == 0, false) } }
    rig.say(Say.request(7, cookie: 1, length: 1 << 20))
    let extents = rig.replies().first?.extents ?? []
    #expect(extents.count == 513)
    #expect(extents.enumerated().allSatisfy { $1 == [512, $0 % 2 == 0 ? 1 : 0] })
    #expect(rig.isGuardIntact)
  }

  @Test("BLOCK_STATUS without a selected context")
  func statusUnselected() throws {
    for structured in [false, true] {
      let rig = try rig(structured: structured)
      rig.say(Say.request(7, cookie: 1, length: 512))
      #expect(rig.replies().map(\.error) == [22])
      #expect(rig.log == [])
    }
  }

  // MARK: Flags and commands

  @Test("Each flag with each command: taken where it is documented, else EINVAL, and a payload is read over")
  func flags() throws {
    let valid: [UInt16: UInt16] = [0: 1 | 4, 1: 1, 3: 1, 4: 1, 5: 1, 6: 1 | 2 | 16, 7: 1 | 8]
    for structured in [false, true] {
      let rig = try rig(structured: structured, allocation: structured)
      for command in [0, 1, 3, 4, 5, 6, 7] as [UInt16] {
        for bit in 0..<16 {
          let flag = UInt16(1) << UInt16(bit)
          var isValid = (valid[command] ?? 0) & flag != 0
          if !structured, flag == 4 || command == 7 { isValid = false }
          rig.say(
            Say.request(
              command, cookie: 5, length: command == 3 ? 0 : 512, flags: flag,
              payload: command == 1 ? pattern(512) : []) + Say.request(3, cookie: 6))
          let replies = rig.replies(reads: command == 0 ? [5: 512] : [:])
          #expect(replies.map(\.cookie) == [5, 6], "command \(command), flag \(flag), structured \(structured)")
          #expect(
            replies.first?.error == (isValid ? 0 : 22), "command \(command), flag \(flag), structured \(structured)")
        }
      }
    }
  }

  @Test("Commands that are not known")
  func unknownCommands() throws {
    for structured in [false, true] {
      let rig = try rig(structured: structured)
      for command in [8, 9, 100, 0x8001, 0xffff] as [UInt16] {
        rig.say(Say.request(command, cookie: UInt64(command), length: 512, flags: 1) + Say.request(3, cookie: 1))
        let replies = rig.replies()
        #expect(replies.map(\.cookie) == [UInt64(command), 1])
        #expect(replies.map(\.error) == [22, 0])
        #expect(replies.first?.isStructured == structured)
      }
    }
  }

  // MARK: Refusals

  struct Case: Sendable {
    var what: String
    var command: UInt16
    var offset: UInt64
    var length: UInt32
    var error: UInt32
    var isReadOnly = false
  }

  static let cases: [Case] = [0, 1, 4, 5, 6, 7].flatMap { (command: UInt16) -> [Case] in
    let beyond: UInt32 = command == 1 || command == 6 ? 28 : 22
    var cases = [
      Case(what: "zero", command: command, offset: 0, length: 0, error: 22),
      Case(what: "past the end", command: command, offset: size, length: 512, error: beyond),
      Case(what: "across the end", command: command, offset: size - 512, length: 1024, error: beyond),
      Case(what: "far away", command: command, offset: .max - 511, length: 512, error: beyond),
      Case(what: "around", command: command, offset: .max, length: 512, error: beyond),
      Case(what: "misaligned offset", command: command, offset: 1, length: 512, error: 22),
      Case(what: "misaligned length", command: command, offset: 512, length: 511, error: 22),
      Case(what: "last block", command: command, offset: size - 512, length: 512, error: 0),
    ]
    if command == 1 || command == 4 || command == 6 {
      cases.append(Case(what: "read-only", command: command, offset: 0, length: 512, error: 1, isReadOnly: true))
    } else {
      cases.append(Case(what: "read-only", command: command, offset: 0, length: 512, error: 0, isReadOnly: true))
    }
    return cases
  }

  @Test("Requests out of range, misaligned, empty, on a read-only export", arguments: cases)
  func refused(_ test: Case) throws {
    for structured in [false, true] {
      let rig = try rig(structured: structured, allocation: structured, isReadOnly: test.isReadOnly)
      if test.command == 7, !structured { continue }
      let payload = test.command == 1 ? pattern(Int(test.length)) : []
      rig.say(
        Say.request(test.command, cookie: 77, offset: test.offset, length: test.length, payload: payload)
          + Say.request(3, cookie: 78))
      let replies = rig.replies(reads: test.command == 0 ? [77: Int(test.length)] : [:])
      #expect(replies.map(\.cookie) == [77, 78], "\(test)")
      #expect(replies.map(\.error) == [test.error, 0], "\(test)")
      #expect(rig.log.count == (test.error == 0 ? 2 : 1), "refused before the storage sees it: \(test)")
      if test.error != 0 {
        #expect(replies.first?.isStructured == structured)
        #expect(replies.first?.message.isEmpty == !structured)
      }
    }
  }

  @Test("READ of more than the largest payload: EINVAL, or EOVERFLOW where replies are structured")
  func readTooLong() throws {
    for (structured, flags, error) in [(false, 0, 22), (true, 0, 75), (true, 4, 75)] as [(Bool, UInt16, UInt32)] {
      let rig = try rig(structured: structured, size: 1 << 40)
      rig.say(Say.request(0, cookie: 1, length: 32 << 20 + 512, flags: flags))
      rig.say(Say.request(0, cookie: 2, length: .max - 511, flags: flags))
      #expect(rig.replies().map(\.error) == [error, error])
    }
  }

  @Test("WRITE of more than the largest payload: EINVAL, and its payload is read over")
  func writeTooLong() throws {
    let rig = try rig(size: 1 << 40)
    for count in [32 << 20 + 512, 48 << 20] {
      rig.say(Say.request(1, cookie: 1, payload: [UInt8](repeating: 0x25, count: count)) + Say.request(3, cookie: 2))
      #expect(rig.replies() == [Reply(cookie: 1, error: 22), Reply(cookie: 2)])
      #expect(rig.memoryInUse == 0)
    }
  }

  @Test("WRITE of more than is read over ends the connection; of just as much it does not")
  func writeFarTooLong() throws {
    let rig = try rig(size: 1 << 40)
    rig.say(Say.request(1, cookie: 1, length: 64 << 20))
    #expect(rig.replies().isEmpty, "its data comes first")
    #expect(!rig.isFinished && rig.isMidMessage)
    for _ in 0..<64 {
      #expect(rig.isMidMessage)
      rig.say([UInt8](repeating: 0x25, count: 1 << 20))
    }
    #expect(rig.replies().map(\.error) == [22])
    #expect(!rig.isFinished && !rig.isMidMessage)
    let other = try self.rig(size: 1 << 40)
    other.say(Say.request(1, cookie: 1, length: 64 << 20 + 1))
    #expect(other.heard() == [])
    #expect(other.isFinished)
  }

  @Test("A request without its magic number: what was asked before is answered, and the connection ends")
  func wrongMagic() throws {
    for byte in 0..<4 {
      let rig = try rig()
      rig.isPrompt = false
      var message = Say.request(0, cookie: 2, length: 512)
      message[byte] ^= 0x80
      rig.say(Say.request(0, cookie: 1, length: 512) + message + Say.request(0, cookie: 3, length: 512))
      rig.completeAll()
      #expect(rig.replies(reads: [1: 512]).map(\.cookie) == [1])
      #expect(rig.isFinished)
    }
  }

  // MARK: What the storage says

  @Test("Errors of the storage, in both kinds of reply")
  func storageErrors() throws {
    let all: [(NBDError, UInt32)] = [
      (.notPermitted, 1), (.inputOutput, 5), (.invalid, 22), (.noSpace, 28), (.overflow, 75), (.shutDown, 108),
    ]
    for structured in [false, true] {
      for (error, number) in all {
        let rig = try rig(structured: structured, allocation: structured)
        rig.outcome = { _ in .failed(error) }
        for command in [0, 3, 4, 5, 6] as [UInt16] {
          rig.say(Say.request(command, cookie: 1, length: command == 3 ? 0 : 512))
        }
        rig.say(Say.request(1, cookie: 1, payload: pattern(512)))
        let replies = rig.replies()
        #expect(replies.count == 6)
        #expect(replies.allSatisfy { $0.error == number && $0.isStructured == structured && $0.data == [] })
        #expect(rig.memoryInUse == 0)
      }
    }
  }

  @Test("ENOTSUP is the answer to requests for a fast way, and to no others")
  func notSupported() throws {
    let rig = try rig()
    rig.outcome = { _ in .failed(.notSupported) }
    for flags in [0, 16, 2, 18] as [UInt16] {
      rig.say(Say.request(6, cookie: 1, length: 512, flags: flags))
    }
    rig.say(Say.request(4, cookie: 1, length: 512))
    #expect(rig.replies().map(\.error) == [22, 95, 22, 95, 22])
  }

  @Test("Replies come in the order in which operations end")
  func order() throws {
    let rig = try rig(structured: true)
    rig.isPrompt = false
    for cookie in 1...5 as ClosedRange<UInt64> {
      rig.say(Say.request(0, cookie: cookie, offset: cookie * 512, length: 512))
    }
    for index in [3, 0, 2, 0, 0] { rig.complete(index) }
    rig.run()
    #expect(rig.replies().map(\.cookie) == [4, 1, 5, 2, 3])
  }

  @Test("The same cookie twice is the client's affair: both are answered")
  func sameCookie() throws {
    let rig = try rig()
    rig.say(Say.request(3, cookie: 1) + Say.request(3, cookie: 1))
    #expect(rig.replies() == [Reply(cookie: 1), Reply(cookie: 1)])
  }

  // MARK: Pieces

  @Test("A trim or write zeroes longer than an operation may be is served in pieces, one after the other")
  func pieces() throws {
    for (command, kind) in [(4, .trim), (6, .writeZeroes)] as [(UInt16, NBDOperation.Kind)] {
      let rig = try rig(size: 1 << 40)
      rig.isPrompt = false
      rig.say(Say.request(command, cookie: 1, offset: 4096, length: .max - 511, flags: 1))
      var expected: UInt64 = 4096
      for piece in 0..<4 {
        #expect(rig.waiting.count == 1)
        let operation = try #require(rig.waiting.first)
        #expect(operation.kind == kind && operation.isDurable && operation.offset == expected)
        #expect(operation.length == (piece < 3 ? 1 << 30 : 1 << 30 - 512))
        expected += operation.length
        #expect(rig.heard() == [])
        rig.complete(0)
        rig.run()
      }
      #expect(rig.replies() == [Reply(cookie: 1)])
      #expect(expected == 4096 + UInt64(UInt32.max - 511))
    }
  }

  @Test("A piece that fails ends the request")
  func pieceFails() throws {
    let rig = try rig(size: 1 << 40)
    rig.outcome = { $0.offset >= 2 << 30 ? .failed(.inputOutput) : .done }
    rig.say(Say.request(6, cookie: 1, length: .max - 511))
    #expect(rig.log.count == 3)
    #expect(rig.replies() == [Reply(cookie: 1, error: 5)])
  }

  @Test("Pieces go on after a DISC, and not after the client is given up")
  func piecesAtTheEnd() throws {
    let rig = try rig(size: 1 << 40)
    rig.isPrompt = false
    rig.say(Say.request(4, cookie: 1, length: 3 << 30) + Say.request(2, cookie: 2))
    #expect(!rig.isFinished)
    for _ in 0..<3 { rig.complete(0); rig.run() }
    #expect(rig.replies() == [Reply(cookie: 1)])
    #expect(rig.isFinished)

    let other = try self.rig(size: 1 << 40)
    other.isPrompt = false
    other.say(Say.request(4, cookie: 1, length: 3 << 30))
    other.complete(0)
    other.connection.abandon()
    other.endReceive(-1)
    #expect(!other.step())
    #expect(other.isFinished)
  }

  @Test("A flush, cache or block status of the longest length is one operation")
  func onePiece() throws {
    let rig = try rig(allocation: true, size: 1 << 40)
    rig.say(Say.request(5, cookie: 1, length: .max - 511) + Say.request(7, cookie: 2, length: .max - 511))
    #expect(rig.log.map(\.length) == [UInt64(UInt32.max - 511), UInt64(UInt32.max - 511)])
    #expect(rig.replies().last?.extents == [[UInt32.max - 511, 0]])
  }
}
