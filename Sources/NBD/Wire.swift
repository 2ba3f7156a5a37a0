// The numbers of the NBD protocol, from its document (doc/proto.md of NetworkBlockDevice/nbd), by its names. Everything
// on the wire is big-endian and unaligned.

/// Magic numbers.
enum Magic {
  /// `NBDMAGIC`: the first bytes of a server.
  static let greeting: UInt64 = 0x4e42_444d_4147_4943
  /// `IHAVEOPT`: the newstyle handshake, and each option.
  static let option: UInt64 = 0x4948_4156_454f_5054
  static let optionReply: UInt64 = 0x0003_e889_0455_65a9
  static let request: UInt32 = 0x2560_9513
  static let simpleReply: UInt32 = 0x6744_6698
  static let structuredReply: UInt32 = 0x668e_33ef
}

/// Fixed lengths, in bytes.
enum WireLength {
  static let clientFlags = 4
  static let optionHeader = 16
  static let optionReplyHeader = 20
  static let request = 28
  static let simpleReply = 16
  /// A structured reply chunk without its payload.
  static let chunkHeader = 20
  /// A chunk of data: its header and the offset. The data follows.
  static let dataChunk = 28
  /// A chunk of block status: its header and the context. The extents follow.
  static let statusChunk = 24
  /// An error chunk: its header, the error and the length of the message, which follows.
  static let errorChunk = 26
  /// One extent of a block status: its length and its flags.
  static let extent = 8
  /// The zeroes after the reply to EXPORT_NAME, unless the client can do without.
  static let exportNameZeroes = 124
}

/// Flags of the handshake, the server's and the client's alike.
enum HandshakeFlag {
  static let fixedNewstyle: UInt32 = 1
  static let noZeroes: UInt32 = 2
  static let known = fixedNewstyle | noZeroes
}

/// The abilities of an export, as clients are told.
enum TransmissionFlag {
  static let hasFlags: UInt16 = 1 << 0
  static let readOnly: UInt16 = 1 << 1
  static let sendFlush: UInt16 = 1 << 2
  static let sendFUA: UInt16 = 1 << 3
  static let sendTrim: UInt16 = 1 << 5
  static let sendWriteZeroes: UInt16 = 1 << 6
  static let sendDF: UInt16 = 1 << 7
  static let canMultiConn: UInt16 = 1 << 8
  static let sendCache: UInt16 = 1 << 10
  static let sendFastZero: UInt16 = 1 << 11
}

/// The requests of clients in the handshake.
enum Option: UInt32 {
  case exportName = 1
  case abort = 2
  case list = 3
  case startTLS = 5
  case info = 6
  case go = 7
  case structuredReply = 8
  case listMetaContext = 9
  case setMetaContext = 10
}

/// The answers to options.
enum OptionReply {
  static let acknowledge: UInt32 = 1
  static let server: UInt32 = 2
  static let info: UInt32 = 3
  static let metaContext: UInt32 = 4
  static let errorUnsupported: UInt32 = 1 << 31 | 1
  static let errorInvalid: UInt32 = 1 << 31 | 3
  static let errorUnknown: UInt32 = 1 << 31 | 6
  static let errorTooBig: UInt32 = 1 << 31 | 9
}

/// The kinds of information in answers to INFO and GO.
enum Information {
  static let export: UInt16 = 0
  static let name: UInt16 = 1
  static let description: UInt16 = 2
  static let blockSize: UInt16 = 3
}

/// The requests of clients in the transmission phase.
enum Command: UInt16 {
  case read = 0
  case write = 1
  case disconnect = 2
  case flush = 3
  case trim = 4
  case cache = 5
  case writeZeroes = 6
  case blockStatus = 7
}

/// Flags of a request.
enum CommandFlag {
  static let fua: UInt16 = 1 << 0
  static let noHole: UInt16 = 1 << 1
  static let df: UInt16 = 1 << 2
  static let requestOne: UInt16 = 1 << 3
  static let fastZero: UInt16 = 1 << 4

  /// The flags that are documented for a command. FUA is valid for each, "even by ignoring the bit".
  static func valid(for command: Command, hasStructuredReplies: Bool) -> UInt16 {
    switch command {
    case .read: hasStructuredReplies ? fua | df : fua
    case .writeZeroes: fua | noHole | fastZero
    case .blockStatus: fua | requestOne
    case .write, .disconnect, .flush, .trim, .cache: fua
    }
  }
}

/// Chunks of a structured reply.
enum Chunk {
  static let flagDone: UInt16 = 1
  static let offsetData: UInt16 = 1
  static let blockStatus: UInt16 = 5
  static let error: UInt16 = 1 << 15 | 1
}

/// The metadata context `base:allocation`, the only one.
enum AllocationContext {
  static let namespace: StaticString = "base:"
  static let name: StaticString = "base:allocation"
  /// Its number, the server's choice.
  static let identifier: UInt32 = 1
  static let hole: UInt32 = 1
  static let zero: UInt32 = 2
}

/// Errors that a request can be answered with.
@frozen
public enum NBDError: UInt32, Sendable {
  /// The export is read-only.
  case notPermitted = 1
  /// The storage failed.
  case inputOutput = 5
  /// An invalid request.
  case invalid = 22
  /// Past the end of the export, or the storage is full.
  case noSpace = 28
  /// Longer than the server takes.
  case overflow = 75
  /// A fast way was requested, and none exists.
  case notSupported = 95
  /// The server shuts down.
  case shutDown = 108
}

extension UnsafeRawPointer {
  /// A big-endian number at any address.
  @inline(__always)
  func big<Number: FixedWidthInteger>(_ offset: Int, as type: Number.Type = Number.self) -> Number {
    Number(bigEndian: loadUnaligned(fromByteOffset: offset, as: type))
  }
}

extension UnsafeMutableRawPointer {
  /// Stores a number as big-endian at any address.
  @inline(__always)
  func setBig<Number: FixedWidthInteger>(_ value: Number, at offset: Int) {
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: Number.self)
  }
}

extension StaticString {
  /// Its bytes, which stay in memory for as long as the program runs.
  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: utf8Start, count: utf8CodeUnitCount) }
}
