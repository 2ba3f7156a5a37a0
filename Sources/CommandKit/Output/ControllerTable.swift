import Baton

/// A table of the two controllers, for people.
package enum ControllerTable {
  /// Both controllers with their counters, and the progress of one that stands in for its peer.
  package static func text(_ status: SubsystemStatus) -> String {
    var controllers = Table(
      "controller", "state", "turned", "member", "pid", "life", "hosts", "requests", "direct", "transferred", "terms",
      "parks", "nbd")
    for controller in status.controllers {
      controllers.add(
        "\(controller.identity)", state(controller), turned(controller), controller.standing,
        controller.isRunning ? "\(controller.pid)" : "-",
        "\(controller.incarnation)", Figure.count(controller[.hosts]), Figure.count(controller[.requests]),
        Figure.count(controller[.direct]), Figure.count(controller[.transferred]), Figure.count(controller[.terms]),
        Figure.count(controller[.parks]), "\(controller[.nbdConnections])")
    }
    let takeovers = status.controllers.filter { $0.takeover != "none" }
      .map { "\ncontroller \($0.identity) \($0.takeover)" }
    return controllers.text + takeovers.joined()
  }

  /// A loop that turns, or sleeps because there is nothing to do, says so once a second. After this long it is stalled.
  private static let stalledNanoseconds: UInt64 = 3_000_000_000

  package static func state(_ controller: SubsystemStatus.ControllerStatus) -> String {
    guard controller.isRunning else { return controller.phase == "absent" ? "not running" : "dead" }
    if let ago = controller.nanosecondsSinceTurn, ago >= stalledNanoseconds { return "\(controller.phase), stalled" }
    return controller.isParked ? "\(controller.phase), parked" : controller.phase
  }

  /// How long ago a controller's loop last turned.
  private static func turned(_ controller: SubsystemStatus.ControllerStatus) -> String {
    controller.nanosecondsSinceTurn.map { "\(Figure.fixed(Double($0) / 1e9, 1))s ago" } ?? "-"
  }
}
