import Logging

/// One line per message on standard error. Log collectors add times; a file needs them in the lines, with every level
/// too.
struct StandardErrorLog: LogHandler {
  let label: String
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level = .info
  private let form: Form

  /// The form of a line.
  enum Form {
    /// `baton: warning: message`; a log collector adds times.
    case plain
    /// `05:46:37.123456 baton: info: message`.
    case timed
    /// An object.
    case json
  }

  init(label: String, form: Form = .plain) {
    self.label = label
    self.form = form
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    Console.log(Self.line(form, label, event.level, "\(event.message)", at: form == .plain ? "" : WallClock.moment))
  }

  /// One message as it is written.
  static func line(_ form: Form, _ label: String, _ level: Logger.Level, _ message: String, at moment: String) -> String
  {
    switch form {
    case .plain: "\(label): \(level >= .warning ? "\(level): " : "")\(message)"
    case .timed: "\(moment.dropFirst(11).prefix(15)) \(label): \(level): \(message)"
    case .json:
      "{\"time\":\"\(moment)\",\"level\":\"\(level)\",\"label\":\(quoted(label)),\"message\":\(quoted(message))}"
    }
  }

  /// As JSON has it (RFC 8259, 7).
  private static func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case "\n": quoted += "\\n"
      case "\u{0}"..<" ":
        let digits = String(scalar.value, radix: 16)
        quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }
}
