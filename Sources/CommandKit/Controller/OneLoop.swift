import Baton

// Both controllers and a host in one process, turned by one loop: for measurements and counts.

extension ControllerOptions {
  /// These options, for controllers whose loop is at times turned for one of them alone, or slowly.
  package func inOneLoop() -> ControllerOptions {
    var options = self
    options.logger.logLevel = .error
    // The peer is not turned while only one is asked, and whatever counts makes everything slow.
    options.deadlineNanoseconds = 3_600_000_000_000
    // Ownership moves when it is asked for: how often must not depend on the clock.
    options.residency = .pendingOnly
    return options
  }
}

/// Turns both controllers until the host is attached to both.
package func attach(_ host: inout Host, to a: inout Controller, _ b: inout Controller) {
  while !host.isAttached(to: .a) || !host.isAttached(to: .b) {
    a.poll()
    b.poll()
    host.maintain()
  }
}
