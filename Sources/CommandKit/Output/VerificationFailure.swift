/// Data or answers were wrong: what Baton exists to prevent.
package struct VerificationFailure: Error, CustomStringConvertible {
  package let description: String

  package init(description: String) { self.description = description }
}
