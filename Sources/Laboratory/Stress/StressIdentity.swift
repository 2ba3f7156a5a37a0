import Baton
import CBatonShims

/// The answer to `identify`, taken apart as it lies in a buffer.
struct StressIdentity {
  /// Of the subsystem.
  let generation: UInt64
  /// Whether the rest of it makes sense.
  let isSound: Bool

  /// Bytes of the answer.
  static let count = UInt64(MemoryLayout<baton_identity>.size)

  /// From a buffer.
  init(_ address: UnsafeRawPointer) {
    let answer = address.load(as: baton_identity.self)
    generation = answer.generation
    isSound = answer.controller <= 1 && answer.incarnation > 0 && answer.pid > 0 && answer.unit_count > 0
  }
}
