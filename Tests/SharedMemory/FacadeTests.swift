import BatonSharedMemory
import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc
import Testing

@Suite("Atomics facade, fences, waiting")
struct FacadeTests {
  @Test("A shared word loads, stores, swaps and adds")
  func word() {
    let base = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64)
    defer { base.deallocate() }
    base.initializeMemory(as: UInt64.self, repeating: 0, count: 8)
    let word = SharedWord(base + 8)
    word.storeRelaxed(5)
    #expect(word.loadRelaxed() == 5)
    word.storeReleasing(6)
    #expect(word.loadAcquiring() == 6)
    #expect(word.compareExchange(expected: 5, desired: 9) == (false, 6))
    #expect(word.loadRelaxed() == 6)
    #expect(word.compareExchange(expected: 6, desired: 9) == (true, 6))
    #expect(word.exchange(10) == 9)
    word.addAsOnlyWriter(3)
    #expect(word.loadRelaxed() == 13)
    word.addAsOnlyWriter(UInt64.max)
    #expect(word.loadRelaxed() == 12)
    #expect(base.load(as: UInt64.self) == 0 && (base + 16).load(as: UInt64.self) == 0)
  }

  @Test("A row of words has its stride")
  func row() {
    let base = UnsafeMutableRawPointer.allocate(byteCount: 512, alignment: 128)
    defer { base.deallocate() }
    base.initializeMemory(as: UInt64.self, repeating: 0, count: 64)
    let row = SharedWords(base: base, stride: 128, count: 4)
    for index in 0..<4 { row.word(index).storeRelaxed(UInt64(index) + 1) }
    for index in 0..<4 { #expect((base + index * 128).load(as: UInt64.self) == UInt64(index) + 1) }
  }

  @Test("A futex wait ends at once when the word has changed already, and a woken one ends")
  func futex() {
    let base = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64)
    defer { base.deallocate() }
    base.initializeMemory(as: UInt32.self, repeating: 0, count: 16)
    let word = SharedFutexWord(base)
    word.wait(while: 1, nanoseconds: nil)
    #expect(word.exchange(1) == 0)
    word.wait(while: 1, nanoseconds: 1000)
    word.wake()
    word.storeRelaxed(2)
    #expect(word.loadRelaxed() == 2)
  }

  @Test("The asymmetric fence works here, both sides, with and without membarrier")
  func fence() {
    AsymmetricFence.light(supported: AsymmetricFence.isSupported)
    AsymmetricFence.light(supported: false)
    #expect(AsymmetricFence.heavy() == AsymmetricFence.isSupported)
    #expect(AsymmetricFence.sleepNanosecondsMax > 0)
  }

  /// The outcome that the fence forbids: the sender sees no sleeper and the sleeper sees no work.
  @Test("Nobody sleeps over work that was published: the forbidden outcome does not come")
  func forbiddenOutcome() async {
    let rounds = 2000
    let board = Board()
    async let sender: Void = board.send(rounds: rounds)
    async let sleeper: Void = board.sleep(rounds: rounds)
    _ = await (sender, sleeper)
    #expect(board.missed(rounds: rounds) == 0)
  }

  /// Two words a round, and what each side saw of the other's.
  final class Board: @unchecked Sendable {
    private let words = UnsafeMutableRawPointer.allocate(byteCount: 2000 * 256, alignment: 128)
    private var senderSaw = [UInt64](repeating: 1, count: 2000)
    private var sleeperSaw = [UInt64](repeating: 1, count: 2000)

    init() { words.initializeMemory(as: UInt64.self, repeating: 0, count: 2000 * 32) }
    deinit { words.deallocate() }

    private func work(_ round: Int) -> SharedWord { SharedWord(words + round * 256) }
    private func sleeps(_ round: Int) -> SharedWord { SharedWord(words + round * 256 + 128) }

    func send(rounds: Int) async {
      let supported = AsymmetricFence.isSupported
      var saw = [UInt64](repeating: 0, count: rounds)
      for round in 0..<rounds {
        work(round).storeRelaxed(1)
        AsymmetricFence.light(supported: supported)
        saw[round] = sleeps(round).loadRelaxed()
      }
      senderSaw = saw
    }

    func sleep(rounds: Int) async {
      var saw = [UInt64](repeating: 0, count: rounds)
      for round in 0..<rounds {
        sleeps(round).storeRelaxed(1)
        // Where the kernel has none, a sleeper bounds its sleep instead: nothing is forbidden then.
        saw[round] = AsymmetricFence.heavy() ? work(round).loadRelaxed() : 1
      }
      sleeperSaw = saw
    }

    func missed(rounds: Int) -> Int { (0..<rounds).count { senderSaw[$0] == 0 && sleeperSaw[$0] == 0 } }
  }

  @Test("Wait strategies from words and back", arguments: ["spin", "adaptive", "park"])
  func strategies(word: String) { #expect(WaitStrategy(word)?.name == word) }

  @Test("What is no wait strategy is none", arguments: ["", "Spin", "spin ", "sleep"])
  func noStrategies(word: String) { #expect(WaitStrategy(word) == nil) }

  @Test(
    "A loop that parks parks, one that spins never does, an adaptive one without patience does at its clock")
  func waiter() {
    func looks(_ strategy: WaitStrategy, max: Int, afterWork: Int = 0) -> Int {
      var waiter = Waiter(strategy)
      for _ in 0..<afterWork { _ = waiter.idle() }
      waiter.worked()
      for look in 0..<max where waiter.idle() == .park { return look }
      return max
    }
    #expect(looks(.park, max: 10) == 0)
    #expect(looks(.spin, max: 10_000) == 10_000)
    #expect(looks(.adaptive(spinNanoseconds: 0), max: 1000) == 63)
    #expect(looks(.adaptive(spinNanoseconds: 0), max: 1000, afterWork: 20) == 63)
    #expect(looks(.adaptive(spinNanoseconds: .max), max: 1000) == 1000)
  }

  @Test("An adaptive loop whose spins are in vain spins for a moment, and for long again when one has paid")
  func learningWaiter() {
    /// Whether an idle time ends by parking: a spin of this strategy that is not cut short never does.
    func parks(_ waiter: inout Waiter) -> Bool {
      for _ in 0..<1_000_000 where waiter.idle() == .park { return true }
      return false
    }
    var waiter = Waiter(.adaptive(spinNanoseconds: .max), spinsPay: false)
    // Now and then it tries.
    for _ in 1..<16 { #expect(parks(&waiter)) }
    #expect(!parks(&waiter))
    // Work came during the attempt: that is some credit.
    waiter.worked()
    #expect(!parks(&waiter))
    // Spins of no length are all in vain, the first ones too: what was learned is used up, and no more than that.
    waiter = Waiter(.adaptive(spinNanoseconds: 0))
    for _ in 0..<1000 { #expect(parks(&waiter)) }
    waiter.worked()
    #expect(parks(&waiter))
  }
}

@Suite("Errors: the thing, the problem, the fix")
struct ErrorTests {
  @Test("The text names the thing, then the problem, then the fix")
  func text() {
    #expect(BatonError(.busy, "thing", "is wrong", fix: "fix it").description == "thing: is wrong; fix it")
    #expect(BatonError(.busy, "thing", "is wrong").description == "thing: is wrong")
  }

  @Test(
    "Each error number has its code",
    arguments: [
      (ENOENT, BatonError.Code.missing), (ECONNREFUSED, .missing), (ENOTDIR, .missing), (EACCES, .permission),
      (EPERM, .permission), (EROFS, .permission), (EEXIST, .busy), (EBUSY, .busy), (EADDRINUSE, .busy),
      (ENOSPC, .exhausted), (ENOMEM, .exhausted), (EMFILE, .exhausted), (ENFILE, .exhausted),
      (EDQUOT, .exhausted), (ENOSYS, .unsupported), (EOPNOTSUPP, .unsupported), (EIO, .system),
    ])
  func codes(number: CInt, code: BatonError.Code) {
    let error = BatonError(result: -Int(number), "/a/path", doing: "opening", fix: "look")
    #expect(error.code == code)
    #expect(error.description == "/a/path: opening failed: \(String(cString: strerror(number))); look")
  }

  @Test("A result that is no failure comes back, one that is throws with all its words")
  func checks() throws {
    #expect(try check(CInt(7), "thing", doing: "trying") == 7)
    #expect(try check(0, "thing", doing: "trying") == 0)
    expectError(.missing, naming: "thing") {
      try check(-Int(ENOENT), "thing", doing: "trying", fix: "make it")
    }
  }

  @Test("A file that does not exist, or cannot be mapped or resized, is named in the error")
  func files() throws {
    let folder = try ScratchFolder()
    #expect(FileFacts(path: folder("nothing")) == nil)
    #expect(FileFacts(path: folder.path)?.kind == .directory)
    let path = try folder.file("file", count: 1000)
    let facts = try #require(FileFacts(path: path))
    #expect(facts.kind == .regular && facts.size == 1000 && facts.hasWritePermission)
    let readOnly = OwnedDescriptor(shim_open(path, false, false, false))
    expectError(.permission, naming: path, hasFix: false) {
      _ = try Mapping(of: readOnly, count: 1000, subject: path)
    }
    expectError(.system, naming: path, hasFix: false) { try readOnly.setSize(5, subject: path) }
    let mapping = try Mapping(of: readOnly, count: 1000, writable: false, subject: path)
    #expect(mapping.base.load(as: UInt64.self) == 0)
  }
}
