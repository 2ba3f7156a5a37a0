import Glibc

/// What a verifying host writes into a block: every word says which unit, block and write it belongs to, so that a
/// block that is lost, torn, misplaced or old is told from the right one.
///
/// The first four words of each 512 bytes are magic, unit, block and sequence; the rest follow from them.
struct Stamp: Equatable {
  var unit: UInt32
  var block: UInt64
  /// Counts the writes of one block, from 1.
  var sequence: UInt32

  static let magic: UInt64 = 0x4261_746f_6e20_3121
  /// Bytes that carry a stamp each.
  static let sectorSize = 512
  private static let wordsPerSector = sectorSize / 8

  private func key(_ sector: Int) -> UInt64 {
    // Odd multipliers spread neighbours apart (the constants of splitmix64).
    var key = block &* 0x9e37_79b9_7f4a_7c15 ^ UInt64(unit) << 32 ^ UInt64(sequence) ^ UInt64(sector) << 52
    key = (key ^ key >> 30) &* 0xbf58_476d_1ce4_e5b9
    return (key ^ key >> 27) &* 0x94d0_49bb_1331_11eb | 1
  }

  /// Writes the stamp over `count` bytes, a multiple of 512.
  func write(_ address: UnsafeMutableRawPointer, count: Int) {
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

  /// What is wrong with `count` bytes that should carry this stamp, or nil.
  func mismatch(_ address: UnsafeRawPointer, count: Int) -> String? {
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

  private func describe(_ words: UnsafePointer<UInt64>, _ sector: Int) -> String {
    let wanted = "write \(sequence)"
    if words[0] != Self.magic { return "sector \(sector) carries no stamp where \(wanted) was answered" }
    if words[1] != UInt64(unit) || words[2] != block {
      return "sector \(sector) belongs to unit \(words[1]) block \(words[2])"
    }
    if words[3] != UInt64(sequence) { return "sector \(sector) carries write \(words[3]) where \(wanted) was answered" }
    return "sector \(sector) of \(wanted) is spoilt"
  }
}
