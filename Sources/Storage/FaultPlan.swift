import BatonSystem

/// The faults of a unit's operations, on purpose.
public struct FaultPlan: Sendable, Equatable {
  /// Delay of every operation. 0: none.
  public var delayNanoseconds: UInt64 = 0
  /// Number of operations that succeed before all others fail with EIO. 0: none fails for this.
  public var errorAfter: UInt64 = 0
  /// One in this many operations fails with EIO. 0: none fails for this.
  public var errorEvery: UInt64 = 0
  /// One system call transfers at most so many bytes. 0: all.
  public var shortTransferBytes: UInt32 = 0

  /// A controller that leaves waits for what is in flight: no delay may keep it from leaving for longer than this.
  public static let delayNanosecondsMax: UInt64 = 10_000_000_000

  /// No faults.
  public init() {}

  /// Whether storage can do this: a delay that ends, and pieces of whole sectors.
  public var isSound: Bool { delayNanoseconds <= Self.delayNanosecondsMax && shortTransferBytes % 512 == 0 }

  /// Whether there are any faults.
  public var isEmpty: Bool { self == FaultPlan() }

  /// Whether the operation of that number, counted from 1, is to fail.
  func fails(_ number: UInt64) -> Bool {
    errorAfter > 0 && number > errorAfter || errorEvery > 0 && number % errorEvery == 0
  }

  /// Bytes that one system call is to transfer of so many: less on purpose, but whole blocks where those are needed.
  func shortened(_ count: UInt32, _ geometry: UnitGeometry) -> UInt32 {
    if shortTransferBytes == 0 { return count }
    let blockSize = geometry.blockSize
    return min(
      count, geometry.isDirect ? max(shortTransferBytes / blockSize, 1) * blockSize : shortTransferBytes)
  }

  init(parsing rules: some StringProtocol, within text: String) throws(BatonError) {
    for rule in rules.split(separator: ",", omittingEmptySubsequences: false) {
      guard let equals = rule.firstIndex(of: "=") else {
        throw UnitSpecification.invalid(text, "has a rule '\(rule)' that is not NAME=VALUE")
      }
      let value = rule[rule.index(after: equals)...]
      var isUnderstood = true
      switch rule[..<equals] {
      case "delay":
        if let parsed = ByteCount.parseNanoseconds(value) { delayNanoseconds = parsed } else { isUnderstood = false }
      case "error-after":
        if let parsed = ByteCount.digits(value), parsed > 0 {
          errorAfter = parsed
        } else {
          isUnderstood = false
        }
      case "error-every":
        if let parsed = ByteCount.digits(value), parsed > 0 {
          errorEvery = parsed
        } else {
          isUnderstood = false
        }
      case "short":
        if let parsed = ByteCount.parse(value).flatMap({ UInt32(exactly: $0) }), parsed > 0, parsed % 512 == 0 {
          shortTransferBytes = parsed
        } else {
          isUnderstood = false
        }
      default: isUnderstood = false
      }
      if delayNanoseconds > Self.delayNanosecondsMax {
        throw UnitSpecification.invalid(text, "has a delay of more than 10s, which no controller could leave before")
      }
      if !isUnderstood {
        throw UnitSpecification.invalid(
          text, "has a rule '\(rule)' that is none of delay=5ms, error-after=N, error-every=N, short=512")
      }
    }
  }
}
