import BatonNBD
import BatonTestSupport

/// Lets anything at all be said to a connection, under any order of events, and compares what it does with what it
/// should do. The first bytes choose limits and order, the others are, or make, what the client says.
///
/// No part of the testing library: any program can run this on bytes of its own.
struct NBDFuzz {
  private let rig: NBDRig
  private var random: SeededRandom
  private let export: NBDExport
  private let structured: Bool
  private let allocation: Bool
  private var expected: ExpectedRequests

  /// - Returns: what is wrong, nil if nothing.
  static func run(_ bytes: [UInt8]) -> String? {
    guard bytes.count >= 10, var fuzz = try? NBDFuzz(bytes) else { return nil }
    let says = Array(bytes.dropFirst(10))
    switch bytes[9] % 3 {
    case 0: return fuzz.shakeHands(says)
    case 1: return fuzz.ask(says)
    default: return fuzz.ask(fuzz.compose(says))
    }
  }

  private init(_ bytes: [UInt8]) throws {
    let choice = bytes[8]
    random = SeededRandom(seed: bytes.big(0))
    structured = choice & 1 != 0
    allocation = choice & 3 == 3
    var limits = NBDLimits()
    limits.extentMax = 1 << 20
    if choice & 4 != 0 {
      limits.requestsMax = 3
      limits.stagingSize = 65536
      limits.transferMax = 131_072
      limits.poolSize = 131_072 + 65536
    }
    // What is longer is served in pieces, see PieceTests.
    limits.payloadMax = limits.transferMax
    export = NBDExport(
      size: choice & 8 != 0 ? 1 << 40 : 1 << 20, blockSize: choice & 16 != 0 ? 8192 : 512,
      isReadOnly: choice & 0xe0 == 0xe0)
    rig = try NBDRig(exports: [export], limits: limits)
    rig.isInPlace = { $0.offset & 1024 != 0 }
    expected = ExpectedRequests(
      export: export, transferMax: limits.transferMax, structured: structured, allocation: allocation)
  }

  // MARK: Handshake

  private mutating func shakeHands(_ says: [UInt8]) -> String? {
    isDisorderly = true
    rig.input = says
    rig.isClosed = Bool.random(using: &random)
    turn(max: 20_000)
    let heard = rig.heard()
    if heard.count >= 18, Array(heard.prefix(18)) != Say.greeting { return "the greeting is another" }
    return rig.tearDown()
  }

  // MARK: Requests

  private mutating func ask(_ says: [UInt8]) -> String? {
    rig.enter(structured: structured, allocation: allocation)
    rig.input = says
    rig.isClosed = true
    expected.take(says)
    isDisorderly = true
    rig.isPrompt = false
    let givesUp = UInt8.random(in: 0..<8, using: &random) == 0
    if let wrong = turn(max: givesUp ? Int.random(in: 0..<40, using: &random) : 200_000) { return wrong }
    if givesUp { return rig.tearDown() }
    guard rig.isFinished else { return "did not come to its end" }
    if let wrong = checkReplies() ?? expected.missing { return wrong }
    return rig.tearDown()
  }

  private var isDisorderly = false

  /// Turns of a server whose sends, receives and operations end in any order.
  @discardableResult
  private mutating func turn(max turns: Int) -> String? {
    var idle = 0
    for _ in 0..<turns {
      let handed = rig.log.count
      let small = UInt8.random(in: 0..<4, using: &random) == 0
      let cut = UInt64.random(in: 1...(small ? 40 : 200_000), using: &random)
      let holds = UInt8.random(in: 0..<3, using: &random) == 0
      rig.receiveCount = { min($0, Int(cut)) }
      rig.sendCount = { min($0, Int(cut)) }
      rig.holdsSend = { holds }
      rig.roomMax = Int.random(in: 0...6, using: &random)
      var work = rig.step()
      for operation in rig.log[handed...] {
        if let wrong = expected.check(operation, rig.payload(operation)) { return wrong }
      }
      if !rig.waiting.isEmpty, Bool.random(using: &random) {
        work = true
        end(Int.random(in: 0..<rig.waiting.count, using: &random))
      }
      if rig.isFinished { return nil }
      idle = work ? 0 : idle + 1
      // Nothing can happen any more, whatever the dice say.
      if idle > 200 { return rig.isNegotiating || rig.isMidMessage ? nil : "stands still" }
    }
    return nil
  }

  private mutating func end(_ index: Int) {
    let operation = rig.waiting[index]
    let errors: [NBDError] = [.inputOutput, .noSpace, .notSupported, .notPermitted, .shutDown]
    let fails = UInt8.random(in: 0..<8, using: &random) == 0
    let outcome: NBDOutcome = fails ? .failed(errors.randomElement(using: &random) ?? .inputOutput) : .done
    let count = Int.random(in: 0...700, using: &random)
    let seed = random.next()
    rig.outcome = { _ in outcome }
    rig.extents = { operation in
      var random = SeededRandom(seed: seed)
      return (0..<count).map { _ in
        (UInt64.random(in: 0...4, using: &random) * 512, Bool.random(using: &random), Bool.random(using: &random))
      }
    }
    expected.end(operation, outcome, rig.contents(operation), extentMax: rig.limits.extentMax)
    rig.complete(index)
  }

  private mutating func checkReplies() -> String? {
    var listener = Listener(rig.heard())
    while listener.left > 0 {
      // A cookie does not tell which of several requests is meant, nor how much data a simple reply has; the order in
      // which operations ended does.
      let at = listener.at
      guard let reply = listener.reply(reads: expected.nextRead.map { [$0.cookie: $0.count] } ?? [:]) else {
        return "what was sent is no reply, at \(at)"
      }
      if let wrong = expected.check(reply) { return wrong }
    }
    return nil
  }

  /// Requests of every kind, eight bytes each, with the fields that matter at their edges.
  private func compose(_ bytes: [UInt8]) -> [UInt8] {
    let block = UInt64(export.blockSize)
    let offsets: [UInt64] = [
      0, block, 1, block * 3, export.size - block, export.size, export.size + block, .max, .max - block + 1,
      export.size / 2, 65536, 131_072,
    ]
    let lengths: [UInt32] = [
      UInt32(block), 0, 1, UInt32(block) * 2, UInt32(block) + 1, 65536, 131_072, 131_072 + UInt32(block), 1 << 20,
      3 << 20, 4 << 20 + UInt32(block), .max, .max - UInt32(block) + 1, 16384,
    ]
    var says: [UInt8] = []
    for at in stride(from: 0, to: bytes.count - 7, by: 8) where says.count < 16 << 20 {
      let type = UInt16(bytes[at] % 10)
      let flags: UInt16 = bytes[at + 1] & 0x80 != 0 ? 1 << UInt16(bytes[at + 1] & 15) : UInt16(bytes[at + 1] & 1)
      let offset = offsets[Int(bytes[at + 2]) % offsets.count]
      let length = lengths[Int(bytes[at + 3]) % lengths.count]
      let cookie = UInt64(bytes[at + 4] & 7) << 56 | UInt64(at)
      if type == 2, bytes[at + 5] & 0xf0 != 0 { continue }
      var request = Say.request(type, cookie: cookie, offset: type == 3 ? 0 : offset, length: type == 3 ? 0 : length)
      request[4] = UInt8(flags >> 8)
      request[5] = UInt8(truncatingIfNeeded: flags)
      if bytes[at + 6] == 0xff { request[Int(bytes[at + 7]) % 28] ^= 0x10 }
      says += request
      if type == 1, length <= 5 << 20 {
        says += [UInt8](repeating: bytes[at + 7], count: Int(length))
      }
    }
    // The last one may be cut short.
    if let last = bytes.last, last & 1 != 0 { says.removeLast(min(Int(last), says.count)) }
    return says
  }
}

/// What a server has to do with a row of requests: an account of the protocol of its own, slow and plain.
private struct ExpectedRequests {
  struct Asked {
    var type: UInt16
    var flags: UInt16
    var cookie: UInt64
    var offset: UInt64
    var length: UInt32
    var payload: ArraySlice<UInt8>
    /// 0: to be executed.
    var error: UInt32
  }

  /// What is to be answered next, once it is known.
  struct Answer {
    var cookie: UInt64
    var errors: Set<UInt32>
    var data: [UInt8]?
    var isRead: Bool
    var isStatus: Bool
    var length: UInt32
  }

  let export: NBDExport
  let transferMax: UInt32
  let structured: Bool
  let allocation: Bool
  private var toExecute: [Asked] = []
  private var executeAt = 0
  private var refusals: [UInt64: [UInt32]] = [:]
  private var refusalCount = 0
  /// By slot: what is being executed, and where its next piece begins.
  private var underWay: [Int: (asked: Asked, next: UInt64)] = [:]
  private var answers: [Answer] = []
  private var answerAt = 0

  init(export: NBDExport, transferMax: UInt32, structured: Bool, allocation: Bool) {
    self.export = export
    self.transferMax = transferMax
    self.structured = structured
    self.allocation = allocation
  }

  /// The requests in what a client says, to the first that ends the connection.
  mutating func take(_ says: [UInt8]) {
    var at = 0
    while says.count - at >= 28 {
      guard says.big(at, as: UInt32.self) == 0x2560_9513 else { return }
      var asked = Asked(
        type: says.big(at + 6), flags: says.big(at + 4), cookie: says.big(at + 8), offset: says.big(at + 16),
        length: says.big(at + 24), payload: [], error: 0)
      if asked.type == 2 { return }
      asked.error = error(of: asked)
      at += 28
      if asked.type == 1 {
        if asked.length > 64 << 20 { return }
        // One that is refused is answered before its payload has arrived.
        if says.count - at < Int(asked.length) {
          if asked.error != 0 { refuse(asked) }
          return
        }
        asked.payload = says[at..<at + Int(asked.length)]
        at += Int(asked.length)
      }
      if asked.error != 0 { refuse(asked) } else { toExecute.append(asked) }
    }
  }

  private mutating func refuse(_ asked: Asked) {
    refusals[asked.cookie, default: []].append(asked.error)
    refusalCount += 1
  }

  private func error(of asked: Asked) -> UInt32 {
    let valid: [UInt16: UInt16] = [0: structured ? 5 : 1, 1: 1, 3: 1, 4: 1, 5: 1, 6: 19, 7: 9]
    guard let flags = valid[asked.type], asked.flags & ~flags == 0 else { return 22 }
    if asked.type == 3 { return asked.offset == 0 && asked.length == 0 ? 0 : 22 }
    if export.isReadOnly, [1, 4, 6].contains(asked.type) { return 1 }
    if asked.type == 7, !allocation { return 22 }
    if asked.length == 0 { return 22 }
    let (end, overflow) = asked.offset.addingReportingOverflow(UInt64(asked.length))
    if overflow || end > export.size { return asked.type == 1 || asked.type == 6 ? 28 : 22 }
    if asked.offset % UInt64(export.blockSize) != 0 || asked.length % export.blockSize != 0 { return 22 }
    if asked.type <= 1, asked.length > transferMax { return asked.type == 0 && structured ? 75 : 22 }
    return 0
  }

  /// An operation was handed out.
  mutating func check(_ operation: NBDOperation, _ payload: [UInt8]) -> String? {
    if let piece = underWay[operation.slot] {
      guard piece.next == operation.offset, piece.asked.type == 4 || piece.asked.type == 6 else {
        return "a slot is used twice: \(operation)"
      }
      return nil
    }
    guard executeAt < toExecute.count else { return "nobody asked for \(operation)" }
    let asked = toExecute[executeAt]
    executeAt += 1
    let kinds: [UInt16: NBDOperation.Kind] = [
      0: .read, 1: .write, 3: .flush, 4: .trim, 5: .cache, 6: .writeZeroes, 7: .blockStatus,
    ]
    guard operation.kind == kinds[asked.type], operation.offset == asked.offset else {
      return "\(operation) for \(asked.type) at \(asked.offset)"
    }
    guard asked.type == 1 ? areSame(asked.payload, payload[...]) : true else { return "another payload" }
    guard operation.isDurable == ([1, 4, 6].contains(asked.type) && asked.flags & 1 != 0),
      operation.keepsAllocation == (asked.flags & 2 != 0), operation.mustBeFast == (asked.flags & 16 != 0)
    else { return "other flags: \(operation)" }
    underWay[operation.slot] = (asked, asked.offset)
    return nil
  }

  /// An operation ends.
  mutating func end(_ operation: NBDOperation, _ outcome: NBDOutcome, _ data: [UInt8], extentMax: UInt64) {
    guard let (asked, _) = underWay.removeValue(forKey: operation.slot) else { return }
    var errors: Set<UInt32> = [0]
    switch outcome {
    case .failed(.notSupported): errors = asked.flags & 16 != 0 ? [95] : [22]
    case .failed(let error): errors = [error.rawValue]
    case .withdrawn: return
    case .done:
      let end = operation.offset + operation.length
      if asked.type == 4 || asked.type == 6, end < asked.offset + UInt64(asked.length) {
        underWay[operation.slot] = (asked, end)
        return
      }
    }
    answers.append(
      Answer(
        cookie: asked.cookie, errors: errors, data: asked.type == 0 ? data : nil, isRead: asked.type == 0,
        isStatus: asked.type == 7, length: asked.length))
  }

  /// The read that is answered next, unless a refusal comes before it.
  var nextRead: (cookie: UInt64, count: Int)? {
    guard answerAt < answers.count, answers[answerAt].isRead else { return nil }
    return (answers[answerAt].cookie, Int(answers[answerAt].length))
  }

  mutating func check(_ reply: Reply) -> String? {
    if answerAt < answers.count {
      let answer = answers[answerAt]
      if answer.cookie == reply.cookie, answer.errors.contains(reply.error) {
        if reply.error == 0 {
          if let data = answer.data, !areSame(data, reply.data) { return "other data than was read" }
          if answer.isStatus {
            let total = reply.extents.reduce(0) { $0 + UInt64($1[0]) }
            if reply.context != 1 || reply.extents.isEmpty || reply.extents.contains(where: { $0[0] == 0 })
              || total > UInt64(answer.length)
            {
              return "a block status of \(total) bytes for \(answer.length)"
            }
          }
        }
        if structured != reply.isStructured, reply.error != 0 || answer.isRead || answer.isStatus {
          return "the wrong kind of reply"
        }
        answerAt += 1
        return nil
      }
    }
    // Refusals are answered when they are seen: their order among the others depends on timing.
    guard var errors = refusals[reply.cookie], let first = errors.firstIndex(of: reply.error) else {
      return "nobody waits for \(reply.cookie) with error \(reply.error)"
    }
    errors.remove(at: first)
    refusals[reply.cookie] = errors
    refusalCount -= 1
    return nil
  }

  var missing: String? {
    if executeAt < toExecute.count { return "\(toExecute.count - executeAt) requests were not executed" }
    if answerAt < answers.count || refusalCount > 0 {
      return "\(answers.count - answerAt) answers and \(refusalCount) refusals are missing"
    }
    return nil
  }
}
