import BatonSystem

/// The functions that a controller inspects in each turn: it requests them, the peer requests them from it, or they
/// have pending requests.
///
/// Invariants: a function is listed at most once, and `positions` holds its position. The cursor wraps around, so that
/// the turn after one that ends early continues with the next function.
struct AttentionList: ~Copyable {
  private let functions: Table<Int32>
  /// The position of each function in the list, or -1.
  private let positions: Table<Int32>
  private(set) var count = 0
  private var cursor = 0

  init(functions count: Int) {
    functions = Table(repeating: 0, count: count)
    positions = Table(repeating: -1, count: count)
  }

  /// Whether the function with that index is listed.
  @inline(__always)
  func contains(_ function: Int) -> Bool { positions[function] >= 0 }

  /// The function at that position.
  func function(at position: Int) -> Int {
    assert(position < count, "a position outside of the attention list")
    return Int(functions[position])
  }

  /// Adds a function, unless it is listed.
  @inline(__always)
  mutating func add(_ function: Int) {
    if contains(function) { return }
    positions[function] = Int32(truncatingIfNeeded: count)
    functions[count] = Int32(truncatingIfNeeded: function)
    count += 1
  }

  /// The function under the cursor; nil: the list is empty.
  mutating func current() -> Int? {
    if count == 0 { return nil }
    if cursor >= count { cursor = 0 }
    return Int(functions[cursor])
  }

  /// Moves on from the function under the cursor: the list keeps it, or the last function replaces it at its position.
  mutating func advance(keeping isKept: Bool) {
    assert(cursor < count, "the cursor is outside of the attention list")
    if isKept {
      cursor += 1
      return
    }
    let function = Int(functions[cursor])
    count -= 1
    let moved = functions[count]
    functions[cursor] = moved
    positions[Int(moved)] = Int32(truncatingIfNeeded: cursor)
    positions[function] = -1
  }
}
