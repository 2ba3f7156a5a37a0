import BatonSystem

/// A unit as NBD clients see it.
public struct NBDExport: Sendable {
  /// Size in bytes, a multiple of `blockSize`.
  public var size: UInt64
  /// The unit of offsets and lengths: a power of two from 512 to 65,536.
  public var blockSize: UInt32
  /// The name that it was given, besides `unitN`; empty: none.
  public var name: String
  /// For people.
  public var description: String
  /// Whether writes are refused. May change: clients that connect afterwards are told.
  public var isReadOnly: Bool

  /// An export of these parts, unchecked: `NBDExports` checks.
  public init(
    size: UInt64, blockSize: UInt32, name: String = "", description: String = "", isReadOnly: Bool = false
  ) {
    self.size = size
    self.blockSize = blockSize
    self.name = name
    self.description = description
    self.isReadOnly = isReadOnly
  }

  /// The block size that is fastest: a page, or the smallest there is.
  var blockSizePreferred: UInt32 { max(blockSize, UInt32(PagePool.pageSize)) }
}

/// The exports that clients can connect to: unit N by the name `unitN` and by its given name, unit 0 also by the empty
/// name.
public struct NBDExports: Sendable {
  private var exports: [NBDExport]
  private let units: [String: Int]

  /// Bytes of a name or a description, at most. The protocol asks for no more than 256.
  public static let nameMax = 255
  /// The largest and the smallest block size that both the protocol and Baton support.
  private static let blockSizes: ClosedRange<UInt32> = 512...65536

  /// One export per unit, in order.
  ///
  /// - Throws: `.invalid` for a name that is too long, given twice, or means another unit.
  public init(_ exports: [NBDExport]) throws(BatonError) {
    var units: [String: Int] = [:]
    for (unit, export) in exports.enumerated() {
      let subject = "export of unit \(unit)"
      guard Self.blockSizes.contains(export.blockSize), export.blockSize & (export.blockSize - 1) == 0,
        export.size > 0, export.size % UInt64(export.blockSize) == 0
      else {
        throw BatonError(
          .invalid, subject, "has \(export.size) bytes in blocks of \(export.blockSize)",
          fix: "a block is a power of two from 512 to 65536, a unit a whole number of blocks")
      }
      guard export.name.utf8.count <= Self.nameMax, export.description.utf8.count <= Self.nameMax,
        !export.name.utf8.contains(0), !export.description.utf8.contains(0)
      else {
        throw BatonError(
          .invalid, subject, "has a name or description that clients cannot be told",
          fix: "use at most \(Self.nameMax) bytes, none of them zero")
      }
      if export.name.isEmpty { continue }
      if let other = Self.unitNumber(Array(export.name.utf8)), other != unit {
        throw BatonError(
          .invalid, subject, "is named '\(export.name)', which means unit \(other)", fix: "choose another name")
      }
      guard units.updateValue(unit, forKey: export.name) == nil else {
        throw BatonError(
          .invalid, subject, "is named '\(export.name)', as another one is", fix: "choose another name")
      }
    }
    self.exports = exports
    self.units = units
  }

  /// The number of exports.
  public var count: Int { exports.count }

  /// The export of a unit.
  public subscript(unit: Int) -> NBDExport { exports[unit] }

  /// Sets whether a unit is read-only from now on.
  public mutating func setReadOnly(_ isReadOnly: Bool, unit: Int) { exports[unit].isReadOnly = isReadOnly }

  /// The name that clients see: the given one, else `unitN`.
  public func name(of unit: Int) -> String { exports[unit].name.isEmpty ? "unit\(unit)" : exports[unit].name }

  /// The unit that a client means; nil: none.
  public func unit(named name: some Collection<UInt8>) -> Int? {
    if name.isEmpty { return exports.isEmpty ? nil : 0 }
    if name.count > Self.nameMax { return nil }
    if let unit = Self.unitNumber(name) { return unit < exports.count ? unit : nil }
    guard let name = String(validating: name, as: UTF8.self) else { return nil }
    return units[name]
  }

  /// The N of `unitN`, in its canonical form.
  private static func unitNumber(_ name: some Collection<UInt8>) -> Int? {
    guard name.starts(with: "unit".utf8) else { return nil }
    let digits = name.dropFirst(4)
    guard (1...9).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }),
      digits.count == 1 || digits.first != 0x30
    else { return nil }
    return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
  }
}
