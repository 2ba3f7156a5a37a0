import BatonChannel
import BatonOwnership
import BatonSystem

// Requests that a controller has not executed and hands back, because it leaves.
extension Host {
  /// The controller has not executed this and leaves: submits it to the peer.
  mutating func reroute(
    _ request: Request, _ cookie: UInt64, _ service: Service, _ byPresentLife: Bool
  ) -> Completion? {
    looksLeft = 1
    mustTend = true
    handedBack.append(
      HandedBack.Entry(
        request: request, cookie: cookie, service: service,
        incarnation: byPresentLife ? incarnation(of: service.controller) : 0, since: monotonicNanoseconds()))
    return submitHandedBack()
  }

  /// Submits handed-back requests to the peer, as far as it has room; requests that no controller can take end.
  mutating func submitHandedBack() -> Completion? {
    while let first = handedBack.first {
      let other = first.service.controller.peer
      prefersB = other == .b
      if isAttached(to: other) {
        if !submit(first.request, to: other, cookie: first.cookie) { return nil }
        rerouted += 1
        handedBack.removeFirst()
      } else if isAttached(to: other.peer), incarnation(of: other.peer) != first.incarnation {
        // The controller that left is back before its peer is.
        if !submit(first.request, to: other.peer, cookie: first.cookie) { return nil }
        rerouted += 1
        handedBack.removeFirst()
      } else {
        let now = monotonicNanoseconds()
        if now &- first.since < options.patienceNanoseconds, !isSubsystemGone {
          // One that has just been started is reached in a moment.
          if tending.isDue(at: now, isAttaching: true) { maintain() }
          return nil
        }
        handedBack.removeFirst()
        return Completion(cookie: first.cookie, status: .leaving, value: 0, service: first.service)
      }
    }
    return nil
  }

  private func incarnation(of controller: ControllerIdentity) -> UInt64 {
    controller == .a ? channelA.incarnation : channelB.incarnation
  }
}
