import BatonOwnership
import BatonSubsystem
import BatonSystem

/// The functions of a controller: what it knows of each, and which it attends to.
struct FunctionTable: ~Copyable {
  private let states: Table<FunctionState>
  /// Functions to attend to in each turn: this controller or the peer requests them, or they have work waiting.
  var attention: AttentionList
  /// Whether some function waits for nothing but its residency: the loop must not sleep while it does.
  private(set) var awaitsResidency = false
  /// The function whose word is checked next for a request without a hint.
  private var sweepCursor = 0
  /// Since when some function is attended to, or since the last hint that was repeated; 0: none is.
  private var waitingSince: UInt64 = 0

  /// How often a controller that waits for a grant hints again.
  private static var hintAgainNanoseconds: UInt64 { 50_000_000 }

  init(count: Int) {
    states = Table(repeating: FunctionState(), count: count)
    attention = AttentionList(functions: count)
  }

  /// Functions, management included.
  var count: Int {
    @inline(__always) get { states.count }
  }

  /// What the controller knows of a function.
  @inline(__always)
  func address(_ index: Int) -> UnsafeMutablePointer<FunctionState> { states.address(index) }

  /// A pass over the attention list begins.
  @inline(__always)
  mutating func beginAttending() { awaitsResidency = false }

  /// A function waits for nothing but its residency.
  mutating func noteResidency() { awaitsResidency = true }

  /// The functions that this controller has requested from its peer.
  var requested: [Function] {
    (0..<attention.count).map { attention.function(at: $0) }.filter { states[$0].isRequesting }
      .map { Function(index: $0) }
  }

  /// Whether it is time to hint again, because the first hint may have been lost.
  mutating func mustHintAgain(at now: UInt64) -> Bool {
    if attention.count == 0 {
      waitingSince = 0
      return false
    }
    if waitingSince == 0 { waitingSince = now }
    if now - waitingSince < Self.hintAgainNanoseconds { return false }
    waitingSince = now
    return true
  }

  /// The next function whose word is to be checked for a request without a hint.
  mutating func nextToSweep() -> Int {
    if sweepCursor >= count { sweepCursor = 0 }
    defer { sweepCursor += 1 }
    return sweepCursor
  }
}
