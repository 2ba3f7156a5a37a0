import Baton
import BatonCommandKit

/// One operation on one block, as a host saw it: what the report of a failure shows.
struct StressOperation {
  struct Answer {
    let moment: UInt64
    let at: UInt64
    let status: Status
    let service: Service
    /// The contents that a read found, one per sector, or one for all.
    let found: [Stamp.Content]
  }

  let host: Int
  let kind: StressRequest
  /// The write's number.
  let sequence: UInt32
  let path: ControllerIdentity
  /// When it was submitted: its place in the order of all events, and nanoseconds.
  let moment: UInt64
  let at: UInt64
  /// Nil where it is outstanding.
  var answer: Answer?

  /// One line, with times since `start`.
  func line(since start: UInt64) -> String {
    func time(_ at: UInt64) -> String { "\(Figure.fixed(Double(at >= start ? at - start : 0) / 1e9, 6)) s" }
    var words = "host \(host)  \(kind.rawValue)"
    if kind != .read { words += " \(sequence)" }
    words += "  submitted to \(path) as event \(moment) at \(time(at))"
    guard let answer else { return words + "; not answered" }
    words += "; answered as event \(answer.moment) at \(time(answer.at)): \(answer.status)"
    words += ", by \(answer.service.controller) in term \(answer.service.term)"
    if kind == .read, answer.status == .success { words += "; found \(Stamp.describe(answer.found))" }
    return words
  }
}

/// The last operations on one block that were answered, oldest first.
struct OperationTrail {
  private var ring: [StressOperation] = []
  private var oldest = 0

  /// Enough to show how a block came to hold what it held: some hundred milliseconds of one that all hosts use.
  private static let countMax = 64

  mutating func append(_ operation: StressOperation) {
    if ring.count < Self.countMax { return ring.append(operation) }
    ring[oldest] = operation
    oldest = (oldest + 1) % Self.countMax
  }

  var operations: [StressOperation] { Array(ring[oldest...] + ring[..<oldest]) }
}

/// The block that something was wrong with.
struct StressEvidence {
  let target: Int
  let block: Int
  /// The correct contents for a read; empty if no read was wrong.
  var expected = ""
  var found: [Stamp.Content] = []
  /// The block as the read found it.
  var bytes: [UInt8] = []
}

extension Stamp {
  /// The content of a block, in words.
  static func describe(_ contents: [Content]) -> String {
    func words(_ content: Content) -> String {
      switch content {
      case .zeroes: "zeroes"
      case .write(let number): "write \(number)"
      case .torn(let what), .foreign(let what): what
      }
    }
    if contents.count == 1 { return words(contents[0]) }
    if Set(contents.map(words)).count == 1 { return "in every sector: \(words(contents[0]))" }
    return contents.enumerated().map { "sector \($0): \(words($1))" }.joined(separator: ", ")
  }
}
