import BatonSystem

/// HdrHistogram's own log, format version 1.3, which its tools and libraries read: one line for each slice of time and
/// tag, with the histogram in its compressed V2 form.
///
/// - HdrHistogram, `AbstractHistogram.encodeIntoCompressedByteBuffer` and `HistogramLogWriter`.
package struct HistogramLog {
  private var lines: [String] = []

  /// `wallClock` is when the first slice began, in seconds since 1970.
  package init(version: String, wallClock: Double) {
    let start = Figure.fixed(wallClock, 3)
    lines = [
      "#[Logged with Baton \(version); latencies in nanoseconds]", "#[Histogram log format version 1.3]",
      "#[StartTime: \(start) (seconds since epoch)]", "#[BaseTime: \(start) (seconds since epoch)]",
      "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"",
    ]
  }

  /// A slice that begins so many seconds after the start.
  package mutating func append(_ interval: IntervalHistograms.Interval, tag: String, start: Double, seconds: Double) {
    let most = interval.counts.last.map { IntervalHistograms.highestValue(at: $0.index) } ?? 0
    // The maximum is written in milliseconds, whatever the histogram holds.
    lines.append(
      "Tag=\(tag),\(Figure.fixed(start, 3)),\(Figure.fixed(seconds, 3)),\(Figure.fixed(Double(most) / 1e6, 3)),"
        + Self.base64(Self.compressed(interval)))
  }

  package var text: String { lines.joined(separator: "\n") + "\n" }

  // Version 2 of the encoding; the 0x10 says that words are eight bytes.
  private static let cookie: UInt32 = 0x1c84_9303 | 0x10
  private static let compressedCookie: UInt32 = 0x1c84_9304 | 0x10

  /// The V2 form in a zlib stream, with a cookie and a length in front.
  private static func compressed(_ interval: IntervalHistograms.Interval) -> [UInt8] {
    let stream = stored(encoded(interval))
    return bigEndian(compressedCookie) + bigEndian(UInt32(stream.count)) + stream
  }

  /// The V2 form: a header, then each count, and runs of zeroes as negative numbers.
  static func encoded(_ interval: IntervalHistograms.Interval) -> [UInt8] {
    var payload: [UInt8] = []
    var next = 0
    for entry in interval.counts {
      let zeroes = entry.index - next
      if zeroes > 0 { append(zeroes == 1 ? 0 : Int64(-zeroes), to: &payload) }
      append(Int64(entry.count), to: &payload)
      next = entry.index + 1
    }
    let ratio: Double = 1
    return bigEndian(cookie) + bigEndian(UInt32(payload.count)) + bigEndian(UInt32(0))
      + bigEndian(UInt32(IntervalHistograms.significantDigits)) + bigEndian(UInt64(1))
      + bigEndian(IntervalHistograms.highest) + bigEndian(ratio.bitPattern) + payload
  }

  /// A number as ZigZag and LEB128: seven bits in each byte, the lowest first.
  private static func append(_ value: Int64, to bytes: inout [UInt8]) {
    var rest = UInt64(bitPattern: value << 1 ^ value >> 63)
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private static func bigEndian<Word: FixedWidthInteger>(_ value: Word) -> [UInt8] {
    (0..<Word.bitWidth / 8).reversed().map { UInt8(truncatingIfNeeded: value >> Word($0 * 8)) }
  }

  /// A zlib stream (RFC 1950) of stored blocks (RFC 1951, 3.2.4): the counts are short already, and a library that
  /// makes them shorter would be one more that production needs.
  private static func stored(_ bytes: [UInt8]) -> [UInt8] {
    var stream: [UInt8] = [0x78, 0x01]
    var rest = bytes[...]
    repeat {
      let block = rest.prefix(0xffff)
      rest = rest.dropFirst(block.count)
      let length = UInt16(block.count)
      stream.append(rest.isEmpty ? 1 : 0)
      for word in [length, ~length] { stream += [UInt8(truncatingIfNeeded: word), UInt8(word >> 8)] }
      stream += block
    } while !rest.isEmpty
    // Adler-32.
    var (low, high): (UInt32, UInt32) = (1, 0)
    for byte in bytes {
      low = (low + UInt32(byte)) % 65521
      high = (high + low) % 65521
    }
    return stream + bigEndian(high << 16 | low)
  }

  private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  private static func base64(_ bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let group = (0..<3).map { start + $0 < bytes.count ? UInt32(bytes[start + $0]) : 0 }
      let word = group[0] << 16 | group[1] << 8 | group[2]
      for place in 0..<4 {
        let isGiven = start + place <= bytes.count
        text.append(isGiven ? digits[Int(word >> UInt32(18 - 6 * place) & 63)] : UInt8(ascii: "="))
      }
    }
    return String(decoding: text, as: UTF8.self)
  }
}
