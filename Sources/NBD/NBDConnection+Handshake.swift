import Glibc

// The handshake: options, answered one after the other. Rare, so written for reading.
extension NBDConnection {
  /// The longest answer, to GO with every piece of information; it is longer than LIST's answer for one export and its
  /// end.
  private static var answerMax: Int { 6 * WireLength.optionReplyHeader + 64 + 2 * NBDExports.nameMax }
  /// The longest string that the protocol allows.
  private static var stringMax: UInt32 { 4096 }

  /// Bytes that the option which is due takes, as far as they are known: its header, then its data as well.
  var optionCount: Int {
    guard received.count >= WireLength.optionHeader else { return WireLength.optionHeader }
    let header = received.first
    let length: UInt32 = header.big(12)
    // An option whose data is not read is complete with its header.
    guard header.big(0) == Magic.option, length <= UInt32(NBDLimits.optionMax) else { return WireLength.optionHeader }
    return WireLength.optionHeader + Int(length)
  }

  mutating func greet() {
    answers.put(Magic.greeting)
    answers.put(Magic.option)
    answers.put(UInt16(truncatingIfNeeded: HandshakeFlag.known))
  }

  /// Takes the options that came, as far as they came. The answer to each has gone before the next one is taken: call
  /// this again after `endSend`.
  public mutating func negotiate(_ exports: NBDExports) {
    while isNegotiating, answers.isEmpty {
      if case .listing(let next) = option {
        list(exports, from: next)
      } else if isShortOfBytes {
        return
      } else if phase == .greeting {
        takeClientFlags()
      } else if case .skipping(let number) = option {
        skip(number)
      } else {
        takeOption(exports)
      }
    }
  }

  private mutating func takeClientFlags() {
    let flags: UInt32 = received.first.big(0)
    received.drop(WireLength.clientFlags)
    received.endMessage()
    // "The server MUST drop the TCP connection if the client sets an unknown flag."
    guard flags & ~HandshakeFlag.known == 0 else { return hangUp() }
    // A client that does not claim to speak the fixed style is served like one that does.
    agreed.setNeedsNoZeroes(flags & HandshakeFlag.noZeroes != 0)
    phase = .options
  }

  private mutating func takeOption(_ exports: NBDExports) {
    let header = received.first
    let number: UInt32 = header.big(8)
    let length: UInt32 = header.big(12)
    guard header.big(0) == Magic.option else { return hangUp() }
    let informed = agreed.takeInformed()
    guard length <= UInt32(NBDLimits.optionMax) else { return refuseLarge(number, length) }
    let data = UnsafeRawBufferPointer(start: header + WireLength.optionHeader, count: Int(length))
    received.drop(WireLength.optionHeader + Int(length))
    received.endMessage()
    switch Option(rawValue: number) {
    case .exportName: enterByName(data, exports)
    case .abort:
      // Data that came along is ignored.
      answers.acknowledge(number)
      hangUp()
    case .list:
      guard data.isEmpty else { return answers.refuse(number, OptionReply.errorInvalid, "LIST takes no data") }
      option = .listing(next: 0)
    case .startTLS:
      guard data.isEmpty else { return answers.refuse(number, OptionReply.errorInvalid, "STARTTLS takes no data") }
      answers.refuse(number, OptionReply.errorUnsupported, "this server speaks without TLS only")
    case .info, .go: inform(number, data, exports, after: informed)
    case .structuredReply:
      guard data.isEmpty else {
        return answers.refuse(number, OptionReply.errorInvalid, "STRUCTURED_REPLY takes no data")
      }
      agreed.useStructuredReplies()
      answers.acknowledge(number)
    case .listMetaContext, .setMetaContext: takeContexts(number, data, exports)
    case nil: answers.refuse(number, OptionReply.errorUnsupported, "this server does not know the option")
    }
  }

  // MARK: Too large

  private mutating func refuseLarge(_ number: UInt32, _ length: UInt32) {
    received.drop(WireLength.optionHeader)
    switch Option(rawValue: number) {
    // Cannot be answered with an error, and no export has so long a name.
    case .exportName: return hangUp()
    case .abort:
      answers.acknowledge(number)
      return hangUp()
    default: break
    }
    guard length <= NBDLimits.optionSkipMax else { return hangUp() }
    // "Issuing this command replaces all previously-set metadata contexts (including when this command fails)."
    if number == Option.setMetaContext.rawValue { agreed.dropContext() }
    option = .skipping(option: number)
    received.beginSkipping(length)
  }

  private mutating func skip(_ number: UInt32) {
    guard received.skip() else { return }
    option = .none
    received.endMessage()
    answers.refuse(number, OptionReply.errorTooBig, "more data than this server takes with an option")
  }

  // MARK: Exports

  /// As many exports as there is room for; the rest when these have gone.
  private mutating func list(_ exports: NBDExports, from first: Int) {
    var next = first
    while next < exports.count, answers.hasRoom(for: Self.answerMax) {
      let name = exports.name(of: next)
      let description = exports[next].description
      answers.reply(Option.list.rawValue, OptionReply.server, 4 + name.utf8.count + description.utf8.count)
      answers.put(UInt32(truncatingIfNeeded: name.utf8.count))
      answers.put(name)
      answers.put(description)
      next += 1
    }
    option = next < exports.count ? .listing(next: next) : .none
    if next == exports.count { answers.acknowledge(Option.list.rawValue) }
  }

  private mutating func enterByName(_ name: UnsafeRawBufferPointer, _ exports: NBDExports) {
    // "If the server is unwilling to allow the export, it MUST terminate the session."
    guard let unit = exports.unit(named: name) else { return hangUp() }
    agreed.select(unit, exports[unit])
    answers.put(agreed.size)
    answers.put(agreed.flags(of: exports[unit]))
    if !agreed.needsNoZeroes { answers.putZeroes(WireLength.exportNameZeroes) }
    phase = .transmission
  }

  /// INFO and GO: name length, name, how many pieces of information, which.
  ///
  /// "If there are no intervening option requests between a successful `NBD_OPT_INFO` and an `NBD_OPT_GO` with the same
  /// parameters, then the server MUST reply with the same set of information": about the unit of `informed`, that is.
  private mutating func inform(
    _ number: UInt32, _ data: UnsafeRawBufferPointer, _ exports: NBDExports,
    after informed: (unit: Int, isReadOnly: Bool)?
  ) {
    var reader = OptionReader(data)
    guard let name = reader.string(), let count = reader.number(UInt16.self), reader.count == 2 * Int(count) else {
      return answers.refuse(number, OptionReply.errorInvalid, "lengths that contradict each other")
    }
    guard name.count <= Int(Self.stringMax) else {
      return answers.refuse(number, OptionReply.errorTooBig, "a name of more than 4096 bytes")
    }
    guard let unit = exports.unit(named: name) else {
      return answers.refuse(number, OptionReply.errorUnknown, "no such export")
    }
    var wantsName = false
    var wantsDescription = false
    while let wanted = reader.number(UInt16.self) {
      if wanted == Information.name { wantsName = true }
      if wanted == Information.description { wantsDescription = true }
    }
    var export = exports[unit]
    if let informed, informed.unit == unit { export.isReadOnly = informed.isReadOnly }
    answerInformation(
      number, export, name: wantsName ? exports.name(of: unit) : nil,
      description: wantsDescription && !export.description.isEmpty ? export.description : nil)
    if number == Option.info.rawValue { agreed.inform(unit, isReadOnly: export.isReadOnly) }
    if number == Option.go.rawValue {
      agreed.select(unit, export)
      phase = .transmission
    }
  }

  private mutating func answerInformation(
    _ number: UInt32, _ export: NBDExport, name: String?, description: String?
  ) {
    answers.reply(number, OptionReply.info, 12)
    answers.put(Information.export)
    answers.put(export.size)
    answers.put(agreed.flags(of: export))
    // Requested or not: "a server with size constraints other than the default SHOULD advertise" them.
    answers.reply(number, OptionReply.info, 14)
    answers.put(Information.blockSize)
    answers.put(export.blockSize)
    answers.put(export.blockSizePreferred)
    answers.put(limits.payloadMax)
    if let name {
      answers.reply(number, OptionReply.info, 2 + name.utf8.count)
      answers.put(Information.name)
      answers.put(name)
    }
    if let description {
      answers.reply(number, OptionReply.info, 2 + description.utf8.count)
      answers.put(Information.description)
      answers.put(description)
    }
    answers.acknowledge(number)
  }

  // MARK: Metadata contexts

  /// LIST_META_CONTEXT and SET_META_CONTEXT: name length, name, how many queries, length and text of each.
  private mutating func takeContexts(_ number: UInt32, _ data: UnsafeRawBufferPointer, _ exports: NBDExports) {
    let selects = number == Option.setMetaContext.rawValue
    if selects { agreed.dropContext() }
    guard agreed.hasStructuredReplies else {
      return answers.refuse(number, OptionReply.errorInvalid, "structured replies come first")
    }
    var reader = OptionReader(data)
    guard let name = reader.string(), let count = reader.number(UInt32.self) else {
      return answers.refuse(number, OptionReply.errorInvalid, "lengths that contradict each other")
    }
    var isMatched = count == 0 && !selects
    var longest = name.count
    for _ in 0..<count {
      guard let query = reader.string() else {
        return answers.refuse(number, OptionReply.errorInvalid, "lengths that contradict each other")
      }
      longest = max(longest, query.count)
      // A namespace without a leaf is a wildcard when contexts are listed, and selects nothing.
      if query.elementsEqual(AllocationContext.name.bytes) { isMatched = true }
      if !selects, query.elementsEqual(AllocationContext.namespace.bytes) { isMatched = true }
    }
    guard reader.count == 0 else {
      return answers.refuse(number, OptionReply.errorInvalid, "lengths that contradict each other")
    }
    guard longest <= Int(Self.stringMax) else {
      return answers.refuse(number, OptionReply.errorTooBig, "a string of more than 4096 bytes")
    }
    guard let unit = exports.unit(named: name) else {
      return answers.refuse(number, OptionReply.errorUnknown, "no such export")
    }
    if isMatched {
      let name = AllocationContext.name
      answers.reply(number, OptionReply.metaContext, 4 + name.utf8CodeUnitCount)
      answers.put(selects ? AllocationContext.identifier : 0)
      answers.put(name)
      if selects { agreed.selectContext(of: unit) }
    }
    answers.acknowledge(number)
  }
}

/// Reads an option's data from its beginning on. Nil if it ends too early.
struct OptionReader {
  private var rest: UnsafeRawBufferPointer

  init(_ data: UnsafeRawBufferPointer) { rest = data }

  /// Bytes left.
  var count: Int { rest.count }

  mutating func number<Number: FixedWidthInteger>(_ type: Number.Type) -> Number? {
    let size = MemoryLayout<Number>.size
    guard rest.count >= size, let base = rest.baseAddress else { return nil }
    rest = UnsafeRawBufferPointer(rebasing: rest[size...])
    return base.big(0, as: type)
  }

  /// A string with its length before it.
  mutating func string() -> UnsafeRawBufferPointer? {
    guard let length = number(UInt32.self), Int(length) <= rest.count else { return nil }
    let string = UnsafeRawBufferPointer(rebasing: rest[..<Int(length)])
    rest = UnsafeRawBufferPointer(rebasing: rest[Int(length)...])
    return string
  }
}
