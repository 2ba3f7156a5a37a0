import Baton
import BatonCommandKit
import Testing

@Suite("Other programs, run to their end")
struct ProgramOutputTests {
  @Test("What a program prints, and how it ends, is told apart")
  func output() throws {
    let said = try ProgramOutput.of("/bin/sh", ["-c", "echo one; echo two >&2"], within: 60, subject: "it")
    #expect(said == "one\ntwo\n")
    let failed = error("/bin/sh", ["-c", "echo why; exit 3"])
    #expect(failed?.problem == "ended with status 3: why")
    #expect(error("/bin/sh", ["-c", "kill -9 $$"])?.problem == "was ended by signal 9")
    #expect(error("/nonexistent", [])?.code == .missing)
    #expect(error("/bin/sh", ["-c", "exec sleep 1000"], within: 0.1)?.problem.hasPrefix("did not come") == true)
    #expect(error("/bin/sh", ["-c", "exec yes"])?.problem.hasPrefix("says more") == true)
  }

  private func error(_ program: String, _ words: [String], within seconds: Double = 60) -> BatonError? {
    do throws(BatonError) {
      _ = try ProgramOutput.of(program, words, within: seconds, subject: "it")
      return nil
    } catch { return error }
  }
}
