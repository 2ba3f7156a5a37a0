import BatonChannel

/// A line of a channel, as its number times the size of a slot. So a slot and a line are an address away, where a
/// number would have to be shifted for each.
@frozen
@usableFromInline
struct LinePlace {
  @usableFromInline let rawValue: UInt16

  /// Bytes from one slot to the next (`RequestQueue.Slot`), and slots in the bytes of a line.
  @inlinable
  static var stride: Int { @inline(__always) get { 16 } }
  @inlinable
  static var slotsPerLine: Int { @inline(__always) get { 4 } }

  init(_ line: LineIndex) {
    precondition(line.number &* Self.stride <= Int(UInt16.max), "every place fits into the order")
    rawValue = UInt16(truncatingIfNeeded: line.number &* Self.stride)
  }

  /// Bytes from the first slot to the line's.
  @inlinable
  var offset: Int { @inline(__always) get { Int(rawValue) } }

  /// The line.
  var line: LineIndex { LineIndex(offset / Self.stride) }

  /// The line as the next one's number lies in a request's head.
  @inlinable
  var link: UInt64 { @inline(__always) get { UInt64(rawValue) &<< 12 } }
}
