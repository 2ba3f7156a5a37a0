import BatonOwnership
import BatonTestSupport

// What becomes of a step: the words by the code itself, the rest by the model.
extension TakeoverExplorer {
  /// The state after a step. Nil where the word refuses it.
  mutating func taking(_ step: TakeoverStep, from state: TakeoverState) -> TakeoverState? {
    var next = state
    let me = step.controller
    let peer = me.peer
    let bit: UInt8 = 1 << step.index
    var life = state.lives[me]
    let incarnation = UInt64(life.incarnation)
    let before = state.word

    switch step.name {
    case .start: life = Life(stage: .starting, incarnation: life.incarnation + 1)
    case .die:
      next.deaths -= 1
      next.end(me)
      return next
    case .stop:
      next.end(me)
      return next
    case .landLate, .loseLate:
      next.late[me] &= ~bit
      if step.name == .landLate {
        if state.overtaken & bit != 0 { finding = "request \(step.index) of a dead life lands after a later one" }
        if requests[step.index].isWrite { next.blocks[requests[step.index].block] = UInt8(step.index) + 1 }
      }
      if next.late[peer] & bit == 0 { next.overtaken &= ~bit }
      return next

    case .join:
      if !next.step({ $0.joined(by: me, incarnation) }) { return nil }
      life.stage = .paired
      let speaks = functions.contains { function in
        let word = OwnershipWord(rawValue: state.ownership[function])
        return word.isOwned(by: me) || word.isRequested
      }
      if speaks { finding = "\(me) joins, and an ownership word speaks of its earlier life" }
      if state.journals[me] != 0, defect != .noJournal { finding = "\(me) joins over its earlier life's journal" }
    case .resume, .displace:
      let done =
        step.name == .resume
        ? next.step { $0.resumed(by: me, incarnation) } : next.step { $0.displaced(by: me, incarnation) }
      if !done { return nil }
      if step.name == .displace { next.silences -= 1 }
      life.target = UInt8(before.incarnation(peer))
      life.stage = .resuming
      let isTrusted = defect == .trustsFence && before.standing(peer) == .fenced
      if next.word.standing(peer) == .left || isTrusted { readJournals(&life, next, me, isNew: true) }
    case .fence:
      if !next.step({ $0.fenced(by: me) }) { return nil }
      if step.isFault { next.silences -= 1 }
      life.target = UInt8(before.incarnation(peer))
      life.stage = .fencing
    case .kill:
      if before.isMember(peer, UInt64(state.lives[peer].incarnation)) { finding = "\(me) kills a member" }
      next.end(peer)
    case .seeExit: readJournals(&life, next, me, isNew: life.stage == .resuming)
    case .standIn:
      life.stage = .standingIn
      life.hasStopped = false
    case .stopPolling: life.hasStopped = true
    case .release:
      if !next.step({ $0.released(by: me) }) { return nil }
      life.stage = .released
    case .keep:
      if !next.step({ $0.kept(by: me) }) { return nil }
      life.stage = .standingIn
      life.hasStopped = false
    case .welcome:
      life.stage = .paired
      life.hasStopped = false
    case .drainToLeave:
      next.leavings -= 1
      life.isLeaving = true
      life.taken = 0
    case .leave:
      if !next.step({ $0.leaving(me, isSettled: true) }) { return nil }
      next.end(me)
      return next

    case .request, .attend, .grant, .withdraw, .vacate, .takeOver, .dismiss:
      takeOwnershipStep(step, &next, &life)
      next.lives[me] = life
      return next

    case .take:
      life.taken |= bit
      if state.submitted & bit == 0 {
        next.submitted |= bit
        change(&next, step.index) { $0.submit(step.index, isWrite: $1.isWrite) }
      }
    case .enterJournal:
      life.taken &= ~bit
      life.checked |= bit
      life.hasServed |= 1 << requests[step.index].function
      next.journals[me] |= bit
    case .replay: life.checked |= bit
    case .copyEntry: next.journals[me] |= bit
    case .moveEntry: next.journals[peer] &= ~bit
    case .submit:
      life.checked &= ~bit
      life.inFlight |= bit
      submit(step.index, state, &next, me, life)
    case .land:
      life.inFlight &= ~bit
      life.completed |= bit
      let request = requests[step.index]
      if request.isWrite {
        next.blocks[request.block] = UInt8(step.index) + 1
      } else {
        life.results |= UInt32(state.blocks[request.block]) << (4 * UInt32(step.index))
      }
    case .answer:
      life.completed &= ~bit
      life.answered |= bit
      if state.answered & bit != 0 { finding = "request \(step.index) is answered twice" }
      next.answered |= bit
      let result = UInt8(truncatingIfNeeded: life.results >> (4 * UInt32(step.index))) & 0xf
      life.results &= ~(0xf << (4 * UInt32(step.index)))
      change(&next, step.index) {
        if $1.isWrite { $0.answerWrite(step.index) } else { $0.answerRead(step.index, result) }
      }
    case .clearJournal:
      next.journals[me] &= ~bit
      life.answered &= ~bit
      if life.completed & bit == 0 {
        life.held &= ~bit
        life.inherited &= ~bit
      }
    }
    next.lives[me] = life
    return next
  }

  /// The exit has been seen: what both journals hold is to be recovered first. A survivor knows its own.
  private func readJournals(_ life: inout Life, _ state: TakeoverState, _ me: ControllerIdentity, isNew: Bool) {
    life.stage = .standingIn
    if defect == .noJournal { return }
    life.held = state.journals[me.peer]
    if isNew, defect != .ignoresOwnJournal {
      life.inherited = state.journals[me]
      life.held |= life.inherited
    }
  }

  private mutating func submit(
    _ index: Int, _ state: TakeoverState, _ next: inout TakeoverState, _ me: ControllerIdentity, _ life: Life
  ) {
    let request = requests[index]
    if !OwnershipWord(rawValue: state.ownership[request.function]).isOwned(by: me) {
      finding = "\(me) submits request \(index) and is not the owner"
    }
    each(state.late.a | state.late.b) { other in
      if other == index || requests[other].isWrite && requests[other].block == request.block {
        next.overtaken |= 1 << other
      }
    }
    if defect == .replayTwice, life.held & 1 << index != 0 {
      next.late[me] |= 1 << index
      next.overtaken &= ~(1 << index)
    }
  }

  /// A step of an ownership word, by the arbiter itself, in some term.
  private mutating func takeOwnershipStep(_ step: TakeoverStep, _ next: inout TakeoverState, _ life: inout Life) {
    let term: UInt64 = 7
    let before = OwnershipWord(rawValue: term << 16 | next.ownership[step.index])
    let word = PlainWord(before.rawValue)
    let arbiter = Arbiter<PlainWord>(for: step.controller)
    let bit: UInt8 = 1 << step.index
    var owns = life.owns & bit != 0
    switch step.name {
    case .request:
      if case .owned = arbiter.request(word) { owns = true } else { life.asks |= bit }
    case .attend: owns = arbiter.look(word).isOwned(by: step.controller)
    case .grant:
      let asking = of(step.index, life.taken) != 0
      if arbiter.grant(word, asking: asking) {
        owns = false
        if asking { life.asks |= bit }
      }
    case .withdraw: if arbiter.withdraw(word) || arbiter.look(word).owner == nil { life.asks &= ~bit }
    case .vacate: if arbiter.vacate(word) { owns = false }
    case .takeOver: owns = arbiter.takeOver(word)
    default: _ = arbiter.dismiss(word)
    }
    if owns, life.owns & bit == 0 {
      life.asks &= ~bit
      life.hasServed &= ~bit
    }
    life.owns = owns ? life.owns | bit : life.owns & ~bit
    let after = OwnershipWord(rawValue: word.value)
    if !after.isValid { finding = "\(after) is no valid word" }
    if after.term != (after.owner == before.owner ? term : term + 1) { finding = "\(before) becomes \(after)" }
    next.ownership[step.index] = word.value & 0xffff
  }

  private mutating func change(
    _ state: inout TakeoverState, _ index: Int, _ event: (inout RegisterHistory, ModelRequest) -> Void
  ) {
    let request = requests[index]
    var history = histories[Int(state.histories[request.block])]
    event(&history, request)
    if !history.isPossible { finding = "request \(index) is answered with what it cannot have read" }
    if historyNumbers[history] == nil {
      historyNumbers[history] = UInt16(histories.count)
      histories.append(history)
    }
    state.histories[request.block] = historyNumbers[history]!
  }
}
