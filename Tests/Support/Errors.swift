import BatonSystem
import Testing

/// The error that `body` ends with; a failure of the test when it ends without one, or with another kind.
package func errorOf<Result: ~Copyable>(
  _ body: () throws -> Result, sourceLocation: SourceLocation = #_sourceLocation
) -> BatonError? {
  do {
    _ = try body()
    Issue.record("nothing was thrown", sourceLocation: sourceLocation)
  } catch let error as BatonError {
    return error
  } catch {
    Issue.record("\(error) was thrown, which is no BatonError", sourceLocation: sourceLocation)
  }
  return nil
}

/// Expects an error of that code which names the thing; with `fix`, one that says how to fix it.
package func expectError<Result: ~Copyable>(
  _ code: BatonError.Code, naming subject: String, hasFix: Bool = true,
  sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Result
) {
  guard let error = errorOf(body, sourceLocation: sourceLocation) else { return }
  #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
  #expect(
    error.description.contains(subject), "the error names the thing: \(error)", sourceLocation: sourceLocation)
  #expect(
    !hasFix || !error.fix.isEmpty, "the error says how to fix it: \(error)", sourceLocation: sourceLocation)
}
