import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem

/// The hosts of a controller: one place each, from attaching until its last request has ended.
///
/// An expected host has a place without memory: some of its requests are under recovery. The journal's host places have
/// the same numbers.
///
/// Invariants: a place's memory is initialized if and only if `HostState.hasMemory`; no two places that are not vacant
/// have the same identity.
struct HostTable: ~Copyable {
  private let states: Table<HostState>
  private let memories: UnsafeMutablePointer<HostMemory>
  /// Whether the memory of hosts stays mapped when the table goes.
  private let isAbandoned: Table<Bool>
  /// Hosts that are attached now.
  private(set) var attachedCount = 0

  init() {
    states = Table(repeating: HostState(), count: Journal.hostPlaces)
    memories = .allocate(capacity: Journal.hostPlaces)
    isAbandoned = Table(repeating: false, count: 1)
  }

  deinit {
    if isAbandoned[0] { return }
    for place in states.indices where states[place].hasMemory { (memories + place).deinitialize(count: 1) }
    memories.deallocate()
  }

  /// The kernel may still write into the hosts' memory: it stays mapped for ever when this table goes.
  func abandon() { isAbandoned[0] = true }

  /// All places.
  var places: Range<Int> { states.indices }

  /// The host in a place.
  subscript(_ place: Int) -> HostState { states[place] }

  /// The place of a host that is attached, expected or about to leave.
  func place(of identity: UInt64) -> Int? {
    places.first { states[$0].phase != .vacant && states[$0].identity == identity }
  }

  /// A place that no host has.
  var vacantPlace: Int? { places.first { states[$0].phase == .vacant } }

  /// Hosts whose memory is mapped: those that are attached, and those that wait for their last request.
  var mappedCount: Int { places.count { states[$0].hasMemory } }

  /// Memory of all hosts together that had no pages when they attached.
  var bytesWithoutPages: UInt64 {
    places.reduce(0) { $0 &+ (states[$1].hasMemory ? states[$1].bytesWithoutPages : 0) }
  }

  /// A host that is not attached has a request under recovery: keeps a vacant place for it.
  mutating func expect(_ place: Int, identity: UInt64) {
    precondition(states[place].phase == .vacant, "a host place is assigned twice")
    states[place] = HostState(phase: .expected, identity: identity)
  }

  /// No request of an expected host is under recovery any more: its place is vacant.
  mutating func forget(_ place: Int) {
    precondition(states[place].phase == .expected, "forgets a host that is not expected")
    states[place] = HostState()
  }

  /// Attaches a host, in a place that was vacant or kept for it.
  mutating func attach(_ place: Int, _ state: HostState, _ memory: consuming HostMemory) {
    precondition(state.phase == .attached && !states[place].hasMemory, "a host place is assigned twice")
    states[place] = state
    (memories + place).initialize(to: memory)
    attachedCount += 1
  }

  /// A host broke the protocol: it is disconnected at the end of the turn.
  mutating func expel(_ place: Int) {
    precondition(states[place].phase == .attached, "expels a host that is not attached")
    states[place].phase = .expelled
  }

  /// The connection of a host has ended: its place is kept until its last request has.
  mutating func close(_ place: Int, at now: UInt64) {
    precondition(
      states[place].phase == .attached || states[place].phase == .expelled, "closes a host that is not attached")
    states[place].phase = .closing
    states[place].awaySince = now
    attachedCount -= 1
  }

  /// The last request of a host that left has ended: its place is vacant, or kept where some of its requests are under
  /// recovery.
  ///
  /// - Returns: its memory.
  mutating func release(_ place: Int, isExpected: Bool) -> HostMemory {
    precondition(states[place].phase == .closing, "releases the memory of a host that is not closing")
    let memory = (memories + place).move()
    states[place].phase = isExpected ? .expected : .vacant
    return memory
  }

  /// Announces in a host's memory how this controller sleeps.
  func say(_ state: SharedSleepWord.State, _ place: Int, as controller: ControllerIdentity) {
    memories[place].controllerParked(controller).say(state)
  }
}
