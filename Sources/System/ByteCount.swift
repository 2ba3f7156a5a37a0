/// Bytes and durations as people write them on a command line.
public enum ByteCount {
  /// `4096`, `4k`, `64M`, `1G`, `2T`: powers of 1024; `4KiB` is `4k`. Nil if it is none of these or does not fit.
  public static func parse(_ written: some StringProtocol) -> UInt64? {
    // As `describe` has it. Not kB, which is 1000 bytes to many.
    let isBinary = written.count > 2 && written.lowercased().hasSuffix("ib")
    let text = written.dropLast(isBinary ? 2 : 0)
    guard let last = text.last, !isBinary || !last.isNumber else { return nil }
    let shift: UInt64? =
      switch last {
      case "k", "K": 10
      case "m", "M": 20
      case "g", "G": 30
      case "t", "T": 40
      default: nil
      }
    guard let shift else { return digits(text) }
    guard let number = digits(text.dropLast()) else { return nil }
    let (bytes, overflow) = number.multipliedReportingOverflow(by: 1 << shift)
    return overflow ? nil : bytes
  }

  /// The largest unit that leaves no remainder: `64 MiB`.
  public static func describe(_ bytes: UInt64) -> String {
    for (shift, name) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] as [(UInt64, String)]
    where bytes >= 1 << shift && bytes & (1 << shift - 1) == 0 {
      return "\(bytes >> shift) \(name)"
    }
    return "\(bytes) B"
  }

  /// `5ms`, `20us`, `1s`, `300ns` in nanoseconds. Nil if it is none of these.
  public static func parseNanoseconds(_ text: some StringProtocol) -> UInt64? {
    for (suffix, factor) in [("ns", 1), ("us", 1000), ("ms", 1_000_000), ("s", 1_000_000_000)]
      as [(String, UInt64)]
    where text.hasSuffix(suffix) {
      guard let number = digits(text.dropLast(suffix.count)) else { return nil }
      let (nanoseconds, overflow) = number.multipliedReportingOverflow(by: factor)
      return overflow ? nil : nanoseconds
    }
    return nil
  }

  /// A number of digits alone: `UInt64` by itself takes a sign too.
  package static func digits(_ text: some StringProtocol) -> UInt64? {
    text.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 } ? UInt64(text) : nil
  }
}
