import Baton
import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonTestSupport
import CBatonShims
import Testing

@testable import BatonHost

/// A channel whose host goes on while somebody reads its lines: the host takes single stores as its steps.
///
/// The host is the product's own queue, on memory of its own (`intended`). What it writes there reaches the lines that
/// are scanned one word at a time, the flag last.
private final class BusyChannel: ScannedLines {
  private let intended: HostMemory
  private let scanned: UnsafeMutableRawPointer
  private var queue: RequestQueue
  private var random: SeededRandom
  /// Stores that the host has still to make: where and what.
  private var stores: [(offset: Int, value: UInt64)] = []
  private(set) var submitted: [(line: LineIndex, sequence: UInt64)] = []
  private(set) var answered: Set<UInt64> = []
  /// How many steps at most the host takes at one look, and after how many looks it takes many at once.
  var pace = 0
  var looksUntilBurst = Int.max
  let count: Int

  init(lines count: Int) throws {
    self.count = count
    random = SeededRandom(seed: 0)
    intended = try HostMemory(linesPerChannel: count, arenaSize: 4096)
    scanned = .allocate(byteCount: count * 64, alignment: 64)
    queue = RequestQueue(intended, to: .a)
  }

  /// Begins again as a channel in which nothing was ever submitted; the first request follows number `first`.
  func begin(first: UInt64, seed: UInt64) {
    random = SeededRandom(seed: seed)
    for base in [scanned, intended.lines(to: .a)] {
      base.initializeMemory(as: UInt8.self, repeating: 0, count: count * 64)
    }
    queue.deallocate()
    queue = RequestQueue(intended, to: .a)
    queue.setOpen(true)
    queue.head = first
    queue.tail = first
    stores = []
    submitted = []
    answered = []
  }

  deinit {
    queue.deallocate()
    scanned.deallocate()
  }

  private func word(_ offset: Int) -> SharedWord { SharedWord(scanned + offset) }

  /// Puts a request into the line that the queue chooses.
  private func submit() {
    let index = queue.index(at: queue.tail)
    let sequence = queue.sequence & RequestFlag.sequenceMask
    guard queue.submit(RequestCopy(Request(.write, length: 512)), cookie: 0) else { return }
    submitted.append((index, sequence))
    let offset = index.number * 64
    let line = intended.lines(to: .a) + offset
    for word in [1, 2, 3, 4, 0] {
      stores.append((offset + word * 8, (line + word * 8).load(as: UInt64.self)))
    }
  }

  /// One store of the host's, or the beginning of its next request.
  private func step() {
    while queue.next() != nil {}
    if stores.isEmpty { submit() }
    if stores.isEmpty { return }
    let store = stores.removeFirst()
    word(store.offset).storeReleasing(store.value)
  }

  /// The controller of before answers a request, whatever its order.
  private func answer(at index: Int) {
    let (line, sequence) = submitted[index]
    let flag = RequestFlag.submitted(sequence).answered(.success)
    word(line.number * 64).storeReleasing(flag.rawValue)
    SharedWord(intended.lines(to: .a) + line.number * 64).storeReleasing(flag.rawValue)
    answered.insert(sequence)
  }

  private func settleStores() {
    while !stores.isEmpty { step() }
  }

  /// Requests and answers at random, as with a controller that is alive.
  func live(_ rounds: Int) {
    for _ in 0..<rounds {
      if Bool.random(using: &random) { submit() }
      settleStores()
      let open = submitted.indices.suffix(count).filter { !answered.contains(submitted[$0].sequence) }
      if let index = open.randomElement(using: &random), Int.random(in: 0..<4, using: &random) > 0 { answer(at: index) }
      if Bool.random(using: &random) { while queue.next() != nil {} }
    }
  }

  /// Everything is answered and seen, in any order: what was newest is not the first line to be used again.
  func rest() {
    while let index = submitted.indices.suffix(count).filter({ !answered.contains(submitted[$0].sequence) })
      .randomElement(using: &random)
    {
      answer(at: index)
      if Bool.random(using: &random) { while queue.next() != nil {} }
    }
  }

  /// One more request, whole.
  func submitNext() {
    settleStores()
    while queue.next() != nil {}
    submit()
    settleStores()
  }

  private func look() {
    if pace > 0 { for _ in 0..<Int.random(in: 0...pace, using: &random) { step() } }
    looksUntilBurst -= 1
    // Some requests, and a part of the next one's stores.
    if looksUntilBurst == 0 { for _ in 0..<Int.random(in: 1..<16, using: &random) { step() } }
  }

  func flag(_ line: LineIndex) -> RequestFlag {
    look()
    return RequestFlag(rawValue: word(line.number * 64).loadAcquiring())
  }

  func copy(_ line: LineIndex) -> RequestCopy {
    look()
    return RequestLine(scanned + line.number * 64).copy()
  }

  func fence() { look() }
}

@Suite("Channel position: where a channel stands, read while its host goes on")
struct ChannelPositionTests {
  @Test("The next request is where the scan says, and nothing is left out", arguments: [2, 4, 8, 64])
  func whileTheHostGoesOn(lines: Int) throws {
    let table = UnsafeMutablePointer<UInt64>.allocate(capacity: lines)
    defer { table.deallocate() }
    var again = 0
    let channel = try BusyChannel(lines: lines)
    for seed in UInt64(0)..<(lines == 4 ? 8000 : 1000) {
      // Some begin shortly before the numbers wrap around.
      let first = seed % 3 == 0 ? RequestFlag.sequenceMask + 1 - UInt64(lines) * (1 + seed % 5) : 0
      channel.begin(first: first, seed: seed)
      // The first request of all has number 1.
      if first > 0 { channel.submitNext() }
      channel.live(Int(seed % 19))
      let before = channel.submitted.count
      if seed % 4 > 0 { channel.rest() }
      channel.pace = [0, 0, 0, 0, 1, 3, 8][Int(seed % 7)]
      channel.looksUntilBurst = seed % 7 == 0 ? Int.max : 1 + Int(seed / 7) % (3 * lines)
      let outcome = ChannelPosition.find(in: channel, count: lines, table: table, isKnown: { _, _ in false })
      channel.pace = 0
      channel.looksUntilBurst = Int.max
      guard case .settled(let position, let found) = outcome else {
        Issue.record("seed \(seed): \(outcome)")
        continue
      }
      channel.submitNext()
      let newest = channel.submitted.firstIndex { $0.sequence == position.newest } ?? -1
      if newest < before - 1 { Issue.record("seed \(seed): older than what existed before the scan") }
      if newest >= before { again += 1 }
      if newest + 1 < channel.submitted.count {
        let following = channel.submitted[newest + 1].line
        if following != position.next, following != position.staying {
          Issue.record(
            "seed \(seed): request \(position.newest) is followed by one in line \(following.number): \(position)")
        }
      }
      let entries = (0..<found).map { position.request(ofEntry: table[$0]) }
      let due = channel.submitted[..<(newest + 1)].filter { !channel.answered.contains($0.sequence) }
      if entries.map(\.sequence) != due.map(\.sequence) || entries.map(\.line) != due.map(\.line) {
        Issue.record("seed \(seed): \(entries) and not \(due)")
      }
    }
    #expect(again > 0, "no scan met a host that went on")
  }

  @Test("What is being recovered is left out; lines that contradict each other are refused")
  func knownAndContradictory() throws {
    let memory = try HostMemory(linesPerChannel: 8, arenaSize: 4096)
    let base = memory.lines(to: .a)
    let table = UnsafeMutablePointer<UInt64>.allocate(capacity: 8)
    defer { table.deallocate() }
    func line(_ slot: Int) -> RequestLine { RequestLine(base + slot * 64) }
    func find(_ isKnown: (LineIndex, UInt64) -> Bool = { _, _ in false }) -> ChannelPosition.Outcome {
      ChannelPosition.find(in: SharedLines(base: base), count: 8, table: table, isKnown: isKnown)
    }
    #expect(find() == .settled(ChannelPosition(), unanswered: 0), "nothing was ever submitted")
    line(0).submit(Request(.read, length: 512), .submitted(1), next: 3)
    line(3).submit(Request(.read, length: 512), .submitted(2), next: 5)
    var position = ChannelPosition()
    position.newest = 2
    position.next = LineIndex(5)
    position.staying = LineIndex(5)
    #expect(find() == .settled(position, unanswered: 2))
    #expect(find { $0 == LineIndex(0) && $1 == 1 } == .settled(position, unanswered: 1))
    line(4).submit(Request(.read, length: 512), .submitted(2), next: 6)
    #expect(find() == .contradictory, "one number twice")
    line(4).submit(Request(.read, length: 512), .submitted(3), next: 8)
    #expect(find() == .contradictory, "a line outside of the channel")
    for slot in 0..<8 { line(slot).submit(Request(.read, length: 512), .submitted(UInt64(slot) + 1), next: 0) }
    #expect(find() == .contradictory, "one line is always promised")
  }

  @Test("Of two numbers of a channel the newer one is told across the end of the numbers")
  func newer() {
    let last = RequestFlag.sequenceMask
    for (sequence, other) in [(2, 1), (0, last), (1, last), (4095, last - 1)] as [(UInt64, UInt64)] {
      #expect(RequestFlag.isNewer(sequence, than: other))
      #expect(!RequestFlag.isNewer(other, than: sequence))
    }
    #expect(!RequestFlag.isNewer(7, than: 7))
  }
}
