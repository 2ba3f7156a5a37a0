/// A small, fast generator with a seed, so that a run can be repeated.
package struct SplitMix64: Sendable {
  @usableFromInline var state: UInt64

  @inlinable
  package init(seed: UInt64) { state = seed }

  @inlinable
  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
    return value ^ value >> 31
  }

  /// Below `bound`, by multiplication: no division on the hot path.
  @inlinable
  package mutating func below(_ bound: UInt64) -> UInt64 { next().multipliedFullWidth(by: bound).high }

  /// From 0 to 1, without 1: the 53 bits that a `Double` holds.
  package mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
