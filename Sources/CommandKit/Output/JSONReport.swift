import Baton
import FoundationEssentials
import Glibc

/// JSON for programs: the same figures that people get. docs/json-schema.json describes it, and
/// Tests/Command/JSONSchemaTests.swift holds every command against that.
///
/// All reports begin alike: which command, on what machine, with which configuration, and why it ended. One thing has
/// one name in all of them. Keys are the Swift names in snake case; what may be unknown is null, not absent. A number
/// of 64 bits that JavaScript would round is a string.
package enum JSONReport {
  /// Counts changes that a reader of the report must know of.
  package static let format = 1

  /// Writes a report to a file, or to standard output for `-`.
  ///
  /// `configuration` is what was asked for: the options by their names on the command line. The date is added.
  package static func write(
    _ report: some Encodable, of command: String, _ configuration: [String: Setting], ending: Ending? = nil,
    started: String = now, to path: String
  ) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    let whole = Envelope(
      command: command, configuration: configuration.merging(["date": .string(started)]) { own, _ in own },
      ending: ending, report: report)
    let text = String(decoding: try encoder.encode(whole), as: UTF8.self) + "\n"
    try OutputFile.write(text, to: path)
  }

  /// The present moment, as in `2026-11-22T20:15:00Z`.
  package static var now: String { Date.now.formatted(.iso8601) }

  /// The fields that precede every report's own.
  private struct Envelope<Report: Encodable>: Encodable {
    let command: String
    let configuration: [String: Setting]
    let ending: Ending?
    let report: Report

    enum CodingKeys: String, CodingKey { case command, format, machine, configuration, ending }

    func encode(to encoder: any Encoder) throws {
      var fields = encoder.container(keyedBy: CodingKeys.self)
      try fields.encode(command, forKey: .command)
      try fields.encode(JSONReport.format, forKey: .format)
      try fields.encode(Platform.present, forKey: .machine)
      try fields.encode(configuration, forKey: .configuration)
      try fields.encodeIfPresent(ending, forKey: .ending)
      // Its fields join these, and its own `machine`, which says more, replaces this one.
      try report.encode(to: encoder)
    }
  }

  /// The value of one option.
  package enum Setting: Encodable, ExpressibleByBooleanLiteral, ExpressibleByStringLiteral, ExpressibleByNilLiteral {
    case string(String)
    case number(UInt64)
    case seconds(Double)
    case flag(Bool)
    case list([String])
    /// Left out.
    case none

    package init(booleanLiteral value: Bool) { self = .flag(value) }
    package init(stringLiteral value: String) { self = .string(value) }
    package init(nilLiteral: ()) { self = .none }

    package init(_ value: String?) { self = value.map { .string($0) } ?? .none }
    package init(_ value: UInt64?) { self = value.map { .number($0) } ?? .none }
    package init(_ value: Int?) { self.init(value.map { UInt64(max($0, 0)) }) }
    package init(_ value: Double?) { self = value.map { .seconds($0) } ?? .none }
    package init(_ value: Bool) { self = .flag(value) }
    /// A number that uses all 64 bits.
    package init(wide value: UInt64?) { self = value.map { .string("\($0)") } ?? .none }

    package func encode(to encoder: any Encoder) throws {
      var value = encoder.singleValueContainer()
      switch self {
      case .string(let text): try value.encode(text)
      case .number(let number): try value.encode(number)
      case .seconds(let seconds): try value.encode(seconds)
      case .flag(let flag): try value.encode(flag)
      case .list(let words): try value.encode(words)
      case .none: try value.encodeNil()
      }
    }
  }
}
