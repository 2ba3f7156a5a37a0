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

  /// The host in a place.
  subscript(_ place: HostPlace) -> HostState { states[place.number] }

  /// The place of a host that is attached, expected or about to leave.
  func place(of identity: UInt64) -> HostPlace? {
    HostPlace.all.first { self[$0].phase != .vacant && self[$0].identity == identity }
  }

  /// A place that no host has.
  var vacantPlace: HostPlace? { HostPlace.all.first { self[$0].phase == .vacant } }

  /// Hosts whose memory is mapped: those that are attached, and those that wait for their last request.
  var mappedCount: Int { HostPlace.all.count { self[$0].hasMemory } }

  /// Memory of all hosts together that had no pages when they attached.
  var bytesWithoutPages: UInt64 {
    HostPlace.all.reduce(0) { $0 &+ (self[$1].hasMemory ? self[$1].bytesWithoutPages : 0) }
  }

  /// A host that is not attached has a request under recovery: keeps a vacant place for it.
  mutating func expect(_ place: HostPlace, identity: UInt64) {
    precondition(states[place.number].phase == .vacant, "a host place is assigned twice")
    states[place.number] = HostState(phase: .expected, identity: identity)
  }

  /// No request of an expected host is under recovery any more: its place is vacant.
  mutating func forget(_ place: HostPlace) {
    precondition(states[place.number].phase == .expected, "forgets a host that is not expected")
    states[place.number] = HostState()
  }

  /// Attaches a host, in a place that was vacant or kept for it.
  mutating func attach(_ place: HostPlace, _ state: HostState, _ memory: consuming HostMemory) {
    precondition(state.phase == .attached && !states[place.number].hasMemory, "a host place is assigned twice")
    states[place.number] = state
    (memories + place.number).initialize(to: memory)
    attachedCount += 1
  }

  /// A host broke the protocol: it is disconnected at the end of the turn.
  mutating func expel(_ place: HostPlace) {
    precondition(states[place.number].phase == .attached, "expels a host that is not attached")
    states[place.number].phase = .expelled
  }

  /// The connection of a host has ended: its place is kept until its last request has.
  mutating func close(_ place: HostPlace, at now: UInt64) {
    let state = states.address(place.number)
    precondition(
      state.pointee.phase == .attached || state.pointee.phase == .expelled, "closes a host that is not attached")
    state.pointee.phase = .closing
    state.pointee.awaySince = now
    attachedCount -= 1
  }

  /// The last request of a host that left has ended: its place is vacant, or kept where some of its requests are under
  /// recovery.
  ///
  /// - Returns: its memory.
  mutating func release(_ place: HostPlace, isExpected: Bool) -> HostMemory {
    precondition(states[place.number].phase == .closing, "releases the memory of a host that is not closing")
    let memory = (memories + place.number).move()
    states[place.number].phase = isExpected ? .expected : .vacant
    return memory
  }

  /// Asks a host to write the trace with that number, or none (0). Sync point "trace": the host finds its file.
  func setTrace(_ number: UInt64, _ place: HostPlace) { memories[place.number].trace.storeReleasing(number) }

  /// Announces in a host's memory how this controller sleeps.
  func say(_ state: SharedSleepWord.State, _ place: HostPlace, as controller: ControllerIdentity) {
    memories[place.number].controllerParked(controller).say(state)
  }
}
