/// Whether the history of one register is linearizable: whether each operation can be thought to have taken effect at
/// one moment between its call and its return, so that each read finds the last value written before it.
///
/// The search is the one of Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), with the memory of Lowe,
/// "Testing for linearizability" (2017), which Porcupine has as well: a set of operations and a value that have been
/// seen before lead nowhere new.
///
/// An operation that may have had no effect is optional: one that was never answered, or was answered with an error. It
/// takes effect at most once, and not after its return.
public struct Register {
  /// An operation on the register.
  public struct Operation: Sendable, Equatable {
    /// The effect.
    public enum Effect: Sendable, Equatable {
      /// The register has this value afterwards.
      case write(UInt64)
      /// The register has one of these values.
      case read([UInt64])
    }

    /// The effect.
    public var effect: Effect
    /// The time of the call.
    public var call: UInt64
    /// The time of the return; the largest number: it never returned.
    public var end: UInt64
    /// Whether it may have had no effect.
    public var isOptional: Bool
    /// The caller's own number for it.
    public var name: Int

    /// An operation of these parts.
    public init(_ effect: Effect, call: UInt64, end: UInt64 = .max, isOptional: Bool = false, name: Int = 0) {
      self.effect = effect
      self.call = call
      self.end = end
      self.isOptional = isOptional
      self.name = name
    }
  }

  /// Operations that cannot be put in any order.
  public struct Contradiction: Sendable, Equatable {
    /// The values that the register may have had before them.
    public var before: [UInt64]
    /// The operations, by their calls.
    public var operations: [Operation]
  }

  /// A value written by one operation only: a read of it says that this operation has taken effect.
  private var isUnique: (UInt64) -> Bool

  /// Registers whose values are written once each, but for those for which `isUnique` is false.
  public init(isUnique: @escaping (UInt64) -> Bool = { $0 != 0 }) { self.isUnique = isUnique }

  /// The first part of a history that is not linearizable; nil: all of it is.
  public func contradiction(in history: [Operation], initially first: [UInt64]) -> Contradiction? {
    let parts = parts(of: simplified(history))
    let readValues = readValues(in: history)
    var reached: [Set<UInt64>] = parts.map { _ in [] }
    var seen: Set<Place> = []
    var stack = first.reversed().map { Place(part: 0, taken: [], value: $0) }
    while let place = stack.popLast() {
      if place.part == parts.count { return nil }
      if place.taken.isEmpty { reached[place.part].insert(place.value) }
      // The search ends at the first order that is found, and tries likely ones first.
      for next in successors(of: place, parts[place.part], readValues).reversed() where seen.insert(next).inserted {
        stack.append(next)
      }
    }
    guard let last = parts.indices.last(where: { !reached[$0].isEmpty }) else { return nil }
    return Contradiction(before: reached[last].sorted(), operations: parts[last])
  }

  private func readValues(in history: [Operation]) -> Set<UInt64> {
    var found: Set<UInt64> = []
    for operation in history { if case .read(let values) = operation.effect { found.formUnion(values) } }
    return found
  }

  /// An optional write of a value that nobody has read may as well not have happened. One of a value that was read has
  /// happened, and before that read returned.
  private func simplified(_ history: [Operation]) -> [Operation] {
    var firstReadEnd: [UInt64: UInt64] = [:]
    for operation in history {
      if case .read(let values) = operation.effect, values.count == 1, !operation.isOptional {
        firstReadEnd[values[0]] = min(firstReadEnd[values[0]] ?? .max, operation.end)
      }
    }
    return history.compactMap { operation in
      guard case .write(let value) = operation.effect else { return operation.isOptional ? nil : operation }
      guard operation.isOptional, isUnique(value) else { return operation }
      guard let end = firstReadEnd[value] else { return nil }
      var operation = operation
      operation.isOptional = false
      operation.end = max(min(operation.end, end), operation.call)
      return operation
    }
  }

  /// Between two parts there is a moment at which no operation is under way.
  private func parts(of history: [Operation]) -> [[Operation]] {
    var parts: [[Operation]] = []
    var end: UInt64 = 0
    for operation in history.sorted(by: { ($0.call, $0.end) < ($1.call, $1.end) }) {
      if parts.isEmpty || operation.call > end { parts.append([]) }
      parts[parts.count - 1].append(operation)
      end = max(end, operation.end)
    }
    return parts
  }

  /// A place in the search: the operations of a part that have taken effect or never will, and the value.
  private struct Place: Hashable {
    var part: Int
    var taken: [UInt64]
    var value: UInt64

    func hasTaken(_ index: Int) -> Bool { taken[index / 64] >> UInt64(index % 64) & 1 != 0 }
    mutating func take(_ index: Int) { taken[index / 64] |= 1 << UInt64(index % 64) }
  }

  /// The places to go to from one, likely ones first.
  private func successors(of place: Place, _ operations: [Operation], _ readValues: Set<UInt64>) -> [Place] {
    var place = place
    if place.taken.isEmpty { place.taken = [UInt64](repeating: 0, count: (operations.count + 63) / 64) }
    takeReads(operations, &place)
    let open = operations.indices.filter { !place.hasTaken($0) }
    var successors: [Place] = []
    // The next one to take effect was called before any that must take effect has returned.
    let limit = open.reduce(UInt64.max) { operations[$1].isOptional ? $0 : min($0, operations[$1].end) }
    let callable = open.filter { operations[$0].call <= limit }.sorted { operations[$0].end < operations[$1].end }
    for index in promising(callable, of: operations, open, place.value, readValues) {
      var next = place
      if case .write(let value) = operations[index].effect { next.value = value }
      next.take(index)
      for other in open where isGivenUp(operations[other], for: operations[index]) { next.take(other) }
      successors.append(next)
    }
    if open.allSatisfy({ operations[$0].isOptional }) {
      successors.append(Place(part: place.part + 1, taken: [], value: place.value))
    }
    return successors
  }

  /// Whether an operation can have no effect any more once another one takes effect: it returned before that was
  /// called.
  private func isGivenUp(_ operation: Operation, for next: Operation) -> Bool {
    operation.isOptional && operation.end < next.call
  }

  /// Those of the operations that may take effect next with which the search must go on.
  private func promising(
    _ callable: [Int], of operations: [Operation], _ open: [Int], _ value: UInt64, _ readValues: Set<UInt64>
  ) -> [Int] {
    func isWanted(_ value: UInt64, _ readers: [Int]) -> Bool {
      readers.contains { if case .read(let values) = operations[$0].effect { values.contains(value) } else { false } }
    }
    func isLone(_ index: Int) -> Bool { !open.contains { isGivenUp(operations[$0], for: operations[index]) } }
    let isValueWanted = isWanted(value, open)
    var promising: [Int] = []
    var writes: Set<UInt64> = []
    var optionalWrites: Set<UInt64> = []
    for index in callable {
      switch operations[index].effect {
      case .read(let values): if values.contains(value) { promising.append(index) }
      // Written once, and overwritten before it was read: that leads nowhere.
      case .write where isValueWanted && isUnique(value): continue
      case .write(let written) where operations[index].isOptional:
        // One that no read follows at once may as well not take effect, unless it is the last.
        let isLast = !open.contains { !operations[$0].isOptional }
        if written == value || !isWanted(written, callable) && !isLast { continue }
        // Of several with one value the first to end is as good as any.
        if optionalWrites.insert(written).inserted { promising.append(index) }
      case .write(let written):
        // Nobody reads it, and nobody will read what it overwrites: it may as well be now.
        if !isValueWanted, isLone(index), !readValues.contains(written) { return [index] }
        if writes.contains(written) { continue }
        if isLone(index) { writes.insert(written) }
        promising.append(index)
      }
    }
    return promising
  }

  /// A read changes nothing: one that finds this value may as well take effect now, unless others are given up for it.
  private func takeReads(_ operations: [Operation], _ place: inout Place) {
    var hasTaken = true
    while hasTaken {
      hasTaken = false
      var limit = UInt64.max
      for index in operations.indices where !place.hasTaken(index) { limit = min(limit, operations[index].end) }
      for index in operations.indices where operations[index].call <= limit {
        guard case .read(let values) = operations[index].effect, values.contains(place.value), !place.hasTaken(index)
        else { continue }
        place.take(index)
        hasTaken = true
      }
    }
  }
}
