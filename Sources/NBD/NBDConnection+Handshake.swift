import Glibc

// The handshake: options, answered one after the other. Rare, so written for reading.
extension NBDConnection {
  /// Bytes of the page that answers are written into.
  private static var outCapacity: Int { PagePool.pageSize }
  /// The longest answer, to GO with every piece of information; it is longer than LIST's answer for one export and its
  /// end.
  private static var answerMax: Int { 6 * WireLength.optionReplyHeader + 64 + 2 * NBDExports.nameMax }
  /// The longest string that the protocol allows.
  private static var stringMax: UInt32 { 4096 }

  private var out: UnsafeMutableRawPointer { pages + outPage * PagePool.pageSize }

  /// Bytes that the option which is due takes, as far as they are known: its header, then its data as well.
  var optionCount: Int {
    guard stagingEnd - stagingBegin >= WireLength.optionHeader else { return WireLength.optionHeader }
    let header = UnsafeRawPointer(memory + stagingBegin)
    let length: UInt32 = header.big(12)
    // An option whose data is not read is complete with its header.
    guard header.big(0) == Magic.option, length <= UInt32(NBDLimits.optionMax) else { return WireLength.optionHeader }
    return WireLength.optionHeader + Int(length)
  }

  mutating func greet() {
    put(Magic.greeting)
    put(Magic.option)
    put(UInt16(truncatingIfNeeded: HandshakeFlag.known))
  }

  /// Takes the options that came, as far as they came. The answer to each has gone before the next one is taken: call
  /// this again after `endSend`.
  public mutating func negotiate(_ exports: NBDExports) {
    while isNegotiating, outBegin == outEnd {
      if listed >= 0 {
        list(exports)
      } else if isShortOfBytes {
        return
      } else if phase == .greeting {
        takeClientFlags()
      } else if skipping > 0 {
        skipOption()
      } else {
        takeOption(exports)
      }
    }
  }

  private mutating func takeClientFlags() {
    let flags: UInt32 = UnsafeRawPointer(memory + stagingBegin).big(0)
    stagingBegin += WireLength.clientFlags
    messages += 1
    // "The server MUST drop the TCP connection if the client sets an unknown flag."
    guard flags & ~HandshakeFlag.known == 0 else { return hangUp() }
    // A client that does not claim to speak the fixed style is served like one that does.
    needsNoZeroes = flags & HandshakeFlag.noZeroes != 0
    phase = .options
  }

  private mutating func takeOption(_ exports: NBDExports) {
    let header = UnsafeRawPointer(memory + stagingBegin)
    let number: UInt32 = header.big(8)
    let length: UInt32 = header.big(12)
    guard header.big(0) == Magic.option else { return hangUp() }
    let informed = informedUnit
    informedUnit = -1
    guard length <= UInt32(NBDLimits.optionMax) else { return refuseLarge(number, length) }
    let data = UnsafeRawBufferPointer(start: header + WireLength.optionHeader, count: Int(length))
    stagingBegin += WireLength.optionHeader + Int(length)
    messages += 1
    switch Option(rawValue: number) {
    case .exportName: enterByName(data, exports)
    case .abort:
      // Data that came along is ignored.
      acknowledge(number)
      hangUp()
    case .list:
      guard data.isEmpty else { return refuse(number, OptionReply.errorInvalid, "LIST takes no data") }
      listed = 0
    case .startTLS:
      guard data.isEmpty else { return refuse(number, OptionReply.errorInvalid, "STARTTLS takes no data") }
      refuse(number, OptionReply.errorUnsupported, "this server speaks without TLS only")
    case .info, .go: inform(number, data, exports, after: informed)
    case .structuredReply:
      guard data.isEmpty else {
        return refuse(number, OptionReply.errorInvalid, "STRUCTURED_REPLY takes no data")
      }
      hasStructuredReplies = true
      acknowledge(number)
    case .listMetaContext, .setMetaContext: takeContexts(number, data, exports)
    case nil: refuse(number, OptionReply.errorUnsupported, "this server does not know the option")
    }
  }

  // MARK: Too large

  private mutating func refuseLarge(_ number: UInt32, _ length: UInt32) {
    stagingBegin += WireLength.optionHeader
    switch Option(rawValue: number) {
    // Cannot be answered with an error, and no export has so long a name.
    case .exportName: return hangUp()
    case .abort:
      acknowledge(number)
      return hangUp()
    default: break
    }
    guard length <= NBDLimits.optionSkipMax else { return hangUp() }
    // "Issuing this command replaces all previously-set metadata contexts (including when this command fails)."
    if number == Option.setMetaContext.rawValue { contextUnit = -1 }
    optionSkipped = number
    skipping = length
  }

  private mutating func skipOption() {
    skip()
    if skipping == 0 {
      messages += 1
      refuse(optionSkipped, OptionReply.errorTooBig, "more data than this server takes with an option")
    }
  }

  /// Skips what is in staging, as far as it must be skipped.
  mutating func skip() {
    let part = min(Int(skipping), stagingEnd - stagingBegin)
    stagingBegin += part
    skipping -= UInt32(truncatingIfNeeded: part)
  }

  // MARK: Exports

  /// As many exports as there is room for; the rest when these have gone.
  private mutating func list(_ exports: NBDExports) {
    while listed < exports.count, outBegin == outEnd || outEnd + Self.answerMax <= Self.outCapacity {
      let name = exports.name(of: listed)
      let description = exports[listed].description
      reply(Option.list.rawValue, OptionReply.server, 4 + name.utf8.count + description.utf8.count)
      put(UInt32(truncatingIfNeeded: name.utf8.count))
      put(name)
      put(description)
      listed += 1
    }
    if listed == exports.count {
      acknowledge(Option.list.rawValue)
      listed = -1
    }
  }

  private mutating func enterByName(_ name: UnsafeRawBufferPointer, _ exports: NBDExports) {
    // "If the server is unwilling to allow the export, it MUST terminate the session."
    guard let unit = exports.unit(named: name) else { return hangUp() }
    let flags = select(unit, exports[unit])
    put(size)
    put(flags)
    if !needsNoZeroes {
      memset(out + outEnd, 0, WireLength.exportNameZeroes)
      outEnd += WireLength.exportNameZeroes
    }
    phase = .transmission
  }

  /// INFO and GO: name length, name, how many pieces of information, which.
  ///
  /// "If there are no intervening option requests between a successful `NBD_OPT_INFO` and an `NBD_OPT_GO` with the same
  /// parameters, then the server MUST reply with the same set of information": about the unit `informed`, that is.
  private mutating func inform(
    _ number: UInt32, _ data: UnsafeRawBufferPointer, _ exports: NBDExports, after informed: Int
  ) {
    var reader = OptionReader(data)
    guard let name = reader.string(), let count = reader.number(UInt16.self), reader.count == 2 * Int(count) else {
      return refuse(number, OptionReply.errorInvalid, "lengths that contradict each other")
    }
    guard name.count <= Int(Self.stringMax) else {
      return refuse(number, OptionReply.errorTooBig, "a name of more than 4096 bytes")
    }
    guard let unit = exports.unit(named: name) else {
      return refuse(number, OptionReply.errorUnknown, "no such export")
    }
    var wantsName = false
    var wantsDescription = false
    while let wanted = reader.number(UInt16.self) {
      if wanted == Information.name { wantsName = true }
      if wanted == Information.description { wantsDescription = true }
    }
    var export = exports[unit]
    if unit == informed { export.isReadOnly = informedReadOnly }
    reply(number, OptionReply.info, 12)
    put(Information.export)
    put(export.size)
    put(flags(of: export))
    // Requested or not: "a server with size constraints other than the default SHOULD advertise" them.
    reply(number, OptionReply.info, 14)
    put(Information.blockSize)
    put(export.blockSize)
    put(export.blockSizePreferred)
    put(limits.payloadMax)
    if wantsName {
      let name = exports.name(of: unit)
      reply(number, OptionReply.info, 2 + name.utf8.count)
      put(Information.name)
      put(name)
    }
    if wantsDescription, !export.description.isEmpty {
      reply(number, OptionReply.info, 2 + export.description.utf8.count)
      put(Information.description)
      put(export.description)
    }
    acknowledge(number)
    if number == Option.info.rawValue {
      informedUnit = unit
      informedReadOnly = export.isReadOnly
    }
    if number == Option.go.rawValue {
      _ = select(unit, export)
      phase = .transmission
    }
  }

  /// The unit that all requests go to.
  private mutating func select(_ unit: Int, _ export: NBDExport) -> UInt16 {
    self.unit = unit
    size = export.size
    blockSize = export.blockSize
    isReadOnly = export.isReadOnly
    if contextUnit != unit { contextUnit = -1 }
    return flags(of: export)
  }

  /// Connections share one cache, both controllers' do, so that CAN_MULTI_CONN holds: `NBDOperation.Kind.flush`.
  private func flags(of export: NBDExport) -> UInt16 {
    var flags =
      TransmissionFlag.hasFlags | TransmissionFlag.sendFlush | TransmissionFlag.sendFUA
      | TransmissionFlag.canMultiConn | TransmissionFlag.sendCache
    if export.isReadOnly {
      flags |= TransmissionFlag.readOnly
    } else {
      flags |= TransmissionFlag.sendTrim | TransmissionFlag.sendWriteZeroes | TransmissionFlag.sendFastZero
    }
    if hasStructuredReplies { flags |= TransmissionFlag.sendDF }
    return flags
  }

  // MARK: Metadata contexts

  /// LIST_META_CONTEXT and SET_META_CONTEXT: name length, name, how many queries, length and text of each.
  private mutating func takeContexts(_ number: UInt32, _ data: UnsafeRawBufferPointer, _ exports: NBDExports) {
    let selects = number == Option.setMetaContext.rawValue
    if selects { contextUnit = -1 }
    guard hasStructuredReplies else {
      return refuse(number, OptionReply.errorInvalid, "structured replies come first")
    }
    var reader = OptionReader(data)
    guard let name = reader.string(), let count = reader.number(UInt32.self) else {
      return refuse(number, OptionReply.errorInvalid, "lengths that contradict each other")
    }
    var isMatched = count == 0 && !selects
    var longest = name.count
    for _ in 0..<count {
      guard let query = reader.string() else {
        return refuse(number, OptionReply.errorInvalid, "lengths that contradict each other")
      }
      longest = max(longest, query.count)
      // A namespace without a leaf is a wildcard when contexts are listed, and selects nothing.
      if query.elementsEqual(AllocationContext.name.bytes) { isMatched = true }
      if !selects, query.elementsEqual(AllocationContext.namespace.bytes) { isMatched = true }
    }
    guard reader.count == 0 else {
      return refuse(number, OptionReply.errorInvalid, "lengths that contradict each other")
    }
    guard longest <= Int(Self.stringMax) else {
      return refuse(number, OptionReply.errorTooBig, "a string of more than 4096 bytes")
    }
    guard let unit = exports.unit(named: name) else {
      return refuse(number, OptionReply.errorUnknown, "no such export")
    }
    if isMatched {
      let name = AllocationContext.name
      reply(number, OptionReply.metaContext, 4 + name.utf8CodeUnitCount)
      put(selects ? AllocationContext.identifier : 0)
      put(name)
      if selects { contextUnit = unit }
    }
    acknowledge(number)
  }

  // MARK: Writing answers

  private mutating func reply(_ option: UInt32, _ type: UInt32, _ count: Int) {
    put(Magic.optionReply)
    put(option)
    put(type)
    put(UInt32(truncatingIfNeeded: count))
  }

  private mutating func acknowledge(_ option: UInt32) { reply(option, OptionReply.acknowledge, 0) }

  /// An error with its reason, which clients show to people.
  private mutating func refuse(_ option: UInt32, _ type: UInt32, _ reason: StaticString) {
    reply(option, type, reason.utf8CodeUnitCount)
    put(reason)
  }

  private mutating func put<Number: FixedWidthInteger>(_ value: Number) {
    let room = prepare(MemoryLayout<Number>.size)
    room.setBig(value, at: 0)
  }

  private mutating func put(_ text: StaticString) {
    let room = prepare(text.utf8CodeUnitCount)
    room.copyMemory(from: text.bytes.baseAddress!, byteCount: text.utf8CodeUnitCount)
  }

  private mutating func put(_ text: String) {
    let room = prepare(text.utf8.count)
    UnsafeMutableRawBufferPointer(start: room, count: text.utf8.count).copyBytes(from: text.utf8)
  }

  /// Room for so many bytes at the end of the answers. What has gone makes room when all of it has.
  private mutating func prepare(_ count: Int) -> UnsafeMutableRawPointer {
    if outBegin == outEnd { (outBegin, outEnd) = (0, 0) }
    precondition(outEnd + count <= Self.outCapacity, "an answer that is longer than `answerMax`")
    defer { outEnd += count }
    return out + outEnd
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
