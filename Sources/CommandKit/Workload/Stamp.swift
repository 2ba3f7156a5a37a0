import Glibc

/// The stamp that a verifying host writes into a block. Every word says which unit, block and write it belongs to, so
/// that a block that is lost, torn, misplaced or old can be told from the right one.
///
/// The first four words of each 512 bytes are magic, unit, block and sequence; the rest follow from them.
package struct Stamp: Equatable {
  package var unit: UInt32
  package var block: UInt64
  /// Counts the writes of one block, from 1.
  package var sequence: UInt32

  package init(unit: UInt32, block: UInt64, sequence: UInt32) {
    self.unit = unit
    self.block = block
    self.sequence = sequence
  }

  package static let magic: UInt64 = 0x4261_746f_6e20_3121
  /// Bytes that carry a stamp each.
  package static let sectorSize = 512
  private static let wordsPerSector = sectorSize / 8

  private func key(_ sector: Int) -> UInt64 {
    // Odd multipliers spread neighbours apart (the constants of splitmix64).
    var key = block &* 0x9e37_79b9_7f4a_7c15 ^ UInt64(unit) << 32 ^ UInt64(sequence) ^ UInt64(sector) << 52
    key = (key ^ key >> 30) &* 0xbf58_476d_1ce4_e5b9
    return (key ^ key >> 27) &* 0x94d0_49bb_1331_11eb | 1
  }

  /// Writes the stamp over `count` bytes, a multiple of 512.
  package func write(_ address: UnsafeMutableRawPointer, count: Int) {
    let words = address.assumingMemoryBound(to: UInt64.self)
    for sector in 0..<count / Self.sectorSize {
      let base = words + sector * Self.wordsPerSector
      let key = key(sector)
      base[0] = Self.magic
      base[1] = UInt64(unit)
      base[2] = block
      base[3] = UInt64(sequence)
      for index in 4..<Self.wordsPerSector { base[index] = key &* UInt64(index) }
    }
  }

  /// The error in `count` bytes that should carry this stamp, or nil.
  package func mismatch(_ address: UnsafeRawPointer, count: Int) -> String? {
    let words = address.assumingMemoryBound(to: UInt64.self)
    for sector in 0..<count / Self.sectorSize {
      let base = words + sector * Self.wordsPerSector
      let key = key(sector)
      var difference =
        (base[0] ^ Self.magic) | (base[1] ^ UInt64(unit)) | (base[2] ^ block) | (base[3] ^ UInt64(sequence))
      for index in 4..<Self.wordsPerSector { difference |= base[index] ^ key &* UInt64(index) }
      if difference != 0 { return describe(base, sector) }
    }
    return nil
  }

  /// The content found in a sector, or in a whole block.
  package enum Content: Equatable {
    case zeroes
    /// The stamp of that write of this very block.
    case write(UInt32)
    /// Parts of what this very block has held, or zeroes, put together within a sector; says what.
    case torn(String)
    /// Anything else; says what.
    case foreign(String)
  }

  /// The contents of `count` bytes that belong to this unit and block: one element if all sectors hold the same, else
  /// one for each sector. Reads them only once if they are whole.
  package static func contents(
    unit: UInt32, block: UInt64, at address: UnsafeRawPointer, count: Int
  ) -> [Content] {
    let first = address.load(fromByteOffset: 24, as: UInt64.self)
    if let sequence = UInt32(exactly: first),
      Stamp(unit: unit, block: block, sequence: sequence).mismatch(address, count: count) == nil
    {
      return [.write(sequence)]
    }
    if isZero(address, count: count) { return [.zeroes] }
    return (0..<count / sectorSize).map { content(unit, block, sector: $0, address + $0 * sectorSize) }
  }

  private static func content(_ unit: UInt32, _ block: UInt64, sector: Int, _ address: UnsafeRawPointer) -> Content {
    let words = address.assumingMemoryBound(to: UInt64.self)
    if isZero(address, count: sectorSize) { return .zeroes }
    if words[0] == 0, words[1] == 0, words[2] == 0 { return .torn("begins with zeroes and does not end so") }
    if words[0] != magic { return .foreign("holds no stamp") }
    if words[1] != UInt64(unit) || words[2] != block {
      return .foreign(
        words[1] >= UInt64(guardUnit)
          ? "holds the idle-buffer pattern, not data"
          : "belongs to unit \(words[1]) block \(words[2]) (write \(words[3]))")
    }
    guard let sequence = UInt32(exactly: words[3]) else { return .foreign("is damaged") }
    let stamp = Stamp(unit: unit, block: block, sequence: sequence)
    let key = stamp.key(sector)
    for index in 4..<wordsPerSector where words[index] != key &* UInt64(index) {
      return .torn("is damaged within write \(sequence)")
    }
    return .write(sequence)
  }

  private static func isZero(_ address: UnsafeRawPointer, count: Int) -> Bool {
    let words = address.assumingMemoryBound(to: UInt64.self)
    return (0..<count / 8).allSatisfy { words[$0] == 0 }
  }

  /// From this number on units do not exist: stamps of buffers that no request uses.
  package static let guardUnit: UInt32 = 0xffff_0000

  private func describe(_ words: UnsafePointer<UInt64>, _ sector: Int) -> String {
    let wanted = "write \(sequence)"
    if words[0] != Self.magic { return "sector \(sector): expected \(wanted), found no stamp" }
    if words[1] != UInt64(unit) || words[2] != block {
      return "sector \(sector) belongs to unit \(words[1]) block \(words[2])"
    }
    if words[3] != UInt64(sequence) { return "sector \(sector): expected \(wanted), found write \(words[3])" }
    return "sector \(sector) of \(wanted) is damaged"
  }
}
