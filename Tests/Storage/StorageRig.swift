import BatonRing
import BatonStorage
import BatonSystem
import BatonTestSupport
import Glibc

extension StorageLife {
  /// The first life of controller a of some subsystem.
  static let first = StorageLife(controllerIndex: 0, incarnation: 1, subsystem: 7)
}

/// One storage over units made from words, and a buffer for it, without anything above it.
final class StorageRig {
  let folder: ScratchFolder
  let buffer: UnsafeMutableRawBufferPointer
  let units: [(geometry: UnitGeometry, path: String, faults: FaultPlan)]
  var storage: Storage
  let ring: Ring
  private var tokens: UInt64 = 0

  static let bufferCount = 1 << 20

  /// Units as `UnitSpecification` has them, with `%` for the test's own folder; `buffered:` before one keeps
  /// the page cache. `besides` another rig means the same units.
  init(
    _ texts: [String], onTmpfs: Bool = false, life: StorageLife = .first, besides rig: StorageRig? = nil
  ) throws {
    let folder = try rig?.folder ?? ScratchFolder(onTmpfs: onTmpfs)
    units = try rig?.units ?? Self.prepare(texts, in: folder)
    storage = try Storage(units: units, life: life, lockMillisecondsMax: 0)
    ring = try Ring()
    self.folder = folder
    buffer = .allocate(byteCount: Self.bufferCount, alignment: 65536)
    buffer.initializeMemory(as: UInt8.self, repeating: 0)
  }

  deinit {
    _ = storage.drain(ring)
    buffer.deallocate()
  }

  static func prepare(
    _ texts: [String], in folder: ScratchFolder
  ) throws -> [(geometry: UnitGeometry, path: String, faults: FaultPlan)] {
    try texts.enumerated().map { index, text in
      let isBuffered = text.hasPrefix("buffered:")
      let words = (isBuffered ? String(text.dropFirst("buffered:".count)) : text).replacing(
        "%", with: folder.path)
      var specification = try UnitSpecification(parsing: words)
      specification.isBuffered = isBuffered
      let memory = folder("memory.\(index)")
      let geometry = try Backend.prepare(specification, memoryPath: memory)
      if case .path(let path) = specification.backing { return (geometry, path, specification.faults) }
      return (geometry, memory, specification.faults)
    }
  }

  func isDrained(unit: Int, controllerIndex: Int, before incarnation: UInt64) -> Bool {
    storage.isDrained(unit: unit, controllerIndex: controllerIndex, before: incarnation)
  }

  /// Begins an operation. Returns its token and, where it is over already, its result.
  func start(
    _ operation: Storage.Operation, unit: Int = 0, offset: UInt64 = 0, length: UInt64 = 0, at buffered: Int = 0,
    isDurable: Bool = false, mustBeFast: Bool = false
  ) -> (token: UInt64, result: Int32?) {
    tokens += 1
    let disposition = storage.start(
      operation, unit: unit, offset: offset, length: length, address: buffer.baseAddress! + buffered,
      isDurable: isDurable, mustBeFast: mustBeFast, token: tokens, on: ring)
    if case .completed(let result) = disposition { return (tokens, result) }
    _ = ring.submit()
    storage.resume(on: ring)
    return (tokens, nil)
  }

  /// The next operation that ended.
  func next() throws -> (token: UInt64, result: Int32) {
    for _ in 0..<10_000 {
      while let piece = storage.nextPiece() {
        if case .completed(let token, let result) = piece.event { return (token, result) }
      }
      if let ended = ended() { return ended }
      if !storage.hasPieces { ring.wait(nanoseconds: 10_000_000) }
    }
    throw BatonError(.system, "storage", "an operation does not end")
  }

  /// The next operation that has ended in the ring, if any has.
  func ended() -> (token: UInt64, result: Int32)? {
    while let event = ring.next() {
      if case .completed(let token, let result) = storage.advance(event.token.index, result: event.result, on: ring) {
        return (token, result)
      }
    }
    return nil
  }

  /// Does one operation from beginning to end: 0 or -errno.
  func perform(
    _ operation: Storage.Operation, unit: Int = 0, offset: UInt64 = 0, length: UInt64 = 0, at buffered: Int = 0,
    isDurable: Bool = false, mustBeFast: Bool = false
  ) throws -> Int32 {
    let (token, result) = start(
      operation, unit: unit, offset: offset, length: length, at: buffered, isDurable: isDurable, mustBeFast: mustBeFast)
    if let result { return result }
    let ended = try next()
    guard ended.token == token else { throw BatonError(.system, "storage", "another operation ended") }
    return ended.result
  }

  func fill(_ range: Range<Int>, with byte: UInt8) {
    UnsafeMutableRawBufferPointer(rebasing: buffer[range]).initializeMemory(as: UInt8.self, repeating: byte)
  }
}
