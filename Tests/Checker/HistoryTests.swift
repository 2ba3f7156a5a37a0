import BatonChecker
import Testing

@Suite("History")
struct HistoryTests {
  private func request(
    _ number: UInt64, _ kind: History.Request.Kind, block: Int = 0, count: Int = 1, isDurable: Bool = false,
    from call: UInt64, to end: UInt64?, _ answer: History.Request.Answer = .done, found: [UInt64] = []
  ) -> History.Request {
    var request = History.Request(
      host: 0, number: number, kind, unit: 0, block: block, count: count, isDurable: isDurable, value: number,
      calledAt: call)
    request.answeredAt = end ?? .max
    request.answer = answer
    request.found = found
    return request
  }

  private func findings(_ requests: [History.Request]) -> [String] {
    var history = History()
    history.requests = requests
    return history.findings()
  }

  @Test("Requests that overlap in part are checked block by block")
  func overlaps() {
    let first = request(1, .write, block: 0, count: 3, from: 1, to: 2)
    let second = request(2, .write, block: 2, count: 2, from: 3, to: 4)
    #expect(findings([first, second, request(3, .read, count: 4, from: 5, to: 6, found: [1, 1, 2, 2])]).isEmpty)
    #expect(findings([first, second, request(3, .read, count: 4, from: 5, to: 6, found: [1, 1, 1, 2])]).count == 1)
  }

  @Test("A refused write never takes effect")
  func refused() {
    let refused = request(1, .write, from: 1, to: 2, .refused)
    #expect(findings([refused, request(2, .read, from: 3, to: 4, found: [0])]).isEmpty)
    #expect(findings([refused, request(2, .read, from: 3, to: 4, found: [1])]).count == 1)
  }

  @Test("A request without an answer is a finding only if its host waited")
  func missing() {
    #expect(findings([request(1, .write, from: 1, to: nil, .none)]).isEmpty)
    #expect(findings([request(1, .write, from: 1, to: nil, .missing)]).count == 1)
  }

  @Test("No write is executed after the unit was made read-only")
  func states() {
    let readOnly = request(1, .setState(1), count: 0, from: 1, to: 2)
    #expect(findings([readOnly, request(2, .write, from: 3, to: 4, .refusedInState(1))]).isEmpty)
    #expect(findings([readOnly, request(2, .write, from: 3, to: 4)]).count == 1)
    // The two were under way together.
    #expect(findings([readOnly, request(2, .write, from: 1, to: 4)]).isEmpty)
    #expect(findings([readOnly, request(2, .read, from: 3, to: 4, found: [0])]).isEmpty)
  }

  @Test("What was durable survives a loss, and what was not may")
  func durability() {
    var history = History()
    history.requests = [
      request(1, .write, from: 1, to: 2), request(2, .flush, count: 0, from: 3, to: 4),
      request(3, .write, from: 5, to: 6), request(4, .write, block: 1, isDurable: true, from: 1, to: 2),
    ]
    #expect(history.findings(ofUnit: 0, afterLoss: [1, 4]).isEmpty)
    #expect(history.findings(ofUnit: 0, afterLoss: [3, 4]).isEmpty)
    #expect(history.findings(ofUnit: 0, afterLoss: [0, 4]).count == 1)
    #expect(history.findings(ofUnit: 0, afterLoss: [1, 0]).count == 1)
    #expect(history.findings(ofUnit: 0, afterLoss: [9, 4]).count == 1)
  }
}
