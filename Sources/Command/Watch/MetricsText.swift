import Baton
import BatonCommandKit

/// What the region says, in Prometheus' text format 0.0.4.
struct MetricsText {
  private var lines: [String] = []

  private init() {}

  static func of(_ sample: RegionSample) -> String {
    var text = MetricsText()
    let status = sample.status
    let subsystem = ("subsystem", status.name)
    text.family("baton_info", "gauge", "The version that reads the region; always 1.") {
      [([("version", BuildVersion.number), subsystem], 1)]
    }
    func controllers(_ value: (Int, SubsystemStatus.ControllerStatus) -> Double?) -> [Sample] {
      status.controllers.enumerated().compactMap { index, controller in
        value(index, controller).map { ([subsystem, ("controller", "\(controller.identity)")], $0) }
      }
    }
    text.family("baton_controller_running", "gauge", "Whether a process holds the controller's seat.") {
      controllers { $1.isRunning ? 1 : 0 }
    }
    text.family("baton_controller_serving", "gauge", "Whether it serves requests.") {
      controllers { $1.isRunning && $1.phase == "serving" ? 1 : 0 }
    }
    text.family("baton_controller_parked", "gauge", "Whether it sleeps because there is nothing to do.") {
      controllers { $1.isRunning && $1.isParked ? 1 : 0 }
    }
    text.family("baton_controller_incarnation", "gauge", "Its life, counted from 1.") {
      controllers { Double($1.incarnation) }
    }
    text.family(
      "baton_controller_seconds_since_turn", "gauge",
      "Time since its loop last turned; more than a few seconds is a stall."
    ) { controllers { $1.nanosecondsSinceTurn.map { Double($0) / 1e9 } } }
    text.family("baton_controller_cpu_seconds_total", "counter", "CPU time of its process.") {
      controllers { index, _ in sample.cpuSeconds[index] }
    }
    text.family("baton_controller_pending", "gauge", "Requests that it has taken and not answered.") {
      controllers { $1.isRunning ? Double($1[.requests] - min($1[.answered], $1[.requests])) : nil }
    }
    for counter in Counter.allCases {
      let name = Self.snake(counter.name)
      let isGauge = counter == .hosts || counter == .nbdConnections
      text.family(
        "baton_controller_\(name)\(isGauge ? "" : "_total")", isGauge ? "gauge" : "counter",
        "Counter '\(counter.name)' of the controller; see docs/measuring.md."
      ) { controllers { Double($1[counter]) } }
    }
    let functions = status.functions.map { function -> ([Label], SubsystemStatus.FunctionStatus) in
      let unit = function.unit.map { status.units[$0].name } ?? ""
      return ([subsystem, ("function", function.name), ("name", unit)], function)
    }
    text.family("baton_function_terms_total", "counter", "Changes of owner of a function.") {
      functions.map { ($0.0, Double($0.1.term)) }
    }
    text.family("baton_function_owner", "gauge", "1 for the controller that owns a function, 0 for its peer.") {
      functions.flatMap { labels, function in
        ControllerIdentity.allCases.map { (labels + [("controller", "\($0)")], function.owner == $0 ? 1 : 0) }
      }
    }
    text.family("baton_unit_size_bytes", "gauge", "Size of a unit.") {
      status.units.map { ([subsystem, ("unit", "\($0.unit)"), ("name", $0.name)], Double($0.size)) }
    }
    text.family("baton_unit_online", "gauge", "Whether a unit serves.") {
      status.units.map { ([subsystem, ("unit", "\($0.unit)"), ("name", $0.name)], "\($0.state)" == "online" ? 1 : 0) }
    }
    return text.lines.joined(separator: "\n") + "\n"
  }

  private typealias Label = (String, String)
  private typealias Sample = ([Label], Double)

  private mutating func family(_ name: String, _ type: String, _ help: String, _ samples: () -> [Sample]) {
    lines += ["# HELP \(name) \(help)", "# TYPE \(name) \(type)"]
    for (labels, value) in samples() {
      let text = labels.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
      let isWhole = value == value.rounded() && abs(value) < 1e15
      lines.append("\(name){\(text)} \(isWhole ? "\(Int64(value))" : "\(value)")")
    }
  }

  /// As the format wants a label's value.
  private static func escaped(_ text: String) -> String {
    text.reduce(into: "") { escaped, character in
      switch character {
      case "\\": escaped += "\\\\"
      case "\"": escaped += "\\\""
      case "\n": escaped += "\\n"
      default: escaped.append(character)
      }
    }
  }

  /// `bytesRead` as `bytes_read`.
  private static func snake(_ name: String) -> String {
    name.reduce(into: "") { $0 += $1.isUppercase ? "_\($1.lowercased())" : "\($1)" }
  }

}
