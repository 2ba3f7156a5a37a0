import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import BatonTestSupport
import Testing

@testable import BatonController

@Suite("The parts of a controller: what each does by itself")
struct PartsTests {
  func subsystem(_ folder: borrowing ScratchFolder) throws -> Subsystem {
    try Subsystem.create(folder("subsystem"), units: [UnitSpecification(.null, size: 1 << 20)])
  }

  @Test("A search for positions ends although there is never room for one host's requests", arguments: [0, 100, 255])
  func searchEnds(crowded: Int) throws {
    let folder = try ScratchFolder()
    let region = try Region(opening: try subsystem(folder).location)
    var takeover = Takeover(region.controller(.a), reading: region.journal(of: .b))
    takeover.begin(functions: 3, peer: .fenced, hasLived: true, hasSeenProcessEnd: true, mayBeMoved: false)
    for _ in 0..<3 {
      var places: [Int] = []
      while places.count <= Journal.hostPlaces, let place = takeover.takePlace() {
        places.append(place.number)
        if place.number == crowded { takeover.skip() }
      }
      #expect(places == Array(0..<Journal.hostPlaces), "each place is searched once, and then the search is over")
      // The loop turns, and whatever frees room happens; then they are searched again.
      takeover.endSearch()
    }
    while takeover.takePlace() != nil {}
    takeover.endSearch()
    // A noncopyable value cannot stand in an expectation: its answers do.
    var place = takeover.takePlace()
    #expect(place == nil, "with room for everybody the search is over for good")
    var functions = takeover.takeFunctions(most: 2)
    #expect(functions == 1..<3)
    var isSearching = takeover.isSearching
    #expect(isSearching)
    functions = takeover.takeFunctions(most: 2)
    #expect(functions == 0..<1)
    isSearching = takeover.isSearching
    place = takeover.takePlace()
    #expect(!isSearching && place == nil)
  }

  /// What a controller says of its life, in one value.
  struct Says: Equatable {
    var isServing = false
    var isLeaving = false
    var isStopped = false
    var isFenced = false

    init(isServing: Bool = false, isLeaving: Bool = false, isStopped: Bool = false) {
      (self.isServing, self.isLeaving, self.isStopped) = (isServing, isLeaving, isStopped)
    }

    init(_ controller: borrowing Controller) {
      isServing = controller.isServing
      isLeaving = controller.isLeaving
      isStopped = controller.isStopped
      isFenced = controller.isFenced
    }
  }

  @Test("A life that is told to stop before it joins is over, never was a member, and does nothing more")
  func withdrawal() throws {
    let folder = try ScratchFolder()
    let subsystem = try subsystem(folder)
    var options = ControllerOptions()
    options.logger.logLevel = .error
    var a = try Controller(.a, of: subsystem, options: options)
    // It stands in for b, which was never started.
    for _ in 0..<200 { a.poll() }
    var standsIn = a.standsIn
    try #require(standsIn)
    var b = try Controller(.b, of: subsystem, options: options)
    b.poll()
    #expect(Says(b) == Says())
    b.beginStop()
    b.beginStop()
    #expect(Says(b) == Says(isLeaving: true))
    b.poll()
    #expect(Says(b) == Says(isLeaving: true, isStopped: true))
    let word = b.membership.current
    for _ in 0..<100 {
      let hasWorked = b.poll()
      #expect(!hasWorked)
    }
    let (after, peersLife, isPeerMember) = (b.membership.current, b.peersLife, b.isPeerMember)
    #expect(after == word && peersLife == 0, "it never saw its peer as a member would")
    #expect(isPeerMember)
    for _ in 0..<200 { a.poll() }
    standsIn = a.standsIn
    #expect(standsIn)
  }

  /// What a life says of itself, in one value.
  struct Stands: Equatable {
    var hasJoined = false
    var isServing = false
    var isStopping = false
    var isEnding = false
    var isOver = false
    var isFenced = false
    var isNamed = false

    init(
      hasJoined: Bool = false, isServing: Bool = false, isStopping: Bool = false, isEnding: Bool = false,
      isOver: Bool = false, isFenced: Bool = false, isNamed: Bool = false
    ) {
      (self.hasJoined, self.isServing, self.isStopping) = (hasJoined, isServing, isStopping)
      (self.isEnding, self.isOver, self.isFenced, self.isNamed) = (isEnding, isOver, isFenced, isNamed)
    }

    init(_ life: borrowing Life) {
      (hasJoined, isServing, isStopping) = (life.hasJoined, life.isServing, life.isStopping)
      (isEnding, isOver, isFenced, isNamed) = (life.isEnding, life.isOver, life.isFenced, life.isNamed)
    }
  }

  @Test("A life has one course, from joining to its end")
  func lifeCourse() throws {
    let folder = try ScratchFolder()
    let region = try Region(opening: try subsystem(folder).location)
    var life = Life(.a, 1, region.membership)
    #expect(Stands(life) == Stands())
    let membership = region.membership
    let hasStepped = membership.step(from: membership.current, to: membership.current.resumed(by: .a, 1))
    #expect(hasStepped)
    #expect(Stands(life) == Stands(isNamed: true))
    life.join()
    #expect(Stands(life) == Stands(hasJoined: true, isServing: true, isNamed: true))
    life.beginLeaving(at: 1_000)
    #expect(Stands(life) == Stands(hasJoined: true, isStopping: true, isEnding: true, isNamed: true))
    let hasLeftFor = [life.hasLeftFor(10, at: 1_010), life.hasLeftFor(10, at: 1_011)]
    #expect(hasLeftFor == [false, true])
    life.end()
    // Although the membership word still names it.
    #expect(Stands(life) == Stands(hasJoined: true, isStopping: true, isOver: true))
    var fenced = Life(.a, 1, region.membership)
    fenced.join()
    fenced.fence()
    #expect(
      Stands(fenced) == Stands(hasJoined: true, isStopping: true, isOver: true, isFenced: true, isNamed: true))
  }

  private func index(_ number: Int) -> RequestIndex { RequestIndex(Int32(number)) }

  @Test("A queue of requests keeps their order, and each stands in it once")
  func chain() throws {
    let folder = try ScratchFolder()
    let region = try Region(opening: try subsystem(folder).location)
    let entries = JournalEntries(region.journal(of: .a))
    for number in 0..<4 { entries[index(number)].pointee.following = .none }
    var chain = RequestChain()
    #expect(chain.isEmpty)
    for number in [2, 0, 3, 1] { chain.append(index(number), entries) }
    #expect(entries.list(from: chain.first).map { entries.index(of: $0) } == [2, 0, 3, 1].map(index))
    var removed = [chain.removeFirst(entries)]
    chain.append(index(2), entries)
    while let index = chain.removeFirst(entries) { removed.append(index) }
    #expect(removed == [2, 0, 3, 1, 2].map(index))
    #expect(chain.isEmpty)
    chain.append(index(1), entries)
    #expect(chain.first.index == index(1) && entries[index(1)].pointee.following == .none)
  }

  @Test("A function's pending queue counts what a term owes")
  func pendingQueue() throws {
    let folder = try ScratchFolder()
    let region = try Region(opening: try subsystem(folder).location)
    let entries = JournalEntries(region.journal(of: .a))
    for number in 0..<4 { entries[index(number)].pointee.following = .none }
    var state = FunctionState()
    var readiness: FunctionState.Readiness
    var taken: RequestIndex?
    #expect(state.admits)
    state.append(index(0), entries)
    #expect(!state.admits, "a request that comes later does not overtake one that waits")
    #expect(!entries[index(0)].pointee.isTransferred)
    state.beginAsking(entries)
    #expect(state.isRequesting && entries[index(0)].pointee.isTransferred)
    state.append(index(1), entries)
    #expect(entries[index(1)].pointee.isTransferred)
    state.beginTerm(isContended: false, grantedAt: 0)
    state.append(index(2), entries)
    readiness = state.prepareToRelinquish(policy: .pendingOnly)
    #expect(readiness == .busy, "what was pending at the grant comes first")
    taken = state.removeFirstPending(entries)
    #expect(taken == index(0))
    readiness = state.prepareToRelinquish(policy: .pendingOnly)
    #expect(readiness == .busy)
    taken = state.removeFirstPending(entries)
    #expect(taken == index(1))
    state.begin()
    readiness = state.prepareToRelinquish(policy: .pendingOnly)
    #expect(readiness == .busy, "one is on the storage")
    #expect(state.isRelinquishing)
    state.end()
    state.beginRecovery()
    readiness = state.prepareToRelinquish(policy: .pendingOnly)
    #expect(readiness == .busy, "one is under recovery")
    state.endRecovery()
    readiness = state.prepareToRelinquish(policy: .pendingOnly)
    #expect(readiness == .ready)
    taken = state.removeFirstPending(entries)
    #expect(taken == index(2))
    #expect(!state.admits, "nothing is admitted between the decision and the grant")
    state.endRelinquishing()
    #expect(state.admits)
  }
}
