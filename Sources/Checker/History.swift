/// What hosts asked of the units of a subsystem, and what they were told.
///
/// The checker knows requests and nothing of controllers: a history may come from a simulation or from real processes.
/// Times are of one clock, in any unit.
public struct History: Sendable {
  /// One request, as its host saw it.
  public struct Request: Sendable, Equatable {
    /// The operations that matter here.
    public enum Kind: Sendable, Equatable {
      case read, write
      /// The blocks read as zeroes afterwards.
      case zero
      /// They may read as zeroes afterwards.
      case discard
      /// What was answered before is on stable storage.
      case flush
      /// Sets the unit's state, to this value.
      case setState(UInt64)
      /// Anything else that is to be answered.
      case other
    }

    /// What became of it.
    public enum Answer: Sendable, Equatable {
      /// Executed.
      case done
      /// Certainly not executed.
      case refused
      /// Refused because of the unit's state, which is this.
      case refusedInState(UInt64)
      /// Executed in part, in full or not at all, and not after this answer.
      case unknown
      /// Not answered, and the host is gone: it may be executed once, at any time.
      case none
      /// Not answered, though the host waited.
      case missing
      /// Answered in a way that it must not be.
      case wrong(String)
    }

    /// The host.
    public var host: Int
    /// The host's number for it, not used again.
    public var number: UInt64
    /// The operation.
    public var kind: Kind
    /// The unit.
    public var unit: Int
    /// The first block.
    public var block: Int
    /// Blocks.
    public var count: Int
    /// Whether the answer says that it is on stable storage.
    public var isDurable: Bool
    /// When it was submitted, or a little earlier.
    public var calledAt: UInt64
    /// When the answer was found; the largest number: it was not answered.
    public var answeredAt: UInt64
    /// What became of it.
    public var answer: Answer
    /// Of a read, what was found in each block: the value that was written, 0 for zeroes, `garbage` for neither.
    public var found: [UInt64]
    /// Of a write, the value in each of its blocks. Each write has its own.
    public var value: UInt64

    /// What no write has written.
    public static let garbage = UInt64.max

    /// A request that was called and not answered yet.
    public init(
      host: Int, number: UInt64, _ kind: Kind, unit: Int, block: Int = 0, count: Int = 0, isDurable: Bool = false,
      value: UInt64 = 0, calledAt: UInt64
    ) {
      self.host = host
      self.number = number
      self.kind = kind
      self.unit = unit
      self.block = block
      self.count = count
      self.isDurable = isDurable
      self.value = value
      self.calledAt = calledAt
      answeredAt = .max
      answer = .none
      found = []
    }
  }

  /// All requests.
  public var requests: [Request] = []
  /// Values of a unit's state in which it takes writes.
  public var writableStates: [UInt64] = [0]
  /// Values of a unit's state in which it takes reads.
  public var readableStates: [UInt64] = [0, 1]

  /// No requests.
  public init() {}

  /// What is wrong with this history, a sentence each; empty: nothing.
  public func findings(max: Int = 8) -> [String] {
    var findings: [String] = []
    for request in requests {
      switch request.answer {
      case .missing: findings.append("\(describe(request)): never answered, though its host waited")
      case .wrong(let what): findings.append("\(describe(request)): \(what)")
      default: break
      }
      if let block = request.found.firstIndex(of: Request.garbage) {
        findings.append("\(describe(request)): block \(request.block + block) holds what nobody has written there")
      }
    }
    findings += blockFindings()
    findings += stateFindings()
    return Array(findings.prefix(max))
  }

  /// One request in words.
  public func describe(_ request: Request) -> String {
    var text = "host \(request.host) request \(request.number), \(request.kind) of unit \(request.unit)"
    if request.count > 0 { text += " blocks \(request.block)..<\(request.block + request.count)" }
    text += ", from \(request.calledAt)"
    return request.answeredAt == .max ? text + " on" : text + " to \(request.answeredAt)"
  }

  private struct BlockName: Hashable, Comparable {
    var unit: Int
    var block: Int
    static func < (a: BlockName, b: BlockName) -> Bool { (a.unit, a.block) < (b.unit, b.block) }
  }

  private func blockHistories() -> [(name: BlockName, operations: [Register.Operation])] {
    var histories: [BlockName: [Register.Operation]] = [:]
    for (index, request) in requests.enumerated() {
      for offset in 0..<request.count {
        guard let operation = operation(of: request, offset, name: index) else { continue }
        histories[BlockName(unit: request.unit, block: request.block + offset), default: []].append(operation)
      }
    }
    return histories.sorted { $0.key < $1.key }.map { (name: $0.key, operations: $0.value) }
  }

  /// What a request was for one of its blocks; nil: nothing.
  private func operation(of request: Request, _ offset: Int, name: Int) -> Register.Operation? {
    let effect: Register.Operation.Effect
    var isOptional = request.answer != .done
    switch request.answer {
    case .done, .unknown, .none, .missing, .wrong: break
    case .refused, .refusedInState: return nil
    }
    switch request.kind {
    case .read:
      guard request.answer == .done, offset < request.found.count, request.found[offset] != Request.garbage else {
        return nil
      }
      effect = .read([request.found[offset]])
    case .write: effect = .write(request.value)
    case .zero: effect = .write(0)
    case .discard:
      effect = .write(0)
      isOptional = true
    case .flush, .setState, .other: return nil
    }
    return Register.Operation(
      effect, call: request.calledAt, end: request.answeredAt, isOptional: isOptional, name: name)
  }

  /// Each block by itself: requests of several blocks are not atomic.
  private func blockFindings() -> [String] {
    blockHistories().compactMap { history in
      guard let wrong = Register().contradiction(in: history.operations, initially: [0]) else { return nil }
      return "unit \(history.name.unit) block \(history.name.block) is not linearizable: it held "
        + wrong.before.map(String.init).joined(separator: " or ") + ", then "
        + wrong.operations.map { describe($0) }.joined(separator: "; ")
    }
  }

  private func describe(_ operation: Register.Operation) -> String {
    let request = requests[operation.name]
    let effect =
      switch operation.effect {
      case .read(let values): "read found \(values.map(String.init).joined(separator: "/"))"
      case .write(let value): "write of \(value)" + (operation.isOptional ? " (or not)" : "")
      }
    let end = operation.end == .max ? "..." : "\(operation.end)"
    return "[\(operation.call), \(end)] host \(request.host) request \(request.number) \(effect)"
  }

  /// A unit's state is a register: it is set by management requests, and each request that is executed, or refused for
  /// it, has read it.
  private func stateFindings() -> [String] {
    var findings: [String] = []
    for unit in Set(requests.map(\.unit)).sorted() {
      let ofUnit = requests.enumerated().filter { $0.element.unit == unit }
      guard ofUnit.contains(where: { if case .setState = $0.element.kind { true } else { false } }) else { continue }
      let operations = ofUnit.compactMap { stateOperation($0.element, name: $0.offset) }
      if let wrong = Register(isUnique: { _ in false }).contradiction(in: operations, initially: [0]) {
        findings.append(
          "the state of unit \(unit) is not linearizable: it was "
            + wrong.before.map(String.init).joined(separator: " or ") + ", then "
            + wrong.operations.prefix(24).map { describe($0) }.joined(separator: "; "))
      }
    }
    return findings
  }

  private func stateOperation(_ request: Request, name: Int) -> Register.Operation? {
    func read(_ states: [UInt64]) -> Register.Operation {
      Register.Operation(.read(states), call: request.calledAt, end: request.answeredAt, name: name)
    }
    switch (request.answer, request.kind) {
    case (.refusedInState(let state), _): return read([state])
    case (.refused, _): return nil
    case (let answer, .setState(let state)):
      return Register.Operation(
        .write(state), call: request.calledAt, end: request.answeredAt, isOptional: answer != .done, name: name)
    case (.done, .write), (.done, .zero), (.done, .discard): return read(writableStates)
    case (.done, .read), (.done, .flush): return read(readableStates)
    default: return nil
    }
  }

  // MARK: Durability

  /// What is wrong with what a unit's blocks hold after everything was lost that had not been synced: each block must
  /// hold a value that is not older than one that was answered as durable, by itself or by a later flush.
  public func findings(ofUnit unit: Int, afterLoss blocks: [UInt64]) -> [String] {
    let flushes = requests.filter { $0.unit == unit && $0.kind == .flush && $0.answer == .done }
    var findings: [String] = []
    for (block, value) in blocks.enumerated() {
      let changes = requests.filter {
        $0.unit == unit && $0.block <= block && block < $0.block + $0.count && changesBlocks($0)
      }
      let durable = changes.filter { change in
        guard change.answer == .done, change.kind != .discard else { return false }
        return change.isDurable || flushes.contains { $0.calledAt > change.answeredAt }
      }
      // Whatever may have left this value here.
      var ends = changes.filter { self.value(of: $0) == value }.map(\.answeredAt)
      if value == 0 { ends.append(0) }
      guard let end = ends.max() else {
        findings.append("unit \(unit) block \(block) holds \(value) after a loss, which nobody has written there")
        continue
      }
      if let newer = durable.first(where: { $0.calledAt > end }) {
        findings.append(
          "unit \(unit) block \(block) holds \(value) after a loss, though this was durable: \(describe(newer))")
      }
    }
    return findings
  }

  private func changesBlocks(_ request: Request) -> Bool {
    switch request.kind {
    case .write, .zero, .discard: request.answer != .refused
    case .read, .flush, .setState, .other: false
    }
  }

  private func value(of request: Request) -> UInt64 { request.kind == .write ? request.value : 0 }
}
