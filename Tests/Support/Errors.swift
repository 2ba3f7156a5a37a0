import BatonSharedMemory
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

/// Expects an error of that code which names the thing; with `mend`, one that says how to mend it.
package func expectError<Result: ~Copyable>(
  _ code: BatonError.Code, naming subject: String, hasMend: Bool = true,
  sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Result
) {
  guard let error = errorOf(body, sourceLocation: sourceLocation) else { return }
  #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
  #expect(
    error.description.contains(subject), "the error names the thing: \(error)", sourceLocation: sourceLocation)
  #expect(
    !hasMend || !error.mend.isEmpty, "the error says how to mend it: \(error)", sourceLocation: sourceLocation)
}
