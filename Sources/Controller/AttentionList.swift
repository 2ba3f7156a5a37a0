import BatonSystem

/// The functions that a controller looks at in each turn: requested by it or of it, or with pending requests.
///
/// Invariants: a function stands in it at most once, and `positions` says where; the cursor goes round, so that a turn
/// that ends early goes on with the next one.
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

  /// Whether the function with that index stands in it.
  @inline(__always)
  func contains(_ function: Int) -> Bool { positions[function] >= 0 }

  /// The function at that position.
  func function(at position: Int) -> Int {
    assert(position < count, "a position outside of the attention list")
    return Int(functions[position])
  }

  /// Adds a function, unless it stands in it.
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

  /// Goes on from the function under the cursor: it stays, or the last one comes to its position.
  mutating func advance(keeping isKept: Bool) {
    assert(cursor < count, "the cursor of the attention list is outside of it")
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
