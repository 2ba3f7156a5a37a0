import BatonSystem

/// The properties of a unit, found once, when its subsystem was created. Both controllers rely on them.
public struct UnitGeometry: Equatable {
  /// The storage that holds the blocks. `BackendKinds.swift` names the type that does what depends on it.
  @frozen
  public enum Kind: UInt8, CaseIterable, Sendable {
    /// A regular file.
    case file = 1
    /// A block device.
    case blockDevice = 2
    /// Shared memory.
    case memory = 3
    /// Nothing: writes are dropped, reads leave the buffer as it is.
    case null = 4
  }

  /// The storage that holds the blocks.
  public var kind: Kind
  /// Size in bytes, a multiple of `blockSize`.
  public var size: UInt64
  /// Offsets, lengths and arena offsets are multiples of this: what O_DIRECT requires, or 512.
  public var blockSize: UInt32
  /// Whether the page cache is bypassed.
  public var isDirect: Bool
  /// The identity of the file or device. A unit that is opened must still be the same one: two controllers on two files
  /// that had the same path one after the other would each serve data of its own. Nil for a null unit, and if nothing
  /// was noted.
  public var identity: FileFacts.Identity?

  /// A geometry of these parts, unchecked: `Backend.prepare` checks.
  public init(
    kind: Kind, size: UInt64, blockSize: UInt32, isDirect: Bool, identity: FileFacts.Identity? = nil
  ) {
    self.kind = kind
    self.size = size
    self.blockSize = blockSize
    self.isDirect = isDirect
    self.identity = identity
  }

  /// The smallest block there is.
  public static let blockSizeMin: UInt32 = 512
  /// The largest block that a file system may ask for here.
  public static let blockSizeMax: UInt32 = 65536
  /// The block size if O_DIRECT works and the file system does not report its alignment (kernels before 6.1).
  static let blockSizeAssumed: UInt32 = 4096
  /// Whether a unit can have this block size.
  public static func isBlockSize(_ bytes: UInt32) -> Bool {
    bytes >= blockSizeMin && bytes <= blockSizeMax && bytes & (bytes - 1) == 0
  }
  /// A unit's size ends where the locks of the drain proof begin.
  public static let sizeMax: UInt64 = 1 << 60
}

extension UnitGeometry {
  /// The geometry of a new unit: whole blocks, and neither too few nor too many of them.
  static func checked(
    _ kind: Kind, size: UInt64, blockSize: UInt32 = blockSizeMin, isDirect: Bool = false,
    identity: FileFacts.Identity? = nil, path: String = ""
  ) throws(BatonError) -> UnitGeometry {
    let subject = path.isEmpty ? "unit of \(size) bytes" : path
    guard isBlockSize(blockSize) else {
      throw BatonError(
        .unsupported, subject, "requires direct I/O in blocks of \(blockSize) bytes",
        fix: "create the unit with --buffered")
    }
    let whole = size & ~(UInt64(blockSize) - 1)
    guard whole > 0 else {
      throw BatonError(
        .truncated, subject, "is too small: it has \(size) bytes and a block has \(blockSize)",
        fix: "enlarge it, or name a SIZE behind it")
    }
    try checkSize(whole, subject)
    return UnitGeometry(kind: kind, size: whole, blockSize: blockSize, isDirect: isDirect, identity: identity)
  }

  /// Refuses a unit whose locks would lie within its data.
  static func checkSize(_ size: UInt64, _ subject: String) throws(BatonError) {
    guard size <= sizeMax else {
      throw BatonError(
        .invalid, subject, "would be larger than \(ByteCount.describe(sizeMax))", fix: "ask for less")
    }
  }
}
