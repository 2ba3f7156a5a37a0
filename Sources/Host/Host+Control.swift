import BatonChannel
import BatonOwnership
import BatonSubsystem
import BatonSystem

// The control sockets.
extension Host {
  /// Whether a controller has still to say whether it takes this host.
  var isAttaching: Bool {
    if case .attaching = channelA.phase { return true }
    if case .attaching = channelB.phase { return true }
    return false
  }

  /// Whether the subsystem is gone: `subsystemLoss` without words.
  package var isGone: Bool { isSubsystemGone }

  /// How long a request waits for a controller.
  package var patience: UInt64 { options.patienceNanoseconds }

  /// Why a controller has refused this host, if one has.
  package var refusal: String? { channelA.refusal ?? channelB.refusal }

  /// Tends the control sockets: replies, ends, controllers that come back. `next` and `wait` call this now and
  /// then.
  public mutating func maintain() {
    // A connection that is made in here is tended from the next poll on.
    looksLeft = 1
    mustTend = true
    tending.begin(at: monotonicNanoseconds())
    lookAtTrace()
    unitCount = max(channelA.receiveControl() ?? 0, channelB.receiveControl() ?? 0, unitCount)
    // The survivor must look for what was submitted to the controller that went: not only when it
    // happens to wake.
    if channelA.hasLost {
      channelA.hasLost = false
      channelB.ringAlways()
    }
    if channelB.hasLost {
      channelB.hasLost = false
      channelA.ringAlways()
    }
    defer { watchSockets() }
    if channelA.isOfOtherSubsystem || channelB.isOfOtherSubsystem { isSubsystemGone = true }
    if isSubsystemGone || !tending.beginReconnecting() { return }
    // Of two subsystems of one name, one after the other, the second must not get the first one's requests.
    let generation = channelA.generation != 0 ? channelA.generation : channelB.generation
    if case .detached = channelA.phase, options.controller != .b {
      _ = channelA.connect(memory, location, generation: generation)
    }
    if case .detached = channelB.phase, options.controller != .a {
      _ = channelB.connect(memory, location, generation: generation)
    }
    // No controller can be reached: while one runs, the subsystem is not destroyed.
    if case .detached = channelA.phase, case .detached = channelB.phase {
      let isOther = generation != 0 && Region.generation(at: location) ?? generation != generation
      isSubsystemGone = isOther || location.isKnownToHaveNoRegion
    }
  }

  /// The subsystem no longer exists, with or without another one of its name; nil: as far as is known it exists.
  /// Then nobody answers the outstanding requests, no request is accepted any more, and no controller is looked for.
  public var subsystemLoss: BatonError? {
    if !isSubsystemGone { return nil }
    let unanswered = outstanding > 0 ? ": \(outstanding) requests have no answer" : ""
    return BatonError(.missing, "subsystem '\(location.name)'", "was destroyed" + unanswered)
  }
}
