import BatonOwnership
import BatonTestSupport
import Testing

@Suite("Arbiter: each transition one compare-and-swap")
struct ArbiterTests {
  let me = Arbiter<PlainWord>(for: .a)

  func word(_ situation: Situation, term: UInt64 = 5) -> PlainWord {
    PlainWord(situation.word(term: term).rawValue)
  }

  @Test("Asking: claims what is vacant, knows what it owns, requests what the other owns, once")
  func request() {
    let vacant = word(.vacant)
    #expect(me.request(vacant) == .owned(term: 6))
    #expect(vacant.value == Situation.owned(.a).word(term: 6).rawValue)
    for mine in [Situation.owned(.a), .requested(.a)] {
      let owned = word(mine)
      #expect(me.request(owned) == .owned(term: 5))
      #expect(owned.value == mine.word(term: 5).rawValue)
    }
    let theirs = word(.owned(.b))
    #expect(me.request(theirs) == .waiting(asked: true))
    #expect(theirs.value == Situation.requested(.b).word(term: 5).rawValue)
    #expect(me.request(theirs) == .waiting(asked: false))
    #expect(theirs.value == Situation.requested(.b).word(term: 5).rawValue)
  }

  @Test("Granting, withdrawing, vacating, taking over, dismissing: where it is legal, and nothing where it is not")
  func transitions() {
    for situation in Situation.allCases {
      for step in [Step.grant, .grantAndAsk, .withdraw, .vacate, .takeOver, .dismiss] {
        let shared = word(situation)
        let done =
          switch step {
          case .grant: me.grant(shared, asking: false)
          case .grantAndAsk: me.grant(shared, asking: true)
          case .withdraw: me.withdraw(shared)
          case .takeOver: me.takeOver(shared)
          case .dismiss: me.dismiss(shared)
          default: me.vacate(shared)
          }
        let expected = step.applied(to: situation.word(term: 5), by: .a)
        #expect(done == (expected != nil))
        #expect(shared.value == (expected ?? situation.word(term: 5)).rawValue)
      }
    }
  }

  @Test("A determination of the owner is one load and nothing else")
  func look() {
    let shared = word(.owned(.b))
    var steps: [PlainWord.Step] = []
    shared.before = { step, _ in steps.append(step) }
    #expect(me.look(shared).isOwned(by: .b))
    #expect(steps == [.load])
    steps = []
    #expect(me.request(shared) == .waiting(asked: true))
    #expect(steps == [.load, .compareExchange])
  }

  /// Every call from every state, with one legal step of the other controller right before one of its
  /// compare-and-swaps. The call must end as if it had come wholly after that step, because a swap that lost
  /// decides again.
  @Test("A swap that loses to a step of the peer decides again, at each place where it can lose")
  func losesOnce() {
    var lost = 0
    for situation in Situation.allCases {
      for call in Call.allCases {
        for peerStep in Step.allCases {
          let shared = word(situation)
          var swaps = 0
          var after: UInt64?
          shared.before = { step, _ in
            guard step == .compareExchange else { return }
            swaps += 1
            guard swaps == 1, let next = peerStep.applied(to: OwnershipWord(rawValue: shared.value), by: .b)
            else { return }
            shared.value = next.rawValue
            after = next.rawValue
          }
          let result = call.perform(me, on: shared)
          guard let after else { continue }
          lost += 1
          let fresh = PlainWord(after)
          #expect(
            result == call.perform(me, on: fresh), "\(call) from \(situation), with \(peerStep) of b in between"
          )
          #expect(shared.value == fresh.value, "\(call) from \(situation), with \(peerStep) of b in between")
        }
      }
    }
    // Every call that can swap at all has lost: request from two states, grant (twice), withdraw, vacate, take over
    // (from two states) and dismiss.
    #expect(lost >= 9)
  }

  @Test("A swap that loses several times in a row ends, whatever the other does")
  func losesOften() {
    for situation in Situation.allCases {
      for call in Call.allCases {
        let shared = word(situation)
        var budget = 20
        shared.before = { step, number in
          guard step == .compareExchange, budget > 0 else { return }
          // Some legal step of the other, another one each time.
          for offset in 0..<Step.allCases.count {
            let peerStep = Step.allCases[(number + offset) % Step.allCases.count]
            if let next = peerStep.applied(to: OwnershipWord(rawValue: shared.value), by: .b) {
              shared.value = next.rawValue
              budget -= 1
              return
            }
          }
        }
        _ = call.perform(me, on: shared)
        #expect(OwnershipWord(rawValue: shared.value).isValid)
      }
    }
  }

  /// What one controller can call.
  enum Call: CaseIterable {
    case request, grant, grantAndAsk, withdraw, vacate, takeOver, dismiss

    func perform(_ arbiter: Arbiter<PlainWord>, on word: PlainWord) -> String {
      switch self {
      case .request: "\(arbiter.request(word))"
      case .grant: "\(arbiter.grant(word, asking: false))"
      case .grantAndAsk: "\(arbiter.grant(word, asking: true))"
      case .withdraw: "\(arbiter.withdraw(word))"
      case .vacate: "\(arbiter.vacate(word))"
      case .takeOver: "\(arbiter.takeOver(word))"
      case .dismiss: "\(arbiter.dismiss(word))"
      }
    }
  }
}

@Suite("Residency, as far as it needs no clock")
struct ResidencyTests {
  @Test("A term that nobody else waits in has none: it is over at once, whatever the policy")
  func uncontended() {
    for policy in [
      ResidencyPolicy.pendingOnly, .fixed(nanoseconds: .max), .adaptive(factor: .max, nanosecondsMax: .max),
      .standard,
    ] {
      var residency = Residency()
      #expect(residency.isOver(policy: policy))
      residency.began(contended: false, grantedAt: 0)
      #expect(residency.isOver(policy: policy))
    }
  }

  @Test("A contended term lasts as its policy says, as far as that can be said without a clock")
  func contended() {
    var residency = Residency()
    residency.began(contended: true, grantedAt: 0)
    #expect(residency.isOver(policy: .pendingOnly))
    #expect(residency.isOver(policy: .fixed(nanoseconds: 0)))
    #expect(!residency.isOver(policy: .fixed(nanoseconds: .max)))
    #expect(residency.isOver(policy: .adaptive(factor: 1, nanosecondsMax: 0)))
    // At least 500 ns, times a factor that reaches for ever.
    #expect(!residency.isOver(policy: .adaptive(factor: 1 << 50, nanosecondsMax: .max)))
    residency.began(contended: false, grantedAt: 0)
    #expect(residency.isOver(policy: .fixed(nanoseconds: .max)))
  }

  @Test("A change of owner that had nothing in flight costs nothing")
  func cheapHandoff() {
    var residency = Residency()
    residency.began(contended: true, grantedAt: 0)
    residency.draining(false)
    residency.ended()
    #expect(residency.handoffNanoseconds == 0)
  }
}
