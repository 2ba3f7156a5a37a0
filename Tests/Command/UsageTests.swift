import Testing

@Suite("A command line that makes no sense")
struct UsageTests {
  @Test("The command line says what would be accepted")
  func accepted() throws {
    let rig = try CommandRig()
    for (words, said) in [
      (["stats"], "did you mean 'status'?"), (["frobnicate"], "'baton --help' lists them"),
      (["run", "x", "--wait", "spn"], "'spin'"), (["run", "x", "--bs", "4q"], "such as 4096 or 4k"),
      (["run", "x", "--runtime", "ten"], "such as 10s"), (["run", "x", "--path", "c"], "'both'"),
      (["controller", "x", "a", "--residency", "long"], "adaptive, pending"),
      (["controller", "x", "a", "--deadline", "1ms"], "20ms or more"),
      (["controller", "x", "a", "--log-level", "loud"], "- info"), (["create", "x", "--unit", "mem:1.5M"], "1536k"),
    ] {
      let outcome = try rig.run(words)
      #expect(outcome.status == (words[0] == "create" ? outcome.status : 64), "\(words): \(outcome.errors)")
      #expect(outcome.status != 0)
      #expect(outcome.errors.contains(said), "\(words): \(outcome.errors)")
    }
  }
}
