import ArgumentParser
import Baton
import BatonSharedMemory
import BatonSystem
import Logging

// Values on the command line: the accepted forms, and the errors for all others.

/// A number of bytes: `4k`.
package struct ByteSize: ExpressibleByArgument {
  package let bytes: UInt64
  package init(_ bytes: UInt64) { self.bytes = bytes }

  package init?(argument: String) {
    guard let bytes = ByteCount.parse(argument) else { return nil }
    self.bytes = bytes
  }

  /// - Throws: an error that lists what is accepted.
  package init(parsing word: String) throws {
    guard let bytes = ByteCount.parse(word) else {
      throw ValidationError("'\(word)' is not a size; use a whole number of bytes, K, M, G or T, such as 4096 or 4k")
    }
    self.bytes = bytes
  }

  package var defaultValueDescription: String { "\(bytes)" }
}

/// A duration.
package enum RunTime {
  /// Seconds, from `10`, `0.5`, `10s`, `500ms`, `2m` or `1h`.
  ///
  /// - Throws: an error that lists what is accepted.
  package static func seconds(parsing word: String) throws -> Double {
    let units: [(suffix: String, seconds: Double)] = [
      ("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1), ("m", 60), ("h", 3600), ("", 1),
    ]
    for unit in units where word.hasSuffix(unit.suffix) {
      let number = word.dropLast(unit.suffix.count)
      // `Double` takes "inf" and "0x1p3" too.
      guard let value = Double(number), number.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2e }) else {
        break
      }
      return value * unit.seconds
    }
    throw ValidationError("'\(word)' is not a time; use seconds, or a number with ms, s, m or h, such as 10s")
  }
}

extension WaitStrategy: ExpressibleByArgument {
  /// From the command line's word.
  public init?(argument: String) { self.init(argument) }
  /// As it is typed.
  public var defaultValueDescription: String { name }
  /// The accepted words.
  public static var allValueStrings: [String] { [WaitStrategy.spin, .standard, .park].map(\.name) }
}

extension ResidencyPolicy: ExpressibleByArgument {
  /// From the command line's word.
  public init?(argument: String) {
    switch argument {
    case "adaptive": self = .standard
    case "pending": self = .pendingOnly
    default:
      guard let nanoseconds = ByteCount.parseNanoseconds(argument) else { return nil }
      self = .fixed(nanoseconds: nanoseconds)
    }
  }

  /// - Throws: an error that lists what is accepted.
  package static func parse(_ word: String) throws -> ResidencyPolicy {
    guard let policy = ResidencyPolicy(argument: word) else {
      throw ValidationError("'\(word)' is not a residency; use adaptive, pending, or a time such as 200us or 5ms")
    }
    return policy
  }

  /// As it is typed.
  public var defaultValueDescription: String {
    switch self {
    case .adaptive: "adaptive"
    case .pendingOnly: "pending"
    case .fixed(let nanoseconds): "\(nanoseconds)ns"
    }
  }
}

/// The time within which the peer must answer a doorbell: `1s`, `20ms`.
package struct Deadline: ExpressibleByArgument {
  package let nanoseconds: UInt64
  package static let standard = Deadline(nanoseconds: ControllerOptions().deadlineNanoseconds)

  /// Of so many nanoseconds, which are enough.
  package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  package init?(argument: String) {
    guard let nanoseconds = ByteCount.parseNanoseconds(argument),
      nanoseconds >= ControllerOptions.deadlineNanosecondsMin
    else { return nil }
    self.nanoseconds = nanoseconds
  }

  /// - Throws: an error that lists what is accepted.
  package static func parse(_ word: String) throws -> Deadline {
    guard let deadline = Deadline(argument: word) else {
      throw ValidationError(
        "'\(word)' is not a deadline; use a time such as 1s or 50ms, "
          + "\(ControllerOptions.deadlineNanosecondsMin / 1_000_000)ms or more")
    }
    return deadline
  }

  package var defaultValueDescription: String { "\(nanoseconds / 1_000_000)ms" }
}

extension Logger.Level: @retroactive ExpressibleByArgument {}
