import BatonNBD
import BatonSystem
import CBatonShims
import Glibc

/// One place for a client of an NBD server, apart from its connection.
struct ClientPlace {
  /// The client's; -1: none.
  var socket: CInt = -1
  /// Whether there is a connection to use again.
  var isMade = false
  /// The client's address, if it came over TCP; nil: over a unix socket.
  var peer: PeerAddress?
  /// Whether it was disconnected to make room.
  var makesRoom = false
  /// Whether it stands in the list of places to be tended.
  var isDirty = false
  /// Begun with the connection, and not given to the ring yet.
  var owesReceive = false
  var owesSend = false
  /// Whether the receive that is owed has been put off for a turn.
  var hasPutOff = false
  /// The send that is owed; what its vectors point at stands in the place's message.
  var output = NBDOutput()
  /// The directions of the socket that have been shut down: 0 none, 1 the client's, 2 both.
  var shut = 0
  var since: UInt64 = 0
  /// When it was last seen, after the end of its requests, that the storage still works on one; 0: never.
  var workedAt: UInt64 = 0
  /// Bytes moved so far, and when they had last grown.
  var progress: UInt64 = 0
  var progressAt: UInt64 = 0

  /// Whether its client came over TCP.
  var isTCP: Bool { socket >= 0 && peer != nil }
}

/// The places for clients: each client's state, its connection, and what the ring moves for it.
///
/// Invariants: `occupied` counts the places with a socket, `transfers` the receives and sends on the ring; a connection
/// is initialized where the place `isMade`; a place stands in the list of those to be tended at most once.
struct ClientTable: ~Copyable {
  private let places: Table<ClientPlace>
  private let connections: UnsafeMutablePointer<NBDConnection>
  /// Two a place: of its receive and its send.
  private let messages: UnsafeMutablePointer<msghdr>
  /// The memory of all connections, and of one.
  private let arena: UnsafeMutableRawPointer
  private let limits: NBDLimits
  /// Places with a client.
  private(set) var occupied = 0
  /// Receives and sends on the ring.
  private(set) var transfers = 0
  /// Places to be tended in this turn, and in the next one.
  private var dirty: UnsafeMutablePointer<Int32>
  private var dirtyNow: UnsafeMutablePointer<Int32>
  private(set) var dirtyCount = 0

  init(count: Int, arena: UnsafeMutableRawPointer, limits: NBDLimits) {
    places = Table(repeating: ClientPlace(), count: count)
    connections = .allocate(capacity: count)
    messages = .allocate(capacity: 2 * count)
    messages.initialize(repeating: msghdr(), count: 2 * count)
    self.arena = arena
    self.limits = limits
    dirty = .allocate(capacity: count)
    dirtyNow = .allocate(capacity: count)
  }

  deinit {
    for place in indices where isOccupied(place) {
      // The ring may hold on to the socket a little longer: the client is to notice now.
      shutdown(places[place].socket, CInt(SHUT_RDWR))
      close(places[place].socket)
    }
    dirty.deallocate()
    dirtyNow.deallocate()
    // Memory that the kernel may still write to stays, for ever if need be.
    if transfers > 0 { return }
    for place in indices where places[place].isMade { (connections + place).deinitialize(count: 1) }
    connections.deallocate()
    messages.deallocate()
  }

  /// All places.
  var indices: Range<Int> { places.indices }

  /// Whether a place has a client.
  func isOccupied(_ place: Int) -> Bool { places[place].socket >= 0 }

  /// A place, where it lies.
  func state(_ place: Int) -> UnsafeMutablePointer<ClientPlace> { places.address(place) }

  /// The connection of a place that has had a client.
  subscript(_ place: Int) -> UnsafeMutablePointer<NBDConnection> {
    assert(places[place].isMade, "no client has had that place")
    return connections + place
  }

  /// The memory of a place's connection.
  func memory(of place: Int) -> UnsafeMutableRawPointer { arena + place * limits.memorySize }

  // MARK: Clients

  /// A place that no client has; nil: there is none.
  var vacantPlace: Int? { occupied < places.count ? indices.first { !isOccupied($0) } : nil }

  /// Places with clients that came over TCP.
  var countOfTCP: Int { indices.count { places[$0].isTCP } }

  /// Those that came from one address.
  func count(of peer: PeerAddress) -> Int { indices.count { places[$0].isTCP && places[$0].peer == peer } }

  /// A client has connected, and gets a place.
  mutating func begin(_ place: Int, _ socket: CInt, _ peer: PeerAddress?, at now: UInt64) {
    precondition(!isOccupied(place), "a place that another client has")
    if !places[place].isMade {
      (connections + place).initialize(to: NBDConnection(memory: memory(of: place), limits: limits))
    }
    connections[place].begin()
    places[place] = ClientPlace(socket: socket, isMade: true, peer: peer, isDirty: places[place].isDirty)
    places[place].since = now
    places[place].progressAt = now
    occupied += 1
  }

  /// Everything of a client has ended; its socket is closed, or somebody else's.
  mutating func end(_ place: Int) {
    connections[place].end()
    places[place].socket = -1
    occupied -= 1
  }

  // MARK: The ring

  /// What a place's receive fills.
  func incoming(_ place: Int) -> UnsafeMutablePointer<msghdr> { messages + 2 * place }

  /// What a place's send sends.
  func outgoing(_ place: Int) -> UnsafeMutablePointer<msghdr> { messages + (2 * place + 1) }

  /// A receive or a send of a place is on the ring from now on.
  mutating func beginTransfer() { transfers += 1 }

  /// It has ended.
  mutating func endTransfer() {
    transfers -= 1
    assert(transfers >= 0, "more transfers have ended than begun")
  }

  // MARK: Tending

  /// The place is to be tended before this turn ends.
  @inline(__always)
  mutating func markDirty(_ place: Int) {
    if places[place].isDirty { return }
    places[place].isDirty = true
    dirty[dirtyCount] = Int32(truncatingIfNeeded: place)
    dirtyCount += 1
  }

  /// The marked places are tended now: those marked meanwhile wait for the next turn.
  ///
  /// - Returns: how many there are, see `tended`.
  mutating func beginTending() -> Int {
    swap(&dirty, &dirtyNow)
    defer { dirtyCount = 0 }
    return dirtyCount
  }

  /// The place at that position of those to be tended now.
  func tended(at position: Int) -> Int {
    let place = Int(dirtyNow[position])
    places[place].isDirty = false
    return place
  }
}
