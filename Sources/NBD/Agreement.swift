/// What a client and the server have agreed on in the handshake.
struct Agreement {
  private(set) var hasStructuredReplies = false
  private(set) var needsNoZeroes = false
  /// The unit that the client has chosen; -1: none yet.
  private(set) var unit = -1
  private(set) var size: UInt64 = 0
  private(set) var blockSize: UInt32 = 0
  private(set) var isReadOnly = false
  /// The unit whose `base:allocation` was selected; -1: none.
  private var contextUnit = -1
  /// The unit of the last option, an INFO, and whether it was reported as read-only; nil: it was another option.
  private var informed: (unit: Int, isReadOnly: Bool)?

  /// The client does without the zeroes after the answer to EXPORT_NAME, or needs them.
  mutating func setNeedsNoZeroes(_ needsNone: Bool) { needsNoZeroes = needsNone }

  /// Replies are structured from now on.
  mutating func useStructuredReplies() { hasStructuredReplies = true }

  // MARK: The unit

  /// The unit that all requests go to.
  mutating func select(_ unit: Int, _ export: NBDExport) {
    self.unit = unit
    size = export.size
    blockSize = export.blockSize
    isReadOnly = export.isReadOnly
    if contextUnit != unit { contextUnit = -1 }
  }

  /// What the server says about an export. Connections share one cache, both controllers' do, so that CAN_MULTI_CONN
  /// holds: `NBDOperation.Kind.flush`.
  func flags(of export: NBDExport) -> UInt16 {
    var flags =
      TransmissionFlag.hasFlags | TransmissionFlag.sendFlush | TransmissionFlag.sendFUA
      | TransmissionFlag.canMultiConn | TransmissionFlag.sendCache
    if export.isReadOnly {
      flags |= TransmissionFlag.readOnly
    } else {
      flags |= TransmissionFlag.sendTrim | TransmissionFlag.sendWriteZeroes | TransmissionFlag.sendFastZero
    }
    if hasStructuredReplies { flags |= TransmissionFlag.sendDF }
    return flags
  }

  // MARK: Metadata contexts

  /// Whether the chosen unit's `base:allocation` was selected.
  var hasContext: Bool { contextUnit == unit }

  mutating func selectContext(of unit: Int) { contextUnit = unit }

  mutating func dropContext() { contextUnit = -1 }

  // MARK: INFO before GO

  /// An INFO has been answered.
  mutating func inform(_ unit: Int, isReadOnly: Bool) { informed = (unit, isReadOnly) }

  /// What the last option reported, if it was an INFO. It is not the last one any more.
  mutating func takeInformed() -> (unit: Int, isReadOnly: Bool)? {
    defer { informed = nil }
    return informed
  }
}

/// The option that takes more than one step.
enum OptionUnderWay {
  /// There is none.
  case none
  /// LIST: the position in the list of exports that comes next.
  case listing(next: Int)
  /// One with too much data, which is being skipped. It is refused after that.
  case skipping(option: UInt32)
}
