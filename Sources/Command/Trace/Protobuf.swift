/// Writes a message in the wire format of Protocol Buffers (protobuf.dev/programming-guides/encoding), as far as a
/// trace needs it.
struct Protobuf {
  private(set) var bytes: [UInt8] = []

  private mutating func varint(_ value: UInt64) {
    var left = value
    while left >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: left) | 0x80)
      left >>= 7
    }
    bytes.append(UInt8(left))
  }

  private mutating func key(_ field: UInt64, _ wireType: UInt64) { varint(field << 3 | wireType) }

  /// A number, an enumeration or a truth value.
  mutating func add(_ field: UInt64, _ value: UInt64) {
    key(field, 0)
    varint(value)
  }

  /// A number of 64 bits (fixed64).
  mutating func addFixed(_ field: UInt64, _ value: UInt64) {
    key(field, 1)
    for byte in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * byte))) }
  }

  /// A text.
  mutating func add(_ field: UInt64, _ text: String) { add(field, Array(text.utf8)) }

  /// A message within this one.
  mutating func add(_ field: UInt64, _ message: Protobuf) { add(field, message.bytes) }

  /// The same, written by `fill`.
  mutating func add(_ field: UInt64, _ fill: (inout Protobuf) -> Void) {
    var message = Protobuf()
    fill(&message)
    add(field, message)
  }

  private mutating func add(_ field: UInt64, _ content: [UInt8]) {
    key(field, 2)
    varint(UInt64(content.count))
    bytes += content
  }
}
