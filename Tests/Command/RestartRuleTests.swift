import BatonCommandKit
import BatonSystem
import Testing

@testable import BatonCommand

@Suite("When a supervisor starts controllers again")
struct RestartRuleTests {
  private let first = RestartRule.delayMin

  /// A rule for two controllers that both serve.
  private func bothServe() -> RestartRule {
    var rule = RestartRule(seats: 2)
    for seat in 0..<2 {
      rule.began(seat)
      rule.served(seat)
    }
    return rule
  }

  @Test("A life that has served is followed by the next one at once, however often and however short it was")
  func atOnce() {
    var rule = bothServe()
    for ending in [ProcessEnding.signalled(9), .exited(1), .exited(0), .signalled(11)] {
      for _ in 0..<50 {
        #expect(rule.ended(0, ending) == .again(after: first))
        rule.began(0)
        rule.served(0)
      }
    }
  }

  @Test("Starts that fail are tried again without end, in intervals that double up to a bound", arguments: [1, 2])
  func backsOff(seats: Int) {
    var rule = RestartRule(seats: seats)
    rule.began(0)
    rule.served(0)
    #expect(rule.ended(0, .signalled(9)) == .again(after: first))
    var last: UInt64 = 0
    for number in 0..<10_000 {
      rule.began(0)
      guard case .again(let delay) = rule.ended(0, number % 3 == 0 ? nil : .exited(1)) else {
        Issue.record("given up after \(number) failed starts, though it had served")
        return
      }
      #expect(delay == (last == 0 ? first : min(2 * last, RestartRule.delayMax)))
      last = delay
    }
    #expect(last == RestartRule.delayMax && last <= 10_000_000_000)
    rule.began(0)
    rule.served(0)
    #expect(rule.ended(0, .signalled(9)) == .again(after: first))
  }

  @Test("One that cannot start costs its peer nothing, and is tried again once the peer serves")
  func survivorGoesOn() {
    var rule = RestartRule(seats: 2)
    rule.began(0)
    rule.began(1)
    #expect(rule.ended(0, .exited(1)) == .whenPeerServes)
    #expect(!rule.hasServed && !rule.isSettled)
    rule.served(1)
    #expect(rule.hasServed && rule.isSettled)
    #expect(rule.delay(0) == first)
    for _ in 0..<100 {
      rule.began(0)
      guard case .again = rule.ended(0, .exited(1)) else {
        Issue.record("given up though the peer serves")
        return
      }
    }
    // Both cannot start any more, and have served: whatever is wrong may pass.
    guard case .again = rule.ended(1, .signalled(9)) else {
      Issue.record("given up though the peer has served")
      return
    }
    rule.began(1)
    guard case .again = rule.ended(1, .exited(1)) else {
      Issue.record("given up though both have served")
      return
    }
  }

  @Test("Given up at once when none has ever served and every start has failed by itself", arguments: [1, 2, 3])
  func givesUp(seats: Int) {
    var rule = RestartRule(seats: seats)
    for seat in 0..<seats { rule.began(seat) }
    for seat in 0..<seats {
      let next = rule.ended(seat, seat == 0 ? nil : .exited(64))
      #expect(next == (seat == seats - 1 ? .giveUp : .whenPeerServes))
    }
  }

  @Test("One that somebody else ends while it starts has not failed by itself; one that crashes at each start has")
  func killedWhileStarting() {
    var rule = RestartRule(seats: 1)
    for ending in [ProcessEnding.exited(0), .signalled(15), .signalled(9), .signalled(11)] {
      rule.began(0)
      guard case .again = rule.ended(0, ending) else {
        Issue.record("given up after \(ending)")
        return
      }
    }
    rule.began(0)
    #expect(rule.ended(0, .signalled(11)) == .giveUp)
  }
}
