// A client's side of the protocol, for tests: what it sends and how it reads answers. The numbers stand here as the
// protocol's document has them, and nowhere are they taken from what is tested.

/// Writes and reads big-endian numbers.
extension [UInt8] {
  init<Number: FixedWidthInteger>(big value: Number) {
    self = Swift.withUnsafeBytes(of: value.bigEndian) { Array($0) }
  }

  func big<Number: FixedWidthInteger>(_ at: Int, as type: Number.Type = Number.self) -> Number {
    var value: Number = 0
    for byte in self[at..<at + MemoryLayout<Number>.size] { value = value << 8 | Number(byte) }
    return value
  }
}

/// What a client sends.
enum Say {
  static let greeting = Array("NBDMAGICIHAVEOPT".utf8) + [0, 3]

  static func flags(_ flags: UInt32 = 3) -> [UInt8] { [UInt8](big: flags) }

  static func option(_ number: UInt32, _ data: [UInt8] = []) -> [UInt8] {
    Array("IHAVEOPT".utf8) + [UInt8](big: number) + [UInt8](big: UInt32(data.count)) + data
  }

  /// Of an option whose data does not follow.
  static func optionHeader(_ number: UInt32, length: UInt32) -> [UInt8] {
    Array("IHAVEOPT".utf8) + [UInt8](big: number) + [UInt8](big: length)
  }

  static func string(_ text: String) -> [UInt8] { [UInt8](big: UInt32(text.utf8.count)) + Array(text.utf8) }

  /// INFO (6) or GO (7).
  static func inform(_ number: UInt32, _ name: String, _ wanted: [UInt16] = []) -> [UInt8] {
    option(number, string(name) + [UInt8](big: UInt16(wanted.count)) + wanted.flatMap { [UInt8](big: $0) })
  }

  static func go(_ name: String = "") -> [UInt8] { inform(7, name) }

  /// LIST_META_CONTEXT (9) or SET_META_CONTEXT (10).
  static func contexts(_ number: UInt32, _ name: String, _ queries: [String]) -> [UInt8] {
    option(number, string(name) + [UInt8](big: UInt32(queries.count)) + queries.flatMap(string))
  }

  static let structuredReply = option(8)

  /// A request; `length` for what has no payload.
  static func request(
    _ type: UInt16, cookie: UInt64, offset: UInt64 = 0, length: UInt32 = 0, flags: UInt16 = 0, payload: [UInt8] = []
  ) -> [UInt8] {
    [0x25, 0x60, 0x95, 0x13] + [UInt8](big: flags) + [UInt8](big: type) + [UInt8](big: cookie)
      + [UInt8](big: offset) + [UInt8](big: payload.isEmpty ? length : UInt32(payload.count)) + payload
  }
}

/// An answer to an option.
struct OptionAnswer: Equatable {
  var option: UInt32
  var type: UInt32
  var data: [UInt8]

  static let acknowledge: UInt32 = 1
  static let unsupported: UInt32 = 0x8000_0001
  static let invalid: UInt32 = 0x8000_0003
  static let unknown: UInt32 = 0x8000_0006
  static let tooBig: UInt32 = 0x8000_0009

  var isError: Bool { type & 1 << 31 != 0 }
}

/// A reply to a request, or a chunk of one.
struct Reply: Equatable {
  var cookie: UInt64
  /// Whether no other chunk of the reply follows.
  var isLast = true
  var isStructured = false
  var type: UInt16 = 0
  var error: UInt32 = 0
  var offset: UInt64 = 0
  var data: [UInt8] = []
  var message = ""
  /// Of a block status.
  var context: UInt32 = 0
  var extents: [[UInt32]] = []
}

/// Reads what a server sent. Nil where there is no whole one, or it is none.
struct Listener {
  var bytes: [UInt8]
  private(set) var at = 0
  /// Whether a reply may have several chunks.
  private let allowsPieces: Bool

  init(_ bytes: [UInt8], allowsPieces: Bool = false) {
    self.bytes = bytes
    self.allowsPieces = allowsPieces
  }

  var left: Int { bytes.count - at }

  mutating func take(_ count: Int) -> [UInt8]? {
    guard left >= count else { return nil }
    defer { at += count }
    return Array(bytes[at..<at + count])
  }

  mutating func answer() -> OptionAnswer? {
    guard left >= 20, bytes[at..<at + 8].elementsEqual([0, 3, 0xe8, 0x89, 0x04, 0x55, 0x65, 0xa9]) else { return nil }
    let count = Int(bytes.big(at + 16, as: UInt32.self))
    guard left >= 20 + count else { return nil }
    let answer = OptionAnswer(
      option: bytes.big(at + 8), type: bytes.big(at + 12), data: Array(bytes[at + 20..<at + 20 + count]))
    at += 20 + count
    return answer
  }

  mutating func answers() -> [OptionAnswer] {
    var all: [OptionAnswer] = []
    while let answer = answer() { all.append(answer) }
    return all
  }

  /// `lengths`: of the reads that are outstanding, which say how much data a simple reply has.
  mutating func reply(reads lengths: [UInt64: Int]) -> Reply? {
    guard left >= 16 else { return nil }
    switch bytes.big(at, as: UInt32.self) {
    case 0x6744_6698:
      var reply = Reply(cookie: bytes.big(at + 8), error: bytes.big(at + 4))
      let count = reply.error == 0 ? lengths[reply.cookie] ?? 0 : 0
      guard left >= 16 + count else { return nil }
      reply.data = Array(bytes[at + 16..<at + 16 + count])
      at += 16 + count
      return reply
    case 0x668e_33ef:
      guard left >= 20 else { return nil }
      let count = Int(bytes.big(at + 16, as: UInt32.self))
      let flags = bytes.big(at + 4, as: UInt16.self)
      guard left >= 20 + count, flags == 1 || flags == 0 && allowsPieces else { return nil }
      var reply = Reply(
        cookie: bytes.big(at + 8), isLast: flags == 1, isStructured: true, type: bytes.big(at + 6))
      let payload = Array(bytes[at + 20..<at + 20 + count])
      switch reply.type {
      case 1:
        guard count > 8 else { return nil }
        reply.offset = payload.big(0)
        reply.data = Array(payload[8...])
      case 5:
        guard count >= 12, (count - 4) % 8 == 0 else { return nil }
        reply.context = payload.big(0)
        for place in stride(from: 4, to: count, by: 8) {
          reply.extents.append([payload.big(place), payload.big(place + 4)])
        }
      case 0x8001:
        guard count >= 6, Int(payload.big(4, as: UInt16.self)) == count - 6 else { return nil }
        reply.error = payload.big(0)
        reply.message = String(decoding: payload[6...], as: UTF8.self)
      default: return nil
      }
      at += 20 + count
      return reply
    default: return nil
    }
  }
}
