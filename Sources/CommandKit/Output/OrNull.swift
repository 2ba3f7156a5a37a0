/// A field that is null where there is nothing to say, and never absent.
@propertyWrapper
package struct OrNull<Value: Encodable>: Encodable {
  package var wrappedValue: Value?

  package init(wrappedValue: Value?) { self.wrappedValue = wrappedValue }

  package func encode(to encoder: any Encoder) throws {
    var field = encoder.singleValueContainer()
    if let wrappedValue { try field.encode(wrappedValue) } else { try field.encodeNil() }
  }
}

extension OrNull: Sendable where Value: Sendable {}
extension OrNull: Equatable where Value: Equatable {}
