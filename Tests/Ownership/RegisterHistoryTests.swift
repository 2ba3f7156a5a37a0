import Testing

@Suite("Register history: what hosts can have been answered")
struct RegisterHistoryTests {
  /// Write 0 is answered, write 1 is not, and read 2 comes then.
  private func history() -> RegisterHistory {
    var history = RegisterHistory()
    history.submit(0, isWrite: true)
    history.answerWrite(0)
    history.submit(1, isWrite: true)
    history.submit(2, isWrite: false)
    return history
  }

  @Test("A read gives what was answered, or what is under way, and nothing older")
  func reads() {
    for (value, isPossible) in [(UInt8(0), false), (1, true), (2, true), (3, false)] {
      var history = history()
      history.answerRead(2, value)
      #expect(history.isPossible == isPossible, "value \(value)")
    }
  }

  @Test("What was seen once has happened, and does not happen again")
  func seen() {
    for (value, isPossible) in [(UInt8(1), false), (2, true)] {
      var history = history()
      history.answerRead(2, 2)
      history.submit(3, isWrite: false)
      history.answerRead(3, value)
      #expect(history.isPossible == isPossible, "value \(value)")
    }
    var history = history()
    history.answerRead(2, 2)
    history.submit(3, isWrite: true)
    history.answerWrite(3)
    history.answerWrite(1)
    #expect(history.canEnd(with: 4) && !history.canEnd(with: 2))
  }

  @Test("Of two writes under way either may be the last")
  func order() {
    var history = history()
    history.submit(3, isWrite: true)
    history.answerWrite(3)
    #expect(history.canEnd(with: 4))
    history.answerWrite(1)
    #expect(history.canEnd(with: 2) && history.canEnd(with: 4) && !history.canEnd(with: 1))
  }
}
