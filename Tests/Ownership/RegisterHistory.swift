/// Whether what hosts were answered can be: one block, as the hosts see it, checked while it happens.
///
/// A history is linearizable when each request can have taken effect at one instant between its submission and its
/// answer. Kept here are all the ways in which it can have gone so far; when no way is left, it is not linearizable.
/// A value is the number of the request that wrote it, plus one; a block begins with 0.
struct RegisterHistory: Hashable {
  /// One way in which it can have gone.
  struct Way: Hashable {
    var value: UInt8 = 0
    /// Writes that are submitted and have not taken effect, a bit each.
    var pending: UInt8 = 0
    /// What each read that is not answered can have read: a byte for each request, a bit in it for each value.
    var seen: UInt64 = 0
  }

  private var ways: Set<Way> = [Way()]
  /// Reads that are submitted and not answered.
  private var reads: UInt8 = 0

  var isPossible: Bool { !ways.isEmpty }

  /// Whether the block can hold this value now.
  func canEnd(with value: UInt8) -> Bool { ways.contains { $0.value == value } }

  mutating func submit(_ request: Int, isWrite: Bool) {
    if !isWrite { reads |= 1 << request }
    var open = ways.map { way in
      var way = way
      if isWrite { way.pending |= 1 << request } else { way.seen |= 1 << (UInt64(request) * 8 + UInt64(way.value)) }
      return way
    }
    // Each pending write may take effect now, or later.
    ways = Set(open)
    while let way = open.popLast() {
      for write in 0..<8 where way.pending & 1 << write != 0 {
        var next = way
        next.value = UInt8(write) + 1
        next.pending &= ~(1 << write)
        for read in 0..<8 where reads & 1 << read != 0 { next.seen |= 1 << (UInt64(read) * 8 + UInt64(next.value)) }
        if ways.insert(next).inserted { open.append(next) }
      }
    }
  }

  mutating func answerWrite(_ request: Int) { ways = ways.filter { $0.pending & 1 << request == 0 } }

  mutating func answerRead(_ request: Int, _ value: UInt8) {
    reads &= ~(1 << request)
    let remaining = ways.filter { $0.seen & 1 << (UInt64(request) * 8 + UInt64(value)) != 0 }
    ways = Set(
      remaining.map { way in
        var way = way
        way.seen &= ~(0xff << (UInt64(request) * 8))
        return way
      })
  }
}
