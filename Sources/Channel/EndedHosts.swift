import Synchronization

/// The hosts of this process that ended with requests outstanding.
///
/// A controller that finds requests of a host in a dead life's journal waits for the host while its process lives. A
/// program that holds hosts and controllers together outlives its hosts: without this, its next controller would wait
/// for a host that cannot come back.
public enum EndedHosts {
  private static let identities = Mutex<[UInt64]>([])
  /// The oldest are forgotten: a controller then waits for them as long as its options say.
  private static let identitiesMax = 4096

  /// A host has ended, by its memory's identity.
  public static func add(_ identity: UInt64) {
    identities.withLock { identities in
      if identities.count == identitiesMax { identities.removeFirst() }
      identities.append(identity)
    }
  }

  /// Whether a host of this process has ended with requests outstanding.
  public static func contains(_ identity: UInt64) -> Bool { identities.withLock { $0.contains(identity) } }
}
