import BatonOwnership
import Testing

/// A step of the state machine in `OwnershipWord.swift`, by name.
enum Step: CaseIterable {
  case claim, request, withdraw, grant, grantAndAsk, vacate, takeOver, dismiss

  /// What the implementation makes of it.
  func applied(to word: OwnershipWord, by controller: ControllerIdentity) -> OwnershipWord? {
    switch self {
    case .claim: word.claimed(by: controller)
    case .request: word.requested(by: controller)
    case .withdraw: word.withdrawn(by: controller)
    case .grant: word.granted(by: controller, asking: false)
    case .grantAndAsk: word.granted(by: controller, asking: true)
    case .vacate: word.vacated(by: controller)
    case .takeOver: word.takenOver(by: controller)
    case .dismiss: word.dismissed(by: controller)
    }
  }
}

/// The states a function can be in, apart from the term; and the same state machine written a second time, from
/// the table and not from the bits.
enum Situation: Hashable, CaseIterable {
  case vacant
  case owned(ControllerIdentity)
  case requested(ControllerIdentity)

  static let allCases: [Situation] = [.vacant, .owned(.a), .owned(.b), .requested(.a), .requested(.b)]

  /// The word of this state, as the drawing has it.
  func word(term: UInt64) -> OwnershipWord {
    let bits: UInt64 =
      switch self {
      case .vacant: 0
      case .owned(.a): 0b001
      case .owned(.b): 0b011
      case .requested(.a): 0b101
      case .requested(.b): 0b111
      }
    return OwnershipWord(rawValue: term << 16 | bits)
  }

  /// Where the table says that a step leads, and whether to the next term.
  func after(_ step: Step, by controller: ControllerIdentity) -> (situation: Situation, nextTerm: Bool)? {
    switch (self, step) {
    case (.vacant, .claim): (.owned(controller), true)
    case (.owned(controller.peer), .request): (.requested(controller.peer), false)
    case (.requested(controller.peer), .withdraw): (.owned(controller.peer), false)
    case (.requested(controller), .grant): (.owned(controller.peer), true)
    case (.requested(controller), .grantAndAsk): (.requested(controller.peer), true)
    case (.owned(controller), .vacate): (.vacant, true)
    case (.owned(controller.peer), .takeOver), (.requested(controller.peer), .takeOver): (.owned(controller), true)
    case (.requested(controller), .dismiss): (.owned(controller), false)
    default: nil
    }
  }
}

@Suite("Ownership word: the state machine, whole")
struct OwnershipWordTests {
  static let terms: [UInt64] = [0, 1, 2, 0xffff, 0x1_0000, OwnershipWord.termMax - 1, OwnershipWord.termMax]

  /// The term after another.
  static func after(_ term: UInt64) -> UInt64 { term == OwnershipWord.termMax ? 0 : term + 1 }

  @Test(
    "Every step from every state by either controller: legal ones lead where the table says, others are refused"
  )
  func everyStep() {
    var legal = 0
    for situation in Situation.allCases {
      for controller in ControllerIdentity.allCases {
        for step in Step.allCases {
          for term in Self.terms {
            let word = situation.word(term: term)
            let result = step.applied(to: word, by: controller)
            if let (next, nextTerm) = situation.after(step, by: controller) {
              #expect(
                result == next.word(term: nextTerm ? Self.after(term) : term), "\(word): \(step) by \(controller)")
              legal += 1
            } else {
              #expect(result == nil, "\(word): \(step) by \(controller) is no legal step")
            }
          }
        }
      }
    }
    // Eight rows in the table, one of them for two states, each for two controllers.
    #expect(legal == 18 * Self.terms.count)
  }

  @Test("What a word says is what its state is")
  func readings() {
    for situation in Situation.allCases {
      let word = situation.word(term: 77)
      #expect(word.isValid)
      #expect(word.term == 77)
      switch situation {
      case .vacant:
        #expect(word.owner == nil && !word.isRequested)
        #expect(!word.isOwned(by: .a) && !word.isOwned(by: .b))
        #expect(word.description == "vacant, term 77")
      case .owned(let owner):
        #expect(word.owner == owner && !word.isRequested)
        #expect(word.isOwned(by: owner) && !word.isOwned(by: owner.peer))
        #expect(word.description == "owned by \(owner), term 77")
      case .requested(let owner):
        #expect(word.owner == owner && word.isRequested)
        #expect(word.isOwned(by: owner) && !word.isOwned(by: owner.peer))
        #expect(word.description == "owned by \(owner), requested by \(owner.peer), term 77")
      }
    }
    #expect(OwnershipWord.initial == Situation.vacant.word(term: 0))
  }

  @Test("Of all low halves exactly the five states are valid, in any term")
  func validity() {
    for term in Self.terms {
      let valid = Set(Situation.allCases.map { $0.word(term: term).rawValue })
      for low in UInt64(0)...0xffff {
        let word = OwnershipWord(rawValue: term << 16 | low)
        #expect(word.isValid == valid.contains(word.rawValue), "low half \(low)")
      }
    }
  }

  @Test("Every legal step keeps a word valid, and the term grows by one or stays")
  func steps() {
    for situation in Situation.allCases {
      for controller in ControllerIdentity.allCases {
        for step in Step.allCases {
          for term in Self.terms {
            let word = situation.word(term: term)
            guard let next = step.applied(to: word, by: controller) else { continue }
            #expect(next.isValid)
            let ownerChanged = next.owner != word.owner
            #expect(next.term == (ownerChanged ? Self.after(term) : term), "\(word): \(step) by \(controller)")
          }
        }
      }
    }
  }

  @Test("After the last term comes term 0: nobody waits for ever in a word that has used its terms up")
  func lastTerm() {
    #expect(OwnershipWord.termMax == 0xffff_ffff_ffff)
    let last = Situation.requested(.a).word(term: OwnershipWord.termMax)
    #expect(last.granted(by: .a, asking: false) == Situation.owned(.b).word(term: 0))
    #expect(last.takenOver(by: .b) == Situation.owned(.b).word(term: 0))
    #expect(Situation.owned(.a).word(term: OwnershipWord.termMax).vacated(by: .a) == OwnershipWord.initial)
    #expect(Situation.vacant.word(term: OwnershipWord.termMax).claimed(by: .b) == Situation.owned(.b).word(term: 0))
  }

  @Test("Controllers by word, by number, and each other's peer")
  func identities() {
    #expect(ControllerIdentity("a") == .a && ControllerIdentity("b") == .b)
    for word in ["", "A", "c", "ab", " a"] { #expect(ControllerIdentity(word) == nil) }
    #expect(ControllerIdentity.a.peer == .b && ControllerIdentity.b.peer == .a)
    #expect(ControllerIdentity.allCases.map(\.index) == [0, 1])
    #expect("\(ControllerIdentity.a)\(ControllerIdentity.b)" == "ab")
  }
}
