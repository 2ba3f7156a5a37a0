import BatonOwnership
import BatonTestSupport

/// What hosts ask for in a scenario: one block read or written, by a line of the channel to one controller.
struct ModelRequest {
  let channel: ControllerIdentity
  var function = 0
  var block = 0
  let isWrite: Bool

  static func write(_ channel: ControllerIdentity, function: Int = 0, block: Int = 0) -> ModelRequest {
    ModelRequest(channel: channel, function: function, block: block, isWrite: true)
  }

  static func read(_ channel: ControllerIdentity, function: Int = 0, block: Int = 0) -> ModelRequest {
    ModelRequest(channel: channel, function: function, block: block, isWrite: false)
  }
}

/// Where a life of a controller is.
enum Stage: UInt8 {
  /// There is none: dead, stopped, or left.
  case none
  /// Has its seat and is no member.
  case starting
  /// A member whose peer is a member.
  case paired
  /// A member that has fenced the peer and has not seen its exit. Goes on with what is its own.
  case fencing
  /// A new life that has fenced the peer and has not seen its exit. Does nothing yet.
  case resuming
  /// Has seen the peer's exit: recovers what it left, and serves its channels.
  case standingIn
  /// Has let go: a new life of the peer may join.
  case released
}

/// One life of a controller. Sets of requests and of functions have a bit for each.
struct Life: Hashable {
  var stage = Stage.none
  var incarnation: UInt8 = 0
  /// The life of the peer that it has fenced.
  var target: UInt8 = 0
  /// Taken from their lines, and nothing done yet.
  var taken: UInt8 = 0
  /// In the journal, the membership looked at: the next step submits.
  var checked: UInt8 = 0
  var inFlight: UInt8 = 0
  /// Done by the storage, not answered.
  var completed: UInt8 = 0
  /// Answered, still in the journal.
  var answered: UInt8 = 0
  /// Found in the journals of the dead, and not over.
  var held: UInt8 = 0
  /// Of these, found in the journal of an earlier life of its own.
  var inherited: UInt8 = 0
  var owns: UInt8 = 0
  var asks: UInt8 = 0
  /// Functions of which it has begun a request since it got them.
  var hasServed: UInt8 = 0
  /// Polls the peer's channels no more.
  var hasStopped = false
  var isLeaving = false
  /// What completed reads have read: a nibble each.
  var results: UInt32 = 0

  /// On their way between the journal and the journal.
  var underWay: UInt8 { checked | inFlight | completed | answered }
  var isMember: Bool { stage.rawValue > Stage.starting.rawValue }
}

/// Two of something, one for each controller.
struct Pair<Element: Hashable>: Hashable {
  var a: Element
  var b: Element

  subscript(_ controller: ControllerIdentity) -> Element {
    get { controller == .a ? a : b }
    set { if controller == .a { a = newValue } else { b = newValue } }
  }
}

/// Everything that two controllers, their storage and their hosts can be in, between two atomic steps.
///
/// Ownership words are kept without their terms, which are compared at each step and then forgotten: states that
/// differ in them only are one.
struct TakeoverState: Hashable {
  var membership: UInt64
  var ownership = SIMD2<UInt64>(0, 0)
  var lives: Pair<Life>
  var journals = Pair<UInt8>(a: 0, b: 0)
  /// On the storage in the name of a dead life: may land until it is drained, or never.
  var late = Pair<UInt8>(a: 0, b: 0)
  /// Of these, those that a later request has overtaken.
  var overtaken: UInt8 = 0
  var blocks = SIMD2<UInt8>(0, 0)
  /// What hosts have seen of each block, as a number of the explorer's.
  var histories = SIMD2<UInt16>(0, 0)
  /// Requests that were taken from their lines at least once. A host submits right before: the later a submission,
  /// the less may be answered.
  var submitted: UInt8 = 0
  var answered: UInt8 = 0
  /// What may still go wrong or be ordered: deaths, suspicions of a peer that lives, leavings.
  var deaths: UInt8
  var silences: UInt8
  var leavings: UInt8

  var word: MembershipWord { MembershipWord(rawValue: membership) }

  func isAlive(_ controller: ControllerIdentity, _ incarnation: UInt64) -> Bool {
    lives[controller].stage != .none && UInt64(lives[controller].incarnation) == incarnation
  }

  /// A life ends: by itself, killed, or by accident. What it had on the storage is late from now on.
  mutating func end(_ controller: ControllerIdentity) {
    late[controller] |= lives[controller].inFlight
    lives[controller] = Life(incarnation: lives[controller].incarnation)
  }

  /// A step of the membership word, by the code itself.
  mutating func step(_ next: (MembershipWord) -> MembershipWord?) -> Bool {
    let shared = PlainWord(membership)
    let membership = Membership(shared)
    let seen = membership.current
    let done = membership.step(from: seen, to: next(seen))
    self.membership = shared.value
    return done
  }
}

/// What happens between two states.
struct TakeoverStep: Hashable, CustomStringConvertible {
  enum Name: UInt8, CaseIterable {
    // Of the membership word, and what belongs to it.
    case start, join, resume, displace, fence, kill, seeExit, standIn, stopPolling, release, keep, welcome
    case drainToLeave, leave, stop
    // Of the ownership word.
    case request, attend, grant, withdraw, vacate, takeOver, dismiss
    // Of one request.
    case take, enterJournal, submit, land, answer, clearJournal, copyEntry, moveEntry, replay
    // Of nobody.
    case die, landLate, loseLate
  }

  let name: Name
  let controller: ControllerIdentity
  /// Request or function.
  var index = 0
  /// Whether it uses up something that may go wrong: no progress rests on such a step.
  var isFault = false

  var description: String { "\(controller) \(name) \(index)" }
}

/// A mistake made on purpose, to show that the explorer sees it.
enum TakeoverDefect {
  case none
  /// Stands in without killing the peer and without seeing its exit.
  case noFence
  /// A new life serves before it has seen the exit of the peer that it has fenced.
  case servesBeforeExit
  /// Takes storage to be drained at once.
  case noDrainProof
  /// Does not read the journals of the dead.
  case noJournal
  /// Executes what it recovers twice.
  case replayTwice
  /// Serves at once what overlaps a write that it has not recovered.
  case servesOverlapping
  /// Has two writes to one block in flight.
  case overlapsOwnWrites
  /// Waits for the dead life's storage only whose journal an entry was found in, though it can have been moved there.
  case drainsFinderOnly
  /// A new life reads the peer's journal, and not that of its own earlier life.
  case ignoresOwnJournal
  /// A new life takes a peer that was fenced already to be dead.
  case trustsFence
  /// Kills whichever life of the peer it finds.
  case killsByName
  /// Takes an entry out of the dead one's journal before it stands in its own.
  case clearsBeforeCopy
  /// Takes a request out of the journal before it is answered.
  case clearsBeforeAnswer
  /// Lets the peer join while requests of the peer's channels are under way.
  case releasesEarly
  /// Lets the peer join while an ownership word still speaks of its dead life.
  case releasesOwned
  /// A new life takes the locks of its units before it is a member, so that nobody can prove them drained.
  case opensEarly
}
