import BatonOwnership
import BatonTestSupport
import Testing

/// A step of the state machine in `MembershipWord.swift`, by name, with the life that takes it where that is new.
enum MembershipStep: Hashable {
  case join(UInt64)
  case resume(UInt64)
  case displace(UInt64)
  case fence, leave, leaveUnsettled, release, keep

  static func all(incarnations: ClosedRange<UInt64>) -> [MembershipStep] {
    [.fence, .leave, .leaveUnsettled, .release, .keep]
      + incarnations.flatMap { [.join($0), .resume($0), .displace($0)] }
  }

  /// What the implementation makes of it.
  func applied(to word: MembershipWord, by controller: ControllerIdentity) -> MembershipWord? {
    switch self {
    case .join(let incarnation): word.joined(by: controller, incarnation)
    case .resume(let incarnation): word.resumed(by: controller, incarnation)
    case .displace(let incarnation): word.displaced(by: controller, incarnation)
    case .fence: word.fenced(by: controller)
    case .leave: word.leaving(controller, isSettled: true)
    case .leaveUnsettled: word.leaving(controller, isSettled: false)
    case .release: word.released(by: controller)
    case .keep: word.kept(by: controller)
    }
  }
}

/// What a membership word says; and the same state machine written a second time, from the table and not from the
/// bits.
struct MembershipSituation: Hashable {
  struct Half: Hashable {
    var standing: MembershipWord.Standing
    var incarnation: UInt64
  }

  var a: Half
  var b: Half

  subscript(_ controller: ControllerIdentity) -> Half {
    get { controller == .a ? a : b }
    set { if controller == .a { a = newValue } else { b = newValue } }
  }

  static let standings: [MembershipWord.Standing] = [.vacant, .member, .fenced, .left]

  /// All of them, with these incarnations of each.
  static func all(incarnations: ClosedRange<UInt64>) -> [MembershipSituation] {
    let halves = standings.flatMap { standing in incarnations.map { Half(standing: standing, incarnation: $0) } }
    return halves.flatMap { a in halves.map { MembershipSituation(a: a, b: $0) } }
  }

  /// The word of this state, as the drawing has it.
  var word: MembershipWord {
    MembershipWord(
      rawValue: b.incarnation << 35 | b.standing.rawValue << 32 | a.incarnation << 3 | a.standing.rawValue)
  }

  /// Where the table says that a step leads.
  func after(_ step: MembershipStep, by me: ControllerIdentity) -> MembershipSituation? {
    let (mine, theirs) = (self[me], self[me.peer])
    var next = self
    switch step {
    case .join(let incarnation):
      guard mine.standing == .vacant, theirs.standing == .member, incarnation > mine.incarnation else { return nil }
      next[me] = Half(standing: .member, incarnation: incarnation)
    case .resume(let incarnation):
      guard incarnation > mine.incarnation else { return nil }
      next[me] = Half(standing: .member, incarnation: incarnation)
      next[me.peer].standing = [.member, .fenced].contains(theirs.standing) ? .fenced : .left
    case .displace(let incarnation):
      guard theirs.standing == .member, incarnation > mine.incarnation else { return nil }
      next[me] = Half(standing: .member, incarnation: incarnation)
      next[me.peer].standing = .fenced
    case .fence:
      guard mine.standing == .member, theirs.standing == .member else { return nil }
      next[me.peer].standing = .fenced
    case .leave:
      guard mine.standing == .member else { return nil }
      next[me].standing = .left
      if theirs.standing != .member { next[me.peer].standing = .left }
    case .leaveUnsettled:
      guard mine.standing == .member else { return nil }
      next[me].standing = .left
      if theirs.standing == .vacant { next[me.peer].standing = .left }
    case .release:
      guard mine.standing == .member, [.fenced, .left].contains(theirs.standing) else { return nil }
      next[me.peer].standing = .vacant
    case .keep:
      guard mine.standing == .member, theirs.standing == .vacant else { return nil }
      next[me.peer].standing = .left
    }
    return next
  }
}

@Suite("Membership word: the state machine, whole")
struct MembershipWordTests {
  @Test("Every step from every state by either: legal ones lead where the table says, others are refused")
  func everyStep() {
    var legal: [String: Int] = [:]
    for situation in MembershipSituation.all(incarnations: 0...2) {
      for controller in ControllerIdentity.allCases {
        for step in MembershipStep.all(incarnations: 0...3) {
          let result = step.applied(to: situation.word, by: controller)
          let expected = situation.after(step, by: controller)
          #expect(result == expected?.word, "\(situation.word): \(step) by \(controller)")
          if expected != nil { legal["\(step)".prefix { $0 != "(" }.description, default: 0] += 1 }
        }
      }
    }
    // Of 3 incarnations each 9 pairs, for either controller; a new life has 6 pairs of before and after, for each
    // incarnation of the other.
    #expect(
      legal == [
        "join": 36, "resume": 576, "displace": 144, "fence": 18, "leave": 72, "leaveUnsettled": 72, "release": 36,
        "keep": 18,
      ])
  }

  @Test("What a word says is what its state is")
  func readings() {
    for situation in MembershipSituation.all(incarnations: 0...2) {
      let word = situation.word
      #expect(word.isValid)
      for controller in ControllerIdentity.allCases {
        let half = situation[controller]
        #expect(word.standing(controller) == half.standing)
        #expect(word.incarnation(controller) == half.incarnation)
        for incarnation in UInt64(0)...3 {
          let isMember = half.standing == .member && half.incarnation == incarnation
          #expect(word.isMember(controller, incarnation) == isMember, "\(word)")
        }
      }
    }
    #expect(MembershipWord.initial.description == "a vacant (0), b vacant (0)")
    #expect(MembershipWord(rawValue: 3 << 35 | 2 << 32 | 7 << 3 | 1).description == "a member (7), b fenced (3)")
    #expect(MembershipWord(rawValue: 0xffff_fffb_0000_0000).description == "a vacant (0), b left (536870911)")
  }

  @Test("Of all low bits of both halves exactly the four standings are valid")
  func validity() {
    for a in UInt64(0)..<8 {
      for b in UInt64(0)..<8 {
        #expect(MembershipWord(rawValue: 5 << 35 | b << 32 | 9 << 3 | a).isValid == (a < 4 && b < 4))
      }
    }
  }

  @Test("Incarnations go to the last that fits, and none beyond; the other half stays as it is")
  func incarnations() {
    let last = MembershipWord.incarnationMax
    #expect(last == 0x1fff_ffff)
    for controller in ControllerIdentity.allCases {
      let peer = MembershipSituation.Half(standing: .member, incarnation: last)
      var situation = MembershipSituation(a: peer, b: peer)
      situation[controller] = .init(standing: .vacant, incarnation: last - 1)
      for step in [MembershipStep.join(last), .resume(last), .displace(last)] {
        let next = step.applied(to: situation.word, by: controller)
        #expect(next == situation.after(step, by: controller)?.word)
        #expect(next?.isMember(controller, last) == true && next?.incarnation(controller.peer) == last)
        #expect(next?.isValid == true)
      }
      for step in [MembershipStep.join(last + 1), .resume(last + 1), .displace(last + 1), .resume(.max)] {
        #expect(step.applied(to: situation.word, by: controller) == nil)
      }
      situation[controller].incarnation = last
      for step in [MembershipStep.join(last), .resume(last), .displace(last)] {
        #expect(step.applied(to: situation.word, by: controller) == nil)
      }
    }
  }

  /// Grows with every step but *release* and *keep*, which lead from one state to the other and back.
  func progress(_ word: MembershipWord) -> UInt64 {
    let gone = ControllerIdentity.allCases.filter { word.standing($0) != .member }
    return (word.incarnation(.a) + word.incarnation(.b)) * 10 + UInt64(gone.count)
  }

  @Test("From the beginning: never are both fenced, no life is a member twice, only release and keep lead back")
  func reachable() {
    var reached: Set<UInt64> = [MembershipWord.initial.rawValue]
    var queue = [MembershipWord.initial]
    while let word = queue.popLast() {
      for controller in ControllerIdentity.allCases {
        for step in MembershipStep.all(incarnations: 0...4) {
          guard let next = step.applied(to: word, by: controller) else { continue }
          #expect(next != word && next.isValid)
          #expect(next.standing(.a) != .fenced || next.standing(.b) != .fenced, "\(word) becomes \(next)")
          for half in ControllerIdentity.allCases {
            #expect(next.incarnation(half) >= word.incarnation(half))
            let becomesMember = next.standing(half) == .member && word.standing(half) != .member
            #expect(!becomesMember || next.incarnation(half) > word.incarnation(half), "\(word) becomes \(next)")
          }
          if next.standing(controller) != .member { #expect(step == .leave || step == .leaveUnsettled) }
          if [.release, .keep].contains(step) {
            #expect(progress(next) == progress(word))
          } else {
            #expect(progress(next) > progress(word), "\(word) becomes \(next)")
          }
          if reached.insert(next.rawValue).inserted { queue.append(next) }
        }
      }
    }
    #expect(reached.count > 100)
  }
}

@Suite("Membership: each step one compare-and-swap")
struct MembershipTests {
  /// Both members, in their first lives.
  static let both = MembershipWord(rawValue: 1 << 35 | 1 << 32 | 1 << 3 | 1)

  @Test("Of two that accuse each other one wins, and the other has no step left")
  func accusations() {
    for winner in ControllerIdentity.allCases {
      let shared = PlainWord(Self.both.rawValue)
      let membership = Membership(shared)
      let seen = membership.current
      #expect(membership.step(from: seen, to: seen.fenced(by: winner)))
      #expect(!membership.step(from: seen, to: seen.fenced(by: winner.peer)))
      let now = membership.current
      #expect(now.isMember(winner, 1) && now.standing(winner.peer) == .fenced)
      for step in [MembershipStep.fence, .leave, .release, .keep] {
        #expect(step.applied(to: now, by: winner.peer) == nil)
      }
    }
  }

  @Test("A step that is none touches nothing; a step is one compare-and-swap, a look one load")
  func memorySteps() {
    let shared = PlainWord(Self.both.rawValue)
    let membership = Membership(shared)
    var steps: [PlainWord.Step] = []
    shared.before = { step, _ in steps.append(step) }
    let seen = membership.current
    #expect(steps == [.load])
    #expect(!membership.step(from: seen, to: seen.released(by: .a)))
    #expect(steps == [.load])
    #expect(membership.step(from: seen, to: seen.fenced(by: .a)))
    #expect(steps == [.load, .compareExchange])
    #expect(membership.current == seen.fenced(by: .a))
  }

  @Test("A step from a state that has passed is refused, whatever has come in between, and changes nothing")
  func losesOnce() {
    var lost = 0
    for situation in MembershipSituation.all(incarnations: 0...1) {
      for step in MembershipStep.all(incarnations: 1...2) {
        for other in MembershipStep.all(incarnations: 1...2) {
          guard let next = step.applied(to: situation.word, by: .a),
            let between = other.applied(to: situation.word, by: .b)
          else { continue }
          let shared = PlainWord(situation.word.rawValue)
          shared.before = { step, _ in if step == .compareExchange { shared.value = between.rawValue } }
          #expect(!Membership(shared).step(from: situation.word, to: next))
          #expect(shared.value == between.rawValue)
          lost += 1
        }
      }
    }
    #expect(lost > 100)
  }
}
