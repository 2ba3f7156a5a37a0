import Baton
import BatonCommandKit
import BatonSharedMemory
import BatonSystem
import FoundationEssentials
import Glibc

/// A real file, mapped for reading.
struct ImageFile: ~Copyable {
  let path: String
  let count: Int
  private let mapping: Mapping
  var base: UnsafeRawPointer { UnsafeRawPointer(mapping.base) }

  init(_ path: String) throws(BatonError) {
    let number = open(path, O_RDONLY | O_CLOEXEC)
    if number < 0 { throw BatonError(result: -Int(errno), path, doing: "opening the image", fix: "name a file") }
    let file = OwnedDescriptor(number)
    let facts = try FileFacts(of: file, subject: path)
    guard facts.kind == .regular, facts.size > 0 else {
      throw BatonError(.invalid, path, "is empty, or not a file", fix: "name another")
    }
    let mapping = try Mapping(of: file, count: Int(facts.size), writable: false, subject: path)
    self.mapping = mapping
    count = Int(facts.size)
    self.path = path
  }

  /// The SHA-256 of all of it.
  func sha256() throws(BatonError) -> String {
    var digest = try Digest()
    try digest.update(UnsafeRawBufferPointer(start: base, count: count))
    return try digest.finish()
  }
}

/// Copies an image onto a unit and back, each piece through one controller and back through the other.
struct ImageCopy: ~Copyable {
  private var host: Host
  private let depth: Int
  private let pieceSize: Int
  private let unit: UInt32 = 0
  private(set) var requests: UInt64 = 0
  private(set) var servedBy: [UInt64] = [0, 0]
  var latencies = Latencies()

  init(of subsystem: Subsystem, pieceSize: Int = 32_768, depth: Int = 8) throws {
    var options = HostOptions()
    options.arenaSize = UInt64(pieceSize * depth)
    options.linesPerChannel = 64
    var host = try Host(of: subsystem, options: options)
    try host.waitUntilAttached()
    self.init(host, pieceSize: pieceSize, depth: depth)
  }

  private init(_ host: consuming Host, pieceSize: Int, depth: Int) {
    self.host = host
    self.pieceSize = pieceSize
    self.depth = depth
  }

  /// Pieces of the unit that hold the image; the last one is filled up with zeroes.
  private func pieces(_ image: borrowing ImageFile) -> Int { (image.count + pieceSize - 1) / pieceSize }

  /// The controller that writes a piece; its peer reads the piece back.
  private static func writer(_ piece: Int) -> ControllerIdentity { piece & 1 == 0 ? .a : .b }

  /// Writes the image through both controllers in turn.
  mutating func write(_ image: borrowing ImageFile, _ report: (Double) throws -> Void) throws {
    let total = pieces(image)
    let source = image.base
    let count = image.count
    try transfer(total, report) { piece, arena, size in
      let filled = min(size, count - piece * size)
      arena.copyMemory(from: source + piece * size, byteCount: filled)
      memset(arena + filled, 0, size - filled)
      return (.write, Self.writer(piece))
    } done: { _, _ in
    }
  }

  /// Reads the image back, each piece through the controller that did not write it (or, `swapped`, that did).
  ///
  /// - Returns: the SHA-256 of the data that was read.
  /// - Throws: `VerificationFailure`, naming unit and block, at the first difference.
  mutating func read(_ image: borrowing ImageFile, swapped: Bool = false, _ report: (Double) throws -> Void) throws
    -> String
  {
    var digest = try Digest()
    let source = image.base
    let count = image.count
    let pieceSize = pieceSize
    // Pieces come in any order; the hash needs them in theirs.
    var hashed = 0
    var arrived: [Int: [UInt8]] = [:]
    try transfer(pieces(image), report) { piece, _, _ in
      (.read, swapped ? Self.writer(piece) : Self.writer(piece).peer)
    } done: { piece, arena in
      let wanted = min(pieceSize, count - piece * pieceSize)
      if memcmp(arena, source + piece * pieceSize, wanted) != 0 {
        throw Self.difference(arena, source + piece * pieceSize, wanted, piece * pieceSize)
      }
      if let spoilt = (wanted..<pieceSize).first(where: { arena.load(fromByteOffset: $0, as: UInt8.self) != 0 }) {
        throw Self.failure(piece * pieceSize + spoilt)
      }
      arrived[piece] = Array(UnsafeRawBufferPointer(start: arena, count: wanted))
      while let next = arrived.removeValue(forKey: hashed) {
        try next.withUnsafeBytes { try digest.update($0) }
        hashed += 1
      }
    }
    return try digest.finish()
  }

  private static func difference(
    _ found: UnsafeMutableRawPointer, _ wanted: UnsafeRawPointer, _ count: Int, _ offset: Int
  ) -> VerificationFailure {
    let first = (0..<count).first {
      found.load(fromByteOffset: $0, as: UInt8.self) != wanted.load(fromByteOffset: $0, as: UInt8.self)
    }
    return failure(offset + (first ?? 0))
  }

  private static func failure(_ byte: Int) -> VerificationFailure {
    VerificationFailure(
      description: "verification failed: unit 0 block \(byte / 4096): byte \(byte) of the image is not what was written"
    )
  }

  /// Keeps `depth` pieces in flight until all are done.
  private mutating func transfer(
    _ total: Int, _ report: (Double) throws -> Void,
    prepare: (Int, UnsafeMutableRawPointer, Int) -> (Operation, ControllerIdentity),
    done: (Int, UnsafeMutableRawPointer) throws -> Void
  ) throws {
    var free = Array((0..<depth).reversed())
    var started = [UInt64](repeating: 0, count: depth)
    var places = [Int](repeating: 0, count: depth)
    var next = 0
    var finished = 0
    let base = host.arena.baseAddress!
    while finished < total {
      while next < total, let place = free.last {
        let (operation, controller) = prepare(next, base + place * pieceSize, pieceSize)
        let request = Request(
          operation, unit: unit, offset: UInt64(next * pieceSize), length: UInt64(pieceSize),
          buffer: UInt64(place * pieceSize))
        guard host.submit(request, to: controller, cookie: UInt64(place)) else { break }
        free.removeLast()
        places[place] = next
        started[place] = monotonicNanoseconds()
        next += 1
      }
      var progress = false
      while let completion = host.next() {
        progress = true
        let place = Int(completion.cookie)
        latencies.record(monotonicNanoseconds() &- started[place])
        requests += 1
        servedBy[Int(completion.service.controller.rawValue)] += 1
        guard completion.status == .success else {
          throw BatonError(.system, "unit 0 block \(places[place] * pieceSize / 4096)", "\(completion.status)")
        }
        try done(places[place], base + place * pieceSize)
        free.append(place)
        finished += 1
      }
      try report(Double(finished) / Double(total))
      if !progress {
        if let loss = host.subsystemLoss { throw loss }
        host.wait(nanoseconds: 20_000_000)
      }
    }
  }
}
