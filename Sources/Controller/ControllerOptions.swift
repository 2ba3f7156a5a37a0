import BatonOwnership
import BatonSharedMemory
import Logging

/// How a controller behaves where there is a choice.
public struct ControllerOptions: Sendable {
  /// How it waits when it has nothing to do.
  public var waiting = WaitStrategy.standard
  /// How long it keeps a function that the other one wants too.
  public var residency = ResidencyPolicy.standard
  /// Hosts that can be attached at once.
  public var hostsMax = 128
  /// Where it says what happens: hosts that come and go, refusals, faults. Never anything per request.
  public var logger = Logger(label: "baton.controller")

  /// The defaults.
  public init() {}
}
