import BatonNBD
import BatonTestSupport
import Glibc

/// A server around one connection, without sockets: what a client sends is fed to it, in pieces of any size, operations
/// are executed on units in memory when the test says so, and what is sent is kept.
final class NBDRig {
  var connection: NBDConnection
  let limits: NBDLimits
  var exports: NBDExports
  /// Contents of the units, where a test looks at them.
  var disks: [[UInt8]]
  /// The connection's memory, between two guards.
  private let area: PatternMemory
  private let memory: UnsafeMutableRawPointer
  private static let guardSize = 65536

  /// What the client has sent and nobody has received.
  var input: [UInt8] = []
  private var inputAt = 0
  /// Whether the client has closed its end behind that.
  var isClosed = false
  /// All that was sent to the client.
  var output: [UInt8] = []
  /// Operations handed out and not finished, and all there were.
  var waiting: [NBDOperation] = []
  var log: [NBDOperation] = []

  /// Bytes that one receive brings of so many, and one send takes.
  var receiveCount: (Int) -> Int = { $0 }
  var sendCount: (Int) -> Int = { $0 }
  /// Operations that are taken at once, at most.
  var roomMax = Int.max
  /// Whether operations are executed as soon as they are taken.
  var isPrompt = true
  /// How operations end, before they are executed.
  var outcome: (NBDOperation) -> NBDOutcome = { _ in .done }
  /// Extents that a block status is told: length, hole, zero.
  var extents: (NBDOperation) -> [(UInt64, Bool, Bool)] = { _ in [] }
  /// Vectors of the last receive.
  private(set) var lastReceive: [(offset: Int, count: Int)] = []
  private var receiving: [iovec] = []
  private var sending: [iovec] = []
  /// Bytes of the unit that the send under way has behind its vectors.
  private var sendingInPlace = 0
  /// Which reads leave their data in the unit, to be sent from there.
  var isInPlace: (NBDOperation) -> Bool = { _ in false }
  /// What such reads had found there when they ended, in the order in which they are answered: first the one of which
  /// some may have gone.
  private var inPlace: [ArraySlice<UInt8>] = []
  private var readingInPlace: Set<Int> = []
  /// Whether a send that was begun does not end in this turn.
  var holdsSend: () -> Bool = { false }

  init(
    exports: [NBDExport] = [NBDExport(size: 1 << 20, blockSize: 512)], limits: NBDLimits = NBDLimits()
  ) throws {
    self.limits = limits
    self.exports = try NBDExports(exports)
    disks = exports.map { [UInt8](repeating: 0, count: Int(min($0.size, 16 << 20))) }
    area = try PatternMemory(
      count: limits.memorySize + 2 * Self.guardSize, alignment: NBDLimits.memoryAlignment)
    memory = area.base + Self.guardSize
    connection = NBDConnection(memory: memory, limits: limits)
    connection.begin()
  }

  /// Whether the memory on both sides of the connection's is as it was.
  var isGuardIntact: Bool {
    let after = Self.guardSize + limits.memorySize
    return area.isUntouched(0..<Self.guardSize) && area.isUntouched(after..<after + Self.guardSize)
  }

  /// The client says something.
  func say(_ bytes: [UInt8]) {
    input += bytes
    run()
  }

  /// Goes on until nothing more happens.
  func run() {
    while step() {}
  }

  /// One turn of the loop that a server has.
  func step() -> Bool {
    var work = receive()
    if connection.isNegotiating {
      let messages = connection.messages
      connection.negotiate(exports)
      work = work || connection.messages != messages
    }
    while waiting.count < roomMax, let operation = connection.next() {
      work = true
      if operation.kind == .read, isInPlace(operation) {
        connection.readsInPlace(operation.slot)
        readingInPlace.insert(operation.slot)
      }
      waiting.append(operation)
      log.append(operation)
      if isPrompt { complete(waiting.count - 1) }
    }
    if send() { work = true }
    return work
  }

  /// Executes an operation and reports how it ended.
  func complete(_ index: Int) {
    let operation = waiting.remove(at: index)
    let outcome = outcome(operation)
    let staysInPlace = readingInPlace.remove(operation.slot) != nil
    if outcome == .done {
      if staysInPlace { inPlace.append(contents(operation)[...]) } else { execute(operation) }
    }
    connection.finish(operation.slot, outcome)
  }

  func completeAll() {
    while !waiting.isEmpty { complete(0) }
    run()
  }

  private func execute(_ operation: NBDOperation) {
    let range = Int(clamping: operation.offset)..<Int(clamping: operation.offset + operation.length)
    let isHere = range.upperBound <= disks[operation.unit].count
    let buffer = memory + operation.buffer
    switch operation.kind {
    case .read:
      guard isHere else { return }
      disks[operation.unit].withUnsafeBytes {
        buffer.copyMemory(from: $0.baseAddress! + range.lowerBound, byteCount: range.count)
      }
    case .write:
      guard isHere else { return }
      disks[operation.unit].put(UnsafeRawBufferPointer(start: buffer, count: range.count), at: range.lowerBound)
    case .trim, .writeZeroes:
      guard isHere else { return }
      disks[operation.unit].clear(range)
    case .flush, .cache: break
    case .blockStatus:
      for (length, isHole, readsZero) in extents(operation)
      where !connection.addExtent(operation.slot, length: length, isHole: isHole, readsZero: readsZero) {
        break
      }
    }
  }

  /// The data that a write brings.
  func payload(_ operation: NBDOperation) -> [UInt8] {
    if operation.kind != .write { return [] }
    return Array(UnsafeRawBufferPointer(start: memory + operation.buffer, count: Int(operation.length)))
  }

  /// What a read will find in its buffer when it ends: what is on the unit, or, where the unit is larger than its
  /// contents are kept, what lies in the buffer.
  func contents(_ operation: NBDOperation) -> [UInt8] {
    if operation.kind != .read { return [] }
    let end = Int(clamping: operation.offset + operation.length)
    if end <= disks[operation.unit].count { return Array(disks[operation.unit][Int(operation.offset)..<end]) }
    return Array(UnsafeRawBufferPointer(start: memory + operation.buffer, count: Int(operation.length)))
  }

  // MARK: Bytes in

  private func receive() -> Bool {
    if receiving.isEmpty {
      receiving = Array(connection.beginReceive())
      guard !receiving.isEmpty else { return false }
      lastReceive = receiving.map { ($0.iov_base! - memory, $0.iov_len) }
    }
    let there = input.count - inputAt
    if there == 0 {
      if isClosed { endReceive(0) }
      return isClosed
    }
    let room = receiving.reduce(0) { $0 + $1.iov_len }
    let count = min(max(receiveCount(min(room, there)), 1), room, there)
    var done = 0
    for vector in receiving where done < count {
      let part = min(vector.iov_len, count - done)
      input.withUnsafeBytes { vector.iov_base.copyMemory(from: $0.baseAddress! + inputAt + done, byteCount: part) }
      done += part
    }
    inputAt += count
    if inputAt == input.count { (input, inputAt) = ([], 0) }
    endReceive(count)
    return true
  }

  /// Ends the receive that is under way.
  func endReceive(_ result: Int) {
    receiving = []
    connection.endReceive(result)
  }

  /// Whether a receive is under way that nothing has come for.
  var isReceiving: Bool { !receiving.isEmpty }

  // MARK: Bytes out

  private func send() -> Bool {
    if sending.isEmpty, sendingInPlace == 0 {
      let next = connection.beginSend()
      if next.isEmpty { return false }
      (sending, sendingInPlace) = (Array(next.vectors), next.count)
      if holdsSend() { return true }
    } else if holdsSend() {
      return false
    }
    let total = sending.reduce(sendingInPlace) { $0 + $1.iov_len }
    let count = min(max(sendCount(total), 1), total)
    var left = count
    for vector in sending where left > 0 {
      let part = min(vector.iov_len, left)
      output += UnsafeRawBufferPointer(start: vector.iov_base, count: part)
      left -= part
    }
    if left > 0 {
      output += inPlace[0].prefix(left)
      inPlace[0] = inPlace[0].dropFirst(left)
      if inPlace[0].isEmpty { inPlace.removeFirst() }
    }
    (sending, sendingInPlace) = ([], 0)
    connection.endSend(count)
    return true
  }

  /// What was sent since the last call.
  func heard() -> [UInt8] {
    defer { output = [] }
    return output
  }

  // MARK: Shortcuts

  // By value, so that expectations can look at them: they copy what they look through.
  var isFinished: Bool { connection.isFinished }
  var isNegotiating: Bool { connection.isNegotiating }
  var isMidMessage: Bool { connection.isMidMessage }
  var messages: UInt64 { connection.messages }
  var memoryInUse: Int { connection.memoryInUse }
  var executing: Int { connection.executing }
  var isSending: Bool { connection.isSending }
  var awaitsReply: Bool { connection.awaitsReply }
  var sendsLast: Bool { connection.sendsLast }
  var bytesReceived: UInt64 { connection.bytesReceived }
  var bytesSent: UInt64 { connection.bytesSent }

  /// Through the handshake, to the export of that name.
  func enter(_ name: String = "", structured: Bool = false, allocation: Bool = false) {
    var bytes = Say.flags()
    if structured { bytes += Say.structuredReply }
    if allocation { bytes += Say.contexts(10, name, ["base:allocation"]) }
    say(bytes + Say.go(name))
    _ = heard()
  }

  /// The replies that came, which must be all that came.
  func replies(reads: [UInt64: Int] = [:]) -> [Reply] {
    var listener = Listener(heard())
    var replies: [Reply] = []
    while let reply = listener.reply(reads: reads) { replies.append(reply) }
    if listener.left > 0 { replies.append(Reply(cookie: 0, message: "\(listener.left) bytes that are no reply")) }
    return replies
  }

  /// The answers to options that came, which must be all that came.
  func answers() -> [OptionAnswer] {
    var listener = Listener(heard())
    var answers = listener.answers()
    if listener.left > 0 { answers.append(OptionAnswer(option: 0, type: 0, data: listener.bytes)) }
    return answers
  }

  /// Ends everything, whatever is under way, as a server does with a client that is gone.
  ///
  /// - Returns: what is wrong with what is left, nil if nothing.
  func tearDown() -> String? {
    connection.abandon()
    if !receiving.isEmpty { endReceive(-1) }
    while !waiting.isEmpty {
      connection.finish(waiting.removeLast().slot, .done)
    }
    (sending, sendingInPlace) = ([], 0)
    if connection.isSending { connection.endSend(-1) }
    if connection.next() != nil { return "an operation of a connection that was given up" }
    if !connection.beginReceive().isEmpty { return "receives after it was given up" }
    if !connection.beginSend().isEmpty { return "sends after it was given up" }
    guard connection.isFinished else { return "is not finished" }
    if connection.memoryInUse > 0 { return "\(connection.memoryInUse) bytes in use" }
    return isGuardIntact ? nil : "wrote outside of its memory"
  }
}
