import BatonSystem

/// Nothing: writes vanish, and reads leave the buffer as it is.
///
/// Without faults, `Storage.start` does not even come here (`Backend.doesNothing`).
enum NullBackend: BackendKind {
  static var fileKind: FileFacts.Kind? { nil }
  static var descriptorsNeeded: Int { 0 }

  static func prepare(_ specification: UnitSpecification) throws(BatonError) -> UnitGeometry {
    try .checked(.null, size: specification.size ?? 0)
  }

  static func open(_ unit: UnitToOpen) -> Backend { Backend(unit, work: .nothing, isStorage: false) }

  @inline(__always)
  static func doAtOnce() -> Bool { true }

  @inline(__always)
  static func bytesMoved() -> Int { 0 }
}
