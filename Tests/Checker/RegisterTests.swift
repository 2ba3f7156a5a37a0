import BatonChecker
import BatonTestSupport
import Testing

@Suite("Register")
struct RegisterTests {
  private func isLinearizable(_ history: [Register.Operation]) -> Bool {
    Register().contradiction(in: history, initially: [0]) == nil
  }

  @Test("A read finds the last write, or one that is under way")
  func reads() {
    #expect(isLinearizable([.init(.write(1), call: 1, end: 2), .init(.read([1]), call: 3, end: 4)]))
    #expect(!isLinearizable([.init(.write(1), call: 1, end: 2), .init(.read([0]), call: 3, end: 4)]))
    #expect(isLinearizable([.init(.write(1), call: 1, end: 5), .init(.read([0]), call: 3, end: 4)]))
    #expect(!isLinearizable([.init(.read([7]), call: 3, end: 4)]))
  }

  @Test("Two reads do not go back in time")
  func backwards() {
    let write = Register.Operation(.write(1), call: 1, end: 10)
    #expect(isLinearizable([write, .init(.read([0]), call: 2, end: 3), .init(.read([1]), call: 4, end: 5)]))
    #expect(!isLinearizable([write, .init(.read([1]), call: 2, end: 3), .init(.read([0]), call: 4, end: 5)]))
  }

  @Test("A write without an answer takes effect once at most, and not at all if nobody has read it")
  func unanswered() {
    let lost = Register.Operation(.write(1), call: 1, isOptional: true)
    let newer = Register.Operation(.write(2), call: 2, end: 3)
    #expect(isLinearizable([lost, newer, .init(.read([2]), call: 4, end: 5)]))
    // It comes late.
    #expect(isLinearizable([lost, newer, .init(.read([1]), call: 4, end: 5)]))
    // It comes twice.
    #expect(
      !isLinearizable([
        lost, .init(.read([1]), call: 2, end: 3), .init(.write(2), call: 4, end: 5), .init(.read([1]), call: 6, end: 7),
      ]))
  }

  @Test("A write that was answered with an error has no effect after that")
  func failed() {
    let failed = Register.Operation(.write(1), call: 1, end: 2, isOptional: true)
    #expect(isLinearizable([failed, .init(.read([1]), call: 3, end: 4)]))
    #expect(isLinearizable([failed, .init(.read([0]), call: 3, end: 4)]))
    #expect(
      !isLinearizable([failed, .init(.read([0]), call: 3, end: 4), .init(.read([1]), call: 5, end: 6)]))
  }

  @Test("Zeroes are written by many")
  func zeroes() {
    #expect(
      isLinearizable([
        .init(.write(1), call: 1, end: 2), .init(.write(0), call: 3, end: 4), .init(.read([0]), call: 5, end: 6),
        .init(.write(0), call: 7, isOptional: true), .init(.write(2), call: 8, end: 9),
        .init(.read([0]), call: 10, end: 11), .init(.read([0]), call: 12, end: 13),
      ]))
    #expect(
      !isLinearizable([
        .init(.write(1), call: 1, end: 2), .init(.write(0), call: 3, end: 4, isOptional: true),
        .init(.read([1]), call: 5, end: 6), .init(.read([0]), call: 7, end: 8),
      ]))
  }

  @Test("What a sequential register has done is linearizable, however its operations overlap")
  func sequential() {
    var random = SeededRandom(seed: 11)
    for _ in 0..<300 {
      var value: UInt64 = 0
      var history: [Register.Operation] = []
      for moment in 1...40 as ClosedRange<UInt64> {
        let time = moment * 100
        let (before, after) = (UInt64.random(in: 0..<300, using: &random), UInt64.random(in: 1..<300, using: &random))
        let call = time - min(before, time)
        switch UInt64.random(in: 0..<4, using: &random) {
        case 0, 1:
          value = moment
          history.append(.init(.write(moment), call: call, end: time + after))
        case 2: history.append(.init(.read([value]), call: call, end: time + after))
        default:
          let hasEffect = Bool.random(using: &random)
          if hasEffect { value = moment }
          history.append(.init(.write(moment), call: call, end: hasEffect ? .max : time + after, isOptional: true))
        }
      }
      #expect(isLinearizable(history))
      // A value that has been overwritten.
      history.append(.init(.write(1000), call: 5000, end: 5001))
      history.append(.init(.write(1001), call: 5002, end: 5003))
      history.append(.init(.read([1000]), call: 5004, end: 5005))
      #expect(!isLinearizable(history))
    }
  }
}
