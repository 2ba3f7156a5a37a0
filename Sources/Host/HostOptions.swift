import BatonOwnership
import BatonSharedMemory

/// The options for how a host attaches and waits.
public struct HostOptions: Sendable {
  /// Request lines to each controller, a power of two: one more than the requests that can be outstanding there.
  public var linesPerChannel = 256
  /// Size of the arena in bytes, a multiple of 4096.
  public var arenaSize: UInt64 = 16 << 20
  /// Whether pages of the arena are taken when they are first used, and not at the start: for a host in the process of
  /// the controller that it asks. A controller of another process refuses a large arena without pages, which would
  /// count as its own memory.
  public var isSparse = false
  /// The strategy of `wait`.
  public var waiting = WaitStrategy.standard
  /// How long a request that no controller has taken waits for a controller, before it ends as `.leaving`. A request
  /// that a controller has taken, or died with, waits for as long as it takes.
  public var patienceNanoseconds: UInt64 = 5_000_000_000
  /// The only controller that this host attaches to; nil: both. The peer then never sees its memory, and a
  /// request that its controller died with is executed by nobody: this is for a front end that dies with it.
  public var controller: ControllerIdentity?

  /// The defaults.
  public init() {}
}
