import Testing

@testable import BatonCommandKit

@Suite("Words on the command line")
struct WordTests {
  private static let commands = ["demo", "stress", "bench", "serve", "create", "controller", "run", "status", "list"]

  @Test(
    "A mistyped subcommand suggests the one that was meant",
    arguments: [
      ("stats", "status"), ("staus", "status"), ("statsu", "status"), ("STATUS", "status"), ("crate", "create"),
      ("contoller", "controller"), ("sres", "stress"), ("cont", "controller"), ("lst", "list"), ("rn", "run"),
    ])
  func suggested(word: String, meant: String) {
    #expect(Suggestion.nearest(to: word, among: Self.commands) == meant)
  }

  @Test("A word that is like none suggests none", arguments: ["", "x", "frobnicate", "destruction", "zzzz"])
  func notSuggested(word: String) { #expect(Suggestion.nearest(to: word, among: Self.commands) == nil) }

  @Test(
    "Times", arguments: [("10", 10), ("10s", 10), ("0.5", 0.5), ("500ms", 0.5), ("2m", 120), ("1.5h", 5400)])
  func times(word: String, seconds: Double) throws { #expect(try RunTime.seconds(parsing: word) == seconds) }

  @Test(
    "What is no time says what is", arguments: ["", "s", "ten", "-1", "+1", "1e3", "inf", "0x10", "10 s", "1d", "."])
  func noTimes(word: String) {
    #expect {
      try RunTime.seconds(parsing: word)
    } throws: {
      "\($0)".contains("such as 10s")
    }
  }
}
