import Logging

/// One line per message on standard error. Log collectors add times; a file needs `hasTimes`, and then has every level
/// too.
struct StandardErrorLog: LogHandler {
  let label: String
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level = .info
  private let hasTimes: Bool

  init(label: String, hasTimes: Bool = false) {
    self.label = label
    self.hasTimes = hasTimes
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    if hasTimes { return Console.log("\(WallClock.now) \(label): \(event.level): \(event.message)") }
    Console.log("\(label): \(event.level >= .warning ? "\(event.level): " : "")\(event.message)")
  }
}
