import Foundation

/// A validator for as much of JSON Schema (2020-12) as docs/json-schema.json uses; anything else in a schema is a
/// finding, so that nothing passes because it is not understood.
struct JSONSchema {
  private let root: [String: Any]

  init(contentsOfFile path: String) throws {
    let object = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: path)))
    root = object as? [String: Any] ?? [:]
  }

  /// What is wrong with a value that should be as `$defs` has it under that name; empty: nothing.
  func findings(_ value: Any, is name: String) -> [String] { check(value, ["$ref": "#/$defs/\(name)"], "") }

  private func check(_ value: Any, _ schema: [String: Any], _ place: String) -> [String] {
    var findings: [String] = []
    func found(_ what: String) { findings.append("\(place.isEmpty ? "/" : place): \(what)") }
    for (keyword, wanted) in schema {
      switch (keyword, wanted) {
      case ("description", _), ("required", _): break
      case ("$ref", let reference as String):
        guard let definition = definition(reference) else {
          found("no definition \(reference)")
          break
        }
        findings += check(value, definition, place)
      case ("type", let type as String):
        if !Self.is(value, type) { found("\(value) is no \(type)") }
      case ("type", let types as [String]):
        if !types.contains(where: { Self.is(value, $0) }) { found("\(value) is none of \(types)") }
      case ("const", _):
        if !Self.same(value, wanted) { found("\(value) is not \(wanted)") }
      case ("enum", let values as [Any]):
        if !values.contains(where: { Self.same(value, $0) }) { found("\(value) is none of \(values)") }
      case ("pattern", let pattern as String):
        if let text = value as? String, text.range(of: pattern, options: .regularExpression) == nil {
          found("'\(text)' does not match \(pattern)")
        }
      case ("minimum", let minimum as NSNumber):
        if let number = value as? NSNumber, number.doubleValue < minimum.doubleValue { found("\(number) < \(minimum)") }
      case ("anyOf", let schemas as [[String: Any]]):
        let all = schemas.map { check(value, $0, place) }
        if !all.contains([]) { findings += all.min { $0.count < $1.count } ?? [] }
      case ("items", let items as [String: Any]):
        for (index, item) in ((value as? [Any]) ?? []).enumerated() {
          findings += check(item, items, "\(place)/\(index)")
        }
      case ("properties", let properties as [String: [String: Any]]):
        guard let object = value as? [String: Any] else { break }
        for (name, schema) in properties {
          if let field = object[name] { findings += check(field, schema, "\(place)/\(name)") }
        }
      case ("additionalProperties", _):
        guard let object = value as? [String: Any] else { break }
        let known = (schema["properties"] as? [String: Any]) ?? [:]
        for (name, field) in object where known[name] == nil {
          if let schema = wanted as? [String: Any] {
            findings += check(field, schema, "\(place)/\(name)")
          } else {
            found("has '\(name)', which the schema does not know")
          }
        }
      default: found("the schema has '\(keyword)', which this does not understand")
      }
    }
    if let object = value as? [String: Any] {
      for name in (schema["required"] as? [String]) ?? [] where object[name] == nil { found("has no '\(name)'") }
    }
    return findings
  }

  private func definition(_ reference: String) -> [String: Any]? {
    guard reference.hasPrefix("#/$defs/") else { return nil }
    return (root["$defs"] as? [String: Any])?[String(reference.dropFirst("#/$defs/".count))] as? [String: Any]
  }

  /// A truth value is an NSNumber too, and only its Objective-C type tells.
  private static func isBoolean(_ value: Any) -> Bool {
    (value as? NSNumber).map { String(cString: $0.objCType) == "c" } ?? false
  }

  private static func `is`(_ value: Any, _ type: String) -> Bool {
    switch type {
    case "object": value is [String: Any]
    case "array": value is [Any]
    case "string": value is String
    case "boolean": isBoolean(value)
    case "null": value is NSNull
    case "number": value is NSNumber && !isBoolean(value)
    case "integer": (value as? NSNumber).map { !isBoolean($0) && $0.doubleValue.rounded() == $0.doubleValue } ?? false
    default: false
    }
  }

  private static func same(_ one: Any, _ other: Any) -> Bool {
    if let one = one as? NSObject, let other = other as? NSObject { return one == other }
    if let one = one as? String, let other = other as? String { return one == other }
    return "\(one)" == "\(other)" && Swift.type(of: one) == Swift.type(of: other)
  }
}
