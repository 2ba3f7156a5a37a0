import BatonOwnership
import BatonSharedMemory

/// The request that set a unit's state: two words in the unit's record, reached through `Region.unitStateSetter`.
public struct UnitStateSetter {
  private let base: UnsafeMutableRawPointer

  init(base: UnsafeMutableRawPointer) { self.base = base }

  private static func request(_ channel: ControllerIdentity, _ sequence: UInt64) -> UInt64 {
    sequence << 1 | UInt64(channel.rawValue)
  }

  /// Writes it. Before the word that makes it count.
  public func set(host: UInt64, channel: ControllerIdentity, sequence: UInt64) {
    SharedWord(base).storeRelaxed(host)
    SharedWord(base + 8).storeRelaxed(Self.request(channel, sequence))
  }

  /// Whether it was this one.
  public func isSet(by host: UInt64, channel: ControllerIdentity, sequence: UInt64) -> Bool {
    SharedWord(base).loadRelaxed() == host
      && SharedWord(base + 8).loadRelaxed() == Self.request(channel, sequence)
  }
}
