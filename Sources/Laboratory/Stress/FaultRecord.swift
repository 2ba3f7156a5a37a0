import Baton
import BatonCommandKit
import BatonController

/// The faults of a run as they happened, as text that people read and that `baton stress --schedule` repeats.
///
///     fault kill: kill a
///       await-serving             # done at 0.1234 s
///       kill a                    # done at 0.1301 s
///     then
///       start a                   # done at 0.1377 s
///       await-calm
///
/// The steps below `then` bring both controllers back. What follows a `#` is a remark.
struct FaultRecord {
  /// Nanoseconds since the beginning at which each step was done; nil: it was skipped, or the run ended before.
  private(set) var faults: [(fault: Fault, doneAt: [UInt64?])] = []

  /// The next fault begins.
  mutating func begin(_ fault: Fault) {
    faults.append((fault, Array(repeating: nil, count: fault.steps.count + fault.end.count)))
  }

  /// A step of the present fault is done.
  mutating func done(_ step: Int, at nanoseconds: UInt64) {
    guard let last = faults.indices.last, step < faults[last].doneAt.count else { return }
    faults[last].doneAt[step] = nanoseconds
  }

  /// All of it.
  var text: String {
    var lines: [String] = []
    for (fault, doneAt) in faults {
      lines.append("fault \(fault.kind.rawValue): \(fault.name)")
      for (index, step) in (fault.steps + fault.end).enumerated() {
        if index == fault.steps.count { lines.append("then") }
        let words = "  \(step)"
        guard let at = doneAt[index] else {
          lines.append(words)
          continue
        }
        let padding = String(repeating: " ", count: max(0, 40 - words.count))
        lines.append("\(words)\(padding) # done at \(Figure.fixed(Double(at) / 1e9, 6)) s")
      }
    }
    return lines.map { $0 + "\n" }.joined()
  }

  /// The faults that a text lists.
  static func parse(_ text: String, file: String) throws(BatonError) -> [Fault] {
    var faults: [Fault] = []
    var head: (kind: FaultKind, name: String)?
    var (steps, end): ([FaultStep], [FaultStep]) = ([], [])
    var isEnd = false
    func close() {
      if let head { faults.append(Fault(kind: head.kind, name: head.name, steps: steps, end: end)) }
      (head, steps, end, isEnd) = (nil, [], [], false)
    }
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let words = line.prefix { $0 != "#" }.split(separator: " ").map(String.init)
      if words.isEmpty { continue }
      if words[0] == "fault", words.count > 1, let kind = FaultKind(rawValue: String(words[1].dropLast())) {
        close()
        head = (kind, words.dropFirst(2).joined(separator: " "))
      } else if words == ["then"], head != nil {
        isEnd = true
      } else if head != nil, let step = FaultStep(words: words) {
        if isEnd { end.append(step) } else { steps.append(step) }
      } else {
        throw BatonError(
          .invalid, "\(file):\(index + 1)", "'\(words.joined(separator: " "))' is neither a fault nor a step of one",
          fix: "take a schedule that baton stress has written")
      }
    }
    close()
    if faults.isEmpty { throw BatonError(.invalid, file, "has no faults") }
    // Both must come back, or the next fault would wait for them in vain.
    for fault in faults {
      for controller in ControllerIdentity.allCases {
        let starts = fault.end.contains { if case .start(controller, _, _) = $0 { true } else { false } }
        guard starts, fault.end.contains(.proceed(controller)) else {
          throw BatonError(
            .invalid, file, "fault '\(fault.name)' does not bring controller \(controller) back",
            fix: "write 'continue \(controller)' and 'start \(controller)' below 'then'")
        }
      }
    }
    return faults
  }

  /// The faults that a file lists.
  static func read(_ path: String) throws(BatonError) -> [Fault] {
    let bytes = try InputFile.read(path, bytesMax: bytesMax, fix: "name the file 'schedule' of a failed stress")
    return try parse(String(decoding: bytes, as: UTF8.self), file: path)
  }

  /// A million faults.
  private static let bytesMax = 1 << 29
}

extension FaultStep: CustomStringConvertible {
  /// As a schedule has it.
  var description: String {
    switch self {
    case .kill(let controller): "kill \(controller)"
    case .freeze(let controller): "freeze \(controller)"
    case .proceed(let controller): "continue \(controller)"
    case .terminate(let controller): "terminate \(controller)"
    case .start(let controller, let order, let isPatient):
      "start \(controller)" + (isPatient ? " patient" : "")
        + (order.map { " stop-at \($0.point):\($0.occurrence)" } ?? "")
    case .press(let nanoseconds): "press \(nanoseconds)"
    case .sleep(let nanoseconds): "sleep \(nanoseconds)"
    case .awaitStop(let controller): "await-stop \(controller)"
    case .awaitDeath(let controller, let isOwed): "await-death \(controller)\(isOwed ? " owed" : "")"
    case .awaitServing: "await-serving"
    case .awaitCalm: "await-calm"
    }
  }

  /// From the words of its description.
  init?(words: [String]) {
    var rest = words.dropFirst()
    func controller() -> ControllerIdentity? { rest.popFirst().flatMap { ControllerIdentity($0) } }
    func take(_ word: String) -> Bool {
      if rest.first != word { return false }
      rest = rest.dropFirst()
      return true
    }
    switch words.first {
    case "kill", "freeze", "continue", "terminate", "await-stop", "await-death", "start":
      guard let controller = controller() else { return nil }
      switch words[0] {
      case "kill": self = .kill(controller)
      case "freeze": self = .freeze(controller)
      case "continue": self = .proceed(controller)
      case "terminate": self = .terminate(controller)
      case "await-stop": self = .awaitStop(controller)
      case "await-death": self = .awaitDeath(controller, isOwed: take("owed"))
      default:
        let isPatient = take("patient")
        var order: StopOrder?
        if take("stop-at") {
          guard let parsed = rest.popFirst().flatMap({ StopOrder(parsing: $0) }) else { return nil }
          order = parsed
        }
        self = .start(controller, stopAt: order, isPatient: isPatient)
      }
    case "press", "sleep":
      guard let nanoseconds = rest.popFirst().flatMap({ UInt64($0) }), nanoseconds <= Self.nanosecondsMax else {
        return nil
      }
      self = words[0] == "press" ? .press(nanoseconds) : .sleep(nanoseconds)
    case "await-serving": self = .awaitServing
    case "await-calm": self = .awaitCalm
    default: return nil
    }
    if !rest.isEmpty { return nil }
  }

  /// An hour: longer than any step of a schedule.
  private static let nanosecondsMax: UInt64 = 3_600_000_000_000
}
